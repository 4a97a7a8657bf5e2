import type { ErrorCode, KnimeUser } from '@kpx/protocol';
import { type DelayMs, heldPerUserOf, leaveDelayMs, NO_ROOM_DELAY_MS } from '../policy/policy.js';
import type { Reason } from '../policy/reasons.js';
import type { Books } from './books.js';
import type { Effect, Ticket } from './events.js';
import type { Told } from './filling.js';
import { HELD_IN_LINE, HELD_IN_LINE_MAX_MS, PLACE_MS, roomFor, whyWaiting } from './line.js';
import { STARTING } from './states.js';
import { failsHere, isAheadOfJobs, type User } from './user.js';

/** Longest time that a job is held, in milliseconds: far below RabbitMQ's consumer timeout of 30 minutes. Then it waits in a delay queue. */
export const HOLD_MAX_MS = 300_000;
const HELD_LONG = `held for ${HOLD_MAX_MS} ms`;

export function forward(books: Books, user: User, ticket: Ticket): void {
  gives(books, user, 1);
  books.effects.push({ kind: 'forward', ticket, user: user.name });
}

/** `offer`: the number of the one that they are part of, if it has one. */
export function forwardHeld(books: Books, user: User, count = user.held.size, offer = 0): void {
  gives(books, user, Math.min(count, user.held.size));
  release(books, user.held.takeFirst(count), (ticket) => ({ kind: 'forward', ticket, user: user.name, ...(offer > 0 && { offer }) }));
}

function gives({ executors, now }: Books, user: User, jobs: number): void {
  const executor = executors.of(user.name);
  if (!executor || jobs === 0) return;
  executor.quietSince = now;
  executor.unusedSince = undefined;
  executor.given.gave(jobs, now);
  user.offering.gave(jobs);
}

/** The executor did not take a job. `told`: that is known already, see {@link told}. */
export function cameBack(books: Books, user: User, told: boolean, awayMs: number | undefined): void {
  const { executors, now } = books;
  if (!told) isDue(books, user.offering.cameBack(now, awayMs));
  executors.of(user.name)?.given.cameBack(now);
}

/** The fate of a job at the queue of the executor's account. */
export function told(books: Books, name: KnimeUser, offer: number, what: Told): void {
  const user = books.users.get(name);
  if (!user) return;
  const at = user.offering.told(books.now, offer, what, books.policy.window);
  if (user.state === 'ready' && user.held.size > 0) isDue(books, at);
}

/** An offer is, at this time. */
function isDue(books: Books, at: number): void {
  books.nextOfferAt = Math.min(books.nextOfferAt, at);
}

/** `inHandMs`: since it came, in milliseconds: it may have been given and refused meanwhile. */
export function hold(books: Books, user: User, ticket: Ticket, hops: number, { crowded = false, inHandMs = 0 }): void {
  const most = heldAtMost(books, user);
  if (user.state === 'queued') waitsFrom(books, user);
  books.held += 1;
  if (inHandMs >= HOLD_MAX_MS) {
    release(books, [ticket], (old) => ({ kind: 'defer', ticket: old, user: user.name, delayMs: NO_ROOM_DELAY_MS, why: HELD_LONG }));
    return;
  }
  if (user.held.size >= most || books.held > books.policy.heldInAll || crowded) {
    letGo(books, user, [ticket], hops, crowded);
    return;
  }
  user.held.add(ticket, books.now);
  if (user.state === 'ready' && user.held.size === 1) isDue(books, user.offering.dueAt(books.now));
}

/** Until the first job nobody waited for the executor; one that an operator has asked for keeps its turn. */
function waitsFrom(books: Books, user: User): void {
  if (isAheadOfJobs(user)) user.waitsSince = books.now;
  if (user.wanted?.yields) user.stateSince = books.now;
  keepPlace(books, user);
}

/** A job keeps the place in line for a while. An operator's order outlasts it. */
function keepPlace({ now }: Books, user: User): void {
  user.until = now + PLACE_MS;
  if (user.wanted && (user.wanted.yields || user.wanted.until <= user.until)) user.wanted = undefined;
}

/** How many jobs may be held for this user. A draining or sick host holds none: no other host could take them. */
function heldAtMost(books: Books, user: User): number {
  if (failsHere(user)) return 0;
  if (user.state !== 'queued' || roomFor(books, user).ok) return heldPerUserOf(books.policy, user.rule);
  return books.draining || books.health.sickness ? 0 : HELD_IN_LINE;
}

/** Gives away what is held beyond that. */
export function shorten(books: Books, user: User): void {
  const beyond = user.held.takeBeyond(heldAtMost(books, user));
  if (beyond.length > 0) letGo(books, user, beyond, 0);
}

/** To other hosts, or until there is room. `crowded`: it is large bodies that leave none. */
function letGo(books: Books, user: User, tickets: readonly Ticket[], hops: number, crowded = false): void {
  const inLine = user.state === 'queued';
  const why = failsHere(user) ? user.detail : inLine ? whyWaiting(books, user) : 'as many jobs are held as may';
  const delayMs = delayOf(books, user, hops, crowded);
  if (failsHere(user) || (inLine && books.health.sickness && !books.draining)) handBack(books, user, tickets, why, false);
  else release(books, tickets, (ticket) => ({ kind: 'defer', ticket, user: user.name, delayMs, why }));
}

function delayOf({ now, draining }: Books, { state, offering, held }: User, hops: number, crowded: boolean): DelayMs {
  if (state === 'ready') return offering.delayMs(now, held.size);
  const starts = STARTING.has(state) || state === 'booting';
  return starts && !crowded ? offering.startDelayMs(now) : leaveDelayMs(draining, hops);
}

export function handBack(books: Books, user: User, tickets: readonly Ticket[], why: string, failed: boolean): void {
  release(books, tickets, (ticket) => ({ kind: 'hand back', ticket, user: user.name, why, failed }));
}

export function parkHeld(books: Books, user: User, reason: Reason | ErrorCode, detail: string): void {
  release(books, user.held.takeAll(), (ticket) => ({ kind: 'park', ticket, user: user.name, reason, detail }));
}

/** Emits one effect for each released job. */
export function release(books: Books, tickets: readonly Ticket[], effect: (ticket: Ticket) => Effect): void {
  books.held -= tickets.length;
  for (const ticket of tickets) books.effects.push(effect(ticket));
}

/** Offers some of the held jobs to a busy executor, where it is time. `users`: to whose executors jobs are offered. */
export function offer(books: Books, user: User, random: number, users: number): void {
  const { jobs, nextAt, number } = user.offering.take(user.held.size, books.now, random, users, books.policy.sealed ? 1 : users);
  isDue(books, nextAt);
  if (jobs > 0) forwardHeld(books, user, jobs, number);
}

export function releaseOld(books: Books, user: User): void {
  const inLine = user.state === 'queued';
  const old = user.held.takeHeldSince(books.now - (inLine ? HELD_IN_LINE_MAX_MS : HOLD_MAX_MS));
  if (old.length === 0) return;
  const why = inLine ? whyWaiting(books, user) : HELD_LONG;
  if (inLine) keepPlace(books, user);
  release(books, old, (ticket) => ({ kind: 'defer', ticket, user: user.name, delayMs: NO_ROOM_DELAY_MS, why }));
}
