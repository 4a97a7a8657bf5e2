import { type ExecutorInfo, ExecutorState } from '@kpx/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { alice, info as infoOf, kinds } from '../../test-fixtures/executors.js';
import { PLAIN_POLICY } from '../../test-fixtures/policy.js';
import type { Policy } from '../policy/policy.js';
import { ENDING_MAX_MS } from './ending.js';
import type { Effect, Event } from './events.js';
import { STABLE_MS } from './executor-link.js';
import { Machine } from './machine.js';

/* How the machine judges an executor's connection to RabbitMQ. */

const UID = 1_001;
const POLICY: Policy = { ...PLAIN_POLICY, readyForMs: 1_000, lostAfterMs: 30_000, backoffInitialMs: 2_000, startAttempts: 3 };
/** Between two looks at the connections. */
const LOOK_MS = 250;

let machine: Machine;
let now: number;
let tickets: number;
let pid: number;

const step = (event: Event): Effect[] => machine.step(event, now, 0.5);
const job = (hops = 0) => step({ kind: 'job', ticket: ++tickets, user: alice, hops, waited: false, groups: [], ageMs: 0 });
const stateNow = () => machine.users().find(({ user }) => user === alice)?.state;
const info = (others: Partial<ExecutorInfo> = {}) => infoOf('alice', UID, { mainPid: pid, ...others });
const look = (isUp: boolean) => step({ kind: 'connections', uids: new Set(isUp ? [UID] : []) });

/** Looks, and tells that time passes, for so long; all that came of it. */
function passes(ms: number, isUp: boolean): Effect[] {
  const effects: Effect[] = [];
  for (const end = now + ms; now < end; ) {
    now += LOOK_MS;
    effects.push(...look(isUp), ...step({ kind: 'tick' }));
  }
  return effects;
}

function start(): void {
  pid += 1;
  step({ kind: 'started', user: alice, executor: info() });
}

const endsWith = (lastExit: string) =>
  step({ kind: 'listed', executors: [info({ state: ExecutorState.exited, mainPid: 0, lastExit })], askedAt: now });

function withPolicy(given: Partial<Policy>): void {
  machine = new Machine({ ...POLICY, ...given });
  step({ kind: 'channel opened' });
}

beforeEach(() => {
  [now, tickets, pid] = [1_000, 0, 100];
  withPolicy({});
});

describe('an executor of which nobody can say whether RabbitMQ serves it', () => {
  const unknown = () => step({ kind: 'connections', uids: new Set(), unknown: new Set([UID]) });

  it('stays what it is, however long that lasts, and has its whole time once it can be seen again', () => {
    job();
    start();
    passes(2_000, true);
    expect(stateNow()).toBe('ready');
    for (const until = now + 120_000; now < until; now += LOOK_MS) unknown();
    expect(stateNow()).toBe('ready');
    expect(kinds(passes(25_000, false))).toEqual([]);
    expect(stateNow()).toBe('lost');
    expect(kinds(passes(5_000, true))).toEqual([]);
    expect(stateNow()).toBe('ready');
  });
});

describe('an executor from before the broker', () => {
  const list = (cpuMs = 1) => step({ kind: 'listed', executors: [info({ cpuMs })], askedAt: now });

  beforeEach(() => {
    machine = new Machine(POLICY);
    list();
  });

  it('is not judged while the broker has no RabbitMQ, and has the whole of start_timeout when it has', () => {
    expect(kinds(passes(600_000, false))).toEqual([]);
    expect(machine.failing().backoff.size).toBe(0);
    step({ kind: 'channel opened' });
    expect(kinds(passes(POLICY.startTimeoutMs - LOOK_MS, false))).toEqual([]);
    expect(kinds(passes(LOOK_MS, false))).toEqual(['stop']);
  });

  it('is not judged while nobody can say whether RabbitMQ serves it, and has the whole of start_timeout then', () => {
    step({ kind: 'channel opened' });
    const unknown = () => [...step({ kind: 'connections', uids: new Set(), unknown: new Set([UID]) }), ...step({ kind: 'tick' })];
    for (const until = now + 600_000; now < until; now += LOOK_MS) expect(kinds(unknown())).toEqual([]);
    unknown();
    expect(kinds(passes(POLICY.startTimeoutMs - LOOK_MS, false))).toEqual([]);
    expect(kinds(passes(LOOK_MS, false))).toEqual(['stop']);
  });

  it('is asked to end in its own time, as it may be at work, and ended by force only if it does not', () => {
    step({ kind: 'channel opened' });
    expect(kinds(passes(POLICY.startTimeoutMs, false))).toEqual(['stop']);
    expect(kinds(passes(ENDING_MAX_MS - LOOK_MS, false))).toEqual([]);
    expect(kinds(passes(LOOK_MS, false))).toEqual(['kill']);
  });

  it('is so, too, where the helper found it running when the first job had come before the first list', () => {
    machine = new Machine(POLICY);
    step({ kind: 'channel opened' });
    job();
    step({ kind: 'started', user: alice, executor: info(), wasThere: true });
    expect(kinds(passes(POLICY.startTimeoutMs, false))).toEqual(['stop']);
  });

  it('is not so where the list tells of the executor before the answer to its start', () => {
    machine = new Machine(POLICY);
    step({ kind: 'channel opened' });
    job();
    list();
    step({ kind: 'started', user: alice, executor: info() });
    expect(kinds(passes(POLICY.startTimeoutMs, false))).toEqual(['kill']);
  });
});

