import type { KnimeUser } from '@kpx/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { alice, bob, carol, info, knimeUser, usersOf } from '../../test-fixtures/executors.js';
import { PLAIN_POLICY, rule } from '../../test-fixtures/policy.js';
import type { Policy } from '../policy/policy.js';
import type { Rule } from '../policy/rules.js';
import type { Effect, Event } from './events.js';
import { PLACE_MS } from './line.js';
import { Machine } from './machine.js';
import { ASKED_MAX_MS } from './starting.js';

/* Executors that stay for their user, and executors that have become old. */

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

const ruled = (given: Partial<Rule>) => rule({ users: ['alice', 'bob'], ...given });

let machine: Machine;
let now: number;
let tickets: number;
/** By account: the main process of its executor. */
let running: Map<KnimeUser, number>;

const uidOf = (user: KnimeUser) => 1_000 + [alice, bob, carol].indexOf(user);
const step = (event: Event): Effect[] => machine.step(event, now, 0.5);
const job = (user = alice) => step({ kind: 'job', ticket: ++tickets, user, hops: 0, waited: false, groups: [], ageMs: 0 });
const connected = () => step({ kind: 'connections', uids: new Set([...running.keys()].map(uidOf)) });
const made = (user: KnimeUser) => {
  running.set(user, uidOf(user) + 10_000);
  step({ kind: 'started', user, executor: info(user, uidOf(user), { cpuMs: 100 }) });
  return connected();
};
const makeReady = (user: KnimeUser) => {
  job(user);
  made(user);
};
const list = () =>
  step({ kind: 'listed', executors: [...running.keys()].map((user) => info(user, uidOf(user), { cpuMs: 100 })), askedAt: now });
const ended = (user: KnimeUser) => {
  now += 1;
  running.delete(user);
  return list();
};
/** `busy`: whose executors have worked since the last look. */
const measure = (...busy: KnimeUser[]) =>
  step({
    kind: 'usage',
    usage: new Map([...running].map(([user, pid]) => [pid, { cpuMs: busy.includes(user) ? now : 100, memoryBytes: undefined }])),
    wallMs: now,
  });
/** Each executor is looked at once, and again after it was idle for so long. */
const idleFor = (ms: number) => {
  measure();
  now += ms;
  return measure();
};
const withPolicy = (given: Partial<Policy>) => {
  machine = new Machine({ ...PLAIN_POLICY, ...given });
  [now, tickets, running] = [1_000, 0, new Map()];
};

describe('keep_warm', () => {
  beforeEach(() => {
    withPolicy({
      maxExecutors: 2,
      idleStopMs: 30 * MINUTE_MS,
      whenFull: 'evict-idle',
      rules: [ruled({ users: ['alice'], keepWarmMs: 2 * HOUR_MS })],
    });
    makeReady(alice);
    makeReady(bob);
  });

  it('keeps an executor beyond idle_stop, and ends it then', () => {
    expect(usersOf('stop', idleFor(30 * MINUTE_MS))).toEqual([bob]);
    now += 90 * MINUTE_MS - 1;
    expect(usersOf('stop', measure())).toEqual([]);
    now += 1;
    expect(measure()).toContainEqual(
      expect.objectContaining({ kind: 'stop', user: alice, cause: 'idle', why: 'idle for 2h00m (keep_warm is 2h00m)' }),
    );
  });

  it('counts anew from each job', () => {
    idleFor(119 * MINUTE_MS);
    job(alice);
    expect(usersOf('stop', idleFor(119 * MINUTE_MS))).toEqual([]);
  });

  it('keeps it for its user while others wait for room: one that is not kept makes place', () => {
    measure();
    now += 10 * MINUTE_MS;
    job(carol);
    expect(usersOf('stop', measure())).toEqual([bob]);
  });

  it('lets it make place afterwards', () => {
    machine.step({ kind: 'policy', policy: { ...machine.policy, idleStopMs: undefined } }, now, 0.5);
    ended(bob);
    makeReady(bob);
    measure(bob);
    now += 2 * HOUR_MS;
    job(bob);
    job(carol);
    expect(usersOf('stop', measure())).toEqual([alice]);
  });
});

