import { type ExecutorInfo, ExecutorState, knimeUserSchema, osUserSchema } from '@kpx/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Policy } from '../policy/policy.js';
import type { Effect, Event } from './events.js';
import { HOLD_MAX_MS, Machine, NO_HELPER_RETRY_MS, REFUSAL_MS, STABLE_MS } from './machine.js';

const alice = knimeUserSchema.parse('alice');
const bob = knimeUserSchema.parse('bob');
const carol = knimeUserSchema.parse('carol');

const POLICY: Policy = {
  maxExecutors: 3,
  maxStarting: 2,
  startAttempts: 3,
  backoffInitialMs: 2_000,
  backoffMaxMs: 60_000,
  deny: new Set(['mallory']),
  heldPerUser: 4,
  heldInAll: 8,
  startTimeoutMs: 120_000,
  readyDelayMs: undefined,
};

const info = (name: string, uid: number, others: Partial<ExecutorInfo> = {}): ExecutorInfo => ({
  osUser: osUserSchema.parse(name),
  uid,
  knimeUsers: [knimeUserSchema.parse(name)],
  state: ExecutorState.running,
  sinceMs: 1,
  mainPid: uid + 10_000,
  lastExit: '',
  ...others,
});

let machine: Machine;
let now: number;
let tickets: number;

beforeEach(() => {
  machine = new Machine(POLICY);
  now = 1_000;
  tickets = 0;
});

const step = (event: Event) => machine.step(event, now, 0.5);
const job = (user = alice, hops = 0) => step({ kind: 'job', ticket: ++tickets, user, hops });
const started = (user = alice, executor = info(user, 1_001)) => step({ kind: 'started', user, executor });
const failed = (user = alice) => step({ kind: 'not started', user, code: 'LAUNCH_FAILED', detail: 'exit 1' });
const connected = (uid = 1_001) => step({ kind: 'connected', uid });
const listed = (...executors: ExecutorInfo[]) => step({ kind: 'listed', executors, askedAt: now });
const tick = (afterMs: number) => {
  now += afterMs;
  return step({ kind: 'tick' });
};
const kinds = (effects: Effect[]) => effects.filter(({ kind }) => kind !== 'state').map(({ kind }) => kind);
const makeReady = (user = alice, uid = 1_001) => {
  job(user);
  started(user, info(user, uid));
  return connected(uid);
};

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
    machine = new Machine({ ...POLICY, readyDelayMs: 15_000 });
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
    expect(connected()).toContainEqual({ kind: 'start', user: carol });
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

  it('defers jobs of further users when as many executors run as may, and starts one when another has ended', () => {
    makeReady(alice, 1_001);
    makeReady(bob, 1_002);
    makeReady(carol, 1_003);
    const dave = knimeUserSchema.parse('dave');
    expect(kinds(job(dave))).toEqual(['defer']);
    now += STABLE_MS;
    listed(info('alice', 1_001), info('bob', 1_002));
    expect(kinds(job(dave))).toEqual(['start']);
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
    machine = new Machine({ ...POLICY, maxStarting: 1 });
    job(alice);
    job(bob);
    started(alice, info('alice', 1_001, both));
    expect(kinds(connected())).toEqual(['forward', 'forward']);
  });

  it('are served although there is no room for another executor', () => {
    machine = new Machine({ ...POLICY, maxExecutors: 1 });
    job(alice);
    started(alice, info('alice', 1_001, both));
    connected();
    expect(kinds(job(bob))).toEqual(['forward']);
  });
});

describe('a job that comes back although its executor is ready', () => {
  /** What a busy executor does with an offer: every job comes back. */
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

  it('is offered less and less often, one job for all of them', () => {
    makeReady();
    for (let count = 0; count < 4; count++) job(alice, 2);
    const times = offers(200);
    const waits = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    expect(waits).toEqual([...waits].sort((a, b) => a - b));
    expect(waits.at(-1)).toBe(2_000);
    expect(machine.counts.held).toBe(4);
  });

  it('goes out faster and faster as soon as the executor takes them', () => {
    machine = new Machine({ ...POLICY, heldPerUser: 200, heldInAll: 200 });
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

  it('waits in the short delay queue when there are more than may be held', () => {
    makeReady();
    for (let count = 0; count < 4; count++) job(alice, 2);
    expect(job(alice, 2)).toMatchObject([{ kind: 'defer', delayMs: 2_000 }]);
  });

  it('is the reason for a new executor when the busy one has ended', () => {
    makeReady();
    job(alice, 2);
    now += STABLE_MS;
    expect(kinds(listed())).toEqual(['start']);
    started(alice, info('alice', 1_001, { mainPid: 78 }));
    expect(kinds(connected())).toEqual(['forward']);
  });

  it('waits in the delay queue when the busy one has ended and others have taken its place', () => {
    machine = new Machine({ ...POLICY, maxExecutors: 1 });
    makeReady();
    job(alice, 2);
    now += STABLE_MS;
    const effects = listed(info('bob', 1_002));
    expect(kinds(effects)).toEqual(['defer']);
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
    job();
    started();
    expect(kinds(tick(120_000))).toEqual(['kill']);
  });

  it('tries a hanging executor again with a new time limit when it could not be ended', () => {
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

  it('does not count an absent helper as a failure of the user', () => {
    job();
    for (let count = 0; count < 20; count++) {
      expect(kinds(step({ kind: 'no helper', user: alice, detail: 'gone' }))).toEqual([]);
      expect(kinds(tick(NO_HELPER_RETRY_MS))).toEqual(['start']);
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
    expect(job(knimeUserSchema.parse('Mallory'))[0]).toMatchObject({ kind: 'park', reason: 'USER_DENIED' });
  });

  it('forgets held jobs with the channel they came from, and starts anyway', () => {
    job();
    step({ kind: 'channel lost' });
    expect(machine.counts.held).toBe(0);
    started();
    expect(kinds(connected())).toEqual([]);
  });

  it('holds no job for longer than RabbitMQ would bear', () => {
    machine = new Machine({ ...POLICY, startTimeoutMs: HOLD_MAX_MS * 2 });
    job();
    started();
    expect(kinds(tick(HOLD_MAX_MS))).toEqual(['defer']);
  });

  it('keeps no entry for users of whom nothing is left', () => {
    makeReady();
    now += STABLE_MS;
    listed();
    tick(1);
    expect(machine.counts).toEqual({ held: 0, executors: 0, starting: 0, users: 0 });
  });
});
