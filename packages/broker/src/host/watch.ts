import { constants, getPriority } from 'node:os';
import { type ExecutorInfo, HelperUnavailable } from '@kpx/protocol';
import type { Logger } from 'pino';
import type { Event, Usage } from '../executors/events.js';
import { JUDGE_EVERY_MS, LostAccounts } from '../executors/lost-accounts.js';
import type { Machine } from '../executors/machine.js';
import { SaidOnce } from '../output/said-once.js';
import { backoffMs } from '../policy/backoff.js';
import { ExecutorCgroups } from './cgroups.js';
import type { HelperClient } from './helper-client.js';
import { nameServiceIsDown } from './name-service-down.js';

/** How often to look for the connections of executors, in milliseconds, while one is not ready. */
const CONNECTED_POLL_MS = 50;
/** The same while all are, in milliseconds. */
const STILL_CONNECTED_POLL_MS = 1_000;
/** How often to look whether the executors' processes still exist, in milliseconds. */
const ALIVE_POLL_MS = 250;
/** How often to measure the processor time of executors, in milliseconds. A process that has got the pid of an executor is seen then, too: it has another cgroup. */
const MEASURE_EVERY_MS = 30_000;
/** The same while somebody waits for an executor that could be ended, in milliseconds. */
const WANTED_MEASURE_EVERY_MS = 2_000;
/** The same however short idle_stop is, in milliseconds. Without a cgroup of each executor it takes a list, which is work for the helper and PID 1. */
const MEASURE_EVERY_MS_MIN = 1_000;
/** The wait before a list is asked for again after the helper has answered with an error, in milliseconds. It doubles with each error, up to the longest. */
const LIST_RETRY_MS = 1_000;
const LIST_RETRY_MS_MAX = 30_000;

const MAY_BE_LOST = 'an executor runs whose account would be refused one now; it is judged again in a minute';
const LOST = 'an executor runs whose account is refused one: policy.account_lost says what happens to it';

type Watched = Pick<Machine, 'idleGrainMs' | 'looksForConnections' | 'running' | 'wantsList'>;
type Lister = Pick<HelperClient, 'listExecutors'>;

/** The accounts that RabbitMQ serves, by uid, and those of whom nobody can say. */
interface Served {
  readonly uids: ReadonlySet<number>;
  readonly unknown?: ReadonlySet<number>;
}

/** Looks at the operating system for what becomes of executors, and tells the machine. */
export class ExecutorWatch {
  readonly #machine: Watched;
  readonly #helper: Lister;
  readonly #served: () => Promise<Served>;
  readonly #emit: (event: Event) => void;
  readonly #now: () => number;
  readonly #log: Logger;
  #timers: NodeJS.Timeout[] = [];
  #looking = false;
  #lookedAt = 0;
  #listing = false;
  #listedAt = 0;
  readonly #cgroups = new ExecutorCgroups();
  #measuring = false;
  #measuredAt = 0;
  /** Lists in a row that failed, and when the next one may be asked for. */
  #listFailures = 0;
  #listAgainAt = 0;
  readonly #lost = new LostAccounts();
  /** When to ask for a list in any case: one in which the helper judges the accounts. */
  #judgeAt = 0;

  constructor(
    machine: Watched,
    helper: Lister,
    served: () => Promise<Served>,
    { now, emit, log }: { readonly now: () => number; readonly emit: (event: Event) => void; readonly log: Logger },
  ) {
    this.#machine = machine;
    this.#helper = helper;
    this.#served = served;
    this.#now = now;
    this.#emit = emit;
    this.#log = log;
  }

