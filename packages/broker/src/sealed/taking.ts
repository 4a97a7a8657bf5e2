import type { OsUser } from '@kpx/protocol';
import type { AccountSession } from './account-session.js';
import type { Running } from './kinds.js';

/**
 * How long a consumer that was seen counts as there, in milliseconds: half as long as it has been there, within these bounds. Each look takes RabbitMQ and
 * the broker half a millisecond of processor time.
 */
const STILL_THERE_MS_MIN = 1_000;
const STILL_THERE_MS_MAX = 5_000;

/** The consumers of the job queue of one account. */
export class Taking {
  /** In the queue, at the last look. */
  jobsWaiting = 0;
  #looking: Promise<number | undefined> | undefined;
  /** Consumers, at the last look, when that was, and since when there have been some. */
  #seen = 0;
  #seenAt = 0;
  #seenSince = 0;
  /** The process that they were of. */
  #pid = 0;

  /**
   * How many consumers the queue has, without a promise where one of this process was seen so lately that RabbitMQ need not be asked; undefined: nobody can
   * say.
   */
  consumers(session: AccountSession | undefined, queue: string, pid: number): number | Promise<number | undefined> {
    if (!session) return Promise.resolve(undefined);
    if (pid !== this.#pid) this.#seen = 0; // that may have been those of the executor before it
    this.#pid = pid;
    const sureForMs = Math.max(STILL_THERE_MS_MIN, Math.min(STILL_THERE_MS_MAX, (this.#seenAt - this.#seenSince) / 2));
    if (this.#seen > 0 && performance.now() - this.#seenAt < sureForMs) return this.#seen;
    this.#looking ??= this.#look(session, queue).finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #look(session: AccountSession, name: string): Promise<number | undefined> {
    try {
      const queue = await session.look(name);
      if (queue === undefined) session.fail(`the job queue of the account was deleted, with ${this.jobsWaiting} jobs at the last look`);
      this.#seenAt = performance.now();
      if (this.#seen === 0) this.#seenSince = this.#seenAt;
      this.#seen = queue?.consumers ?? 0;
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
