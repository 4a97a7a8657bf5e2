import { beforeEach, expect, it } from 'vitest';
import { info, knimeUser, usersOf } from '../../test-fixtures/executors.js';
import { PLAIN_POLICY } from '../../test-fixtures/policy.js';
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
