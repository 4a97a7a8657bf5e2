import {
  FIRST_PACE,
  OFFER_EVERY_MS_MAX,
  OFFER_EVERY_MS_MIN,
  offerWaitMs,
  ROOM_WAIT_MS_MAX,
  roomWaitMs,
  TOLD_MS_MAX,
} from '../policy/offers.js';

/** Jobs of one offer; and jobs that are given without one while nothing is known of them yet. */
const UNDER_WAY_MAX = 64;
/** Weight of the newest in the mean. */
const PACE_WEIGHT = 1 / 2;

/** The fate of a job: the queue has it, or is full, or could not be asked. */
export type Told = 'taken' | 'full' | 'not now';

/** The held jobs that are given now, and when it will be the next ones' turn. */
export interface Turn {
  readonly jobs: number;
  readonly nextAt: number;
  /** Of this offer, counted from 1; 0 where nothing is told of its jobs. */
  readonly number: number;
}

/**
 * How the held jobs of one user are given to a busy executor with a queue of its own: it is told of each job whether the queue has taken it. A queue that is
 * full has as many as it may have. So what is taken from one such moment to the next is what the executor has taken out of it meanwhile. Times in
 * milliseconds.
 */
export class Filling {
  #at = Number.NEGATIVE_INFINITY;
  /** The last offer: its number, how many jobs it had, and the fate of how many is known. */
  #number = 0;
  #offered = 0;
  #known: Record<Told, number> = { taken: 0, full: 0, 'not now': 0 };
  /** Of all offers, and without one. */
  #underWay = 0;
  #takenInAll = 0;
  /** Jobs of the next offer, while there is room; undefined: the queue was full. */
  #next: number | undefined = 1;
  /** A moment at which the queue was full, and what it had taken in all by then. Its pace is counted from there. */
  #full: { readonly at: number; readonly takenInAll: number } | undefined;
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

  /** Of what is under way nothing may be told any more. */
  lost(): void {
    this.#underWay = 0;
    this.#number += 1;
    this.#at = Number.NEGATIVE_INFINITY;
  }

  /** When the next offer is due. After a while without any, nothing says that it is full. */
  dueAt(now: number): number {
    if (now - this.#at > OFFER_EVERY_MS_MAX) this.#busySince = now;
    return this.#at;
  }

  take(held: number, now: number, random: number): Turn {
    if (this.#at > now) return { jobs: 0, nextAt: this.#at, number: this.#number };
    const wanted = this.#next ?? Math.floor((now - this.#fullAt) * this.#perMs) + 1;
    this.#number += 1;
    this.#offered = Math.min(wanted, held, UNDER_WAY_MAX);
    this.#known = { taken: 0, full: 0, 'not now': 0 };
    this.#random = random;
    this.#at = now + TOLD_MS_MAX;
    return { jobs: this.#offered, nextAt: this.#at, number: this.#number };
  }

  /** The fate of a job of offer `number`, or of none, at a queue of at most `window` jobs. Answers when the next offer is due. */
  told(now: number, number: number, what: Told, window: number): number {
    this.#underWay = Math.max(0, this.#underWay - 1);
    if (what === 'taken') {
      this.#takenInAll += 1;
      this.#busySince = now;
    }
    if (number !== this.#number) {
      // An answer that comes later than the next offer: what that has is not known soon either.
      if (number > 0 && what === 'taken') this.#more();
      return this.#at;
    }
    this.#known[what] += 1;
    const { taken, full, 'not now': notNow } = this.#known;
    if (taken + full + notNow === this.#offered) this.#at = now + this.#waitMs(now, window);
    return this.#at;
  }

  /** Once all of an offer is known. */
  #waitMs(now: number, window: number): number {
    const { taken, full, 'not now': notNow } = this.#known;
    if (full === 0 && notNow === 0) {
      this.#more();
      return 0;
    }
    if (full > 0) {
      this.#next = undefined;
      this.#fullAt = now;
      this.#measure(now, window);
    }
    const roomMs = full > 0 ? roomWaitMs(this.#perMs, Math.min(window / 2, UNDER_WAY_MAX)) : OFFER_EVERY_MS_MIN;
    if (taken > 0) return roomMs;
    return Math.max(roomMs, offerWaitMs({ perMs: this.#perMs, backMs: 0 }, now - this.#busySince, this.#random, 1));
  }

  /** There may be more room. */
  #more(): void {
    this.#next = Math.min(2 * (this.#next ?? this.#offered), UNDER_WAY_MAX);
  }

  /** Over the time for half of the queue, or as long as the longest wait for room: a few jobs may all end at once. */
  #measure(now: number, window: number): void {
    if (this.#full !== undefined) {
      const [ms, taken] = [now - this.#full.at, this.#takenInAll - this.#full.takenInAll];
      if (ms < ROOM_WAIT_MS_MAX && taken < window / 2) return;
      const perMs = taken / Math.max(1, ms);
      this.#perMs += (perMs - this.#perMs) * PACE_WEIGHT;
    }
    this.#full = { at: now, takenInAll: this.#takenInAll };
  }
}
