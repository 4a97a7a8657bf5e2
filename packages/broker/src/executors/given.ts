/** A job that an executor keeps for so long was not refused, in milliseconds: refused ones come back within moments. */
const KEPT_MS = 5_000;

/** The fate of the jobs that were forwarded to one executor, as far as the broker can see. Times in milliseconds of the machine's clock. */
export class GivenJobs {
  /** Forwarded, and not seen again; and since when there has been one. */
  #kept = 0;
  #keptSince = 0;
  #taken = false;

  gave(jobs: number, now: number): void {
    this.hasTaken(now);
    if (this.#kept === 0) this.#keptSince = now;
    this.#kept += jobs;
  }

  cameBack(now: number): void {
    this.hasTaken(now);
    this.#kept = Math.max(0, this.#kept - 1);
  }

  /** It has taken a job for certain. */
  hasTaken(now: number): boolean {
    this.#taken ||= this.#kept > 0 && now - this.#keptSince >= KEPT_MS;
    return this.#taken;
  }

  /** It may have one: nothing says that it was refused. */
  get mayHaveTaken(): boolean {
    return this.#taken || this.#kept > 0;
  }
}
