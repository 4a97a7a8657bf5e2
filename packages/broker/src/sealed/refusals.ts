/** Of one account, that are parked in a minute; further ones are only counted. */
export const REFUSED_PER_MINUTE = 10;
const MINUTE_MS = 60_000;

/** Messages that an account has published and may not. Its code can publish as many as it likes: so the dead letters and the log get a part of them. */
export class Refusals {
  #counted = 0;
  #since = Number.NEGATIVE_INFINITY;
  #inMinute = 0;

  /** Since the broker started. */
  get counted(): number {
    return this.#counted;
  }

  /** One more; answers what is done with it. Times in milliseconds of the machine's clock. */
  next(now: number): 'parked' | 'counted from now on' | 'counted' {
    this.#counted += 1;
    if (now - this.#since >= MINUTE_MS) {
      this.#since = now;
      this.#inMinute = 0;
    }
    this.#inMinute += 1;
    if (this.#inMinute <= REFUSED_PER_MINUTE) return 'parked';
    return this.#inMinute === REFUSED_PER_MINUTE + 1 ? 'counted from now on' : 'counted';
  }
}
