import { FIRST_PACE, offerWaitMs, ROOM_WAIT_MS_MAX, roomWaitMs, TOLD_MS_MAX } from '../policy/offers.js';

/** Jobs that are given at once, and not told of yet. */
const UNDER_WAY_MAX = 64;
/** Weight of the newest in the mean. */
const PACE_WEIGHT = 1 / 2;

/** The held jobs that are given now, and when it will be the next ones' turn. */
export interface Turn {
  readonly jobs: number;
  readonly nextAt: number;
  /** Of this offer, counted from 1. */
  readonly number: number;
}

/**
 * How the held jobs of one user are given to a busy executor with a queue of its own: it is told of each job whether the queue has taken it. A queue that
 * refuses one has as many as it may have. So what is taken from one such moment to the next is what the executor has taken out of it meanwhile. Times in
 * milliseconds.
 */
export class Filling {
  #at = Number.NEGATIVE_INFINITY;
  /** The last offer: its number, how many jobs it had, and how many were taken or refused. */
  #number = 0;
  #offered = 0;
  #taken = 0;
  #refused = 0;
  /** Of all offers, and without one. */
  #underWay = 0;
  #takenInAll = 0;
  /** Jobs of the next offer, while there is room; undefined: the queue was full. */
  #next: number | undefined = 1;
  /** A moment at which the queue was full, and what it had taken in all by then. Its pace is counted from there. */
  #full: { readonly at: number; readonly takenInAll: number } | undefined;
  /** Since then there was a time without a job for it. */
  #paused = false;
  #fullAt = 0;
  /** Jobs that the executor takes in a millisecond. */
  #perMs = FIRST_PACE.perMs;
  #busySince: number;
  #random = 0;

  constructor(now: number) {
    this.#busySince = now;
  }

  get perMs(): number {
    return this.#perMs;
  }

  /** Since when it has taken none. */
  get busySince(): number {
    return this.#busySince;
  }

  /** One more may be given as it comes. */
  get hasPlace(): boolean {
    return this.#underWay < UNDER_WAY_MAX;
  }

  gave(jobs: number): void {
    this.#underWay += jobs;
  }

  /** Nothing will be told of what is under way. */
  lost(): void {
    this.#underWay = 0;
    this.#number += 1;
    this.#at = Number.NEGATIVE_INFINITY;
  }

  /** There was no job for it. */
  paused(): void {
    this.#paused = true;
  }

  /** When the next offer is due. */
  get dueAt(): number {
    return this.#at;
  }

  take(held: number, now: number, random: number): Turn {
    if (this.#at > now) return { jobs: 0, nextAt: this.#at, number: this.#number };
    const wanted = this.#next ?? Math.floor((now - this.#fullAt) * this.#perMs) + 1;
    this.#number += 1;
    this.#offered = Math.min(wanted, held, UNDER_WAY_MAX);
    this.#taken = 0;
    this.#refused = 0;
    this.#random = random;
    this.#at = now + TOLD_MS_MAX;
    return { jobs: this.#offered, nextAt: this.#at, number: this.#number };
  }

  /** The fate of a job of offer `number`, or of none, at a queue of at most `window` jobs. Answers when the next offer is due. */
  told(now: number, number: number, what: 'taken' | 'refused', window: number): number {
    this.#underWay = Math.max(0, this.#underWay - 1);
    if (what === 'taken') {
      this.#takenInAll += 1;
      this.#busySince = now;
    }
    if (number !== this.#number) return this.#at;
    if (what === 'taken') this.#taken += 1;
    else this.#refused += 1;
    if (this.#taken + this.#refused === this.#offered) this.#at = this.#refused === 0 ? this.#goOn(now) : this.#wasFull(now, window);
    return this.#at;
  }

  /** There may be more room. */
  #goOn(now: number): number {
    this.#next = 2 * this.#offered;
    return now;
  }

  #wasFull(now: number, window: number): number {
    this.#next = undefined;
    this.#fullAt = now;
    this.#measure(now, window);
    const waitMs = roomWaitMs(this.#perMs, Math.min(window / 2, UNDER_WAY_MAX));
    if (this.#taken > 0) return now + waitMs;
    return now + Math.max(waitMs, offerWaitMs({ perMs: this.#perMs, backMs: 0 }, now - this.#busySince, this.#random, 1));
  }

  /** Over the time for half of the queue, or as long as the longest wait for room: a few jobs may all end at once. */
  #measure(now: number, window: number): void {
    if (this.#full !== undefined) {
      const [ms, taken] = [now - this.#full.at, this.#takenInAll - this.#full.takenInAll];
      if (ms < ROOM_WAIT_MS_MAX && taken < window / 2) return;
      const perMs = taken / Math.max(1, ms);
      if (perMs > this.#perMs || !this.#paused) this.#perMs += (perMs - this.#perMs) * PACE_WEIGHT;
    }
    this.#full = { at: now, takenInAll: this.#takenInAll };
    this.#paused = false;
  }
}
