import { type ExecutorInfo, ExecutorState, type KnimeUser, osUserSchema, profileNameSchema } from '@kpx/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { alice, bob, carol, dave, erin, info, kinds, knimeUser } from '../../test-fixtures/executors.js';
import { PLAIN_POLICY, rule } from '../../test-fixtures/policy.js';
import { NO_ROOM_DELAY_MS, type Policy } from '../policy/policy.js';
import { ENDING_MAX_MS } from './ending.js';
import type { Event } from './events.js';
import { STABLE_MS } from './executor-link.js';
import { REFUSAL_MS } from './failing.js';
import { HELD_IN_LINE_MAX_MS, PLACE_MS } from './line.js';
import { HOLD_MAX_MS, Machine } from './machine.js';
import { REPLAY_HONOURED_EVERY_MS } from './user.js';

const EVICT_IDLE_MIN_MS = PLAIN_POLICY.evictIdleAfterMs;

let machine: Machine;
let now: number;
let tickets: number;
/** Accounts with a connection to RabbitMQ. */
let links: Set<number>;

beforeEach(() => {
  links = new Set();
  machine = new Machine(PLAIN_POLICY);
  now = 1_000;
  tickets = 0;
});

const step = (event: Event) => machine.step(event, now, 0.5);
const NO_GROUPS: readonly string[] = [];
const job = (user = alice, hops = 0, ageMs = 0, groups = NO_GROUPS) =>
  step({ kind: 'job', ticket: ++tickets, user, hops, waited: false, groups, ageMs });
/** By the queue of its account, which is full. */
const refused = (inHandMs = 0) => {
  const again = { inHandMs, refusal: { offer: 0, full: true } };
  return step({ kind: 'job', ticket: ++tickets, user: alice, hops: 2, waited: false, groups: NO_GROUPS, ageMs: 0, ...again });
};
const started = (user = alice, executor = info(user, 1_001)) => step({ kind: 'started', user, executor });
const failed = (user = alice) => step({ kind: 'not started', user, code: 'LAUNCH_FAILED', detail: 'exit 1' });
const connected = (uid = 1_001) => step({ kind: 'connections', uids: links.add(uid) });
const listed = (...executors: ExecutorInfo[]) => step({ kind: 'listed', executors, askedAt: now });
const tick = (afterMs: number) => {
  now += afterMs;
  return step({ kind: 'tick' });
};
const makeReady = (user = alice, uid = 1_001) => {
  job(user);
  started(user, info(user, uid));
  return connected(uid);
};

describe('an operator', () => {
  const failUntilBroken = () => {
    let effects = failed();
    while (machine.explain(alice, NO_GROUPS).state !== 'broken') {
      effects = tick(PLAIN_POLICY.backoffMaxMs);
      if (kinds(effects).includes('start')) effects = failed();
    }
    return effects;
  };

  const ask = (user = alice) => step({ kind: 'start asked', user, groups: NO_GROUPS });
  const stop = (force: boolean) => step({ kind: 'stop asked', user: alice, force });

  it('has an executor started without a job, once, and never for a user who is denied', () => {
    expect(kinds(ask())).toEqual(['start']);
    expect(kinds(ask())).toEqual([]);
    started();
    connected();
    expect(kinds(job())).toEqual(['forward']);
    expect(kinds(ask(knimeUser('mallory')))).toEqual([]);
    expect(machine.counts.users).toBe(1);
  });

  it.each(['HOME_UNUSABLE', 'LAUNCH_FAILED'] as const)(
    'who replays a job has its user tried at once, once a minute at most: %s',
    (code) => {
      const replayed = () =>
        step({ kind: 'job', ticket: ++tickets, user: alice, hops: 0, waited: false, replayed: true, groups: NO_GROUPS, ageMs: 0 });
      const fails = () => step({ kind: 'not started', user: alice, code, detail: 'as before' });
      job();
      const park = code === 'HOME_UNUSABLE' ? fails() : failUntilBroken();
      expect(kinds(park)).toContain('park');
      expect(kinds(job())).toEqual(['park']);
      expect(kinds(replayed())).toEqual(['start']);
      fails();
      // Anybody who may publish may say so of every job.
      for (let count = 0; count < 20; count++) expect(kinds(replayed())).not.toContain('start');
      if (code === 'LAUNCH_FAILED') expect(machine.explain(alice, NO_GROUPS)).toMatchObject({ decision: 'hold' }); // all attempts anew
      now += REPLAY_HONOURED_EVERY_MS;
      expect(kinds(replayed())).toContain('start');
    },
  );

  it('has a user tried at once whose starts have failed, with all attempts anew', () => {
    job();
    for (let attempt = 1; attempt < PLAIN_POLICY.startAttempts; attempt++) {
      expect(kinds(failed())).toEqual([]);
      expect(kinds(ask())).toEqual(['start']);
    }
    expect(kinds(failed())).toEqual([]); // tried again, not parked
    expect(kinds(tick(2_000))).toEqual(['start']);
  });

  it('has an executor started after the one that an order ends while it boots', () => {
    ask();
    started();
    expect(kinds(stop(false))).toEqual(['stop']);
    expect(kinds(ask())).toEqual([]);
    expect(machine.wantsBeforeJob(alice)).toBe(true);
    now += 1_000;
    expect(kinds(listed())).toEqual(['start']);
  });

  it('gets no place before others, nor room where there is none', () => {
    for (const [user, uid] of [
      [alice, 1_001],
      [bob, 1_002],
      [carol, 1_003],
    ] as const)
      makeReady(user, uid);
    expect(ask(dave)).toEqual([
      { kind: 'state', user: dave, state: 'queued', detail: 'an operator asked for it; 3 of 3 executors run (max_executors)' },
    ]);
  });

  it.each([
    [false, ['stop']],
    [true, ['stop', 'kill']],
  ])('ends an executor (by force: %s); its jobs wait for the next one', (force, effects) => {
    makeReady();
    expect(kinds(stop(force))).toEqual(effects);
    expect(kinds(job())).toEqual([]);
    expect(kinds(stop(false))).toEqual([]); // it is ending
    expect(kinds(stop(true))).toEqual(['kill']);
    now += 1;
    expect(kinds(listed())).toEqual(['start']);
  });

  it('ends nothing where there is no executor', () => {
    expect(stop(true)).toEqual([]);
  });
});

