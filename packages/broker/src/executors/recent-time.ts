import type { KnimeUser } from '@kpx/protocol';

/** Half of a user's executor time is forgotten in so many milliseconds. */
export const RECENT_HALF_MS = 3_600_000;
/** Nobody can have more, in milliseconds: it is that of an executor that has run for ever. */
export const RECENT_MAX_MS = RECENT_HALF_MS / Math.LN2;
/** Users whose executor time is remembered; whose last executor ended longest ago goes first. */
export const RECENT_USERS_MAX = 5_000;

/** The part of it that is not forgotten yet after `ms` milliseconds. */
const left = (ms: number) => 2 ** (-Math.max(0, ms) / RECENT_HALF_MS);

/** For how long executors have run that have ended, by user, the recent time above all. Times in milliseconds of the machine's clock. */
export class RecentTime {
  /** By name in lower case: to the helper, names that differ in case alone are of one account. */
  readonly #users = new Map<string, { readonly ms: number; readonly at: number }>();

  get size(): number {
    return this.#users.size;
  }

  /** An executor that a user's jobs went to has run from `since` until `now`. */
  ran(user: KnimeUser, since: number, now: number): void {
    const ms = Math.min(RECENT_MAX_MS, this.of(user, now) + RECENT_MAX_MS * (1 - left(now - since)));
    const name = user.toLowerCase();
    this.#users.delete(name);
    this.#users.set(name, { ms, at: now });
    const [oldest] = this.#users.keys();
    if (this.#users.size > RECENT_USERS_MAX && oldest !== undefined) this.#users.delete(oldest);
  }

  of(user: KnimeUser, now: number): number {
    const known = this.#users.get(user.toLowerCase());
    return known ? known.ms * left(now - known.at) : 0;
  }
}
