import type { ErrorCode, KnimeUser } from '@kpx/protocol';

/*
 * Whether this host can start executors at all. A host that cannot would fail the jobs of users whom other hosts can serve, and as failing is quick
 * it would get most of them.
 */

/** So many users, one after the other and no start that has worked in between: it is the host. */
export const SICK_AFTER_USERS = 3;
/** The wait before the first probe, in milliseconds. It doubles with each that fails. */
export const PROBE_INITIAL_MS = 5_000;
export const PROBE_MAX_MS = 120_000;

/** A host that starts no executor. Times in milliseconds of the machine's clock. */
export interface Sickness {
  readonly since: number;
  /** The last failure in words. */
  readonly why: string;
  /** When the next start is tried, as soon as there is a job. */
  readonly probeAt: number;
}

export class HostHealth {
  /** Whose starts have failed since the last one that worked. */
  readonly #failed = new Set<KnimeUser>();
  /** The helper could not be asked: as soon as it answers, all is well. */
  #waitsForHelper = false;
  /** A start is under way that was begun to see whether the host is well again. */
  #probes = false;
  #sickness: Sickness | undefined;
  #probeEveryMs = PROBE_INITIAL_MS;

  get sickness(): Sickness | undefined {
    return this.#sickness;
  }

  /** A start has failed. Answers whether the host counts as sick. */
  failed(user: KnimeUser, code: ErrorCode, why: string, now: number): boolean {
    if (code === 'ACCOUNT_UNKNOWN') return false; // everybody may send jobs of names that do not exist
    if (this.#failed.size < SICK_AFTER_USERS) this.#failed.add(user);
    if (this.#sickness) {
      // A start that was under way when the host became sick is no probe.
      if (this.#probes) this.#probeEveryMs = Math.min(this.#probeEveryMs * 2, PROBE_MAX_MS);
      this.#probes = false;
      this.#sickness = { ...this.#sickness, why, probeAt: now + this.#probeEveryMs };
    } else if (this.#failed.size === SICK_AFTER_USERS) this.#sickness = { since: now, why, probeAt: now + this.#probeEveryMs };
    return this.#sickness !== undefined;
  }

  waitForHelper(): void {
    this.#waitsForHelper = true;
  }

  helperAnswers(): void {
    if (this.#waitsForHelper) this.#forget();
  }

  /** An executor that was started at that time has come up. */
  worked(since: number): void {
    if (this.#sickness && since < this.#sickness.since) return; // from before: that it is back says nothing
    this.#forget();
  }

  #forget(): void {
    this.#failed.clear();
    this.#waitsForHelper = false;
    this.#probes = false;
    this.#sickness = undefined;
    this.#probeEveryMs = PROBE_INITIAL_MS;
  }

  /**
   * Why nothing is started for this user; undefined: it may be. Those whose starts made the host count as sick have to wait longer for the next
   * probe than everybody else: if it is them, somebody else shows it.
   */
  refuses(user: KnimeUser, now: number): string | undefined {
    if (!this.#sickness) return undefined;
    const { why, probeAt } = this.#sickness;
    const dueAt = this.#failed.has(user) ? probeAt + this.#probeEveryMs : probeAt;
    return now >= dueAt ? undefined : `this host starts no executors: those of ${this.#failed.size} users in a row failed (${why})`;
  }

  /** An operator asks for a start, and may have fixed the host: the next probe is due, whoever it is for. */
  tryNow(now: number): void {
    if (this.#sickness) this.#sickness = { ...this.#sickness, probeAt: now - this.#probeEveryMs };
  }

  admits(user: KnimeUser, now: number): boolean {
    return this.refuses(user, now) === undefined;
  }

  /** A start is under way: the next probe comes later. */
  starts(now: number): void {
    if (!this.#sickness) return;
    this.#probes = true;
    this.#sickness = { ...this.#sickness, probeAt: now + this.#probeEveryMs };
  }
}
