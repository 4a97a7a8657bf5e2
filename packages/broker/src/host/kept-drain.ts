import { accessSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Where there is no service manager, the file is beside the control socket: the broker may write there. */
const FILE = 'draining';

/** Remembers over restarts, of the machine too, that this host is drained: a file that exists for as long. */
export class KeptDrain {
  /** Undefined: there is no directory for it. */
  readonly file: string | undefined;

  /** systemd names the directory of `StateDirectory=` in the environment. */
  constructor({ STATE_DIRECTORY: directory }: NodeJS.ProcessEnv, controlSocket: string) {
    const place = directory ?? (controlSocket === '' ? undefined : dirname(controlSocket));
    this.file = place && `${place}/${FILE}`;
  }

  /** Was this host drained when the broker ended? Throws an Error of the file system where that cannot be known. */
  get on(): boolean {
    if (this.file === undefined) return false;
    try {
      accessSync(this.file);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    }
  }

  /** Answers why the next restart will not know of it; undefined: it will. */
  keep(on: boolean): string | undefined {
    if (this.file === undefined) return 'there is no directory to keep it in: control.socket is ""';
    try {
      if (on) writeFileSync(this.file, `since ${new Date().toISOString()}\n`, { mode: 0o600, flush: true });
      else rmSync(this.file, { force: true });
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  }
}
