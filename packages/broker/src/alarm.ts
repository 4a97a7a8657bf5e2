/** Rings once, at the earliest moment that it was set to since the last time. Moments are those of performance.now(), in milliseconds. */
export class Alarm {
  #moment = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  readonly #ring: () => void;

  constructor(ring: () => void) {
    this.#ring = ring;
  }

  set(moment: number): void {
    if (moment >= this.#moment) return;
    clearTimeout(this.#timer);
    this.#moment = moment;
    // Work since the moment was reckoned may have taken until after it. Node 24 warns of a time that is negative.
    const ms = Math.max(0, moment - performance.now());
    this.#timer = setTimeout(() => {
      this.#moment = Number.POSITIVE_INFINITY;
      this.#ring();
    }, ms);
  }

  /** For good. */
  off(): void {
    clearTimeout(this.#timer);
    this.#moment = Number.NEGATIVE_INFINITY;
  }
}