describe('a start that takes several steps', () => {
  const states = (effects: Effect[]) => effects.flatMap((effect) => (effect.kind === 'state' ? [effect.state] : []));

  it('has a state for each where executors are sealed, in each of which it may fail', () => {
    withPolicy({ sealed: true });
    expect(states(job())).toEqual(['queued', 'preparing']);
    expect(states(step({ kind: 'start goes on', user: alice, to: 'provisioning' }))).toEqual(['provisioning']);
    expect(machine.explain(alice, [])).toMatchObject({ decision: 'hold', state: 'provisioning' });
    expect(machine.counts).toMatchObject({ executors: 1, starting: 1, held: 1 });
    expect(states(step({ kind: 'not started', user: alice, code: 'HOST_FAILED', detail: 'SEALED_UNAVAILABLE: away' }))).toEqual([
      'backoff',
    ]);
    expect(machine.counts).toMatchObject({ executors: 0, starting: 0 });
    expect(states(step({ kind: 'start goes on', user: alice, to: 'starting' }))).toEqual([]);
  });

  it('goes on to where its executor boots', () => {
    withPolicy({ sealed: true });
    job();
    for (const to of ['provisioning', 'starting'] as const) step({ kind: 'start goes on', user: alice, to });
    start();
    expect(stateNow()).toBe('booting');
  });
});

describe('an executor is ready', () => {
  it('when its connection has lasted for ready_for, not before', () => {
    job();
    start();
    expect(kinds(passes(1_000, true))).toEqual([]);
    expect(kinds(passes(LOOK_MS, true))).toEqual(['forward']);
  });

  it('not by connections that end at once, as where the login is refused: it is ended, and what RabbitMQ did is said', () => {
    job();
    start();
    for (let second = 0; second < 119; second++) passes(1_000, second % 2 === 0);
    expect(stateNow()).toBe('booting');
    const effects = passes(2_000, false);
    expect(kinds(effects)).toEqual(['kill']);
    expect(effects.find(({ kind }) => kind === 'kill')).toMatchObject({
      cause: 'without_rabbitmq',
      why: 'the executor was not ready within 2m00s (start_timeout): no connection to RabbitMQ; RabbitMQ ended its connections: is the login refused? See kpxctl logs alice',
    });
    expect(stateNow()).toBe('backoff');
  });

  it('with ready_delay, after both', () => {
    withPolicy({ readyDelayMs: 15_000 });
    job();
    start();
    expect(kinds(passes(14_750, false))).toEqual([]);
    expect(kinds(passes(1_000, true))).toEqual([]);
    expect(kinds(passes(LOOK_MS, true))).toEqual(['forward']);
  });

  it('with ready_delay and no watch, after the delay alone, and it stays so', () => {
    withPolicy({ readyDelayMs: 15_000, lostAfterMs: undefined });
    expect(machine.looksForConnections).toBe('never');
    job();
    start();
    expect(kinds(passes(15_000, false))).toEqual(['forward']);
    expect(kinds(passes(300_000, false))).toEqual([]);
    expect(stateNow()).toBe('ready');
  });
});