describe('max_age', () => {
  const DAY_MS = 24 * HOUR_MS;

  it('ends an executor that is older when it is idle, and no sooner', () => {
    withPolicy({ rules: [ruled({ maxAgeMs: DAY_MS })] });
    makeReady(alice);
    makeReady(carol);
    measure();
    now = DAY_MS;
    job(alice);
    expect(usersOf('stop', measure())).toEqual([]); // it may be at work
    now += MINUTE_MS;
    expect(usersOf('stop', measure(alice))).toEqual([]); // it is
    now += MINUTE_MS;
    expect(measure()).toContainEqual(
      expect.objectContaining({ kind: 'stop', user: alice, cause: 'max_age', why: 'it has run for 1d00h (max_age is 1d00h)' }),
    );
    expect(machine.explain(alice, []).decision).toBe('hold');
    expect(usersOf('start', ended(alice))).toEqual([]); // the next job starts one
    expect(usersOf('start', job(alice))).toEqual([alice]);
  });

  it('has another one started for a user who is kept warm, and for one whose jobs came meanwhile', () => {
    withPolicy({ rules: [ruled({ maxAgeMs: DAY_MS, keepWarmMs: 2 * HOUR_MS })] });
    makeReady(alice);
    now += DAY_MS;
    job(alice);
    expect(usersOf('stop', idleFor(MINUTE_MS))).toEqual([alice]);
    expect(usersOf('start', ended(alice))).toEqual([alice]);
    made(alice);
    expect(machine.explain(alice, []).state).toBe('ready');

    withPolicy({ rules: [ruled({ maxAgeMs: DAY_MS })] });
    makeReady(alice);
    expect(usersOf('stop', idleFor(DAY_MS))).toEqual([alice]);
    job(alice);
    expect(usersOf('start', ended(alice))).toEqual([alice]);
  });

  it('has it started again for an executor from before the broker, whose user has sent no job', () => {
    withPolicy({ rules: [ruled({ maxAgeMs: DAY_MS, keepWarmMs: 2 * DAY_MS })] });
    running.set(alice, 11_000);
    list();
    connected();
    expect(usersOf('stop', idleFor(DAY_MS))).toEqual([alice]);
    expect(usersOf('start', ended(alice))).toEqual([alice]);
  });

  it('starts none again once an operator has ended it, or the user is denied', () => {
    for (const away of [
      { kind: 'stop asked', user: alice, force: false },
      { kind: 'policy', policy: { ...PLAIN_POLICY, deny: new Set(['alice']) } },
    ] as const) {
      withPolicy({ rules: [ruled({ maxAgeMs: DAY_MS, keepWarmMs: 2 * DAY_MS })] });
      makeReady(alice);
      expect(usersOf('stop', idleFor(DAY_MS))).toEqual([alice]);
      step(away);
      expect(usersOf('start', ended(alice))).toEqual([]);
    }
  });

  it('ends no more at once than may start, and none where none would start', () => {
    withPolicy({ maxStarting: 1, rules: [ruled({ maxAgeMs: DAY_MS })] });
    makeReady(alice);
    makeReady(bob);
    expect(usersOf('stop', idleFor(DAY_MS))).toEqual([alice]);
    expect(usersOf('stop', measure())).toEqual([]);
    step({ kind: 'drain', on: true });
    ended(alice);
    expect(usersOf('stop', measure())).toEqual([]);
    step({ kind: 'drain', on: false });
    expect(usersOf('stop', measure())).toEqual([bob]);
  });

  it('makes keep_warm no longer: that is over so long after the last job, however often the executor was replaced', () => {
    withPolicy({
      maxExecutors: 1,
      whenFull: 'evict-idle',
      rules: [ruled({ users: ['alice'], maxAgeMs: 8 * HOUR_MS, keepWarmMs: 12 * HOUR_MS })],
    });
    /** Another process, which begins now. */
    const replaced = () => {
      const executor = { ...info(alice, uidOf(alice), { cpuMs: 100 }), mainPid: 20_000 + now / 1_000, sinceMs: now };
      running.set(alice, executor.mainPid);
      step({ kind: 'started', user: alice, executor });
      connected();
      measure();
    };
    job(alice);
    replaced();
    now += 8 * HOUR_MS;
    expect(usersOf('stop', measure())).toEqual([alice]);
    expect(usersOf('start', ended(alice))).toEqual([alice]);
    replaced();
    now += 3 * HOUR_MS;
    job(carol);
    expect(usersOf('stop', measure())).toEqual([]);
    now += HOUR_MS;
    expect(usersOf('stop', measure())).toEqual([alice]);
    expect(usersOf('start', ended(alice))).toEqual([carol]);
  });

  it('has users with jobs start first', () => {
    withPolicy({
      maxStarting: 1,
      maxExecutors: 2,
      rules: [ruled({ users: ['alice'], maxAgeMs: DAY_MS, keepWarmMs: DAY_MS, priority: 9 })],
    });
    makeReady(alice);
    makeReady(bob);
    now += DAY_MS;
    job(alice);
    idleFor(MINUTE_MS);
    job(carol); // there is no room
    expect(machine.counts).toMatchObject({ waiting: 1 });
    expect(usersOf('start', ended(alice))).toEqual([carol]);
    expect(machine.counts).toMatchObject({ waiting: 0 }); // nobody waits for alice's
    expect(machine.explain(alice, [])).toMatchObject({ state: 'queued', place: 1 });
    now += MINUTE_MS;
    job(alice); // from now on somebody does
    expect(machine.counts).toMatchObject({ waiting: 1, longestWaitMs: 0 });
  });
});