describe('the first job of a user', () => {
  it('starts the executor once, however many jobs come', () => {
    expect(kinds(job())).toEqual(['start']);
    expect(kinds(job())).toEqual([]);
    expect(machine.counts.held).toBe(2);
  });

  it('is forwarded in order with the others when the executor has connected', () => {
    job();
    job();
    expect(kinds(started())).toEqual([]);
    expect(connected().filter(({ kind }) => kind === 'forward')).toEqual([
      { kind: 'forward', ticket: 1, user: alice },
      { kind: 'forward', ticket: 2, user: alice },
    ]);
    expect(machine.counts.held).toBe(0);
  });

  it('is forwarded after a fixed wait when readiness cannot be seen', () => {
    machine = new Machine({ ...PLAIN_POLICY, readyDelayMs: 15_000, lostAfterMs: undefined });
    job();
    started();
    expect(kinds(tick(14_999))).toEqual([]);
    expect(kinds(tick(1))).toEqual(['forward']);
  });

  it('is forwarded at once when the executor has run all along', () => {
    listed(info('alice', 1_001));
    connected();
    expect(kinds(job())).toEqual(['forward']);
  });

  it('waits for an executor that runs and is not connected yet, without starting another', () => {
    listed(info('alice', 1_001));
    expect(kinds(job())).toEqual([]);
    expect(kinds(connected())).toEqual(['forward']);
  });
});

describe('the count of executors', () => {
  it('has those that are being started, before and after the helper has answered', () => {
    job();
    expect(machine.counts).toMatchObject({ executors: 1, starting: 1 });
    listed(info('alice', 1_001)); // the helper lists it before it has answered
    expect(machine.counts).toMatchObject({ executors: 1, starting: 1 });
    started();
    expect(machine.counts).toMatchObject({ executors: 1, starting: 1 });
    connected();
    expect(machine.counts).toMatchObject({ executors: 1, starting: 0 });
  });
});

describe('users do not stand in each other’s way', () => {
  it('forwards for a ready user while another one boots', () => {
    job(bob);
    started(bob, info('bob', 1_002));
    makeReady();
    expect(kinds(job())).toEqual(['forward']);
  });

  it('starts at most maxStarting executors at once and the next when one is ready', () => {
    expect(kinds([...job(alice), ...job(bob), ...job(carol)])).toEqual(['start', 'start']);
    started(alice);
    expect(connected()).toContainEqual(expect.objectContaining({ kind: 'start', user: carol }));
  });

  it('sends the jobs of one user beyond heldPerUser to the delay queue', () => {
    for (let count = 0; count < 4; count++) job();
    expect(kinds(job())).toEqual(['defer']);
    expect(kinds(job(bob))).toEqual(['start']);
  });

  it('holds no more than heldInAll', () => {
    for (const user of [alice, bob, carol]) for (let count = 0; count < 4; count++) job(user);
    expect(machine.counts.held).toBe(8);
  });

  it('holds no job that comes when those in hand take half of the memory for them', () => {
    const later = () =>
      step({ kind: 'job', ticket: ++tickets, user: alice, hops: 0, waited: false, groups: NO_GROUPS, ageMs: 0, crowded: true });
    expect(kinds(later())).toEqual(['defer', 'start']);
    expect(machine.counts).toMatchObject({ held: 0, starting: 1 });
    expect(later()).toMatchObject([{ kind: 'defer', delayMs: NO_ROOM_DELAY_MS }]); // large ones that go round soon would keep RabbitMQ busy
    expect(kinds(job())).toEqual([]);
  });

  it('keeps further users in line, at the price of one held job each, and starts the first of them when another has ended', () => {
    makeReady(alice, 1_001);
    makeReady(bob, 1_002);
    makeReady(carol, 1_003);
    expect(kinds(job(dave))).toEqual([]);
    expect(job(dave)).toContainEqual(expect.objectContaining({ kind: 'defer', why: '3 of 3 executors run (max_executors)' }));
    expect(kinds(job(erin))).toEqual([]);
    now += STABLE_MS;
    expect(listed(info('alice', 1_001), info('bob', 1_002))).toContainEqual(expect.objectContaining({ kind: 'start', user: dave }));
    expect(machine.counts).toMatchObject({ held: 2, waiting: 1 });
  });

  it('forgets the place in line of a user whose jobs do not come back', () => {
    for (const [user, uid] of [
      [alice, 1_001],
      [bob, 1_002],
      [carol, 1_003],
    ] as const)
      makeReady(user, uid);
    job(dave);
    expect(kinds(tick(HELD_IN_LINE_MAX_MS))).toEqual(['defer']);
    expect(machine.counts).toMatchObject({ held: 0, waiting: 1 });
    tick(PLACE_MS);
    expect(machine.counts).toMatchObject({ waiting: 0, users: 3 });
  });
});

describe('two KNIME users of one account', () => {
  const both = { knimeUsers: [alice, bob] };

  it('share the executor: the second starts nothing', () => {
    job(alice);
    started(alice, info('alice', 1_001, both));
    connected();
    expect(kinds(job(bob))).toEqual(['forward']);
  });

  it('both get their held jobs when it is ready', () => {
    job(alice);
    job(bob);
    started(alice, info('alice', 1_001, both));
    started(bob, info('alice', 1_001, both));
    expect(kinds(connected())).toEqual(['forward', 'forward']);
  });

  it('are both served by an executor that comes while the second still waits for its turn to start', () => {
    machine = new Machine({ ...PLAIN_POLICY, maxStarting: 1 });
    job(alice);
    job(bob);
    started(alice, info('alice', 1_001, both));
    expect(kinds(connected())).toEqual(['forward', 'forward']);
  });

  it('are served although there is no room for another executor', () => {
    machine = new Machine({ ...PLAIN_POLICY, maxExecutors: 1 });
    job(alice);
    started(alice, info('alice', 1_001, both));
    connected();
    expect(kinds(job(bob))).toEqual(['forward']);
  });
});

