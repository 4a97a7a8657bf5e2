import type { ErrorCode, KnimeUser } from '@kpx/protocol';

/*
 * Whether this host can start executors at all. A host that cannot would fail the jobs of users whom other hosts can serve, and as failing is quick
 * it would get most of them.
 */

/** So many users, one after the other and no start that has worked in between: it is the host. */
const SICK_AFTER_USERS = 3;
/** The wait from one probe to the next, in milliseconds, for a user whose start has not failed here. */
export const PROBE_INITIAL_MS = 5_000;
/** The longest such wait. Of a user whose start has failed it is twice the initial one, and doubles with each probe of theirs that fails. */
export const PROBE_MAX_MS = 120_000;
/** Most users who are remembered for that. */
const FAILED_USERS_MAX = 1_000;

/** A host that starts no executor. Times in milliseconds of the machine's clock. */
interface Sickness {
  readonly since: number;
  /** The last failure in words. */
  readonly why: string;
  /** When the next start is tried at the earliest, as soon as there is a job. */
  readonly probeAt: number;
}

export class HostHealth {
  /** Whose starts have failed since the last one that worked, and how long each waits for a probe, in milliseconds. */
  readonly #failed = new Map<KnimeUser, number>();
  /** The helper could not be asked: as soon as it answers, all is well. */
  #waitsForHelper = false;
  #sick: { readonly since: number; readonly why: string } | undefined;
  /** When the last probe began or ended. */
  #probedAt = 0;
  /** Whose start is under way to see whether the host is well again. */
  #probe: KnimeUser | undefined;

  get sickness(): Sickness | undefined {
    return this.#sick && { ...this.#sick, probeAt: this.#probedAt + PROBE_INITIAL_MS };
  }

  /** A start has failed. Answers whether the host counts as sick. */
  failed(user: KnimeUser, code: ErrorCode, why: string, now: number): boolean {
    if (code === 'ACCOUNT_UNKNOWN') return this.#sick !== undefined; // everybody may send jobs of names that do not exist
    const waitMs = this.#failed.get(user);
    if (waitMs !== undefined && this.#probe === user) this.#failed.set(user, Math.min(waitMs * 2, PROBE_MAX_MS));
    else if (waitMs === undefined && this.#failed.size < FAILED_USERS_MAX) this.#failed.set(user, 2 * PROBE_INITIAL_MS);
    this.#probe = undefined;
    this.#probedAt = now;
    if (this.#failed.size >= SICK_AFTER_USERS) this.#sick = { since: this.#sick?.since ?? now, why };
    return this.#sick !== undefined;
  }

  waitForHelper(): void {
    this.#waitsForHelper = true;
  }

  helperAnswers(): void {
    if (this.#waitsForHelper) this.#forget();
  }

  /** An executor that was started at that time has come up. */
  worked(since: number): void {
    if (this.#sick && since < this.#sick.since) return; // from before: that it is back says nothing
    this.#forget();
  }

  #forget(): void {
    this.#failed.clear();
    this.#waitsForHelper = false;
    this.#sick = undefined;
    this.#probe = undefined;
  }

  /**
   * Why nothing is started for this user; undefined: it may be. Somebody whose start has not failed yet is the next probe: users whose own starts fail
   * keep others waiting for no longer than {@link PROBE_INITIAL_MS}.
   */
  refuses(user: KnimeUser, now: number): string | undefined {
    if (!this.#sick || now - this.#probedAt >= (this.#failed.get(user) ?? PROBE_INITIAL_MS)) return undefined;
    return `this host starts no executors: those of ${this.#failed.size} users in a row failed (${this.#sick.why})`;
  }

  admits(user: KnimeUser, now: number): boolean {
    return this.refuses(user, now) === undefined;
  }

  /** An operator asks for a start, and may have fixed the host: the next probe is due, whoever it is for. */
  tryNow(now: number): void {
    this.#probedAt = now - PROBE_MAX_MS;
  }

  /** A start of this user is under way. */
  starts(user: KnimeUser, now: number): void {
    if (!this.#sick) return;
    this.#probe = user;
    this.#probedAt = now;
  }
}
