import type { HelperClient } from '../helper-client.js';
import { HelperUnavailable } from '../helper-client.js';
import { connectedUids } from './connections.js';
import type { Event } from './events.js';
import type { Machine } from './machine.js';

/** How often to look for the connections of executors that are awaited, in milliseconds. Nothing is read while none is. */
const CONNECTED_POLL_MS = 50;
/** How often to look whether the executors' processes still exist, in milliseconds. */
const ALIVE_POLL_MS = 250;
/** How often to compare notes with the helper without any cause, in milliseconds: finds what a reused pid would hide. */
const LIST_POLL_MS = 30_000;

/** Looks at the operating system for what becomes of executors, and tells the machine. */
export class ExecutorWatch {
  readonly #machine: Machine;
  readonly #helper: HelperClient;
  readonly #ports: ReadonlySet<number>;
  readonly #emit: (event: Event) => void;
  readonly #now: () => number;
  #timers: NodeJS.Timeout[] = [];
  #looking = false;
  #listing = false;

  constructor(machine: Machine, helper: HelperClient, ports: ReadonlySet<number>, now: () => number, emit: (event: Event) => void) {
    this.#machine = machine;
    this.#helper = helper;
    this.#ports = ports;
    this.#now = now;
    this.#emit = emit;
  }

  start(): void {
    this.#timers = [
      setInterval(() => void this.#lookForConnections(), CONNECTED_POLL_MS),
      setInterval(() => this.#lookForEnded(), ALIVE_POLL_MS),
      setInterval(() => void this.list(), LIST_POLL_MS),
    ];
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  /** Asks the helper for all executors. An unreachable helper is no news: it is asked again when it is back. */
  async list(): Promise<void> {
    if (this.#listing) return;
    this.#listing = true;
    try {
      const askedAt = this.#now();
      this.#emit({ kind: 'listed', executors: await this.#helper.listExecutors(), askedAt });
    } catch (error) {
      if (!(error instanceof HelperUnavailable)) throw error;
    } finally {
      this.#listing = false;
    }
  }

  async #lookForConnections(): Promise<void> {
    if (this.#looking) return;
    const awaited = new Set([...this.#machine.awaited()].map(({ uid }) => uid));
    if (awaited.size === 0) return;
    this.#looking = true;
    try {
      for (const uid of await connectedUids(this.#ports)) if (awaited.has(uid)) this.#emit({ kind: 'connected', uid });
    } finally {
      this.#looking = false;
    }
  }

  #lookForEnded(): void {
    for (const { pid } of this.#machine.running()) {
      if (processExists(pid)) continue;
      void this.list();
      return;
    }
  }
}

/** Signal 0 needs no right to the process: another account's answers EPERM, none answers ESRCH. */
function processExists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