describe('a job that comes back although its executor is ready', () => {
  /** A busy executor and an offer: every job comes back. */
  const offers = (rounds: number) => {
    const times: number[] = [];
    let hops = 2;
    for (let round = 0; round < rounds; round++) {
      const forwarded = kinds(tick(100)).filter((kind) => kind === 'forward').length;
      if (forwarded > 0) times.push(now);
      hops += 1;
      for (let count = 0; count < forwarded; count++) job(alice, hops);
    }
    return times;
  };

  it('is sent again at once twice, then held', () => {
    makeReady();
    expect([0, 1, 2, 3].map((hops) => kinds(job(alice, hops)))).toEqual([['forward'], ['forward'], [], []]);
  });

  it('is offered less and less often, a few for all of them', () => {
    makeReady();
    for (let count = 0; count < 4; count++) job(alice, 2);
    const times = offers(200);
    const waits = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    expect(waits).toEqual([...waits].sort((a, b) => a - b));
    expect(waits.at(-1)).toBe(1_500); // of 2 s, as the dice of these tests fall
    expect(machine.counts.held).toBe(4);
  });

  it('goes out faster and faster as soon as the executor takes them', () => {
    machine = new Machine({ ...PLAIN_POLICY, heldPerUser: 200, heldInAll: 200 });
    makeReady();
    for (let count = 0; count < 130; count++) job(alice, 2);
    offers(100);
    let rounds = 0;
    while (machine.counts.held > 0 && rounds < 100) {
      tick(100);
      rounds += 1;
    }
    // At most two waits of 2 s: for the next offer, and to see that it was taken. Then 2, 4, 8, … at a time.
    expect(rounds).toBeLessThan(40 + 8);
  });

  it('keeps its place: a new job of the user waits behind it', () => {
    makeReady();
    job(alice, 2);
    expect(kinds(job(alice, 0))).toEqual([]);
    expect(tick(100).filter(({ kind }) => kind === 'forward')).toMatchObject([{ ticket: 2 }, { ticket: 3 }]);
  });

  it('waits in a delay queue when there are more than may be held: for a moment while the executor takes jobs, longer when it does not', () => {
    makeReady();
    for (let count = 0; count < 4; count++) job(alice, 2);
    expect(job(alice, 2)).toMatchObject([{ kind: 'defer', delayMs: 200 }]);
    offers(30);
    expect(job(alice, 2)).toMatchObject([{ kind: 'defer', delayMs: 2_000 }]);
  });

  it('is followed by more at once where the queue of its account is known to have it, whatever becomes of those of no offer', () => {
    machine = new Machine({ ...PLAIN_POLICY, heldPerUser: 20, heldInAll: 20 });
    makeReady();
    const offered = () => tick(0).flatMap((effect) => (effect.kind === 'forward' ? [effect.offer ?? 0] : []));
    for (let count = 0; count < 14; count++) refused();
    const sizes = [1, 2, 4].map((size) => {
      const numbers = offered();
      expect(numbers).toHaveLength(size);
      refused();
      expect(offered()).toEqual([]); // not until it is told of all of them
      for (const offer of numbers) step({ kind: 'taken', user: alice, offer });
      return numbers[0];
    });
    expect(new Set(sizes).size).toBe(3);
  });

  it('is held no longer than RabbitMQ lets one be, though it is given to its account again and again', () => {
    makeReady();
    expect(kinds(refused(HOLD_MAX_MS - 1))).toEqual([]);
    expect(refused(HOLD_MAX_MS)).toMatchObject([{ kind: 'defer', delayMs: 10_000, why: `held for ${HOLD_MAX_MS} ms` }]);
  });

  it('is taken for refused only if it comes back from an offer, not from a delay queue', () => {
    const rounds = (waited: boolean) => {
      machine = new Machine(PLAIN_POLICY);
      makeReady();
      for (let count = 0; count < 4; count++) job(alice, 2);
      for (let round = 0; round < 20; round++) {
        for (const kind of kinds(tick(100))) {
          if (kind === 'forward') step({ kind: 'job', ticket: ++tickets, user: alice, hops: 9, waited, groups: NO_GROUPS, ageMs: 0 });
        }
      }
      return kinds(tick(100)).filter((kind) => kind === 'forward').length;
    };
    expect(rounds(true)).toBe(4); // all that are held, every time
    expect(rounds(false)).toBeLessThanOrEqual(2);
  });

  it('is said to be waiting, with how long the executor has taken none', () => {
    machine = new Machine({ ...PLAIN_POLICY, heldPerUser: 20, heldInAll: 20 });
    makeReady();
    now += 60_000;
    for (let count = 0; count < 20; count++) job(alice, 2);
    offers(200);
    expect(machine.explain(alice, [])).toMatchObject({
      decision: 'hold',
      why: 'the executor is busy: it has taken none of the 20 job(s) that wait for it, for 20s',
    });
    for (let taken = 0; taken < 3; ) taken += kinds(tick(100)).filter((kind) => kind === 'forward').length; // and none comes back
    expect(machine.explain(alice, []).why).toMatch(/of the 1\d job\(s\) that wait for it, for 0s$/);
  });

  it('is the reason for a new executor when the busy one has ended', () => {
    makeReady();
    job(alice, 2);
    now += STABLE_MS;
    expect(kinds(listed())).toEqual(['start']);
    started(alice, info('alice', 1_001, { mainPid: 78 }));
    expect(kinds(connected())).toEqual(['forward']);
  });

  it('keeps its job and gets into line when the busy one has ended and others have taken its place', () => {
    machine = new Machine({ ...PLAIN_POLICY, maxExecutors: 1 });
    makeReady();
    job(alice, 2);
    now += STABLE_MS;
    const effects = listed(info('bob', 1_002));
    expect(kinds(effects)).toEqual([]);
    expect(machine.counts).toMatchObject({ held: 1, waiting: 1 });
  });
});

describe('a start that fails', () => {
  it('is tried again after a growing wait, jobs being held', () => {
    job();
    expect(kinds(failed())).toEqual([]);
    expect(kinds(tick(1_499))).toEqual([]);
    expect(kinds(tick(1))).toEqual(['start']);
    failed();
    expect(kinds(tick(2_999))).toEqual([]);
    expect(kinds(tick(1))).toEqual(['start']);
    expect(machine.counts.held).toBe(1);
  });

  const breakIt = () => {
    job();
    failed();
    tick(60_000);
    failed();
    tick(60_000);
    return failed();
  };

  it('is given up after startAttempts: held and later jobs are parked with the reason', () => {
    const [effect] = breakIt().filter(({ kind }) => kind === 'park');
    expect(effect).toMatchObject({
      reason: 'START_FAILED',
      detail: expect.stringContaining('3 starts failed, the last one: LAUNCH_FAILED: exit 1'),
    });
    expect(job()[0]).toMatchObject({ kind: 'park', reason: 'START_FAILED' });
  });

  it('gets one trial later; one more failure parks again at once', () => {
    breakIt();
    tick(60_000);
    expect(kinds(job())).toEqual(['start']);
    expect(kinds(failed())).toEqual(['park']);
  });

  it('is forgotten after a success that lasted', () => {
    breakIt();
    tick(60_000);
    makeReady();
    tick(STABLE_MS);
    listed();
    job();
    expect(kinds(failed())).toEqual([]);
  });

  it('counts an executor that ends before it is ready', () => {
    job();
    started();
    now += 10;
    const effects = listed(info('alice', 1_001, { state: ExecutorState.exited, mainPid: 0, lastExit: 'exit 3' }));
    expect(effects).toContainEqual(expect.objectContaining({ kind: 'state', state: 'backoff', detail: expect.stringContaining('exit 3') }));
    expect(kinds(tick(1_500))).toEqual(['start']);
  });

  it('counts an executor that crashes as soon as it is ready, so that a crash loop slows down', () => {
    makeReady();
    now += STABLE_MS - 1;
    listed(info('alice', 1_001, { state: ExecutorState.exited, mainPid: 0, lastExit: 'exit 1' }));
    expect(kinds(job())).toEqual([]);
    expect(kinds(tick(1_500))).toEqual(['start']);
  });

  it('is ended when it is not ready in time', () => {
    step({ kind: 'channel opened' });
    job();
    started();
    expect(kinds(tick(120_000))).toEqual(['kill']);
  });

  it('tries a hanging executor again with a new time limit when it could not be ended', () => {
    step({ kind: 'channel opened' });
    job();
    started();
    tick(120_000);
    tick(2_000);
    expect(kinds(tick(120_000))).toContain('kill');
  });
});

