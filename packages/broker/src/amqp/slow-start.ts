/** How many jobs RabbitMQ hands over in turn after a connect, until it is as many as are configured. */
const STAGES = [1, 8, 64] as const;

/**
 * After each connect the first job is taken alone, then few, then more. Where RabbitMQ ends the session on one of them, few others have been handed
 * over in vain: a quorum queue counts that, and some drop a job that was handed over too often.
 */
export class SlowStart {
  readonly #stages: number[];
  readonly #widen: (prefetch: number) => void;
  /** Deliveries since the stage began. */
  #taken = 0;

  /** `widen` is told the next prefetch. */
  constructor(full: number, widen: (prefetch: number) => void) {
    this.#stages = [...STAGES.filter((stage) => stage < full), full];
    this.#widen = widen;
  }

  get prefetch(): number {
    return this.#stages[0] ?? 1;
  }

  taken(): void {
    this.#taken += 1;
  }

  /** `underWay`: how many are published and not confirmed. Those that are held are in no danger of being refused. */
  look(underWay: number): void {
    const [stage = 0, next] = this.#stages;
    if (next === undefined || this.#taken - underWay < stage) return;
    this.#stages.shift();
    this.#taken = 0;
    this.#widen(next);
  }
}
