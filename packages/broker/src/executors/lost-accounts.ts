import type { ExecutorInfo, OsUser } from '@kpx/protocol';

/** How often the accounts of running executors are judged, in milliseconds: a look-up for each. */
export const JUDGE_EVERY_MS = 60_000;

/** An account that would be refused an executor now, though one runs. */
interface LostAccount {
  readonly osUser: OsUser;
  readonly why: string;
  /** It was refused by the judgement before, too: no name service that was only being restarted. */
  readonly again: boolean;
}

/** Remembers which accounts the last judgement has refused. */
export class LostAccounts {
  #refused: ReadonlySet<OsUser> = new Set();

  /** `executors`: all of them, judged. */
  judged(executors: readonly ExecutorInfo[]): LostAccount[] {
    const before = this.#refused;
    const lost = executors.flatMap(({ osUser, refusal: why }) => (why === undefined ? [] : [{ osUser, why, again: before.has(osUser) }]));
    this.#refused = new Set(lost.map(({ osUser }) => osUser));
    return lost;
  }
}