describe('what the helper answers', () => {
  it('parks with its typed error when it refuses, and believes it for a while', () => {
    job();
    const refusal = step({ kind: 'not started', user: alice, code: 'ACCOUNT_DENIED', detail: 'uid of root' });
    expect(refusal).toContainEqual({ kind: 'park', ticket: 1, user: alice, reason: 'ACCOUNT_DENIED', detail: 'uid of root' });
    expect(kinds(job())).toEqual(['park']);
    tick(REFUSAL_MS);
    expect(kinds(job())).toEqual(['start']);
  });

  it('defers when the helper has reached its own limit', () => {
    job();
    expect(kinds(step({ kind: 'not started', user: alice, code: 'LIMIT_REACHED', detail: '200' }))).toEqual(['defer']);
    expect(kinds(job())).toEqual(['start']);
  });

  it('tries the start that an operator has asked for again, where it has', () => {
    expect(kinds(step({ kind: 'start asked', user: alice, groups: NO_GROUPS }))).toEqual(['start']);
    for (let count = 0; count < 3; count++) {
      step({ kind: 'not started', user: alice, code: 'LIMIT_REACHED', detail: '200' });
      expect(machine.explain(alice, NO_GROUPS)).toMatchObject({
        cause: 'LIMIT_REACHED',
        why: expect.stringContaining('the helper has no room: 200'),
      });
      expect(kinds(tick(NO_ROOM_DELAY_MS - 1))).toEqual([]);
      expect(kinds(tick(1))).toEqual(['start']);
    }
  });
});

describe('an executor that is a new process under the same account', () => {
  it('has to become ready anew, also when it is another user’s start that tells', () => {
    const both = { knimeUsers: [alice, bob] };
    job(alice);
    job(bob);
    started(alice, info('alice', 1_001, both));
    connected();
    started(bob, info('alice', 1_001, { ...both, mainPid: 77 }));
    expect(kinds(job(alice))).toEqual([]);
    expect(kinds(connected())).toEqual(['forward', 'forward']);
  });

  it('has to become ready anew before jobs are forwarded', () => {
    makeReady();
    now += STABLE_MS;
    listed(info('alice', 1_001, { mainPid: 77 }));
    expect(kinds(job())).toEqual([]);
    expect(kinds(connected())).toEqual(['forward']);
  });
});

describe('the end of an executor', () => {
  it('makes the next job start a new one', () => {
    makeReady();
    now += STABLE_MS;
    listed();
    expect(kinds(job())).toEqual(['start']);
  });

  it('is not concluded from a list that was asked for before it started', () => {
    const askedAt = now;
    now += 5;
    makeReady();
    step({ kind: 'listed', executors: [], askedAt });
    expect(kinds(job())).toEqual(['forward']);
  });

  it('is no failure when it ended by itself with exit 0', () => {
    makeReady();
    now += 1;
    listed(info('alice', 1_001, { state: ExecutorState.exited, mainPid: 0, lastExit: 'exit 0' }));
    expect(kinds(job())).toEqual(['start']);
  });
});

describe('the rest', () => {
  it('parks the jobs of a user whom the policy denies, in any case', () => {
    expect(job(knimeUser('Mallory'))[0]).toMatchObject({ kind: 'park', reason: 'USER_DENIED' });
  });

  it('forgets held jobs with the channel they came from, and starts anyway', () => {
    job();
    step({ kind: 'channel lost' });
    expect(machine.counts.held).toBe(0);
    started();
    expect(kinds(connected())).toEqual([]);
  });

  it('holds no job for longer than RabbitMQ would bear', () => {
    machine = new Machine({ ...PLAIN_POLICY, startTimeoutMs: HOLD_MAX_MS * 2 });
    job();
    started();
    expect(kinds(tick(HOLD_MAX_MS))).toEqual(['defer']);
  });

  it('keeps no entry for users of whom nothing is left', () => {
    makeReady();
    now += STABLE_MS;
    listed();
    tick(1);
    expect(machine.counts).toEqual({ held: 0, executors: 0, starting: 0, users: 0, waiting: 0, longestWaitMs: 0 });
  });
});

const withPolicy = (given: Partial<Policy>) => {
  machine = new Machine({ ...PLAIN_POLICY, ...given });
};
/** Executors that have used so much of a processor since they were started. */
const sample = (cpuMs: number, ...names: [string, number][]) => listed(...names.map(([name, uid]) => info(name, uid, { cpuMs })));
const ALICE: [string, number] = ['alice', 1_001];
const BOB: [string, number] = ['bob', 1_002];

