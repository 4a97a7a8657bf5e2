import { type Books, enter, forgetIfNothing } from './books.js';
import { STABLE_MS } from './executor-link.js';
import { offer, releaseOld } from './holding.js';
import { leaveLine } from './line.js';
import { spread } from './offering.js';
import { judgeService } from './service.js';
import { begin, settle } from './starting.js';
import type { User } from './user.js';

/** Time has passed: does everything that is due. */
export function tick(books: Books): void {
  const { executors, users, now, random } = books;
  for (const executor of executors.values()) {
    const due = executor.end?.due(now);
    if (due) books.effects.push({ kind: due, user: executor.user, why: 'it has not ended' });
    judgeService(books, executor);
  }
  books.nextOfferAt = Number.POSITIVE_INFINITY;
  let offering = 0;
  for (const user of users.values()) {
    if (user.held.size > 0) releaseOld(books, user);
    if (user.state === 'ready' && user.held.size > 0) offer(books, user, spread(random, offering++));
    if (user.until <= now) goOn(books, user);
  }
}

/** The wait of `until` is over. */
function goOn(books: Books, user: User): void {
  const { now, policy } = books;
  if (user.state === 'queued' && user.held.size === 0) leaveLine(books, user, 'no job has come back');
  else if (user.state === 'backoff') {
    user.until = now + policy.backoffMaxMs; // if it stays idle: until when the failures are remembered
    begin(books, user, 'trying again');
  } else if (user.state === 'broken' || user.state === 'refused') {
    // Half open: one trial, and one more failure is enough to break again.
    user.failures = user.state === 'broken' ? policy.startAttempts - 1 : 0;
    user.failingSince = now;
    enter(books, user, 'idle', 'the next job is a trial');
    if (user.failures === 0) forgetIfNothing(books, user);
    else user.until = now + policy.backoffMaxMs;
  } else if (user.state === 'idle') settle(books, user, '');
  else if (user.state === 'ready' && user.failures > 0) forgiveStable(books, user);
}

function forgiveStable({ executors, now }: Books, user: User): void {
  const executor = executors.of(user.name);
  if (executor?.given.hasTaken(now) && now - executor.readySince >= STABLE_MS) user.failures = 0;
}
