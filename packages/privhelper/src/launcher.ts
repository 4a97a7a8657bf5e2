import type { Answer, Environment, ExecutorInfo, OsUser, ProfileName, StopMode } from '@kpx/protocol';
import type { Account } from './accounts.js';
import type { UserDirectory } from './system/directory.js';

/** The answer to a start: its outcome, and the executor that runs now. */
export type Started = Extract<Answer, { kind: 'executorSpawned' }>['body'];

/** Sealed: passwords by account, from PrepareUser until an executor starts with it. */
interface Passwords {
  get(osUser: OsUser): Promise<string | undefined> | string | undefined;
  set(osUser: OsUser, password: string): unknown;
  delete(osUser: OsUser): unknown;
}

/** How programs of users are started and stopped: executors, and the copy that fills a home. State is derived from the operating system, never stored. */
export interface Launcher {
  /**
   * Fills a new home: copies what is in `skeleton` with the modes that it has there, as `useradd --create-home` does. The copy has the user's
   * rights and bounds of its own. A user gains nothing by files in its way, or by keeping it from ending. Throws
   * DIRECTORY_FAILED or DEADLINE_EXCEEDED; what it has copied until then is removed.
   */
  fill(account: Account, skeleton: string, home: UserDirectory, signal: AbortSignal): Promise<void>;
  /**
   * Idempotent: one executor an account, whatever its profile. Resolves when the executor's program runs under the account (not when it is ready for jobs).
   * `environment` is called only where no executor of the account runs. Throws its errors, PROFILE_UNKNOWN, LIMIT_REACHED, LAUNCH_FAILED, HOST_FAILED
   * or DEADLINE_EXCEEDED.
   */
  start(account: Account, profile: ProfileName, environment: () => Promise<Environment>, signal: AbortSignal): Promise<Started>;
  /**
   * Asks it to end (`graceful`) or ends it (`kill`); does not wait. Goes by the name alone, so that the executor of an account which is gone
   * or denied by now can be stopped. Answers its uid. Throws NOT_RUNNING when kpx has started none.
   */
  stop(osUser: OsUser, mode: StopMode, signal: AbortSignal): Promise<number>;
  /** Sealed: what KNIME_EXECUTOR_MSGQ of the account's executor begins with, which has the password. Undefined: none runs. */
  msgqOf(osUser: OsUser, signal: AbortSignal): Promise<string | undefined>;
  readonly passwords: Passwords;
  /** Every executor, running or ended, in a stable order. */
  list(signal: AbortSignal): Promise<readonly ExecutorInfo[]>;
  /** Ends those that cannot live without the helper, in the end by force; resolves when they are gone. */
  stopAll(): Promise<void>;
}