describe('rules', () => {
  it('deny by group, and say which rule it was', () => {
    withPolicy({ rules: [rule({ groups: ['guests'], action: 'deny' })] });
    expect(job(alice, 0, 0, ['guests'])).toEqual([
      { kind: 'park', ticket: 1, user: alice, reason: 'USER_DENIED', detail: 'rule 1 denies "alice"' },
    ]);
    expect(kinds(job(bob, 0, 0, ['staff']))).toEqual(['start']);
    expect(machine.counts.users).toBe(1);
  });

  it('choose the profile', () => {
    withPolicy({ rules: [rule({ users: ['al*'], profile: profileNameSchema.parse('big') })] });
    expect(job()).toContainEqual(
      expect.objectContaining({ kind: 'start', user: alice, profile: 'big', why: expect.stringContaining('rule 1') }),
    );
  });

  it('limit their own users, and nobody else', () => {
    withPolicy({ rules: [rule({ groups: ['analysts'], maxExecutors: 1 })] });
    expect(kinds(job(alice, 0, 0, ['analysts']))).toEqual(['start']);
    expect(kinds(job(bob, 0, 0, ['analysts']))).toEqual([]);
    expect(kinds(job(carol))).toEqual(['start']);
    expect(machine.explain(bob, ['analysts'])).toMatchObject({ decision: 'wait', why: '1 of 1 executors of rule 1 run' });
  });

  it('count the executor of a user whose KNIME name is in capitals', () => {
    withPolicy({ rules: [rule({ groups: ['analysts'], maxExecutors: 1 })] });
    const capital = knimeUser('ALICE');
    job(capital, 0, 0, ['analysts']);
    started(capital, info('alice', 1_001));
    expect(machine.explain(bob, ['analysts'])).toMatchObject({ decision: 'wait', why: '1 of 1 executors of rule 1 run' });
  });

  it('count the executor of a user who is mapped to an account by the user’s rule', () => {
    const mapped = knimeUser('alice.smith');
    const account = info('alice', 1_001, { knimeUsers: [alice, mapped] });
    withPolicy({ rules: [rule({ users: ['*.smith'], maxExecutors: 1 })] });
    job(mapped);
    started(mapped, account);
    listed(account);
    expect(machine.explain(knimeUser('bob.smith'), [])).toMatchObject({ decision: 'wait' });
    expect(machine.explain(bob, [])).toMatchObject({ decision: 'start' });
  });

  it('count executors that ran before the broker did, as soon as their users’ groups are known', () => {
    withPolicy({ rules: [rule({ groups: ['analysts'], maxExecutors: 1 })] });
    listed(info('alice', 1_001));
    expect(machine.ungrouped()).toEqual(new Set([alice]));
    expect(machine.explain(bob, ['analysts'])).toMatchObject({ decision: 'start' });
    step({ kind: 'groups', user: alice, groups: ['analysts'] });
    expect(machine.explain(bob, ['analysts'])).toMatchObject({ decision: 'wait', why: '1 of 1 executors of rule 1 run' });
    expect(machine.ungrouped()).toEqual(new Set());
  });

  it('let some start before others', () => {
    withPolicy({ maxStarting: 1, rules: [rule({ users: ['carol'], priority: 10 })] });
    job(alice);
    job(bob);
    job(carol);
    started(alice);
    expect(connected()).toContainEqual(expect.objectContaining({ kind: 'start', user: carol }));
  });
});

describe('an executor without work', () => {
  beforeEach(() => withPolicy({ idleStopMs: 120_000 }));

  it('is asked to end after idle_stop, and the next job starts another', () => {
    makeReady();
    sample(100, ALICE);
    now += 60_000;
    expect(kinds(sample(100, ALICE))).toEqual([]);
    now += 60_000;
    expect(sample(101, ALICE)).toContainEqual({
      kind: 'stop',
      user: alice,
      why: 'idle for 2m00s (idle_stop is 2m00s)',
      cause: 'idle',
    });
    expect(kinds(job())).toEqual([]);
    expect(kinds(listed())).toEqual(['start']);
    expect(machine.counts.held).toBe(1);
  });

  it('is not ended where no KNIME name leads to its account any more: the helper would end another one', () => {
    const look = (...knimeUsers: KnimeUser[]) => listed(info('alice', 1_001, { cpuMs: 100, knimeUsers }));
    const gone = () => {
      links.clear();
      return step({ kind: 'connections', uids: links });
    };
    look();
    connected();
    look();
    now += 3_600_000;
    expect(kinds(look())).toEqual([]);
    expect(kinds([...gone(), ...tick(3_600_000)])).toEqual([]);
    connected();
    look(alice);
    now += 3_600_000;
    expect(kinds(look(alice))).toEqual(['stop']);
  });

  it('is asked for by a name that leads to its account now, when the map has become another', () => {
    makeReady();
    const look = () => listed(info('alice', 1_001, { cpuMs: 100, knimeUsers: [carol] }));
    look();
    now += 120_000;
    expect(look()).toContainEqual(expect.objectContaining({ kind: 'stop', user: carol }));
  });

  it('is not ended while it works on something that did not come by way of kpx, for however long', () => {
    makeReady();
    for (let minute = 1; minute <= 60; minute++) {
      expect(kinds(sample(minute * 30_000, ALICE))).toEqual([]);
      now += 60_000;
    }
  });

  it('is not ended when its processor time is not known', () => {
    makeReady();
    for (let minute = 1; minute <= 60; minute++) {
      expect(kinds(sample(0, ALICE))).toEqual([]);
      now += 60_000;
    }
  });

  it('is not ended when it has had a job meanwhile', () => {
    makeReady();
    sample(100, ALICE);
    now += 119_000;
    job();
    now += 1_000;
    expect(kinds(sample(100, ALICE))).toEqual([]);
  });

  it('is ended by force when it does not end', () => {
    makeReady();
    sample(100, ALICE);
    now += 120_000;
    sample(100, ALICE);
    expect(kinds(tick(ENDING_MAX_MS - 1))).toEqual([]);
    expect(kinds(tick(1))).toEqual(['kill']);
    expect(kinds(tick(1))).toEqual([]);
  });

  it('has a time of its own by its rule', () => {
    withPolicy({ idleStopMs: 120_000, rules: [rule({ users: ['alice'], idleStopMs: 600_000 })] });
    makeReady(alice, 1_001);
    makeReady(bob, 1_002);
    sample(100, ALICE, BOB);
    now += 120_000;
    expect(sample(100, ALICE, BOB).filter(({ kind }) => kind === 'stop')).toEqual([expect.objectContaining({ user: bob })]);
  });
});

it('has the share of a processor that an executor took between two lists, as far as that is known', () => {
  const share = () => [...machine.running()].map(({ cpuShare }) => cpuShare);
  makeReady();
  sample(1_000, ALICE);
  expect(share()).toEqual([undefined]); // since when it has taken that is not known
  now += 2_000;
  sample(2_000, ALICE);
  expect(share()).toEqual([0.5]);
  sample(2_000, ALICE); // at the same moment
  expect(share()).toEqual([0.5]);
  now += 2_000;
  sample(2_000, ALICE);
  expect(share()).toEqual([0]);
  now += 2_000;
  sample(0, ALICE); // nobody counts it any more
  expect(share()).toEqual([undefined]);
});

