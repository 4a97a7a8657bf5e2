import fc from 'fast-check';
import { expect, it } from 'vitest';
import { alice, EXECUTOR } from '../../test-fixtures/executors.js';
import { PLAIN_POLICY } from '../../test-fixtures/policy.js';
import type { Event } from './events.js';
import { Machine } from './machine.js';
import { Offering } from './offering.js';

/*
 * The machine beside one executor and a queue that goes round its consumers, as RabbitMQ does: whoever has room and is next in turn gets the next job, and
 * the broker always has room. Times in milliseconds.
 */

const JOBS = 20;
/** Node's timers know whole milliseconds. */
const TICK_MS = 1;
/** Of the time for which the executor was full. The policy waits for a third, or for a third of the time a job takes by the mean, which has waits in it. */
const WAITED_PART = 1 / 2;
const RANDOM = 0.5;
/** Sums of times are not exact. */
const ROUNDED_MS = 1e-6;
/** From the machine to the queue, and back: each a half of a round trip. */
interface Way {
  readonly halfTripMs: number;
}
interface Work {
  /** Jobs in hand at most; all of them are worked on at once. */
  readonly prefetch: number;
  readonly jobMs: number;
}

class World {
  readonly machine: Machine;
  now = 0;
  done = 0;
  offered = 0;
  /** Moments at which the executor got room, and has not been given a job since; and since when it had been without. */
  #room: { readonly since: number; readonly fullMs: number } | undefined;
  #fullSince = 0;
  /** The waits of the executor for a job beyond what is allowed. */
  longestMs = 0;
  #inHand = 0;
  #turn = 0;
  #tickets = 0;
  #events: { readonly at: number; readonly order: number; readonly does: () => void }[] = [];
  #order = 0;

  constructor(
    readonly way: Way,
    readonly work: Work,
    readonly jobs: number,
  ) {
    this.machine = new Machine({ ...PLAIN_POLICY, heldPerUser: jobs, heldInAll: jobs });
  }

  at(ms: number, does: () => void): void {
    this.#events.push({ at: this.now + ms, order: ++this.#order, does });
  }

