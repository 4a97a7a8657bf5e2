const MINUTE_MS = 60_000;

/** Messages that an account has published and may not. Its code can publish as many as it likes: so the dead letters and the log get a part of them. */
export class Refusals {
  readonly #perMinute: () => number;
  #counted = 0;
  #since = Number.NEGATIVE_INFINITY;
  #inMinute = 0;

  /** `perMinute`: how many are parked; further ones are only counted. */
  constructor(perMinute: () => number) {
    this.#perMinute = perMinute;
  }

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
    if (this.#inMinute <= this.#perMinute()) return 'parked';
    return this.#inMinute === this.#perMinute() + 1 ? 'counted from now on' : 'counted';
  }
}
