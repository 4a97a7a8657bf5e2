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
const LIST_EVERY_MS = 30_000;
/** The same while somebody waits for an executor that could be ended, in milliseconds. */
const WANTED_LIST_EVERY_MS = 2_000;
/** The same however short idle_stop is, in milliseconds: each list is work for the helper and PID 1. */
const LIST_EVERY_MS_MIN = 1_000;

/** Looks at the operating system for what becomes of executors, and tells the machine. */
export class ExecutorWatch {
  readonly #machine: Machine;
  readonly #helper: HelperClient;
  readonly #ports: () => ReadonlySet<number>;
  readonly #emit: (event: Event) => void;
  readonly #now: () => number;
  #timers: NodeJS.Timeout[] = [];
  #looking = false;
  #listing = false;
  #listedAt = 0;

  constructor(machine: Machine, helper: HelperClient, ports: () => ReadonlySet<number>, now: () => number, emit: (event: Event) => void) {
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
      this.#listedAt = askedAt;
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
      for (const uid of await connectedUids(this.#ports())) if (awaited.has(uid)) this.#emit({ kind: 'connected', uid });
    } finally {
      this.#looking = false;
    }
  }

  #lookForEnded(): void {
    if (this.#now() - this.#listedAt >= this.#listEveryMs()) {
      void this.list();
      return;
    }
    for (const { pid } of this.#machine.running()) {
      if (processExists(pid)) continue;
      void this.list();
      return;
    }
  }

  #listEveryMs(): number {
    const { wantsList, idleGrainMs = LIST_EVERY_MS } = this.#machine;
    return Math.max(LIST_EVERY_MS_MIN, Math.min(LIST_EVERY_MS, idleGrainMs, wantsList ? WANTED_LIST_EVERY_MS : LIST_EVERY_MS));
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
