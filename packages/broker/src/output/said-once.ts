import type { Logger } from 'pino';

/** The log of work that is repeated: a failure is logged when it begins and when its reason changes, not each time. */
export class SaidOnce {
  readonly #log: Logger;
  readonly #what: string;
  #reason = '';

  constructor(log: Logger, what: string) {
    this.#log = log;
    this.#what = what;
  }

  /** Runs the work. Never rejects. */
  async run(work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.#reason = '';
    } catch (error) {
      const { message: reason } = error as Error;
      if (reason !== this.#reason) this.#log.error({ reason }, this.#what);
      this.#reason = reason;
    }
  }
}
