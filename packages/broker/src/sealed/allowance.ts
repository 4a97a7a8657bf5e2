/** So many at once, and one more after each `everyMs`, in milliseconds. */
export class Allowance {
  readonly #max: number;
  readonly #everyMs: number;
  #left: number;
  #at: number;

  constructor(max: number, everyMs: number, now: number) {
    this.#max = max;
    this.#everyMs = everyMs;
    this.#left = max;
    this.#at = now;
  }

  /** May one more? */
  take(now: number): boolean {
    const more = Math.floor((now - this.#at) / this.#everyMs);
    this.#left = Math.min(this.#max, this.#left + more);
    this.#at = this.#left === this.#max ? now : this.#at + more * this.#everyMs;
    if (this.#left === 0) return false;
    this.#left -= 1;
    return true;
  }
}
