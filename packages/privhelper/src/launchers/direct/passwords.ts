import type { OsUser } from '@kpx/protocol';

/** How long a password waits for a start that does not come, in milliseconds. Where it is in a file, systemd/kpx.tmpfiles has the same. */
const UNUSED_MS = 24 * 60 * 60 * 1_000;

/** Passwords of accounts in the helper's memory, from PrepareUser to SpawnExecutor. */
export class WaitingPasswords {
  readonly #waiting = new Map<OsUser, { readonly password: string; readonly timer: NodeJS.Timeout }>();

  get(osUser: OsUser): string | undefined {
    return this.#waiting.get(osUser)?.password;
  }

  set(osUser: OsUser, password: string): void {
    this.delete(osUser);
    this.#waiting.set(osUser, { password, timer: setTimeout(() => this.#waiting.delete(osUser), UNUSED_MS).unref() });
  }

  delete(osUser: OsUser): void {
    clearTimeout(this.#waiting.get(osUser)?.timer);
    this.#waiting.delete(osUser);
  }
}