describe('processor time that the kernel tells', () => {
  const measure = (pid: number, cpuMs: number) =>
    step({ kind: 'usage', usage: new Map([[pid, { cpuMs, memoryBytes: undefined }]]), wallMs: now });
  const pidOf = () => machine.executorOf(alice)?.pid ?? 0;

  beforeEach(() => {
    withPolicy({ idleStopMs: 120_000 });
    makeReady();
  });

  it('ends who is idle, by itself, and counts from its own beginning: a list may have begun at another', () => {
    sample(5_000, ALICE);
    now += 60_000;
    measure(pidOf(), 100);
    expect(machine.executorOf(alice)?.cpuShare).toBeUndefined();
    now += 119_999;
    sample(90_000, ALICE); // which says nothing any more
    expect(kinds(measure(pidOf(), 101))).toEqual([]);
    now += 1;
    expect(measure(pidOf(), 101)).toContainEqual(expect.objectContaining({ kind: 'stop', why: 'idle for 2m00s (idle_stop is 2m00s)' }));
  });

  it('keeps who computes, and takes nobody for idle of whom it tells no more', () => {
    measure(pidOf(), 100);
    for (let minute = 1; minute <= 3; minute++) {
      now += 60_000;
      expect(kinds(measure(pidOf(), 100 + minute * 30_000))).toEqual([]);
    }
    expect(machine.executorOf(alice)?.cpuShare).toBe(0.5);
    now += 120_000;
    expect(kinds(step({ kind: 'usage', usage: new Map(), wallMs: now }))).toEqual([]);
    expect(kinds(sample(200_000, ALICE))).toEqual([]); // lists count again, from here on
    now += 120_000;
    expect(kinds(sample(200_000, ALICE))).toEqual(['stop']);
  });
});

it('is looked at twice within the shortest idle_stop there is', () => {
  expect(machine.idleGrainMs).toBeUndefined();
  withPolicy({ idleStopMs: 120_000, rules: [rule({ users: ['alice'], idleStopMs: 10_000 })] });
  expect(machine.idleGrainMs).toBe(5_000);
});

describe('when it is full, with evict-idle', () => {
  beforeEach(() => {
    withPolicy({ maxExecutors: 2, whenFull: 'evict-idle' });
    makeReady(alice, 1_001);
    makeReady(bob, 1_002);
    sample(100, ALICE, BOB);
  });

  it('ends the executor that has been idle for longest, once, and starts the one that waits when it is gone', () => {
    now += 10_000;
    job(bob);
    now += EVICT_IDLE_MIN_MS;
    expect(kinds(job(carol))).toEqual([]);
    expect(machine.wantsList).toBe(true);
    expect(sample(100, ALICE, BOB)).toContainEqual({
      kind: 'stop',
      user: alice,
      why: 'idle for 1m10s, and "carol" waits: 2 of 2 executors run (max_executors)',
      cause: 'evicted',
    });
    expect(kinds(sample(100, ALICE, BOB))).toEqual([]);
    expect(sample(100, BOB)).toContainEqual(expect.objectContaining({ kind: 'start', user: carol }));
    expect(machine.wantsList).toBe(false);
  });

  it('ends nobody who may be at work: a job within the last minute, processor time, or none known', () => {
    now += EVICT_IDLE_MIN_MS;
    job(carol);
    expect(kinds(sample(30_000, ALICE, BOB))).toEqual([]);
    now += EVICT_IDLE_MIN_MS;
    expect(kinds(sample(0, ALICE, BOB))).toEqual([]);
    now += EVICT_IDLE_MIN_MS - 1;
    expect(kinds(sample(0, ALICE, BOB))).toEqual([]);
  });
});

describe('a host that is drained', () => {
  it('starts nothing, gives the jobs of those who wait away, and goes on with those whose executors run', () => {
    withPolicy({ maxStarting: 1 });
    makeReady();
    job(bob);
    job(carol);
    expect(step({ kind: 'drain', on: true })).toContainEqual(
      expect.objectContaining({ kind: 'defer', user: carol, why: 'the host is being drained' }),
    );
    expect(kinds(job())).toEqual(['forward']);
    expect(job(dave)).toContainEqual(expect.objectContaining({ kind: 'defer', why: 'the host is being drained', delayMs: 2_000 }));
    // Where no other host takes it, it does not spin.
    expect(job(dave, 5)).toContainEqual(expect.objectContaining({ kind: 'defer', delayMs: 10_000 }));
    step({ kind: 'drain', on: false });
    started(bob, info('bob', 1_002));
    expect(connected(1_002)).toContainEqual(expect.objectContaining({ kind: 'start', user: carol }));
  });
});

describe('a host that is drained meanwhile', () => {
  it('keeps no job of a user whose start failed before', () => {
    job();
    job();
    failed();
    step({ kind: 'drain', on: true });
    expect(kinds(tick(PLAIN_POLICY.backoffInitialMs))).toEqual(['defer', 'defer']);
    expect(machine.counts.held).toBe(0);
  });
});

describe('a job that is too old', () => {
  it('is parked, if there is an age at which it is', () => {
    withPolicy({ jobMaxAgeMs: 60_000 });
    expect(kinds(job(alice, 0, 60_000))).toEqual(['start']);
    expect(job(alice, 0, 60_001)).toContainEqual(expect.objectContaining({ kind: 'park', reason: 'JOB_TOO_OLD' }));
  });
});

describe('another policy', () => {
  it('holds for users and executors that there are, and loses no job', () => {
    withPolicy({ maxExecutors: 1 });
    makeReady();
    job(bob);
    job(carol);
    const effects = step({ kind: 'policy', policy: { ...PLAIN_POLICY, maxExecutors: 2, deny: new Set(['alice']) } });
    expect(kinds(effects)).toEqual(['start']);
    expect(kinds(job())).toEqual(['park']);
    expect(machine.counts.held).toBe(2);
  });
});

describe('a policy that has become stricter', () => {
  it('parks what waits of a user whom it denies, and starts nothing for it', () => {
    withPolicy({ maxExecutors: 1 });
    makeReady();
    job(bob);
    const effects = step({ kind: 'policy', policy: { ...PLAIN_POLICY, deny: new Set(['bob']) } });
    expect(kinds(effects)).toEqual(['park']);
    expect(effects).toContainEqual({ kind: 'park', ticket: 2, user: bob, reason: 'USER_DENIED', detail: '"bob" is in policy.deny' });
    expect(machine.counts).toMatchObject({ held: 0, waiting: 0, users: 1 });
  });

  it('parks what waits of a user whose groups it asks for, and whom they deny', () => {
    step({ kind: 'job', ticket: 1, user: alice, hops: 0, waited: false, groups: undefined, ageMs: 0 });
    step({ kind: 'policy', policy: { ...PLAIN_POLICY, rules: [rule({ groups: ['leavers'], action: 'deny' })] } });
    expect(machine.ungrouped()).toEqual(new Set([alice]));
    expect(step({ kind: 'groups', user: alice, groups: ['leavers'] })).toContainEqual(
      expect.objectContaining({ kind: 'park', detail: 'rule 1 denies "alice"' }),
    );
  });

  it('counts what is being started at the moment by the new rules', () => {
    withPolicy({ rules: [rule({ users: ['*'], maxExecutors: 1 })] });
    job(alice);
    job(bob);
    expect(kinds(step({ kind: 'policy', policy: { ...PLAIN_POLICY, rules: [rule({ users: ['*'], maxExecutors: 1 })] } }))).toEqual([]);
  });

  it('gives away all but one of the jobs of a user for whom there is no room any more', () => {
    withPolicy({ maxStarting: 1 });
    job(alice);
    job(bob);
    job(bob);
    expect(kinds(step({ kind: 'policy', policy: { ...PLAIN_POLICY, maxExecutors: 1 } }))).toEqual(['defer']);
    expect(machine.counts.held).toBe(2);
  });
});

