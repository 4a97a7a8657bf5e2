import { KeptFile } from './kept-file.js';

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
  readonly #kept: KeptFile;

  constructor(env: NodeJS.ProcessEnv, controlSocket: string) {
    this.#kept = new KeptFile(FILE, env, controlSocket);
  }

  /** Undefined: there is no directory for it. */
  get file(): string | undefined {
    return this.#kept.path;
  }

  /** How this host was drained when the broker ended; undefined: it was not. Throws an Error of the file system where that cannot be known. */
  get last(): Drain | undefined {
    const text = this.#kept.read();
    if (text === undefined) return undefined;
    const untilMs = Date.parse(/^until (.*)$/m.exec(text)?.[1] ?? '');
    return { untilMs: Number.isNaN(untilMs) ? undefined : untilMs, reason: /^reason (.*)$/m.exec(text)?.[1] };
  }

  /** Answers why the next restart will not know of it; undefined: it will. */
  keep(drain: Drain | undefined): string | undefined {
    return this.#kept.write(drain && textOf(drain));
  }
}

const textOf = ({ untilMs, reason }: Drain) =>
  [
    `since ${new Date().toISOString()}`,
    ...(untilMs === undefined ? [] : [`until ${new Date(untilMs).toISOString()}`]),
    ...(reason === undefined ? [] : [`reason ${reason}`]),
    '',
  ].join('\n');
