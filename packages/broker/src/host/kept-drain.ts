import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Where there is no service manager, the file is beside the control socket: the broker may write there. */
const FILE = 'draining';

/** No executor is started on this host. */
export interface Drain {
  /** It ends by itself at this time, in milliseconds since the epoch; undefined: it does not. */
  readonly untilMs?: number | undefined;
  /** For users who wait, and other people. One line. */
  readonly reason?: string | undefined;
}

/** Remembers over restarts, of the machine too, that this host is drained: a file that exists for as long. */
export class KeptDrain {
  /** Undefined: there is no directory for it. */
  readonly file: string | undefined;

  /** systemd names the directory of `StateDirectory=` in the environment. */
  constructor({ STATE_DIRECTORY: directory }: NodeJS.ProcessEnv, controlSocket: string) {
    const place = directory ?? (controlSocket === '' ? undefined : dirname(controlSocket));
    this.file = place && `${place}/${FILE}`;
  }

  /** How this host was drained when the broker ended; undefined: it was not. Throws an Error of the file system where that cannot be known. */
  get last(): Drain | undefined {
    if (this.file === undefined) return undefined;
    try {
      const text = readFileSync(this.file, 'utf8');
      const untilMs = Date.parse(/^until (.*)$/m.exec(text)?.[1] ?? '');
      return { untilMs: Number.isNaN(untilMs) ? undefined : untilMs, reason: /^reason (.*)$/m.exec(text)?.[1] };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Answers why the next restart will not know of it; undefined: it will. */
  keep(drain: Drain | undefined): string | undefined {
    if (this.file === undefined) return 'there is no directory to keep it in: control.socket is ""';
    try {
      if (drain) writeFileSync(this.file, textOf(drain), { mode: 0o600, flush: true });
      else rmSync(this.file, { force: true });
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  }
}

const textOf = ({ untilMs, reason }: Drain) =>
  [
    `since ${new Date().toISOString()}`,
    ...(untilMs === undefined ? [] : [`until ${new Date(untilMs).toISOString()}`]),
    ...(reason === undefined ? [] : [`reason ${reason}`]),
    '',
  ].join('\n');
