import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { SaidOnce } from '../output/said-once.js';

/** How often the host's memory is looked at, in milliseconds. */
const POLL_MS = 1_000;

/** Memory that could be used without swapping, in bytes. Source: proc_meminfo(5), MemAvailable. */
async function availableMemory(): Promise<number> {
  const kib = /^MemAvailable:\s+(\d+) kB$/m.exec(await readFile('/proc/meminfo', 'latin1'))?.[1];
  if (kib === undefined) throw new Error('/proc/meminfo has no MemAvailable');
  return Number(kib) * 1024;
}

/** Looks how much memory the host has left. */
export class MemoryWatch {
  readonly #looks: SaidOnce;
  readonly #asked: () => boolean;
  readonly #tell: (availableBytes: number) => void;
  #timer: NodeJS.Timeout | undefined;

  /** Looks as long as `asked` answers true. */
  constructor(log: Logger, asked: () => boolean, tell: (availableBytes: number) => void) {
    this.#looks = new SaidOnce(log, 'the memory of the host cannot be read; the broker goes by what it read last');
    this.#asked = asked;
    this.#tell = tell;
  }

  /** Resolves when the first look is over. */
  async start(): Promise<void> {
    const look = () => this.#looks.run(() => this.#look());
    this.#timer = setInterval(look, POLL_MS);
    await look();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    if (this.#asked()) this.#tell(await availableMemory());
  }
}