describe('a planned start', () => {
  const LATE_MS = 30 * MINUTE_MS;
  const plan = (user: KnimeUser) => step({ kind: 'start planned', user, groups: [], forMs: LATE_MS, why: 'prestart "07:30" of rule 1' });
  const tick = (ms: number) => {
    now += ms;
    return step({ kind: 'tick' });
  };
  const failed = (user: KnimeUser) => step({ kind: 'not started', user, code: 'LAUNCH_FAILED', detail: 'exit 1' });
  const stateOf = (user: KnimeUser) => machine.explain(user, []).state;

  beforeEach(() => withPolicy({ maxStarting: 1 }));

  it('is made without a job, as many at once as may start, and says so', () => {
    expect(usersOf('start', plan(alice))).toEqual([alice]);
    expect(usersOf('start', plan(bob))).toEqual([]);
    tick(5 * MINUTE_MS); // the place in line of a user with a job would be lost
    expect(usersOf('start', made(alice))).toEqual([bob]);
    expect(machine.explain(alice, [])).toMatchObject({
      decision: 'forward',
      why: 'the executor is ready, started before the job (prestart "07:30" of rule 1)',
      executor: expect.stringMatching(/, ready, started before the job \(prestart "07:30" of rule 1\)$/),
    });
    expect(usersOf('forward', job(alice))).toEqual([alice]);
    expect(usersOf('start', plan(alice))).toEqual([]); // she has one
  });

  it('waits for users with jobs, and is no wait of anybody', () => {
    plan(alice);
    plan(bob);
    job(carol);
    expect(machine.counts).toMatchObject({ waiting: 1 });
    expect(machine.waitsFor()).toMatchObject({ max_starting: { users: 1 }, max_executors: { users: 0 } });
    expect(machine.explain(carol, []).place).toBe(1);
    expect(usersOf('start', made(alice))).toEqual([carol]);
    expect(machine.counts).toMatchObject({ waiting: 0, longestWaitMs: 0 });
    expect(usersOf('start', made(carol))).toEqual([bob]);
  });

  it('is given up when there is no room in time, and ends nobody for room', () => {
    withPolicy({ maxExecutors: 1, whenFull: 'evict-idle' });
    makeReady(alice);
    plan(bob);
    expect(usersOf('stop', idleFor(10 * MINUTE_MS))).toEqual([]);
    tick(LATE_MS - 10 * MINUTE_MS - 1);
    expect(stateOf(bob)).toBe('queued');
    tick(1);
    expect(stateOf(bob)).toBe('idle');
    expect(usersOf('start', ended(alice))).toEqual([]);
  });

  it('is tried again like that of a job, until all attempts are used up', () => {
    plan(alice);
    for (let attempt = 1; attempt < PLAIN_POLICY.startAttempts; attempt++) {
      failed(alice);
      expect(usersOf('start', tick(PLAIN_POLICY.backoffMaxMs))).toEqual([alice]);
    }
    failed(alice);
    expect(stateOf(alice)).toBe('broken');
    expect(usersOf('start', tick(2 * PLAIN_POLICY.backoffMaxMs))).toEqual([]);
    expect(machine.counts.users).toBe(1);
  });

  it('is made once an executor that is ending has ended, and not for a user who is denied', () => {
    makeReady(alice);
    step({ kind: 'stop asked', user: alice, force: false });
    expect(usersOf('start', plan(alice))).toEqual([]);
    expect(usersOf('start', ended(alice))).toEqual([alice]);
    plan(knimeUser('mallory'));
    expect(machine.counts.users).toBe(1);
  });

  it('is for nobody any more whom an operator has stopped', () => {
    plan(alice);
    running.set(alice, 11_000);
    step({ kind: 'started', user: alice, executor: info(alice, uidOf(alice), { cpuMs: 100 }) });
    step({ kind: 'stop asked', user: alice, force: false });
    expect(usersOf('start', ended(alice))).toEqual([]);
    expect(stateOf(alice)).toBe('idle');
  });
});

