/** Runs work, of which so much may be under way at once. Other work waits in line, and each for a time at most. */
export class InTurn {
  readonly #atOnceMax: number;
  readonly #waitMsMax: number;
  #running = 0;
  readonly #line: (() => void)[] = [];

  constructor(atOnceMax: number, waitMsMax: number) {
    this.#atOnceMax = atOnceMax;
    this.#waitMsMax = waitMsMax;
  }

  /** Rejects as the work does, and where its turn has not come in time. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#atOnceMax) await this.#turn();
    else this.#running += 1;
    try {
      return await work();
    } finally {
      const next = this.#line.shift();
      if (next) next();
      else this.#running -= 1;
    }
  }

  /** Resolves when another one has ended, in whose place this one runs. */
  async #turn(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const go = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#line.splice(this.#line.indexOf(go), 1);
        reject(new Error(`its turn has not come within ${this.#waitMsMax / 1_000} s: ${this.#atOnceMax} before it take too long`));
      }, this.#waitMsMax);
      this.#line.push(go);
    });
  }
}
