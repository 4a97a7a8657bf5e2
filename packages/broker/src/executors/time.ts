import { type Books, enter, forgetIfNothing } from './books.js';
import { STABLE_MS } from './executor-link.js';
import { offer, releaseOld } from './holding.js';
import { leaveLine } from './line.js';
import { spread } from './offering.js';
import { judgeService } from './service.js';
import { begin, settle } from './starting.js';
import type { User } from './user.js';

/** Offers are due more often than anything else: the rest is looked at once in so many milliseconds then. */
const REST_EVERY_MS = 10;

/** Time has passed: does everything that is due. */
export function tick(books: Books): void {
  const { now } = books;
  const early = now >= books.nextOfferAt && now - books.tickedAt < REST_EVERY_MS;
  offers(books);
  if (early) return;
  books.tickedAt = now;
  for (const executor of books.executors.values()) {
    const due = executor.end?.due(now);
    if (due) books.effects.push({ kind: due, user: executor.user, why: 'it has not ended' });
    judgeService(books, executor);
  }
  for (const user of books.users.values()) {
    if (user.held.size > 0) releaseOld(books, user);
    if (user.until <= now) goOn(books, user);
  }
}

/** To all busy executors for which it is time. */
function offers(books: Books): void {
  const busy = [...books.users.values()].filter(({ state, held }) => state === 'ready' && held.size > 0);
  books.nextOfferAt = Number.POSITIVE_INFINITY;
  for (const [index, user] of busy.entries()) offer(books, user, spread(books.random, index), busy.length);
}

/** The wait of `until` is over. */
function goOn(books: Books, user: User): void {
  const { now, policy } = books;
  if (user.state === 'queued' && user.held.size === 0) {
    if (user.wanted && now < user.wanted.until) user.until = user.wanted.until;
    else leaveLine(books, user, user.wanted ? 'no place was free in time, and no job has come' : 'no job has come back');
  } else if (user.state === 'backoff') {
    user.until = now + policy.backoffMaxMs; // if it stays idle: until when the failures are remembered
    begin(books, user, 'trying again');
  } else if (user.state === 'broken' || user.state === 'refused') {
    // Half open: one trial, and one more failure is enough to break again.
    user.failures = user.state === 'broken' ? policy.startAttempts - 1 : 0;
    user.failingSince = now;
    enter(books, user, 'idle', 'the next job is a trial');
    if (user.failures === 0) forgetIfNothing(books, user);
    else user.until = now + policy.backoffMaxMs;
  } else if (user.state === 'idle') {
    user.endsSoon = 0;
    settle(books, user, '');
  } else if (user.state === 'ready' && (user.failures > 0 || user.endsSoon > 0)) forgiveStable(books, user);
}

function forgiveStable({ executors, now }: Books, user: User): void {
  const executor = executors.of(user.name);
  if (!executor || now - executor.readySince < STABLE_MS) return;
  user.endsSoon = 0;
  if (executor.given.hasTaken(now)) user.failures = 0;
}
