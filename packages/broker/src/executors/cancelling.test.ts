import { beforeEach, describe, expect, it } from 'vitest';
import { alice, bob, EXECUTOR } from '../../test-fixtures/executors.js';
import { PLAIN_POLICY } from '../../test-fixtures/policy.js';
import { CANCELLED_DETAIL } from './cancelling.js';
import type { Effect, Event } from './events.js';
import { PLACE_MS } from './line.js';
import { Machine } from './machine.js';

let machine: Machine;
let now: number;

beforeEach(() => {
  machine = new Machine({ ...PLAIN_POLICY, maxExecutors: 1 });
  now = 1_000;
});

const step = (event: Event) => machine.step(event, now, 0.5);
const job = (ticket: number, user = alice) => step({ kind: 'job', ticket, user, hops: 0, waited: false, groups: undefined, ageMs: 0 });
const cancel = (ticket: number, user = alice) => step({ kind: 'cancel asked', user, ticket });
const ofJobs = (effects: readonly Effect[]) => effects.filter((effect) => 'ticket' in effect);
const parked = (ticket: number, user = alice): Effect => ({ kind: 'park', ticket, user, reason: 'CANCELLED', detail: CANCELLED_DETAIL });

describe('a job that is cancelled', () => {
  it('is parked while its user waits for the executor, and the others go there', () => {
    job(1);
    job(2);
    expect(ofJobs(cancel(1))).toEqual([parked(1)]);
    expect(machine.counts.held).toBe(1);
    step({ kind: 'started', user: alice, executor: EXECUTOR });
    expect(ofJobs(step({ kind: 'connections', uids: new Set([1_001]) }))).toEqual([{ kind: 'forward', ticket: 2, user: alice }]);
  });

  it('is parked while its user is in line, who keeps the place for a while: other jobs may come from a delay queue', () => {
    job(1);
    job(2, bob);
    expect(ofJobs(cancel(2, bob))).toEqual([parked(2, bob)]);
    expect(machine.stateOf(bob)).toBe('queued');
    now += PLACE_MS;
    step({ kind: 'tick' });
    expect(machine.stateOf(bob)).toBe('idle');
  });

  it('goes on where it is not held: it is with the executor, of another user, or nobody has it', () => {
    job(1);
    step({ kind: 'started', user: alice, executor: EXECUTOR });
    step({ kind: 'connections', uids: new Set([1_001]) });
    expect(cancel(1)).toEqual([]);
    job(2, bob);
    expect([cancel(2), cancel(3, bob)]).toEqual([[], []]);
    expect(machine.counts.held).toBe(1);
  });
});
