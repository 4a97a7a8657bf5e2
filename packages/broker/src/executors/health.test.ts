import type { ErrorCode, KnimeUser } from '@kpx/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { alice, bob, carol, dave, erin, info, kinds } from '../../test-fixtures/executors.js';
import { PLAIN_POLICY } from '../../test-fixtures/policy.js';
import { headersOf, marksOf } from '../amqp/marks.js';
import type { Effect, Event } from './events.js';
import { HANDED_BACK_MAX, HOSTS_MAX, handedBack, NO_MARKS } from './hand-back.js';
import { PROBE_INITIAL_MS, PROBE_MAX_MS } from './health.js';
import { Machine } from './machine.js';

const NO_GROUPS: readonly string[] = [];

let machine: Machine;
let now: number;
let tickets: number;
beforeEach(() => {
  machine = new Machine({ ...PLAIN_POLICY, maxExecutors: 10, maxStarting: 10 });
  now = 1_000;
  tickets = 0;
});

const step = (event: Event) => machine.step(event, now, 0.5);
const job = (user: KnimeUser) => step({ kind: 'job', ticket: ++tickets, user, hops: 0, waited: false, groups: NO_GROUPS, ageMs: 0 });
const fails = (user: KnimeUser, code: ErrorCode = 'HOST_FAILED') => step({ kind: 'not started', user, code, detail: 'no program' });
const tick = (afterMs: number) => {
  now += afterMs;
  return step({ kind: 'tick' });
};
const comesUp = (user: KnimeUser, uid: number) => {
  step({ kind: 'started', user, executor: info(user, uid) });
  return step({ kind: 'connections', uids: new Set([uid]) });
};
const failFor = (...users: KnimeUser[]) => {
  for (const user of users) {
    job(user);
    fails(user);
  }
};

describe('a start that fails on this host', () => {
  it.each(['HOST_FAILED', 'DIRECTORY_FAILED', 'ACCOUNT_LOOKUP_FAILED', 'DEADLINE_EXCEEDED', 'VERSION_MISMATCH'] as const)(
    'has the user’s jobs handed back, and never parked: %s',
    (code) => {
      job(alice);
      job(alice);
      expect(kinds(fails(alice, code))).toEqual(['hand back', 'hand back']);
      for (let count = 0; count < 20; count++) {
        expect(kinds(job(alice))).toEqual(['hand back']);
        tick(PLAIN_POLICY.backoffMaxMs);
        expect(kinds(job(alice))).toEqual(['start']);
        expect(kinds(fails(alice, code))).toEqual(['hand back']);
      }
    },
  );

  it.each(['HOME_UNUSABLE', 'ACCOUNT_DENIED'] as const)('though for the user’s own reason, has them parked at once: %s', (code) => {
    job(alice);
    expect(kinds(fails(alice, code))).toEqual(['park']);
  });

  it('because nobody can ask the helper, is tried again soon, and all is well when it answers', () => {
    for (const user of [alice, bob, carol]) job(user);
    for (const user of [alice, bob, carol]) expect(kinds(step({ kind: 'no helper', user, detail: 'gone' }))).toEqual(['hand back']);
    expect(machine.health.sickness).toBeDefined();
    expect(kinds(job(dave))).toEqual(['hand back']);
    step({ kind: 'listed', executors: [], askedAt: now });
    expect(machine.health.sickness).toBeUndefined();
  });
});