  step(event: Event): void {
    for (const { kind } of this.machine.step(event, this.now, RANDOM)) {
      if (kind !== 'forward') continue;
      this.offered += 1;
      this.at(this.way.halfTripMs, () => this.#queued());
    }
  }

  arrives(hops: number, awayMs?: number): void {
    this.step({ kind: 'job', ticket: ++this.#tickets, user: alice, hops, waited: false, groups: undefined, ageMs: 0, awayMs });
  }

  #queued(): void {
    this.#turn += 1;
    if (this.#inHand >= this.work.prefetch || this.#turn % 2 === 0) {
      this.at(this.way.halfTripMs, () => this.arrives(2, Math.round(2 * this.way.halfTripMs)));
      return;
    }
    if (this.#room) this.longestMs = Math.max(this.longestMs, this.now - this.#room.since - this.#room.fullMs * WAITED_PART);
    this.#room = undefined;
    this.#inHand += 1;
    if (this.#inHand === this.work.prefetch) this.#fullSince = this.now;
    this.at(this.work.jobMs, () => this.#finished());
  }

  #finished(): void {
    this.done += 1;
    if (this.#inHand === this.work.prefetch) this.#room = { since: this.now, fullMs: Math.min(this.now - this.#fullSince, 6_000) };
    this.#inHand -= 1;
  }

  /** Until `until` ms have passed or all jobs are done. */
  run(until: number): void {
    let tickAt = this.now + this.machine.tickInMs;
    while (this.now < until && this.done < this.jobs) {
      this.#events.sort((a, b) => a.at - b.at || a.order - b.order);
      const next = this.#events[0];
      if (next && next.at <= tickAt) {
        this.#events.shift();
        this.now = next.at;
        next.does();
      } else {
        this.now = tickAt;
        this.step({ kind: 'tick' });
        tickAt = Number.POSITIVE_INFINITY;
      }
      tickAt = Math.min(tickAt, this.now + this.machine.tickInMs);
    }
  }
}

function worldOf(halfTripMs: number, work: Work, jobs = JOBS): World {
  const world = new World({ halfTripMs }, work, jobs);
  world.step({ kind: 'start asked', user: alice, groups: undefined });
  world.step({ kind: 'started', user: alice, executor: EXECUTOR });
  world.step({ kind: 'connections', uids: new Set([EXECUTOR.uid]) });
  for (let count = 0; count < jobs; count++) world.arrives(2);
  return world;
}

it('leaves a busy executor without an offer for a round trip and a tick at most, beyond half of the time for which it was full', () => {
  const halfTrip = fc.double({ min: 0.2, max: 4, noNaN: true });
  const work = fc.record({ prefetch: fc.integer({ min: 1, max: 16 }), jobMs: fc.integer({ min: 2, max: 1_000 }) });
  fc.assert(
    fc.property(halfTrip, work, (halfTripMs, one) => {
      const world = worldOf(halfTripMs, one);
      world.run(JOBS * one.jobMs * 2 + 10_000);
      expect(world.done).toBe(JOBS);
      expect(world.longestMs).toBeLessThanOrEqual(Math.max(2, 4 * halfTripMs) + 2 * halfTripMs + 2 * TICK_MS + ROUNDED_MS);
    }),
    { numRuns: 100 },
  );
});

it('gives an executor with much room more and more at once, though half of each offer comes back', () => {
  const world = worldOf(2, { prefetch: 100, jobMs: 2 }, 2_000);
  world.run(10_000);
  expect(world.done).toBe(2_000);
  expect(world.now).toBeLessThan(1_500);
});

it('costs hardly more than 100 messages a minute for an executor that is full for so long', () => {
  const world = worldOf(0.5, { prefetch: 4, jobMs: 600_000 });
  world.run(60_000);
  expect(world.done).toBe(0);
  expect(world.offered).toBeLessThan(150);
});

it.each([20, 100, 500, 2_000])('costs no more where offers are back only after twice %i ms, once that is known', (halfTripMs) => {
  const world = worldOf(halfTripMs, { prefetch: 4, jobMs: 600_000 }, 500);
  world.run(60_000);
  const before = world.offered;
  expect(before).toBeLessThan(2 * world.jobs);
  world.run(120_000);
  expect(world.offered - before).toBeLessThan(150);
});

/** Of one of so many users, whose executors are all full, in ten minutes. */
const MINUTES = 10;
function offeredWhenFull(users: number, sharing: number): number {
  const offering = new Offering();
  const [full, end] = [MINUTES * 60_000, 2 * MINUTES * 60_000];
  let offered = 0;
  offering.dueAt(0);
  for (let now = 0; now < end; ) {
    const { jobs, nextAt } = offering.take(1, now, RANDOM, users, sharing);
    for (let job = 0; job < jobs; job++) offering.cameBack(now + 1);
    if (now >= full) offered += jobs;
    now = Math.max(now + 1, jobs > 0 ? offering.dueAt(now + 1) : nextAt);
  }
  return offered;
}

it.each([50, 100, 300])('has the executors of %i users, all of them full, meet no more than some thousand jobs a second', (users) => {
  const offered = offeredWhenFull(users, users);
  expect(offered).toBeGreaterThan(3);
  // Each job of each user may meet the executors of all.
  expect((offered * users * users) / (MINUTES * 60)).toBeLessThan(5_000);
});

it('lets nobody wait for the number of others where each has a queue of their own', () => {
  expect(offeredWhenFull(300, 1)).toBeGreaterThan(0.9 * offeredWhenFull(1, 1));
});

it('offers to a new executor anew, whatever the one before it has refused', () => {
  const world = worldOf(0.5, { prefetch: 1, jobMs: 600_000 });
  world.run(300_000);
  expect(world.done).toBe(0);
  world.step({ kind: 'listed', executors: [], askedAt: world.now });
  world.step({ kind: 'start asked', user: alice, groups: undefined });
  world.step({ kind: 'started', user: alice, executor: { ...EXECUTOR, mainPid: EXECUTOR.mainPid + 1 } });
  world.step({ kind: 'connections', uids: new Set([EXECUTOR.uid]) });
  const before = world.offered;
  world.run(world.now + 1_000);
  expect(world.offered - before).toBeGreaterThan(2);
});
