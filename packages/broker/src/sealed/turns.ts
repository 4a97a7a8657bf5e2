interface Waiting {
  readonly isAlone: boolean;
  readonly go: () => void;
}

/** Lets actions run together, and some of them alone: with no other under way. In the order in which they came. */
export class Turns {
  #line: Waiting[] = [];
  #running = 0;
  /** The one that runs does so alone. */
  #isAlone = false;

  async run<T>(isAlone: boolean, action: () => Promise<T>): Promise<T> {
    await new Promise<void>((go) => {
      this.#line.push({ isAlone, go });
      this.#goOn();
    });
    try {
      return await action();
    } finally {
      this.#running -= 1;
      this.#goOn();
    }
  }

  #goOn(): void {
    if (this.#running === 0) this.#isAlone = false;
    for (let [next] = this.#line; next && this.#mayRun(next); [next] = this.#line) {
      this.#line.shift();
      this.#running += 1;
      this.#isAlone = next.isAlone;
      next.go();
    }
  }

  #mayRun({ isAlone }: Waiting): boolean {
    return !this.#isAlone && (!isAlone || this.#running === 0);
  }
}
