import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** A small file of the broker's own, by which it remembers something over restarts, of the machine too. */
export class KeptFile {
  /** Undefined: there is no directory for it. */
  readonly path: string | undefined;

  /**
   * systemd names the directory of `StateDirectory=` in the environment. Where there is no service manager, the file is beside the control socket: the
   * broker may write there.
   */
  constructor(name: string, { STATE_DIRECTORY: directory }: NodeJS.ProcessEnv, controlSocket: string) {
    const place = directory ?? (controlSocket === '' ? undefined : dirname(controlSocket));
    this.path = place && `${place}/${name}`;
  }

  /** Undefined: there is none. Throws an Error of the file system where that cannot be known. */
  read(): string | undefined {
    if (this.path === undefined) return undefined;
    try {
      return readFileSync(this.path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** As a whole or not at all; undefined: it goes. Answers why the next restart will not know of it; undefined: it will. */
  write(text: string | undefined): string | undefined {
    if (this.path === undefined) return 'there is no directory to keep it in: control.socket is ""';
    try {
      if (text === undefined) rmSync(this.path, { force: true });
      else {
        writeFileSync(`${this.path}.new`, text, { mode: 0o600, flush: true });
        renameSync(`${this.path}.new`, this.path);
      }
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  }
}
