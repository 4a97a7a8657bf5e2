import { busyDelayMs, type DelayMs, FIRST_OFFER, nextOffer, OFFER_EVERY_MS_MAX, type Offer, offerWaitMs } from '../policy/policy.js';

const GOLDEN_RATIO = (Math.sqrt(5) - 1) / 2;

/** Makes one throw of the dice serve many users: steps of this size come close to no earlier one. */
export const spread = (random: number, user: number): number => (random + GOLDEN_RATIO * user) % 1;

/** How the held jobs of one user are offered to a busy executor: a few at a time, as often as it takes them. */
export class Offering {
  #offer: Offer = FIRST_OFFER;
  /** When the next one is due. */
  #at = Number.NEGATIVE_INFINITY;
  /** How many jobs the last one had, and how many of them have come back since. */
  #offered = 0;
  #cameBack = 0;
  #busySince = 0;

  /** Since when the executor has taken none of the jobs that it was offered. */
  get busySince(): number {
    return this.#busySince;
  }

  /** A job that comes back goes on at the pace of the last offer; long after that, all begins anew. Answers when the next one is due. */
  dueAt(now: number): number {
    if (now - this.#at > OFFER_EVERY_MS_MAX) {
      this.#offer = FIRST_OFFER;
      this.#at = now + offerWaitMs(FIRST_OFFER, 0);
      this.#offered = 0;
      this.#busySince = now;
    }
    return this.#at;
  }

  /** The executor did not take it. */
  cameBack(): void {
    this.#cameBack += 1;
  }

  /** How many of `held` jobs are offered now, and when it will be the next ones' turn. */
  take(held: number, now: number, random: number): { readonly jobs: number; readonly nextAt: number } {
    if (this.#at > now) return { jobs: 0, nextAt: this.#at };
    const taken = this.#offered - this.#cameBack;
    if (taken > 0) this.#busySince = now;
    if (this.#offered > 0) this.#offer = nextOffer(this.#offer, taken);
    this.#at = now + offerWaitMs(this.#offer, random);
    this.#offered = Math.min(this.#offer.jobs, held);
    this.#cameBack = 0;
    return { jobs: this.#offered, nextAt: this.#at };
  }

  /** How long a job that is not held waits elsewhere. */
  get delayMs(): DelayMs {
    return busyDelayMs(this.#offer);
  }
}