describe('a host on which several users fail in a row', () => {
  it('starts nothing for anybody, hands their jobs back, and serves those whose executor runs', () => {
    job(erin);
    comesUp(erin, 1_005);
    failFor(alice, bob);
    expect(machine.health.sickness).toBeUndefined();
    failFor(carol);
    expect(machine.health.sickness).toMatchObject({ why: 'HOST_FAILED: no program' });
    expect(kinds(job(dave))).toEqual(['hand back']);
    expect(machine.explain(dave, NO_GROUPS)).toMatchObject({ decision: 'hand back' });
    expect(kinds(job(erin))).toEqual(['forward']);
  });

  it('gives away what waits in line', () => {
    machine = new Machine({ ...PLAIN_POLICY, maxStarting: 3, maxExecutors: 10 });
    for (const user of [alice, bob, carol, dave]) job(user);
    for (const user of [alice, bob]) fails(user);
    const effects = fails(carol);
    expect(kinds(effects)).not.toContain('park');
    expect(machine.counts.held).toBe(1); // dave's, whose start is under way, and no probe
    fails(dave);
    expect(machine.health.sickness?.probeAt).toBe(now + PROBE_INITIAL_MS);
  });

  it('counts starts that fail for users’ own reasons as well, whoever they are, but names that do not exist', () => {
    for (const user of [alice, bob, carol]) {
      job(user);
      fails(user, 'ACCOUNT_UNKNOWN');
    }
    expect(machine.health.sickness).toBeUndefined();
    for (const user of [alice, bob, carol]) {
      tick(PLAIN_POLICY.backoffMaxMs);
      fails(user, 'LAUNCH_FAILED');
    }
    expect(machine.health.sickness).toBeDefined();
  });

  it('does not count one user who fails again and again', () => {
    for (let count = 0; count < 10; count++) {
      job(alice);
      fails(alice);
      tick(PLAIN_POLICY.backoffMaxMs);
    }
    expect(machine.health.sickness).toBeUndefined();
  });

  it('tries one start at a time, of each user less and less often, and comes back with the first that works', () => {
    failFor(alice, bob, carol);
    for (const seconds of [5, 10, 20, 40, 80, 120, 120]) {
      tick(seconds * 1_000 - 1);
      expect(kinds(job(dave)), `${seconds} s`).toEqual(['hand back']);
      expect(kinds(tick(1)), `${seconds} s`).toEqual(['start']);
      fails(dave);
    }
    tick(PROBE_MAX_MS);
    expect(kinds(job(erin))).toEqual(['start']);
    expect(kinds(comesUp(erin, 1_005))).toContain('forward');
    expect(machine.health.sickness).toBeUndefined();
    expect(kinds(job(alice))).toEqual(['start']);
  });

  it('tries a user whose own starts fail no more often than start_attempts has it, and parks nothing meanwhile', () => {
    failFor(alice, bob, carol);
    let starts = 0;
    const count = (effects: Effect[]) => {
      expect(kinds(effects)).not.toContain('park');
      starts += kinds(effects).filter((kind) => kind === 'start').length;
      if (kinds(effects).includes('start')) fails(dave, 'LAUNCH_FAILED');
    };
    const until = now + PLAIN_POLICY.backoffMaxMs;
    while (now < until) {
      count(job(dave));
      count(tick(1_000));
    }
    expect(starts).toBeGreaterThan(0);
    expect(starts).toBeLessThanOrEqual(PLAIN_POLICY.startAttempts);
  });

  it('tries it at once when an operator asks for a start, for anybody', () => {
    failFor(alice, bob, carol);
    expect(kinds(step({ kind: 'start asked', user: alice, groups: NO_GROUPS }))).toEqual(['start']);
    fails(alice);
    expect(kinds(job(dave))).toEqual(['hand back']);
  });

  it('tries it with somebody else first: users whose own starts fail do not keep others out', () => {
    failFor(alice, bob, carol);
    tick(PROBE_INITIAL_MS);
    expect(kinds(job(alice))).toEqual(['hand back']);
    expect(kinds(job(dave))).toEqual(['start']);
  });
});

describe('a job that is handed back', () => {
  const effect = (failed: boolean) => ({ kind: 'hand back', ticket: 1, user: alice, why: 'no program', failed }) as const;

  it('says so in its headers, and they are read as they were written', () => {
    const deferred = handedBack(effect(true), { handedBack: 2, failedOn: ['one'] }, 'two');
    expect(deferred).toMatchObject({ kind: 'defer', marks: { handedBack: 3, failedOn: ['one', 'two'] } });
    const headers = headersOf({ handedBack: 3, failedOn: ['one', 'two'] });
    expect(marksOf(headers)).toEqual({ handedBack: 3, failedOn: ['one', 'two'] });
    for (const odd of [-1, 'x', 2 ** 60]) expect(marksOf({ 'x-kpx-handed-back': odd })).toMatchObject({ handedBack: 0 });
  });

  it('waits for a short time first, and longer when no other host has taken it', () => {
    expect(handedBack(effect(false), NO_MARKS, 'one')).toMatchObject({ delayMs: 2_000, marks: { handedBack: 1, failedOn: [] } });
    expect(handedBack(effect(false), { handedBack: 10, failedOn: [] }, 'one')).toMatchObject({ delayMs: 10_000 });
  });

  it('is parked when it has gone round often enough, or has failed on enough hosts; the detail names them', () => {
    const rounds = { handedBack: HANDED_BACK_MAX, failedOn: ['one'] };
    expect(handedBack(effect(false), rounds, 'two')).toMatchObject({
      kind: 'park',
      reason: 'HOSTS_FAILED',
      detail: `handed back ${HANDED_BACK_MAX} times, starts failed on one; here: no program`,
    });
    const hosts = Array.from({ length: HOSTS_MAX - 1 }, (_, index) => `host-${index}`);
    expect(handedBack(effect(true), { handedBack: 7, failedOn: hosts }, 'last')).toMatchObject({
      kind: 'park',
      detail: expect.stringMatching(/last; here/),
    });
    expect(handedBack(effect(true), { handedBack: 7, failedOn: hosts }, 'host-0')).toMatchObject({ kind: 'defer' });
  });
});
