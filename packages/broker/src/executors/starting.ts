import type { KnimeUser } from '@kpx/protocol';
import { userOf } from './admission.js';
import { type Books, enter, forgetIfNothing } from './books.js';
import { forwardHeld, shorten } from './holding.js';
import { PLACE_MS, roomFor } from './line.js';
import { RESTING } from './states.js';
import { forgive, type User } from './user.js';

/** The effect of the first job of an idle user: its executor is known already, or one is wanted. */
export function wake(books: Books, user: User): void {
  const executor = books.executors.of(user.name);
  if (!executor) {
    user.until = books.now + PLACE_MS;
    const room = roomFor(books, user);
    enter(books, user, 'queued', room.ok ? '' : room.why, room.ok ? undefined : room.limit);
    books.line.add(user);
    shorten(books, user);
    return;
  }
  const state = executor.ending || !executor.booted ? 'booting' : executor.ready ? 'ready' : 'lost';
  enter(books, user, state, `executor of "${executor.osUser}"${executor.ending ? ', which is ending' : ''}`);
}

/** To `idle`, and on from there if jobs are held. */
export function begin(books: Books, user: User, detail: string): void {
  enter(books, user, 'idle', detail);
  if (user.held.size > 0) wake(books, user);
  if (user.state === 'ready') forwardHeld(books, user);
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
  books.health.tryNow();
  if (user.admitted.ok) startAnew(books, user, 'an operator asks for a start');
  if (user.admitted.ok && user.state === 'idle') wake(books, user);
  else forgetIfNothing(books, user);
}

/** Failures so far count no more, and neither does a refusal. */
export function startAnew(books: Books, user: User, why: string): void {
  forgive(user);
  if (RESTING.has(user.state)) enter(books, user, 'idle', why);
}
