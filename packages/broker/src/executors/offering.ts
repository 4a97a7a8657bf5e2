import {
  BUSY_DELAY_MS,
  busyDelayMax,
  FIRST_OFFER_JOBS,
  FIRST_PACE,
  nextOfferJobs,
  OFFER_BEYOND,
  OFFER_EVERY_MS_MAX,
  offerOutMs,
  offerWaitMs,
  type Pace,
  paceAfterOffer,
  paceAfterReturn,
  START_DELAY_MAX,
} from '../policy/offers.js';
import { type DelayMs, NO_ROOM_DELAY_MS, SOON_MS } from '../policy/policy.js';
import { Filling, type Told, type Turn } from './filling.js';

/** The time for which a job was away is told in whole milliseconds. */
const ROUNDED_MS = 1;

const GOLDEN_RATIO = (Math.sqrt(5) - 1) / 2;

/** Makes one throw of the dice serve many users: steps of this size come close to no earlier one. */
export const spread = (random: number, user: number): number => (random + GOLDEN_RATIO * user) % 1;

/** How the held jobs of one user are offered to a busy executor: some at a time, as many and as often as it takes them. Times in milliseconds. */
export class Offering {
  #pace: Pace = FIRST_PACE;
  /** Where it is told what becomes of its jobs, that decides instead. */
  #filling: Filling | undefined;
  /** When the next one is due. */
  #at = Number.NEGATIVE_INFINITY;
  /** The last one: when it was made, how many jobs it had, how many of them have come back since. */
  #madeAt = Number.NEGATIVE_INFINITY;
  #offered = 0;
  #cameBack = 0;
  #busySince = 0;
  /** Jobs in a row that came back with all others of their offer. */
  #missed = 0;
  /** The throw of the dice for the wait after it, and how many users' executors were offered jobs by the same queue. */
  #random = 0;
  #sharing = 1;
  #users = 1;
  /** Jobs that were sent to wait for a moment, and since when they were counted. */
  #waitShortly = 0;
  #shortlySince = Number.NEGATIVE_INFINITY;

  /** Since when the executor has taken none of the jobs that it was offered. */
  get busySince(): number {
    return this.#filling?.busySince ?? this.#busySince;
  }

  /** One more may be given as it comes, without an offer. */
  get hasPlace(): boolean {
    return this.#filling?.hasPlace ?? true;
  }

  gave(jobs: number): void {
    this.#filling?.gave(jobs);
  }

  /** See {@link Filling.lost}. */
  lost(): void {
    this.#filling?.lost();
  }

  /** See {@link Filling.told}. */
  told(now: number, number: number, what: Told, window: number): number {
    this.#filling ??= new Filling(now);
    return this.#filling.told(now, number, what, window);
  }

  /** A job that comes back goes on at the pace of the last offer; long after that, all begins anew. Answers when the next one is due. */
  dueAt(now: number): number {
    if (this.#filling) return this.#filling.dueAt(now);
    if (now - this.#at > OFFER_EVERY_MS_MAX) {
      this.#pace = FIRST_PACE;
      this.#offered = 0;
      this.#at = now + offerOutMs(this.#pace, 0, 1);
      this.#busySince = now;
    }
    return this.#at;
  }

  /**
   * The executor did not take it. `awayMs`: since it was offered, in whole milliseconds; undefined: nobody knows, and it counts as one of the last offer.
   * Answers when the next offer is due.
   */
  cameBack(now: number, awayMs?: number): number {
    this.#filling = undefined; // it shares a queue with others now
    if (awayMs !== undefined && awayMs > now - this.#madeAt + ROUNDED_MS) return this.#cameLate(awayMs);
    this.#cameBack += 1;
    if (this.#cameBack <= this.#offered) this.#pace = paceAfterReturn(this.#pace, now - this.#madeAt);
    if (this.#cameBack === this.#offered) this.#at = this.#nextAfterMiss(now);
    return this.#at;
  }

  /** Of an offer before, of which it counts as taken: offers are back later than was thought, and so is the last one. */
  #cameLate(awayMs: number): number {
    this.#pace = paceAfterReturn(this.#pace, awayMs);
    this.#at = Math.max(this.#at, this.#madeAt + offerOutMs(this.#pace, this.#offered, this.#users));
    return this.#at;
  }

  /** All are back. One alone may have come in the broker's turn: that says nothing. */
  #nextAfterMiss(now: number): number {
    this.#missed += this.#offered;
    if (this.#missed < OFFER_BEYOND) return now;
    this.#missed = 0;
    return Math.max(this.#at, now + offerWaitMs(this.#pace, now - this.#busySince, this.#random, this.#sharing));
  }

  /**
   * How many of `held` jobs are offered now, and when it will be the next ones' turn. `users`: to whose executors jobs are offered, and `sharing`: to how many
   * of them by one queue.
   */
  take(held: number, now: number, random: number, users: number, sharing = users): Turn {
    if (this.#filling) return this.#filling.take(held, now, random);
    if (this.#at > now) return { jobs: 0, nextAt: this.#at, number: 0 };
    const jobs = this.#offered > 0 ? this.#learn(now) : FIRST_OFFER_JOBS;
    this.#madeAt = now;
    this.#offered = Math.min(jobs, held);
    this.#cameBack = 0;
    this.#random = random;
    this.#sharing = sharing;
    this.#users = users;
    this.#at = now + offerOutMs(this.#pace, this.#offered, users);
    return { jobs: this.#offered, nextAt: this.#at, number: 0 };
  }

  /** From the last offer. Answers how many jobs the next one has. */
  #learn(now: number): number {
    const taken = Math.max(0, this.#offered - this.#cameBack);
    if (taken > 0) {
      this.#busySince = now;
      this.#missed = 0;
    }
    const pace = paceAfterOffer(this.#pace, taken, now - this.#madeAt);
    // Half of what is offered comes back from one that has room for all.
    if (2 * this.#cameBack > this.#offered || pace.perMs > this.#pace.perMs) this.#pace = pace;
    return nextOfferJobs(taken);
  }

  /** How long a job waits elsewhere that is not among the `held` ones. */
  delayMs(now: number, held: number): DelayMs {
    const most = busyDelayMax(this.#filling?.perMs ?? this.#pace.perMs, now - this.busySince, held);
    return this.#shortly(now, BUSY_DELAY_MS, most) ? BUSY_DELAY_MS : SOON_MS;
  }

  /** The same while the executor starts. */
  startDelayMs(now: number): DelayMs {
    return this.#shortly(now, SOON_MS, START_DELAY_MAX) ? SOON_MS : NO_ROOM_DELAY_MS;
  }

  /** Is there a place among the `most` jobs that wait for so short a time only? */
  #shortly(now: number, delayMs: DelayMs, most: number): boolean {
    if (now - this.#shortlySince > delayMs) {
      this.#shortlySince = now;
      this.#waitShortly = 0;
    }
    if (this.#waitShortly >= most) return false;
    this.#waitShortly += 1;
    return true;
  }
}