describe('an executor that has lost RabbitMQ', () => {
  beforeEach(() => {
    job();
    start();
    passes(1_250, true);
    passes(STABLE_MS, true);
    expect(stateNow()).toBe('ready');
  });

  it('gets no job until it is connected again, for ready_for', () => {
    expect(machine.looksForConnections).toBe('sometimes');
    passes(1_500, false);
    expect(stateNow()).toBe('lost');
    expect(machine.looksForConnections).toBe('soon');
    expect(machine.explain(alice, [])).toMatchObject({
      decision: 'hold',
      state: 'lost',
      executor: expect.stringMatching(/, lost$/),
      why: 'the executor has lost its connection to RabbitMQ; it is ended if that does not come back within lost_after',
    });
    expect(kinds(job())).toEqual([]);
    expect(kinds(passes(1_000, true))).toEqual([]);
    expect(kinds(passes(LOOK_MS, true))).toEqual(['forward']);
  });

  it('takes no place from those that start', () => {
    passes(1_500, false);
    expect(machine.counts).toMatchObject({ executors: 1, starting: 0 });
  });

  it('is ended after lost_after, and counts as a failed start; its job waits for the next one', () => {
    passes(1_500, false);
    job();
    const effects = passes(29_000, false);
    expect(effects).toContainEqual(
      expect.objectContaining({
        kind: 'stop',
        cause: 'without_rabbitmq',
        why: 'the executor has had no connection to RabbitMQ for 30s (lost_after)',
      }),
    );
    expect(kinds(effects)).toEqual(['stop']);
    expect(stateNow()).toBe('backoff');
    expect(kinds(endsWith('exit 143'))).toEqual([]);
    expect(kinds(passes(2_000, false))).toEqual(['start']);
    expect(machine.counts.held).toBe(1);
  });

  it('is not lost by one look that misses its connection', () => {
    now += 1_000;
    look(false);
    now += 2_000;
    step({ kind: 'tick' });
    expect(stateNow()).toBe('ready');
    look(true);
    expect(stateNow()).toBe('ready');
  });

  it('is ended even where short connections come again and again', () => {
    let effects: Effect[] = [];
    for (let second = 0; second < 32 && kinds(effects).length === 0; second += 4)
      effects = [...passes(1_500, true), ...passes(2_500, false)];
    expect(kinds(effects)).toEqual(['stop']);
  });

  it('is not judged while the broker has no RabbitMQ either, and has lost_after anew when it has', () => {
    step({ kind: 'channel lost' });
    expect(kinds(passes(600_000, false))).toEqual([]);
    expect(stateNow()).toBe('ready');
    step({ kind: 'channel opened' });
    expect(kinds(passes(29_750, false))).toEqual([]);
    expect(stateNow()).toBe('lost');
    expect(kinds(passes(LOOK_MS, false))).toEqual(['stop']);
  });

  it('is left alone with watch = false', () => {
    step({ kind: 'policy', policy: { ...POLICY, lostAfterMs: undefined } });
    expect(kinds(passes(600_000, false))).toEqual([]);
    expect(stateNow()).toBe('ready');
  });

  it('is ready again when it is not watched any more', () => {
    passes(1_500, false);
    step({ kind: 'policy', policy: { ...POLICY, lostAfterMs: undefined } });
    step({ kind: 'tick' });
    expect(stateNow()).toBe('ready');
  });
});

it('parks jobs with the reason after start_attempts', () => {
  withPolicy({ startTimeoutMs: 30_000 });
  job();
  for (let attempt = 1; attempt <= 3; attempt++) {
    start();
    const effects = passes(30_000, false);
    if (attempt < 3) expect(kinds(effects)).toEqual(['kill']);
    else {
      expect(effects).toContainEqual({
        kind: 'park',
        ticket: 1,
        user: alice,
        reason: 'EXECUTOR_WITHOUT_RABBITMQ',
        detail:
          '3 starts failed, the last one: the executor was not ready within 30s (start_timeout): no connection to RabbitMQ: see kpxctl logs alice',
      });
    }
    endsWith('signal SIGKILL');
    passes(4_000, false);
  }
  expect(stateNow()).toBe('broken');
});

