import type { OsUser } from '@kpx/protocol';
import type { AccountSession } from './account-session.js';
import type { Running } from './kinds.js';

/**
 * How long a look holds, in milliseconds: a part of the time for which it has been so, within these bounds. Each look takes RabbitMQ and the broker half a
 * millisecond of processor time.
 */
const THERE_PART = 1 / 2;
const THERE_MS_MIN = 1_000;
const THERE_MS_MAX = 5_000;
const NOT_THERE_PART = 1 / 10;
const NOT_THERE_MS_MAX = 250;

/** The consumers of the job queue of one account. */
export class Taking {
  /** In the queue, at the last look. */
  jobsWaiting = 0;
  #looking: Promise<number | undefined> | undefined;
  /** Consumers at the last look; undefined: it counts no more. When that was, and since when there have been some, or none. */
  #seen: number | undefined;
  #seenAt = 0;
  #since = 0;
  /** The process that they were of. */
  #pid = 0;

  /** Of a session that has ended: it may have been to another server, or for another queue. */
  forget(): void {
    this.#seen = undefined;
  }

  /**
   * How many consumers the queue has, without a promise where the last look for this process holds; undefined: nobody can say. One caller at a time: it may
   * get the answer to an earlier look.
   */
  consumers(session: AccountSession | undefined, queue: string, pid: number): number | Promise<number | undefined> {
    if (!session) return Promise.resolve(undefined);
    if (pid !== this.#pid) this.forget(); // they may have been those of the executor before it
    this.#pid = pid;
    if (this.#seen !== undefined && performance.now() - this.#seenAt < this.#holdsMs(this.#seen)) return this.#seen;
    this.#looking ??= this.#look(session, queue).finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  #holdsMs(seen: number): number {
    const forMs = this.#seenAt - this.#since;
    if (seen === 0) return Math.min(NOT_THERE_MS_MAX, forMs * NOT_THERE_PART);
    return Math.max(THERE_MS_MIN, Math.min(THERE_MS_MAX, forMs * THERE_PART));
  }

  async #look(session: AccountSession, name: string): Promise<number | undefined> {
    try {
      const queue = await session.look(name);
      if (queue === undefined) session.fail(`the job queue of the account was deleted, with ${this.jobsWaiting} jobs at the last look`);
      const consumers = queue?.consumers ?? 0;
      this.#seenAt = performance.now();
      if (this.#seen === undefined || this.#seen > 0 !== consumers > 0) this.#since = this.#seenAt;
      this.#seen = consumers;
      this.jobsWaiting = queue?.messages ?? 0;
      return queue?.consumers;
    } catch {
      return undefined; // the session has ended, and says so itself
    }
  }
}

/** Whose executors take jobs from their queue, by uid; and of whom nobody can say. */
export async function servedOf(
  running: readonly Running[],
  lanes: ReadonlyMap<OsUser, { consumers(pid: number): number | Promise<number | undefined> }>,
): Promise<{ readonly uids: ReadonlySet<number>; readonly unknown: ReadonlySet<number> }> {
  const [uids, unknown] = [new Set<number>(), new Set<number>()];
  const note = (uid: number, consumers: number | undefined) => {
    if (consumers === undefined) unknown.add(uid);
    else if (consumers > 0) uids.add(uid);
  };
  const looks: Promise<void>[] = [];
  for (const { osUser, uid, pid } of running) {
    const consumers = lanes.get(osUser)?.consumers(pid);
    if (consumers instanceof Promise) looks.push(consumers.then((seen) => note(uid, seen)));
    else note(uid, consumers);
  }
  await Promise.all(looks);
  return { uids, unknown };
}
