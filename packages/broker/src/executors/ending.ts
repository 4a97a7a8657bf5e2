import type { KnimeUser, OsUser } from '@kpx/protocol';
import { warmForMs } from '../policy/policy.js';
import { userOf } from './admission.js';
import { type Books, usersOf } from './books.js';
import type { EndCause } from './events.js';
import type { Executor } from './roster.js';
import { begin, want } from './starting.js';

/** How long an executor that was asked to end may take before it is ended by force, in milliseconds: longer than its unit's TimeoutStopSec=. */
export const ENDING_MAX_MS = 90_000;
/** Wait before the helper is asked again, in milliseconds: after it could not end an executor, and, twice as long each time, while force shows no effect. */
export const END_RETRY_MS = 3_000;

/** How an executor is ended that is to end: asked to, asked again where that failed, and by force when it takes too long. */
export class Ending {
  /** How often the helper was asked to use force. */
  #forced = 0;
  /** When the helper is to be asked next. */
  #askAt = Number.POSITIVE_INFINITY;
  #forceAt: number;

  constructor(now: number, force: boolean) {
    this.#forceAt = now + ENDING_MAX_MS;
    if (force) this.force(now);
  }

  /** The helper could not end it. */
  failed(now: number): void {
    this.#askAt = now + END_RETRY_MS;
  }

  /** From now on by force. */
  force(now: number): void {
    this.#forceAt = now + Math.min(END_RETRY_MS * 2 ** this.#forced, ENDING_MAX_MS);
    this.#forced += 1;
  }

  /** The request to make of the helper now; undefined: nothing. */
  due(now: number): 'stop' | 'kill' | undefined {
    if (now >= this.#forceAt) this.force(now);
    else if (now < this.#askAt) return undefined;
    this.#askAt = Number.POSITIVE_INFINITY;
    return this.#forced > 0 ? 'kill' : 'stop';
  }
}

/** Its users wait for the next one. */
export function end(books: Books, executor: Executor, cause: EndCause, why: string, force = false): void {
  executor.end = executor.named ? new Ending(books.now, force) : undefined;
  for (const user of usersOf(books, executor)) if (user.state === 'ready' || user.state === 'lost') begin(books, user, why);
  if (executor.named) books.effects.push({ kind: force ? 'kill' : 'stop', user: executor.user, why, cause });
}

/** Ends an executor that is too old; while it is kept warm, another is started in its place. */
export function replace(books: Books, executor: Executor, why: string): void {
  const warmMs = warmForMs(executor);
  end(books, executor, 'max_age', why);
  if (warmMs === 0) return;
  const user = userOf(books, executor.user, executor.groups);
  const unusedSince = executor.unusedSince ?? executor.quietSince;
  want(books, user, { until: books.now + warmMs, why: 'the one before was older than max_age', yields: true, unusedSince });
}

export function stopAsked(books: Books, name: KnimeUser, force: boolean): void {
  const executor = books.executors.of(name);
  if (!executor) return;
  const why = 'an operator ends it';
  for (const user of usersOf(books, executor)) user.wanted = undefined;
  if (!executor.ending) end(books, executor, 'asked', why);
  if (!force) return;
  executor.end?.force(books.now);
  books.effects.push({ kind: 'kill', user: name, why });
}

export function accountLost(books: Books, osUser: OsUser, why: string): void {
  const executor = [...books.executors.values()].find((one) => one.osUser === osUser);
  if (executor && !executor.ending && books.policy.accountLost === 'end') end(books, executor, 'account_lost', why);
}