describe('a start that an operator asks for, where there is no room', () => {
  const ask = (user: KnimeUser) => step({ kind: 'start asked', user, groups: [] });
  const takeBack = (user: KnimeUser) => step({ kind: 'start cancelled', user });
  const plan = (user: KnimeUser) => step({ kind: 'start planned', user, groups: [], forMs: HOUR_MS, why: 'a plan' });
  const tick = (ms: number) => {
    now += ms;
    return step({ kind: 'tick' });
  };

  beforeEach(() => {
    withPolicy({ maxExecutors: 1, whenFull: 'evict-idle' });
    makeReady(alice);
  });

  it('keeps its place in line for a day, and is no wait of anybody', () => {
    expect(usersOf('start', ask(bob))).toEqual([]);
    tick(ASKED_MAX_MS - 1);
    expect(machine.explain(bob, [])).toMatchObject({ state: 'queued', place: 1 });
    expect(machine.counts).toMatchObject({ waiting: 0, longestWaitMs: 0 });
    expect(usersOf('start', ended(alice))).toEqual([bob]);
    made(bob);
    expect(machine.explain(bob, []).why).toBe('the executor is ready, started before the job (an operator asked for it)');
  });

  it('is given up after a day', () => {
    ask(bob);
    expect(tick(ASKED_MAX_MS)).toContainEqual(
      expect.objectContaining({ user: bob, state: 'idle', detail: 'no place was free in time, and no job has come' }),
    );
    expect(usersOf('start', ended(alice))).toEqual([]);
  });

  it('has its turn among users with jobs, keeps it when its own job comes, and starts before those that are planned', () => {
    plan(carol);
    now += MINUTE_MS;
    ask(bob);
    expect(machine.explain(bob, []).place).toBe(1);
    now += MINUTE_MS;
    job(carol);
    expect(machine.explain(carol, []).place).toBe(2);
    now += MINUTE_MS;
    job(bob);
    expect(machine.counts).toMatchObject({ waiting: 2, longestWaitMs: MINUTE_MS });
    expect(machine.explain(bob, []).place).toBe(1);
    expect(usersOf('start', ended(alice))).toEqual([bob]);
  });

  it('stays in line once a job of the user has come and gone, which waits meanwhile and somewhat longer', () => {
    ask(bob);
    now += MINUTE_MS;
    job(bob);
    now += 1_000;
    job(bob); // the one that is held stays, this one goes to a delay queue
    step({ kind: 'cancel asked', user: bob, ticket: tickets - 1 });
    tick(PLACE_MS - 1);
    expect(machine.counts).toMatchObject({ waiting: 1, longestWaitMs: PLACE_MS + 999 });
    expect(machine.waitsFor().max_executors.users).toBe(1);
    tick(1);
    expect(machine.counts).toMatchObject({ waiting: 0, longestWaitMs: 0 });
    tick(ASKED_MAX_MS - MINUTE_MS - 1_000 - PLACE_MS - 1);
    expect(machine.explain(bob, [])).toMatchObject({ state: 'queued', place: 1 });
    tick(1);
    expect(usersOf('start', ended(alice))).toEqual([]);
  });

  it('is made though its user’s job has gone to another host meanwhile', () => {
    ask(bob);
    job(bob);
    for (let half = 0; half < 4; half++) tick(PLACE_MS);
    expect(usersOf('start', ended(alice))).toEqual([bob]);
  });

  it('is made though it was asked for while a job kept the place, and that has gone to another host', () => {
    job(bob);
    tick(30_000); // the job goes round
    ask(bob);
    expect(machine.wantsBeforeJob(bob)).toBe(true);
    tick(PLACE_MS);
    expect(machine.explain(bob, [])).toMatchObject({ state: 'queued', place: 1 });
    ask(bob); // once more changes nothing
    expect(machine.counts).toMatchObject({ waiting: 0 });
    expect(usersOf('start', ended(alice))).toEqual([bob]);
  });

  it('counts a job of its last seconds as one that waits', () => {
    ask(bob);
    tick(ASKED_MAX_MS - 1_000);
    job(bob);
    step({ kind: 'cancel asked', user: bob, ticket: tickets });
    tick(PLACE_MS - 1);
    expect(machine.counts).toMatchObject({ waiting: 1 });
    tick(1);
    expect(machine.explain(bob, [])).not.toMatchObject({ state: 'queued' });
  });

  it('can be taken back while a job waits, which keeps the place for a while', () => {
    ask(bob);
    job(bob);
    takeBack(bob);
    step({ kind: 'cancel asked', user: bob, ticket: tickets });
    tick(PLACE_MS - 1);
    expect(machine.counts).toMatchObject({ waiting: 1 });
    tick(1);
    expect(usersOf('start', ended(alice))).toEqual([]);
  });

  it('ends an idle executor of another user for it, as a job would', () => {
    ask(bob);
    expect(machine.wantsList).toBe(true);
    expect(usersOf('stop', idleFor(PLAIN_POLICY.evictIdleAfterMs))).toEqual([alice]);
    expect(usersOf('start', ended(alice))).toEqual([bob]);
  });

  it('is one that was planned, and does not wait for its time any more', () => {
    plan(bob);
    expect(machine.wantsList).toBe(false);
    ask(bob);
    tick(2 * HOUR_MS);
    expect(machine.explain(bob, []).state).toBe('queued');
    expect(machine.wantsList).toBe(true);
  });

  it('is taken back: nobody is started for it, and a job still is', () => {
    ask(bob);
    expect(machine.wantsBeforeJob(bob)).toBe(true);
    expect(takeBack(bob)).toContainEqual(
      expect.objectContaining({ user: bob, state: 'idle', detail: 'an operator has taken the start back' }),
    );
    expect(machine.wantsBeforeJob(bob)).toBe(false);
    expect(machine.counts.users).toBe(1);
    ask(carol);
    job(carol);
    takeBack(carol);
    expect(usersOf('start', ended(alice))).toEqual([carol]);
    takeBack(bob); // of whom nothing is known
  });

  it('is not tried again once it is taken back, and is until then', () => {
    ended(alice);
    const fails = () => step({ kind: 'not started', user: bob, code: 'LAUNCH_FAILED', detail: 'exit 1' });
    expect(usersOf('start', ask(bob))).toEqual([bob]);
    fails();
    expect(usersOf('start', tick(PLAIN_POLICY.backoffMaxMs))).toEqual([bob]);
    fails();
    takeBack(bob);
    expect(usersOf('start', tick(PLAIN_POLICY.backoffMaxMs))).toEqual([]);
  });

  it('is made once an executor that is ending has ended', () => {
    step({ kind: 'stop asked', user: alice, force: false });
    expect(usersOf('start', ask(alice))).toEqual([]);
    expect(usersOf('start', ended(alice))).toEqual([alice]);
  });
});