describe('an executor that ends with a failure', () => {
  const begin = () => {
    start();
    passes(1_250, true);
  };

  it('is a failed start if it has taken no job that it was offered, however long it was ready, again and again', () => {
    job();
    for (let attempt = 1; attempt <= 3; attempt++) {
      start();
      for (let looks = 0; looks < 240; looks++) {
        const offered = kinds(passes(LOOK_MS, true)).filter((kind) => kind === 'forward');
        for (const _ of offered) kinds(job(2));
      }
      expect(stateNow()).toBe('ready');
      endsWith('exit 69');
      expect(stateNow()).toBe(attempt < 3 ? 'backoff' : 'broken');
      passes(8_000, false);
    }
  });

  it('is one if it was offered none', () => {
    step({ kind: 'start asked', user: alice, groups: [] });
    begin();
    passes(60_000, true);
    endsWith('exit 69');
    expect(stateNow()).toBe('backoff');
  });

  it('is none if it has taken a job', () => {
    job();
    begin();
    passes(STABLE_MS, true);
    endsWith('exit 69');
    expect(stateNow()).not.toBe('backoff');
  });

  it('is none while RabbitMQ is away for everybody', () => {
    step({ kind: 'start asked', user: alice, groups: [] });
    begin();
    passes(STABLE_MS, true);
    step({ kind: 'channel lost' });
    endsWith('exit 69');
    expect(stateNow()).not.toBe('backoff');
  });
});

describe('an executor that ends by itself, without a failure', () => {
  const begin = () => {
    start();
    const given = kinds(passes(1_250, true)).filter((kind) => kind === 'forward').length;
    expect(stateNow()).toBe('ready');
    return given;
  };
  /** All jobs that it is given come back from it. */
  const endsUnused = (lastExit = 'exit 0') => {
    job();
    for (let given = begin(); given > 0; given--) job(2);
    endsWith(lastExit);
  };

  it('soon after it was ready and without a job is counted, and from the second in a row on explained', () => {
    endsUnused();
    expect(machine.endedSoon).toEqual({ executors: 1, users: 0 });
    expect(machine.explain(alice, [])).toMatchObject({ state: 'starting', cause: 'executor' });
    endsUnused('');
    expect(machine.endedSoon).toEqual({ executors: 2, users: 1 });
    const ends = 'the last 2 executors ended with exit 0 within 10s after they were ready, without a job';
    const why = `the executor is being started; ${ends}`;
    expect(machine.explain(alice, [])).toMatchObject({ decision: 'hold', why, cause: 'ends_soon' });
  });

  it.each<[what: string, ends: () => void]>([
    ['has done a job', () => endsWith('exit 0')],
    ['was ready for 10 seconds', () => [job(2), passes(STABLE_MS, true), endsWith('exit 0')]],
    ['is ended by the broker', () => [job(2), step({ kind: 'stop asked', user: alice, force: false }), endsWith('exit 0')]],
    ['loses RabbitMQ with everybody else', () => [job(2), step({ kind: 'channel lost' }), endsWith('exit 0')]],
    ['ends with a failure, which is a failed start', () => [job(2), endsWith('exit 1')]],
  ])('is not counted when it %s', (_, ends) => {
    job();
    begin();
    ends();
    expect(machine.endedSoon.executors).toBe(0);
  });

  it.each<[what: string, comes: () => void]>([
    ['the next one is ready for 10 seconds', () => [begin(), passes(STABLE_MS, true)]],
    ['the next one has done a job', () => [begin(), endsWith('exit 0')]],
    ['an operator has it started', () => step({ kind: 'start asked', user: alice, groups: [] })],
  ])('is no trouble any more when %s', (_, comes) => {
    for (let ended = 0; ended < 3; ended++) endsUnused();
    expect(machine.endedSoon).toEqual({ executors: 3, users: 1 });
    comes();
    expect(machine.endedSoon).toEqual({ executors: 3, users: 0 });
  });

  it('is remembered for start_window where the user has no jobs', () => {
    for (let ended = 0; ended < 2; ended++) {
      step({ kind: 'start planned', user: alice, groups: [], forMs: 60_000, why: 'a schedule' });
      begin();
      endsWith('exit 0');
    }
    now += POLICY.startWindowMs - 1;
    step({ kind: 'tick' });
    expect(machine.endedSoon.users).toBe(1);
    expect(machine.explain(alice, [])).toMatchObject({ decision: 'start', cause: 'ends_soon' });
    now += 1;
    step({ kind: 'tick' });
    expect([machine.endedSoon.users, machine.counts.users]).toEqual([0, 0]);
  });
});
