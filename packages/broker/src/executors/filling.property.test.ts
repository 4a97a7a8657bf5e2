import fc from 'fast-check';
import { expect, it } from 'vitest';
import { alice, EXECUTOR } from '../../test-fixtures/executors.js';
import { PLAIN_POLICY } from '../../test-fixtures/policy.js';
import type { Event, Refusal } from './events.js';
import { Machine } from './machine.js';

/*
 * The machine beside a sealed executor: it takes jobs from a queue of its own, which refuses what is more than it may hold. Whether it has a job is told.
 * Times in milliseconds.
 */

const RANDOM = 0.5;
const JOBS = 1_000;
/** From an answer to the next offer: a tick, and the shortest wait for room. */
const NEXT_MS = 4;
/** The longest wait for room: an executor whose jobs take longer refuses some in between. */
const ROOM_MS = 100;
const SETTLED_MS = 10_000;
interface Account {
  readonly window: number;
  /** Jobs in the hands of the executor at most; all of them are worked on at once. */
  readonly prefetch: number;
  readonly jobMs: number;
  /** From the machine to the queue, and back: each a half of a round trip. */
  readonly halfTripMs: number;
}

class World {
  readonly machine: Machine;
  /** To the account. */
  connected = true;
  now = 0;
  done = 0;
  refused = 0;
  /** By the machine. */
  given = 0;
  #queued = 0;
  #inHand = 0;
  #tickets = 0;
  #order = 0;
  #tickAt = 0;
  #events: { readonly at: number; readonly order: number; readonly does: () => void }[] = [];

  /** Jobs that are to be done, in all. */
  #jobs = 0;
  /** Connections that were lost. */
  #lost = 0;

  constructor(readonly account: Account) {
    this.machine = new Machine({ ...PLAIN_POLICY, sealed: true, window: account.window, heldPerUser: JOBS, heldInAll: JOBS });
    this.#step({ kind: 'start asked', user: alice, groups: undefined });
    this.#step({ kind: 'started', user: alice, executor: EXECUTOR });
    this.#step({ kind: 'connections', uids: new Set([EXECUTOR.uid]) });
    this.arrive();
  }

  arrive(jobs = JOBS): void {
    this.#jobs += jobs;
    for (let count = 0; count < jobs; count++) this.#arrives(0);
  }

  /** The connection to the server, and the account's: nobody is told what has become of the jobs under way. */
  loseConnections(): void {
    this.#lost += 1;
    this.#step({ kind: 'channel lost' });
    this.#step({ kind: 'channel opened' });
    this.#jobs = this.done + this.#queued + this.#inHand;
  }

  #in(ms: number, does: () => void): void {
    this.#events.push({ at: this.now + ms, order: ++this.#order, does });
  }

  #step(event: Event): void {
    const connection = this.#lost;
    for (const effect of this.machine.step(event, this.now, RANDOM))
      if (effect.kind === 'forward') {
        this.given += 1;
        this.#in(this.account.halfTripMs, () => connection === this.#lost && this.#publish(effect.offer ?? 0));
      }
    this.#tickAt = this.now + this.machine.tickInMs;
  }

  #arrives(hops: number, refusal?: Refusal): void {
    const again = refusal ? { refusal } : {};
    this.#step({ kind: 'job', ticket: ++this.#tickets, user: alice, hops, waited: false, groups: undefined, ageMs: 0, ...again });
  }

  #publish(offer: number): void {
    const { window, halfTripMs } = this.account;
    const connection = this.#lost;
    const answer = (does: () => void) => this.#in(halfTripMs, () => connection === this.#lost && does());
    if (!this.connected) {
      this.#arrives(2, { offer, full: false });
      return;
    }
    if (this.#queued >= window) {
      this.refused += 1;
      answer(() => this.#arrives(2, { offer, full: true }));
      return;
    }
    this.#queued += 1;
    answer(() => this.#step({ kind: 'taken', user: alice, offer }));
    this.#work();
  }

  #work(): void {
    const { prefetch, jobMs } = this.account;
    while (this.#queued > 0 && this.#inHand < prefetch) {
      this.#queued -= 1;
      this.#inHand += 1;
      this.#in(jobMs, () => {
        this.#inHand -= 1;
        this.done += 1;
        this.#work();
      });
    }
  }

  /** Until all jobs are done, or that time has come. */
  run(until: number): void {
    this.#goOn(() => this.now < until && this.done < this.#jobs);
  }

  pass(ms: number): void {
    const until = this.now + ms;
    this.#goOn(() => this.now < until);
  }

  #goOn(wanted: () => boolean): void {
    while (wanted()) {
      this.#events.sort((a, b) => a.at - b.at || a.order - b.order);
      const [next] = this.#events;
      if (next && next.at <= this.#tickAt) {
        this.#events.shift();
        this.now = next.at;
        next.does();
      } else {
        this.now = this.#tickAt;
        this.#step({ kind: 'tick' });
      }
    }
  }
}

