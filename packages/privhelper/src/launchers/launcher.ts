import type { ExecutorInfo, SpawnOutcome, StopMode } from '@kpx/protocol';
import type { Account } from '../accounts.js';

export interface Started {
  readonly outcome: SpawnOutcome;
  readonly executor: ExecutorInfo;
}

/** How executors are started and stopped. State is derived from the operating system, never stored. */
export interface Launcher {
  /**
   * Idempotent: one executor an account. Resolves when the executor's program runs under the account (not when it is ready for jobs).
   * Throws LIMIT_REACHED, LAUNCH_FAILED or DEADLINE_EXCEEDED.
   */
  start(account: Account, signal: AbortSignal): Promise<Started>;
  /** Asks it to end (`graceful`) or ends it (`kill`); does not wait. Throws NOT_RUNNING when kpx has started none. */
  stop(account: Account, mode: StopMode): Promise<void>;
  /** Every executor, running or ended, in a stable order. */
  list(): Promise<readonly ExecutorInfo[]>;
}