describe('a name in another case', () => {
  const CAPITAL = knimeUser('Alice');
  const helper = (foldsCase: boolean) => step({ kind: 'helper greeted', foldsCase });
  const runs = () => {
    sample(100, ALICE);
    connected();
  };
  const stateOf = () => machine.explain(CAPITAL, NO_GROUPS).state;

  beforeEach(() => withPolicy({ maxExecutors: 1, whenFull: 'evict-idle' }));

  it('has the executor that runs, whatever the limits are, where the helper folds case', () => {
    helper(true);
    runs();
    expect(kinds(job(CAPITAL))).toEqual(['forward']);
    expect(machine.explain(CAPITAL, NO_GROUPS)).toMatchObject({ decision: 'forward', state: 'ready' });
    now += EVICT_IDLE_MIN_MS - 1;
    expect(kinds(sample(100, ALICE))).toEqual([]);
    expect(kinds(step({ kind: 'stop asked', user: CAPITAL, force: false }))).toEqual(['stop']);
  });

  it('is served by an executor that comes while it stands in line', () => {
    helper(true);
    makeReady(bob, 1_002);
    job(CAPITAL);
    expect(stateOf()).toBe('queued');
    runs();
    expect(stateOf()).toBe('ready');
  });

  it('is another user’s where the helper does not', () => {
    withPolicy({ maxExecutors: 2 });
    helper(false);
    runs();
    expect(kinds(job(CAPITAL))).toEqual(['start']);
  });

  it('goes by what the helper says when that is back with another configuration', () => {
    runs();
    job(CAPITAL);
    expect(stateOf()).toBe('queued');
    expect(kinds(helper(true))).toEqual(['forward']);
    expect(stateOf()).toBe('ready');
    helper(false);
    expect(stateOf()).toBe('idle');
    job(CAPITAL);
    expect(stateOf()).toBe('queued');
    expect(kinds(job(alice))).toEqual(['forward']);
  });
});

describe('a user whom the map leads to another account than before, whose executor runs', () => {
  const CAROL = info('carol', 1_003);
  const remapped = () => listed({ ...CAROL, knimeUsers: [bob, carol] }, info('bob', 1_002, { knimeUsers: [] }));
  const stateOf = () => machine.explain(bob, NO_GROUPS).state;

  beforeEach(() => {
    step({ kind: 'channel opened' });
    listed(CAROL);
    connected(1_003);
  });

  it('has the jobs forwarded that waited for the executor of the one before', () => {
    job(bob);
    started(bob, info('bob', 1_002));
    expect(kinds(remapped())).toEqual(['forward']);
    expect(stateOf()).toBe('ready');
    expect(kinds(job(bob))).toEqual(['forward']);
  });

  it('has those forwarded that waited for room', () => {
    step({ kind: 'policy', policy: { ...PLAIN_POLICY, maxExecutors: 1 } });
    job(bob);
    expect(stateOf()).toBe('queued');
    expect(kinds(remapped())).toEqual(['forward']);
    expect(machine.counts.waiting).toBe(0);
  });

  it('has them forwarded though nothing was told of those that the one before was given', () => {
    makeReady(bob, 1_002);
    step({ kind: 'taken', user: bob, offer: 0 });
    while (kinds(job(bob)).length > 0);
    expect(kinds(remapped())).toContain('forward');
    expect(kinds(job(bob))).toEqual(['forward']);
  });

  it('waits for the other one where that has lost RabbitMQ', () => {
    makeReady(bob, 1_002);
    links.delete(1_003);
    for (let looks = 0; looks < 2; looks++) step({ kind: 'connections', uids: links });
    remapped();
    expect(kinds(job(bob))).toEqual([]);
    expect(kinds(connected(1_003))).toEqual(['forward']);
  });

  it('has no further executor started that an order asked for', () => {
    step({ kind: 'policy', policy: { ...PLAIN_POLICY, maxExecutors: 1 } });
    step({ kind: 'start asked', user: bob, groups: NO_GROUPS });
    expect(stateOf()).toBe('queued');
    expect(kinds(remapped())).toEqual([]);
    expect([stateOf(), machine.wantsBeforeJob(bob)]).toEqual(['idle', false]);
  });
});

