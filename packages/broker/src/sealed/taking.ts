import type { OsUser } from '@kpx/protocol';
import type { AccountSession } from './account-session.js';
import type { Running } from './kinds.js';

/** How long a consumer that was seen counts as there, in milliseconds. */
const STILL_THERE_MS = 1_000;

/** The consumers of the job queue of one account. */
export class Taking {
  /** In the queue, at the last look. */
  jobsWaiting = 0;
  #looking: Promise<number | undefined> | undefined;
  /** Consumers, at the last look, and when that was. */
  #seen = 0;
  #seenAt = 0;

  /** How many consumers the queue has; undefined: nobody can say at the moment. */
  async consumers(session: AccountSession | undefined, queue: string): Promise<number | undefined> {
    if (!session) return undefined;
    // One that is there is not asked for all the time.
    if (this.#seen > 0 && performance.now() - this.#seenAt < STILL_THERE_MS) return this.#seen;
    this.#looking ??= this.#look(session, queue).finally(() => {
      this.#looking = undefined;
    });
    return await this.#looking;
  }

  async #look(session: AccountSession, name: string): Promise<number | undefined> {
    try {
      const queue = await session.look(name);
      if (queue === undefined) session.fail(`the job queue of the account was deleted, with ${this.jobsWaiting} jobs at the last look`);
      this.#seen = queue?.consumers ?? 0;
      this.jobsWaiting = queue?.messages ?? 0;
      this.#seenAt = performance.now();
      return queue?.consumers;
    } catch {
      return undefined; // the session has ended, and says so itself
    }
  }
}

/** Whose executors take jobs from their queue, by uid; and of whom nobody can say. */
export async function servedOf(
  running: readonly Running[],
  lanes: ReadonlyMap<OsUser, { consumers(): Promise<number | undefined> }>,
): Promise<{ readonly uids: ReadonlySet<number>; readonly unknown: ReadonlySet<number> }> {
  const [uids, unknown] = [new Set<number>(), new Set<number>()];
  const look = async ({ osUser, uid }: Running) => {
    const consumers = await lanes.get(osUser)?.consumers();
    if (consumers === undefined) unknown.add(uid);
    else if (consumers > 0) uids.add(uid);
  };
  await Promise.all(running.map(look));
  return { uids, unknown };
}
