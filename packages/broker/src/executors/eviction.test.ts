import { beforeEach, describe, expect, it } from 'vitest';
import { info, knimeUser, usersOf } from '../../test-fixtures/executors.js';
import { PLAIN_POLICY, rule } from '../../test-fixtures/policy.js';
import type { Policy } from '../policy/policy.js';
import type { Effect, Event } from './events.js';
import { Machine } from './machine.js';

/* Twenty idle executors, and as many users who wait. */

const EXECUTORS = 20;
const POLICY: Policy = { ...PLAIN_POLICY, maxExecutors: EXECUTORS, maxStarting: 4, whenFull: 'evict-idle', evictIdleAfterMs: 120_000 };
const POLICY_OF_ALL: Policy = { ...POLICY, heldPerUser: 100, heldInAll: 100 };

let machine: Machine;
let now: number;
let running: Set<string>;

const step = (event: Event): Effect[] => machine.step(event, now, 0.5);
const uidOf = (name: string) => 2_000 + Number(name.slice(1));
const list = () => step({ kind: 'listed', executors: [...running].map((name) => info(name, uidOf(name), { cpuMs: 100 })), askedAt: now });
const look = () => step({ kind: 'connections', uids: new Set([...running].map(uidOf)) });

beforeEach(() => {
  machine = new Machine(POLICY_OF_ALL);
  now = 1_000;
  running = new Set(Array.from({ length: EXECUTORS }, (_, index) => `e${index}`));
  list();
  look();
  now += POLICY.evictIdleAfterMs - 1;
  for (let index = 0; index < EXECUTORS; index++)
    step({
      ...({ kind: 'job', ticket: index, user: knimeUser(`w${index}`), hops: 0 } as const),
      ...{ waited: false, groups: [], ageMs: 0 },
    });
});

it('ends none before evict_idle_after, then as many as may start, and further ones only when these have started', () => {
  expect(usersOf('stop', list())).toEqual([]);
  now += 1;
  const first = usersOf('stop', list());
  expect(first).toHaveLength(POLICY.maxStarting);
  for (let round = 0; round < 5; round++) {
    now += 2_000;
    expect(usersOf('stop', list())).toEqual([]); // those that end have not ended
  }
  for (const name of first) running.delete(name);
  const effects = list();
  expect(usersOf('start', effects)).toEqual(['w0', 'w1', 'w2', 'w3']);
  expect(usersOf('stop', effects)).toEqual([]); // as many start as may
  now += 2_000;
  expect(usersOf('stop', list())).toEqual([]);
});

it('ends no more than there are users who wait', () => {
  machine = new Machine(POLICY_OF_ALL);
  now = 1_000;
  list();
  look();
  now += POLICY.evictIdleAfterMs;
  step({ kind: 'job', ticket: 1, user: knimeUser('w1'), hops: 0, waited: false, groups: [], ageMs: 0 });
  expect(usersOf('stop', list())).toHaveLength(1);
  now += 2_000;
  expect(usersOf('stop', list())).toHaveLength(0);
});

it('tells for how long a user has waited', () => {
  now += 145_000;
  step({ kind: 'tick' });
  // Their jobs go round once after 30 seconds, and keep the place in line when they come back within 30 more.
  expect(machine.counts).toMatchObject({ waiting: EXECUTORS, longestWaitMs: 145_000 });
});

describe('with a rule that has reached its own max_executors, on a full host', () => {
  const SCIENCE = rule({ label: 'science', users: ['s*'], maxExecutors: 2 });
  /** Those that compute. */
  let busy: Set<string>;
  const look = () => step({ kind: 'connections', uids: new Set([...running].map(uidOf)) });
  const uidOf = (name: string) => 2_000 + name.charCodeAt(0) * 10 + Number(name.slice(1));
  let cpuMs: number;
  const list = () => {
    now += 30_000;
    cpuMs += 30_000;
    const executors = [...running].map((name) => info(name, uidOf(name), { cpuMs: busy.has(name) ? cpuMs : 1 }));
    return step({ kind: 'listed', executors, askedAt: now });
  };
  const job = (user: string) => step({ kind: 'job', ticket: now, user: knimeUser(user), hops: 0, waited: false, groups: [], ageMs: 0 });
  const runs = (names: string[], atWork: string[]) => {
    machine = new Machine({ ...POLICY_OF_ALL, maxExecutors: names.length, rules: [SCIENCE] });
    [now, cpuMs, running, busy] = [1_000, 1, new Set(names), new Set(atWork)];
    list();
    look();
    for (let count = 0; count < 5; count++) list();
  };

  it('ends none of another rule, which would bring the user nothing', () => {
    runs(['s1', 's2', 'x1'], ['s1', 's2']);
    job('s9');
    expect([...list(), ...list()].filter(({ kind }) => kind === 'stop')).toEqual([]);
    busy.delete('s2');
    for (let count = 0; count < 3; count++) expect(usersOf('stop', list())).toEqual([]);
    expect(usersOf('stop', list())).toEqual(['s2']);
    running.delete('s2');
    expect(usersOf('start', list())).toEqual(['s9']);
  });

  it('gives the place of one that ends to the user whom it serves', () => {
    runs(['s1', 's2', 'x1'], ['s1', 's2']);
    job('s9');
    now += 1;
    job('x9');
    expect(list()).toContainEqual(expect.objectContaining({ kind: 'stop', user: 'x1', why: expect.stringContaining('"x9" waits') }));
    busy.clear();
    const stops = Array.from({ length: 8 }, () => list().filter(({ kind }) => kind === 'stop')).flat();
    expect(stops).toEqual([expect.objectContaining({ user: 's1', why: expect.stringContaining('"s9" waits') })]);
    running.delete('x1');
    expect(usersOf('start', list())).toEqual(['x9']);
  });

  it('leaves to such a user the place that no other could serve', () => {
    runs(['s1', 's2', 'x1', 'x2'], ['s1', 's2', 'x1']);
    job('x9');
    now += 1;
    job('s9');
    busy.delete('s1');
    busy.delete('s2');
    expect(Array.from({ length: 8 }, () => usersOf('stop', list())).flat()).toEqual(['x2', 's1']);
    running.delete('s1');
    running.delete('x2');
    expect(usersOf('start', list())).toEqual(['x9', 's9']);
  });
});