describe('a reload that brings the first rule which asks for groups', () => {
  const KNIME = rule({ label: 'rule 1 "knime"', groups: ['knime'], jobsMax: 1, keepWarmMs: 3_600_000 });
  const OTHERS = rule({ label: 'rule 2 "others"', action: 'deny' });
  const ungroupedJob = (user = alice) =>
    step({ kind: 'job', ticket: ++tickets, user, hops: 0, waited: false, groups: undefined, ageMs: 0 });
  const reload = (given: Partial<Policy> = {}) => step({ kind: 'policy', policy: { ...PLAIN_POLICY, rules: [KNIME, OTHERS], ...given } });
  const groups = (user: KnimeUser, ...names: string[]) => step({ kind: 'groups', user, groups: names });
  const isDenied = { kind: 'park', user: alice, reason: 'USER_DENIED', detail: 'rule 2 "others" denies "alice"' };

  beforeEach(() => withPolicy({ maxExecutors: 1 }));

  it('parks no job before the groups of its user are known, and then those of users whom the rules deny', () => {
    ungroupedJob(bob);
    started(bob, info('bob', 1_002));
    ungroupedJob(alice);
    ungroupedJob(bob);
    expect(kinds(reload({ maxExecutors: 1 }))).toEqual([]);
    expect(machine.ungrouped()).toEqual(new Set([alice, bob]));
    expect(kinds(groups(bob, 'knime'))).toEqual(['defer']); // jobs_max
    expect(groups(alice)).toContainEqual(expect.objectContaining(isDenied));
    expect(machine.counts).toMatchObject({ held: 1, waiting: 0 });
  });

  it('starts nothing for such a user, and ends nobody’s executor, before it is known by which rule', () => {
    makeReady(bob, 1_002);
    sample(100, BOB);
    ungroupedJob(alice);
    now += EVICT_IDLE_MIN_MS;
    reload({ maxExecutors: 1, whenFull: 'evict-idle' });
    expect(kinds(sample(100, BOB))).toEqual([]);
    expect(kinds(reload({ maxExecutors: 3 }))).toEqual([]);
    expect(groups(alice, 'knime')).toContainEqual(expect.objectContaining({ kind: 'start', why: expect.stringContaining('knime') }));
  });

  it('parks at once what no groups could allow', () => {
    makeReady(bob, 1_002);
    ungroupedJob(alice);
    const denies = rule({ label: 'rule 1', users: ['al*'], action: 'deny' });
    expect(kinds(reload({ rules: [denies, KNIME, OTHERS] }))).toEqual(['park']);
    ungroupedJob(carol);
    expect(kinds(reload({ deny: new Set(['carol']) }))).toEqual(['park']);
  });

  it('goes by the rule before for an executor until the groups of its user are known', () => {
    ungroupedJob();
    started();
    connected();
    sample(100, ALICE);
    reload({ rules: [KNIME, { ...OTHERS, idleStopMs: 1_000 }] });
    now += 60_000;
    expect(kinds(sample(100, ALICE))).toEqual([]);
    groups(alice);
    now += 60_000;
    expect(kinds(sample(100, ALICE))).toEqual(['stop']);
  });
});

describe('explain', () => {
  it.each<[what: string, given: () => unknown, expected: object]>([
    ['a first job', () => {}, { decision: 'start', why: '0 of 3 executors run', state: 'idle', rule: 'none', executor: 'none' }],
    [
      'a denied user',
      () => step({ kind: 'policy', policy: { ...PLAIN_POLICY, deny: new Set(['alice']) } }),
      { decision: 'park', why: 'USER_DENIED: "alice" is in policy.deny' },
    ],
    ['a ready executor', () => makeReady(), { decision: 'forward', executor: 'account "alice", uid 1001, pid 11001, ready' }],
    ['one that boots', () => [job(), started()], { decision: 'hold', why: 'the executor is starting', held: 1 }],
    [
      'a start that failed',
      () => [job(), failed()],
      { decision: 'hold', why: 'start 1 of 3 failed (LAUNCH_FAILED: exit 1); tried again in 2s' },
    ],
    [
      'no room',
      () => step({ kind: 'policy', policy: { ...PLAIN_POLICY, maxExecutors: 1, coreTokens: 4, tokensPerExecutor: 8 } }),
      { decision: 'wait', why: '0 of 4 core tokens are taken, an executor takes 8' },
    ],
    [
      'starts that were given up',
      () => [job(), failed(), tick(60_000), failed(), tick(60_000), failed()],
      { decision: 'park', state: 'broken', why: expect.stringMatching(/^START_FAILED: 3 starts failed.*; tried again in \d+m\d\ds$/) },
    ],
    ['a host that is drained', () => step({ kind: 'drain', on: true }), { decision: 'wait', why: 'the host is being drained' }],
  ])('of %s says what a job would meet', (_, given, expected) => {
    given();
    const before = machine.counts;
    expect(machine.explain(alice, [])).toMatchObject(expected);
    expect(machine.counts).toEqual(before);
  });
});

describe('the place in line', () => {
  it('is behind users of a higher priority, and behind who came first', () => {
    machine = new Machine({ ...PLAIN_POLICY, maxExecutors: 1, rules: [rule({ users: ['erin'], priority: 5 })] });
    for (const user of [alice, bob, carol, erin]) job(user);
    const placeOf = (user: KnimeUser) => machine.explain(user, []).place;
    expect([alice, erin, bob, carol, dave].map(placeOf)).toEqual([undefined, 1, 2, 3, undefined]);
    expect(machine.explanations().map(({ user, place }) => [user, place])).toEqual([
      [alice, undefined],
      [bob, 2],
      [carol, 3],
      [erin, 1],
    ]);
  });

  it('is behind who came later and has had less executor time for the same share', () => {
    machine = new Machine({ ...PLAIN_POLICY, maxExecutors: 1, rules: [rule({ users: ['carol'], share: 100 })] });
    /** Has an executor for half an hour, which ends; nothing else runs. */
    const hadOne = (user: KnimeUser, uid: number) => {
      makeReady(user, uid);
      now += 1_800_000;
      listed();
    };
    hadOne(alice, 1_001);
    hadOne(carol, 1_003);
    makeReady(dave, 1_004);
    for (const user of [alice, bob, carol]) {
      job(user);
      now += 60_000;
    }
    const placeOf = (user: KnimeUser) => machine.explain(user, []).place;
    expect([bob, carol, alice].map(placeOf)).toEqual([1, 2, 3]);
    expect(machine.explain(alice, []).turn).toEqual({ share: 1, recent: expect.any(Number) });
    expect(listed().filter(({ kind }) => kind === 'start')).toMatchObject([{ user: bob }]);
  });
});

describe('a user whose groups cannot be looked up', () => {
  it('waits like after a start that the host has failed, and their jobs are handed back', () => {
    const effects = step({ kind: 'groups unknown', user: alice, ticket: 7, detail: 'id ended with 1' });
    expect(effects).toMatchObject([
      { kind: 'state', user: alice, state: 'backoff' },
      { kind: 'hand back', ticket: 7, user: alice, why: 'id ended with 1', failed: true },
    ]);
    // A second one meets the same wait, and no second failure.
    expect(step({ kind: 'groups unknown', user: alice, ticket: 8, detail: 'id ended with 1' })).toMatchObject([
      { kind: 'hand back', ticket: 8 },
    ]);
    expect(machine.users()).toMatchObject([{ user: alice, state: 'backoff', held: 0 }]);
  });
});

describe('an executor whose account is lost', () => {
  const lost = { kind: 'account lost', osUser: osUserSchema.parse('alice'), why: 'its account is gone' } as const;

  it('is ended, once', () => {
    makeReady();
    expect(step(lost)).toContainEqual({ kind: 'stop', user: alice, why: 'its account is gone', cause: 'account_lost' });
    expect(kinds(step(lost))).toEqual([]);
  });

  it('goes on where the policy only warns', () => {
    machine = new Machine({ ...PLAIN_POLICY, accountLost: 'warn' });
    makeReady();
    expect(step(lost)).toEqual([]);
  });
});
