import { beforeEach, describe, expect, it } from 'vitest';
import { alice, bob, EXECUTOR, kinds } from '../../test-fixtures/executors.js';
import { PLAIN_POLICY, rule } from '../../test-fixtures/policy.js';
import type { Rule } from '../policy/rules.js';
import type { Event } from './events.js';
import { Machine } from './machine.js';

/* What a rule limits of each of its users: jobs that are held, and how long an executor is at work on the same jobs. */

const MINUTE_MS = 60_000;

let machine: Machine;
let now: number;
let tickets: number;
const withRule = (given: Partial<Rule>) => {
  machine = new Machine({ ...PLAIN_POLICY, heldInAll: 100, rules: [rule({ users: ['alice'], ...given })] });
};
beforeEach(() => {
  now = 1_000;
  tickets = 0;
});

const step = (event: Event) => machine.step(event, now, 0.5);
const job = (user = alice, hops = 0, waited = false) => step({ kind: 'job', ticket: ++tickets, user, hops, waited, groups: [], ageMs: 0 });
const makeReady = () => {
  job();
  step({ kind: 'started', user: alice, executor: EXECUTOR });
  step({ kind: 'connections', uids: new Set([1_001]) });
};

describe('jobs_max', () => {
  it('is how many jobs of each of its users are held; further ones wait in a delay queue, and others have jobs.held_per_user', () => {
    withRule({ jobsMax: 2 });
    expect([job(), job(), job()].map(kinds)).toEqual([['start'], [], ['defer']]);
    expect([job(bob), job(bob), job(bob), job(bob), job(bob)].map(kinds)).toEqual([['start'], [], [], [], ['defer']]);
  });

  it('may be more than jobs.held_per_user', () => {
    withRule({ jobsMax: 6 });
    for (let count = 0; count < 6; count++) job();
    expect(machine.counts.held).toBe(6);
    expect(kinds(job())).toEqual(['defer']);
  });

  it('sends the jobs beyond it to a delay queue when a reload lowers it', () => {
    withRule({ jobsMax: 6 });
    for (let count = 0; count < 6; count++) job();
    const effects = step({ kind: 'policy', policy: { ...PLAIN_POLICY, heldInAll: 100, rules: [rule({ users: ['alice'], jobsMax: 1 })] } });
    expect(kinds(effects)).toEqual(Array(5).fill('defer'));
  });
});

describe('run_time_max', () => {
  beforeEach(() => {
    withRule({ runTimeMaxMs: 60 * MINUTE_MS });
    makeReady();
  });

  let cpuMs = 1;
  /** A minute with that share of a processor, then a look. */
  const minute = (share: number) => {
    now += MINUTE_MS;
    cpuMs += share * MINUTE_MS;
    return step({ kind: 'usage', usage: new Map([[11_001, { cpuMs, memoryBytes: undefined }]]), wallMs: 0 });
  };
  const minutes = (count: number, share: number) => Array.from({ length: count }, () => kinds(minute(share))).flat();

  it('ends an executor that is at work for so long without a pause, and says so', () => {
    expect(minutes(59, 0.9)).toEqual([]);
    expect([...minute(0.9), ...minute(0.9), ...minute(0.9)]).toContainEqual({
      kind: 'stop',
      user: alice,
      cause: 'run_time_max',
      why: expect.stringMatching(/^at work for 1h0\dm without a pause, and without taking a job \(run_time_max of rule 1 is 1h00m\)$/),
    });
  });

  it('begins anew after a pause', () => {
    expect([...minutes(50, 0.9), ...minutes(1, 0.01), ...minutes(59, 0.9)]).toEqual([]);
    expect(minutes(3, 0.9)).toEqual(['stop']);
  });

  it('goes on over a loss of the connection to RabbitMQ', () => {
    step({ kind: 'channel opened' });
    minutes(30, 0.9);
    step({ kind: 'connections', uids: new Set([1_001]) });
    for (let second = 0; second < 5; second++) {
      now += 1_000;
      step({ kind: 'connections', uids: new Set() });
    }
    expect(machine.explain(alice, []).state).toBe('lost');
    for (let second = 0; second < 5; second++) {
      now += 1_000;
      step({ kind: 'connections', uids: new Set([1_001]) });
    }
    expect(machine.explain(alice, []).state).toBe('ready');
    expect(minutes(33, 0.9)).toEqual(['stop']);
  });

  it('begins anew when the executor takes a job', () => {
    minutes(50, 0.9);
    expect(kinds(job())).toEqual(['forward']);
    expect(minutes(59, 0.9)).toEqual([]);
    expect(minutes(4, 0.9)).toEqual(['stop']);
  });

  it('goes on while further jobs are offered in vain: they come back', () => {
    const stops: string[] = [];
    for (let count = 0; count < 63; count++) {
      const given = [...job(), ...step({ kind: 'tick' })].filter(({ kind }) => kind === 'forward').length;
      now += 5;
      for (let back = 0; back < given; back++) job(alice, 3);
      stops.push(...kinds(minute(0.9)).filter((kind) => kind === 'stop'));
    }
    expect(stops).toEqual(['stop']);
  });

  it('ends nobody whose processor time is not known', () => {
    for (let count = 0; count < 300; count++) {
      now += MINUTE_MS;
      expect(kinds(step({ kind: 'listed', executors: [EXECUTOR], askedAt: now }))).toEqual([]);
    }
  });

  it('is of the users of the rule alone', () => {
    machine = new Machine({ ...PLAIN_POLICY, rules: [rule({ users: ['bob'], runTimeMaxMs: MINUTE_MS })] });
    makeReady();
    expect(minutes(300, 0.9)).toEqual([]);
  });
});