  start(): void {
    const connections = new SaidOnce(this.#log, 'the connections of executors cannot be seen; the broker looks again');
    const ended = new SaidOnce(this.#log, 'the processes of executors cannot be seen; the broker looks again');
    this.#timers = [
      setInterval(() => connections.run(() => this.#lookForConnections()), CONNECTED_POLL_MS),
      setInterval(() => ended.run(() => this.#lookForEnded()), ALIVE_POLL_MS),
    ];
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  /**
   * Asks the helper for all executors. Never rejects: an unreachable helper is asked again when it is back, one that answers with an error after a
   * wait that grows.
   */
  async list(): Promise<void> {
    if (this.#listing) return;
    this.#listing = true;
    const askedAt = this.#now();
    this.#listedAt = askedAt;
    const judge = askedAt >= this.#judgeAt;
    if (judge) this.#judgeAt = askedAt + JUDGE_EVERY_MS;
    try {
      const executors = await this.#helper.listExecutors(judge);
      this.#emit({ kind: 'listed', executors, askedAt });
      this.#listFailures = 0;
      if (judge) await this.#lookAtAccounts(executors);
    } catch (error) {
      if (!(error instanceof HelperUnavailable)) this.#listFailed(error as Error);
      else if (judge) this.#judgeAt = askedAt;
    } finally {
      this.#listing = false;
    }
  }

  /** Where the name service is away nobody can say who is lost. */
  async #lookAtAccounts(executors: readonly ExecutorInfo[]): Promise<void> {
    if (executors.some(({ refusal }) => refusal !== undefined) && (await nameServiceIsDown()) !== undefined) return;
    for (const { osUser, why, again } of this.#lost.judged(executors)) {
      this.#log.warn({ os_user: osUser, reason: why }, again ? LOST : MAY_BE_LOST);
      if (again) this.#emit({ kind: 'account lost', osUser, why: `its account may not have an executor any more: ${why}` });
    }
  }

  #listFailed({ message: reason }: Error): void {
    const waitMs = backoffMs(this.#listFailures++, LIST_RETRY_MS, LIST_RETRY_MS_MAX, 1);
    this.#listAgainAt = this.#now() + waitMs;
    this.#log.warn({ reason, again_ms: waitMs }, 'the helper could not list the executors; it is asked again');
  }

  async #lookForConnections(): Promise<void> {
    const wanted = this.#machine.looksForConnections;
    if (this.#looking || wanted === 'never') return;
    if (wanted === 'sometimes' && this.#now() - this.#lookedAt < STILL_CONNECTED_POLL_MS) return;
    this.#looking = true;
    this.#lookedAt = this.#now();
    try {
      this.#emit({ kind: 'connections', ...(await this.#served()) });
    } finally {
      this.#looking = false;
    }
  }

  async #lookForEnded(): Promise<void> {
    if (this.#now() >= this.#listAgainAt) {
      const isDue = this.#listFailures > 0 || (this.#now() >= this.#judgeAt && this.#now() - this.#listedAt >= LIST_RETRY_MS);
      if (isDue || [...this.#machine.running()].some(({ pid }) => !processExists(pid))) await this.list();
    }
    if (this.#now() - this.#measuredAt >= this.#measureEveryMs()) await this.#measure();
  }

  /** Where the kernel does not tell of all executors, a list does. */
  async #measure(): Promise<void> {
    const pids = [...this.#machine.running()].map(({ pid }) => pid);
    if (this.#measuring || pids.length === 0) return;
    this.#measuring = true;
    this.#measuredAt = this.#now();
    let usage: ReadonlyMap<number, Usage> = new Map();
    try {
      usage = await this.#cgroups.usage(pids);
    } finally {
      this.#emit({ kind: 'usage', usage, wallMs: Date.now() });
      const isKnown = pids.every((pid) => usage.has(pid) || !processExists(pid));
      if (!isKnown && this.#now() >= this.#listAgainAt && this.#listedAt < this.#measuredAt) await this.list();
      this.#measuring = false;
    }
  }

  #measureEveryMs(): number {
    const { wantsList, idleGrainMs = MEASURE_EVERY_MS } = this.#machine;
    return Math.max(MEASURE_EVERY_MS_MIN, Math.min(idleGrainMs, wantsList ? WANTED_MEASURE_EVERY_MS : MEASURE_EVERY_MS));
  }
}

/** By getpriority(2), which answers for a process of any account. Signal 0 is refused for those of others, and each refusal takes Node ten times as long. */
function processExists(pid: number): boolean {
  try {
    getPriority(pid);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).errno !== -constants.errno.ESRCH;
  }
}
