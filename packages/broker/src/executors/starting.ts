import type { KnimeUser } from '@kpx/protocol';
import { userOf } from './admission.js';
import { type Books, enter, forgetIfNothing } from './books.js';
import { forwardHeld, shorten } from './holding.js';
import { leaveLine, PLACE_MS, roomFor } from './line.js';
import { Offering } from './offering.js';
import { RESTING } from './states.js';
import { forgive, isAheadOfJobs, type User, type Wanted, wantsExecutor } from './user.js';

/** How long an executor that an operator has asked for is tried to be started, in milliseconds: until then it keeps its place in line. */
export const ASKED_MAX_MS = 24 * 3_600_000;

/** The effect of the first job of an idle user: its executor is known already, or one is wanted. */
export function wake(books: Books, user: User): void {
  const executor = books.executors.of(user.name);
  if (!executor) {
    user.waitsSince = books.now;
    user.until = Math.max(books.now + PLACE_MS, user.wanted?.until ?? 0);
    user.recentMs = books.executors.recentMs(user.name, books.now);
    const room = roomFor(books, user);
    const why = user.wanted ? [user.wanted.why] : [];
    enter(books, user, 'queued', [...why, ...(room.ok ? [] : [room.why])].join('; '), room.ok || user.wanted ? undefined : room.limit);
    books.line.add(user);
    shorten(books, user);
    return;
  }
  const state = executor.ending || !executor.booted ? 'booting' : executor.ready ? 'ready' : 'lost';
  enter(books, user, state, `executor of "${executor.osUser}"${executor.ending ? ', which is ending' : ''}`);
}

/** To `idle`, and on from there if an executor is to be started. */
export function begin(books: Books, user: User, detail: string): void {
  enter(books, user, 'idle', detail);
  if (wantsExecutor(user, books.now)) wake(books, user);
  if (user.state !== 'ready') return;
  user.offering = new Offering(); // it may be another executor, which nothing is known of
  forwardHeld(books, user);
}

/** An executor has come to an end that is no failure: what is held for it is the reason for a new one. */
export function settle(books: Books, user: User, detail: string): void {
  forgive(user);
  begin(books, user, detail);
  forgetIfNothing(books, user);
}

/** As a first job would, but for the job. A user who rests after failures, or was refused, is tried at once. */
export function startAsked(books: Books, name: KnimeUser, groups: readonly string[] | undefined): void {
  const user = userOf(books, name, groups);
  books.health.tryNow(books.now);
  if (user.admitted.ok) startAnew(books, user, 'an operator asks for a start');
  const wanted = { until: books.now + ASKED_MAX_MS, why: 'an operator asked for it', yields: false };
  if (user.state === 'queued') {
    if (isAheadOfJobs(user)) user.until = wanted.until; // a job keeps its own place, and the order is there after it
    user.wanted = wanted;
  } else want(books, user, wanted);
}

/** An operator takes back what has not begun: no executor is wanted any more where there is no job. */
export function startCancelled(books: Books, name: KnimeUser): void {
  const user = books.users.get(name);
  if (!user) return;
  if (user.state === 'queued' && isAheadOfJobs(user)) leaveLine(books, user, 'an operator has taken the start back');
  else user.wanted = undefined;
}

/** As a first job would, but for the job. Nothing is done for a user who has an executor, waits for one, or is parked. */
export function want(books: Books, user: User, wanted: Wanted): void {
  const executor = books.executors.of(user.name);
  const isFree = user.state === 'idle' || user.state === 'backoff';
  const hasNone = executor?.ending ? isFree || user.state === 'booting' : isFree && !executor;
  if (user.admitted.ok && hasNone) user.wanted = wanted;
  if (user.state === 'idle' && user.wanted) wake(books, user);
  else forgetIfNothing(books, user);
}

/** Failures so far count no more, and neither does a refusal. */
export function startAnew(books: Books, user: User, why: string): void {
  forgive(user);
  user.endsSoon = 0;
  if (RESTING.has(user.state)) enter(books, user, 'idle', why);
}
