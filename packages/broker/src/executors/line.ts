import { hasRoom, LIMITS, mayStart, profileOf, type Verdict } from '../policy/policy.js';
import { byTurn, nextInLine } from '../policy/turn.js';
import { type Books, enter, forgetIfNothing, loadOf } from './books.js';
import { isAheadOfJobs, type User, yieldsToJobs } from './user.js';

/** All that a user in line can wait for. `max_starting` is no limit of room: there is some, and others start first. */
export const WAITS_FOR = [...LIMITS, 'max_starting'] as const;
export type WaitsFor = (typeof WAITS_FOR)[number];

/** The users who wait for the same. */
export interface Wait {
  readonly users: number;
  /** How long who has waited longest has been in line, in milliseconds. */
  readonly longest_wait: number;
}

/** Jobs held for a user for whom there is no room: one keeps the place in line. */
export const HELD_IN_LINE = 1;
/** Longest time that this one is held, in milliseconds: then it goes round once, and another host that has room may take it. */
export const HELD_IN_LINE_MAX_MS = 30_000;
/** How long a user keeps the place in line without a held job, in milliseconds: its jobs come back from the delay queue within this time. */
export const PLACE_MS = 30_000;

/** Starts executors for users in line, as many as may start now. */
export function startQueued(books: Books): void {
  while (books.line.size > 0) {
    const user = nextToStart(books);
    if (!user) return;
    const { executors } = loadOf(books);
    books.line.delete(user);
    books.asked.add(user);
    books.health.starts(user.name, books.now);
    const rule = user.rule ? `, ${user.rule.label}` : '';
    const why = `${executors + 1} of ${books.policy.maxExecutors} executors with this one${rule}`;
    enter(books, user, books.policy.sealed ? 'preparing' : 'starting', why);
    books.effects.push({ kind: 'start', user: user.name, profile: profileOf(user.rule), why });
  }
}

/** Picks the users of the line who start now; undefined: nobody may, or there is no room for any of them. */
function nextToStart(books: Books): User | undefined {
  const { policy, health, line, now } = books;
  const load = loadOf(books);
  // A rule leaves less room, never more: with none at all nobody in line has to be looked at.
  if (!mayStart(policy, load).ok || !hasRoom(policy, load, undefined).ok) return undefined;
  const mayHave = ({ name, rule, awaitsGroups }: User) => !awaitsGroups && health.admits(name, now) && hasRoom(policy, load, rule).ok;
  const candidates = [...line].filter(mayHave);
  return nextInLine(candidates.filter((user) => !yieldsToJobs(user))) ?? nextInLine(candidates);
}

/** Those of the line whose jobs wait. */
export const waiting = ({ line }: Books): User[] => [...line].filter((user) => !isAheadOfJobs(user));

/** Those of the line for whom an idle executor of another user may be ended. */
export const worthRoom = ({ line }: Books): User[] => [...line].filter((user) => !yieldsToJobs(user) && !user.awaitsGroups);

/** There is no room for some of them. Others wait for their turn alone, which the end of an executor would not bring. */
export function wantsRoom(books: Books): boolean {
  const load = loadOf(books);
  return worthRoom(books).some(({ rule }) => !hasRoom(books.policy, load, rule).ok);
}

/** How long who has waited longest has been in line, in milliseconds; 0: nobody is. */
export const longestWaitMs = (books: Books): number => Math.max(0, ...waiting(books).map(({ waitsSince }) => books.now - waitsSince));

/** Counted from 1, in the order in which they start: users whose executors are planned are last. A rule without room lets others pass. */
export function placesInLine({ line }: Books): ReadonlyMap<User, number> {
  const late = (user: User) => Number(yieldsToJobs(user));
  const inOrder = [...line].sort((one, other) => late(one) - late(other) || byTurn(one, other));
  return new Map(inOrder.map((user, index) => [user, index + 1]));
}

export function roomFor(books: Books, user: User): Verdict {
  const why = books.health.refuses(user.name, books.now);
  return why === undefined ? hasRoom(books.policy, loadOf(books), user.rule) : { ok: false, why, limit: 'host_sick' };
}

/** Why a user who waits for an executor does not get one yet. */
export function whyWaiting(books: Books, user: User): string {
  const room = roomFor(books, user);
  if (!room.ok) return room.why;
  if (user.awaitsGroups) return 'a rule asks for the groups of the user, which are not known yet';
  const turn = mayStart(books.policy, loadOf(books));
  return turn.ok ? 'as many jobs are held as may' : turn.why;
}

/** The users in line by what they wait for. One look at the load for all of them. */
export function waitsFor(books: Books): Readonly<Record<WaitsFor, Wait>> {
  const { policy, health, now } = books;
  const waits = Object.fromEntries(WAITS_FOR.map((limit) => [limit, { users: 0, longest_wait: 0 }])) as Record<WaitsFor, Wait>;
  const load = loadOf(books);
  for (const { name, rule, waitsSince } of waiting(books)) {
    const room = hasRoom(policy, load, rule);
    const full: WaitsFor = room.ok ? 'max_starting' : (room.limit ?? 'max_starting');
    const limit = health.refuses(name, now) === undefined ? full : 'host_sick';
    const { users, longest_wait } = waits[limit];
    waits[limit] = { users: users + 1, longest_wait: Math.max(longest_wait, now - waitsSince) };
  }
  return waits;
}

export function leaveLine(books: Books, user: User, why: string): void {
  books.line.delete(user);
  user.wanted = undefined;
  enter(books, user, 'idle', why);
  forgetIfNothing(books, user);
}
