/** A job that an executor keeps for so long was not refused, in milliseconds: refused ones come back within moments. */
export const KEPT_MS = 5_000;

/** The fate of the jobs that were forwarded to one executor, as far as the broker can see. Times in milliseconds of the machine's clock. */
export class GivenJobs {
  /** Forwarded, and not seen again; and since when there has been one. */
  #kept = 0;
  #keptSince = 0;
  #taken = false;
  /** How many it had kept at the last look but one, and the fewest since the last: more throughout is a job taken. */
  #keptBefore = 0;
  #fewest = 0;

  gave(jobs: number, now: number): void {
    this.hasTaken(now);
    if (this.#kept === 0) this.#keptSince = now;
    this.#kept += jobs;
  }

  cameBack(now: number): void {
    this.hasTaken(now);
    this.#kept = Math.max(0, this.#kept - 1);
    this.#fewest = Math.min(this.#fewest, this.#kept);
  }

  /** It has taken a job for certain. */
  hasTaken(now: number): boolean {
    this.#taken ||= this.#kept > 0 && now - this.#keptSince >= KEPT_MS;
    return this.#taken;
  }

  /** For regular looks: it has taken a job. An offer to a full executor is out for a moment, and does not count. Seen two looks later at the latest. */
  hasTakenMore(): boolean {
    const more = this.#fewest > this.#keptBefore;
    this.#keptBefore = this.#fewest;
    this.#fewest = this.#kept;
    return more;
  }

  /** It may have one: nothing says that it was refused. */
  get mayHaveTaken(): boolean {
    return this.#taken || this.#kept > 0;
  }
}