describe('executors that an operator wants ended once they are idle', () => {
  const stop = (...only: KnimeUser[]) => step({ kind: 'stop when idle asked', pids: new Set(only.map((user) => running.get(user) ?? 0)) });
  const IDLE_MS = PLAIN_POLICY.evictIdleAfterMs;

  beforeEach(() => {
    withPolicy({ rules: [ruled({ keepWarmMs: HOUR_MS })] });
    makeReady(alice);
    makeReady(bob);
  });

  it('end then, kept warm or not; further jobs of their users start others, which stay', () => {
    expect(usersOf('stop', stop(alice, bob))).toEqual([]);
    expect(machine.explain(alice, []).executor).toMatch(/, ready, ended once it is idle$/);
    expect(usersOf('forward', job(bob))).toEqual([bob]);
    expect(usersOf('stop', idleFor(IDLE_MS - 1))).toEqual([]);
    now += 1;
    expect(usersOf('stop', measure(bob))).toEqual([alice]);
    expect(usersOf('start', ended(alice))).toEqual([]);
    expect(usersOf('start', job(alice))).toEqual([alice]);
    made(alice);
    expect(usersOf('stop', idleFor(IDLE_MS))).toEqual([bob]);
  });

  it('are those of one user where one is named, and are looked at in time', () => {
    expect(machine.idleGrainMs).toBeUndefined();
    stop(alice);
    expect(machine.idleGrainMs).toBe(IDLE_MS / 2);
    expect(usersOf('stop', idleFor(IDLE_MS))).toEqual([alice]);
    expect(machine.idleGrainMs).toBeUndefined();
  });
});

it('is looked at as often as max_age takes', () => {
  withPolicy({ rules: [ruled({ maxAgeMs: 24 * HOUR_MS })] });
  expect(machine.idleGrainMs).toBe(PLAIN_POLICY.evictIdleAfterMs / 2);
});