const account = fc.record({
  window: fc.integer({ min: 8, max: 256 }),
  prefetch: fc.integer({ min: 1, max: 4 }),
  jobMs: fc.integer({ min: 2, max: 200 }),
  halfTripMs: fc.double({ min: 0.2, max: 4, noNaN: true }),
});

it('keeps an executor as busy as its queue and the round trip allow, for two refused jobs or so for each that is done', () => {
  fc.assert(
    fc.property(account, (one) => {
      const { prefetch, jobMs, window, halfTripMs } = one;
      const aloneMs = (JOBS / prefetch) * jobMs;
      const tripsMs = (JOBS / window) * (4 * halfTripMs + NEXT_MS);
      const world = new World(one);
      world.run(10 * Math.max(aloneMs, tripsMs));
      expect(world.done).toBe(JOBS);
      expect(world.now).toBeLessThan(1.25 * Math.max(aloneMs, tripsMs));
      // Nothing is known of it when the first ones are given: all of them.
      expect(world.refused).toBeLessThan(JOBS + 2 * JOBS + (2 * world.now) / ROOM_MS);
    }),
    { numRuns: 100 },
  );
});

it('is as fast for each of many bursts, however slow the executor looked in between', () => {
  const world = new World({ window: 32, prefetch: 4, jobMs: 2, halfTripMs: 0.5 });
  world.run(5_000);
  const burst = 400;
  for (let count = 0; count < 20; count++) {
    world.pass(500);
    const [began, given] = [world.now, world.given];
    world.arrive(burst);
    expect(world.given - given).toBe(64); // no more until it is known what became of them
    world.run(began + 5_000);
    expect(world.now - began).toBeLessThan(1.2 * (burst / 4) * 2);
  }
});

it('goes on at once after a short loss of the connection, however long there was nothing to do before', () => {
  const world = new World({ window: 32, prefetch: 4, jobMs: 2, halfTripMs: 0.5 });
  world.run(5_000);
  world.pass(600_000);
  world.connected = false;
  world.arrive(1);
  world.pass(100);
  expect(world.done).toBe(JOBS);
  world.connected = true;
  const began = world.now;
  world.run(began + 5_000);
  expect(world.done).toBe(JOBS + 1);
  expect(world.now - began).toBeLessThan(150);
});

it('gives no fewer than all that may be under way in the time of an answer, where answers take seconds', () => {
  const halfTripMs = 750;
  const world = new World({ window: 10_000, prefetch: 4, jobMs: 2, halfTripMs });
  world.run(60_000);
  world.pass(60_000);
  world.arrive();
  const began = world.now;
  world.run(began + 60_000);
  expect(world.done).toBe(2 * JOBS);
  // The first ones go without an offer, and the first offers are small.
  expect(world.now - began).toBeLessThan((JOBS / 64 + 6) * 1_000);
});

it('costs one refused job every second or so for an executor that is full, once that is known', () => {
  const world = new World({ window: 8, prefetch: 4, jobMs: 600_000, halfTripMs: 0.5 });
  world.run(SETTLED_MS);
  const before = world.refused;
  world.run(SETTLED_MS + 60_000);
  expect(world.refused - before).toBeGreaterThan(20);
  expect(world.refused - before).toBeLessThan(80);
});

it('goes on where the answers to an offer are lost with the connection', () => {
  const world = new World({ window: 8, prefetch: 4, jobMs: 2, halfTripMs: 0.5 });
  world.run(20);
  world.loseConnections();
  world.arrive();
  const began = world.now;
  world.run(began + 10_000);
  expect(world.done).toBeGreaterThanOrEqual(JOBS);
  expect(world.now - began).toBeLessThan(2 * (JOBS / 4) * 2);
});
