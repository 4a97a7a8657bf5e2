/** A connection that has lasted this long, in milliseconds, shows that RabbitMQ serves the executor: it keeps even refused logins for 3 seconds. */
export const STABLE_MS = 10_000;

/** An executor's connection to RabbitMQ, as far as the kernel shows it. Times in milliseconds of the machine's clock. */
export class ExecutorLink {
  #upSince: number | undefined;
  #downSince: number | undefined;
  /** Looks in a row that have shown no connection. */
  #downLooks = 0;
  /** When the executor was served last, as far as is known; undefined: not yet. */
  #servedAt: number | undefined;
  /** A connection has been seen, however short. */
  wasUp = false;

  /** The result of a look. */
  see(isUp: boolean, now: number): void {
    if (isUp) {
      this.#upSince ??= now;
      this.#downSince = undefined;
      this.#downLooks = 0;
      this.wasUp = true;
      if (this.#servedAt !== undefined && now - this.#upSince >= STABLE_MS) this.#servedAt = now;
    } else {
      this.#upSince = undefined;
      this.#downSince ??= now;
      this.#downLooks += 1;
    }
  }

  /** There has been a connection for so long. */
  lasts(ms: number, now: number): boolean {
    return this.#upSince !== undefined && now - this.#upSince >= ms;
  }

  /** There has been none for so long. A single look may miss one: connections come and go while the kernel's table is read. */
  isCut(ms: number, now: number): boolean {
    return this.#downSince !== undefined && this.#downLooks > 1 && now - this.#downSince >= ms;
  }

  /** The executor is ready: from now on it is missed when it is without a connection. A reconnect that does not last forgives nothing. */
  ready(now: number): void {
    this.#servedAt ??= now;
  }

  /** Nobody could say whether RabbitMQ serves it, or that was away for everybody: without a connection it has the whole time anew. */
  startAnew(now: number): void {
    if (this.#servedAt !== undefined) this.#servedAt = now;
    if (this.#downSince !== undefined) this.#downSince = now;
    this.#downLooks = Math.min(this.#downLooks, 1);
  }

  /** For how long RabbitMQ has not served the executor. */
  lostForMs(now: number): number {
    return this.#servedAt === undefined ? 0 : now - this.#servedAt;
  }
}
