import { ERRORS, type ExecutorInfo, ExecutorState, type KnimeUser } from '@kpx/protocol';
import { idleForTooLong, isIdleEnough, NO_ROOM_DELAY_MS, tooOldToKeep, worksForTooLong } from '../policy/policy.js';
import { byTurn } from '../policy/turn.js';
import { userOf } from './admission.js';
import { type Books, enter, forgetIfNothing, loadOf, usersOf } from './books.js';
import { end, replace } from './ending.js';
import type { Event } from './events.js';
import { evictions } from './eviction.js';
import { fail, refuse, rest } from './failing.js';
import { release, told } from './holding.js';
import { worthRoom } from './line.js';
import { countAnew, type Executor, sample } from './roster.js';
import { endedSoon, failureOf, serves } from './service.js';
import { begin, settle } from './starting.js';
import { STARTING, WITH_EXECUTOR } from './states.js';
import type { User } from './user.js';

/* The consequences of the helper's answers. */

/** The helper has started an executor, or found it running. */
export function started(books: Books, { user: name, executor: info, wasThere }: Extract<Event, { kind: 'started' }>): void {
  const executor = adopt(books, info);
  if (!wasThere) executor.isOurs = true;
  books.executors.leads(name, info.osUser);
  startedFor(executor, books.users.get(name));
  leaveStarting(books, name, (user) => enter(books, user, 'booting', `executor of "${info.osUser}", uid ${info.uid}, pid ${info.mainPid}`));
  if (executor.ready && !executor.ending) serves(books, executor);
}

/** Users who wait for an executor of this account, or had the one before, wait for this one from now on; so do users whom another map leads to it. */
function adopt(books: Books, info: ExecutorInfo): Executor {
  const { users, executors, line, policy, now } = books;
  const { executor, isNew, moved } = executors.adopt(info, policy, now);
  const detail = `executor of "${info.osUser}"`;
  if (!isNew && moved.size === 0) return executor;
  for (const user of [...users.values()]) {
    if (executors.accountOf(user.name) !== info.osUser) continue;
    if (isNew && (line.delete(user) || user.state === 'ready' || user.state === 'lost')) enter(books, user, 'booting', detail);
    else if (!isNew && moved.has(executors.folded(user.name))) moves(books, user, detail);
  }
  return executor;
}

/** The user's jobs go to another executor than before, or to none: who waits for one, or has one, begins anew. */
function moves(books: Books, user: User, detail: string): void {
  if (!books.line.delete(user) && !WITH_EXECUTOR.has(user.state)) return;
  if (books.executors.of(user.name)?.ending === false) user.wanted = undefined;
  begin(books, user, detail);
}

/** A helper that comes back may compare names in another way. Its list tells the rest. */
export function helperGreeted(books: Books, { foldsCase }: Extract<Event, { kind: 'helper greeted' }>): void {
  const { users, executors } = books;
  const before = [...users.values()].map((user) => [user, executors.accountOf(user.name)] as const);
  executors.setCase(foldsCase);
  for (const [user, account] of before)
    if (executors.accountOf(user.name) !== account) moves(books, user, 'the helper compares names in another way');
}

/** The broker knows the user better than the helper knows the account. */
function startedFor(executor: Executor, user: User | undefined): void {
  if (!user) return;
  if (user.held.size === 0) {
    executor.startedFor ??= user.wanted?.why;
    executor.unusedSince ??= user.wanted?.unusedSince;
  }
  executor.user = user.name;
  executor.groups = user.groups;
  executor.rule = user.rule;
}

export function notStarted(books: Books, { user: name, code, detail }: Extract<Event, { kind: 'not started' }>): void {
  leaveStarting(books, name, (user) => {
    if (code === 'LIMIT_REACHED') {
      const why = `the helper has no room: ${detail}`;
      release(books, user.held.takeAll(), (ticket) => ({ kind: 'defer', ticket, user: name, delayMs: NO_ROOM_DELAY_MS, why }));
      // Jobs come back. Nobody brings back what an operator has asked for.
      if (user.wanted?.yields === false) {
        user.cause = code;
        return rest(books, user, 'backoff', NO_ROOM_DELAY_MS, code, why);
      }
      user.wanted = undefined;
      enter(books, user, 'idle', detail);
      forgetIfNothing(books, user);
    } else if (ERRORS[code].retry === 'never' && ERRORS[code].fault === 'user') refuse(books, user, code, detail);
    else fail(books, user, `${code}: ${detail}`, code);
  });
}

export function noHelper(books: Books, name: KnimeUser, detail: string): void {
  books.health.waitForHelper();
  leaveStarting(books, name, (user) => fail(books, user, detail, 'HOST_FAILED'));
}

/** A start that takes several steps has taken one. */
export function startGoesOn(books: Books, { user: name, to }: Extract<Event, { kind: 'start goes on' }>): void {
  const user = books.users.get(name);
  if (user && STARTING.has(user.state)) enter(books, user, to, '');
}

function leaveStarting({ users, asked }: Books, name: KnimeUser, next: (user: User) => void): void {
  const user = users.get(name);
  if (!user || !STARTING.has(user.state)) return;
  asked.delete(user);
  next(user);
}

/** A user who has an executor, or waits for one, has been judged before. */
export function groupsUnknown(books: Books, { user: name, ticket, detail, refusal }: Extract<Event, { kind: 'groups unknown' }>): void {
  if (refusal) told(books, name, refusal.offer, refusal.full ? 'full' : 'not now');
  const user = userOf(books, name, undefined);
  if (user.state === 'idle') fail(books, user, `ACCOUNT_LOOKUP_FAILED: ${detail}`, 'ACCOUNT_LOOKUP_FAILED');
  books.effects.push({ kind: 'hand back', ticket, user: name, why: detail, failed: true });
}

/** Compares the books with all executors that the helper runs. */
export function listed(books: Books, infos: readonly ExecutorInfo[], askedAt: number): void {
  const { executors, health, policy, now } = books;
  health.helperAnswers();
  const alive = new Map(infos.filter(({ state }) => state !== ExecutorState.exited).map((info) => [info.osUser, info]));
  const ended = new Map(infos.map(({ osUser, lastExit }) => [osUser, lastExit]));
  // New executors first: they fill the room before users who lost theirs ask for it.
  for (const info of alive.values()) if (!executors.has(info.osUser)) adopt(books, info);
  for (const executor of [...executors.values()]) {
    if (executor.since >= askedAt || alive.get(executor.osUser)?.mainPid === executor.pid) continue;
    gone(books, executor, ended.get(executor.osUser) ?? '');
  }
  for (const info of alive.values()) {
    const executor = adopt(books, info);
    if (!executor.measured) sample(executor, info.cpuMs, policy.idleCpuShare, now);
  }
  endByUse(books);
}

/** The processor time and memory of executors are known, without a list. */
export function usage(books: Books, { usage, wallMs }: Omit<Extract<Event, { kind: 'usage' }>, 'kind'>): void {
  const { executors, policy, now } = books;
  for (const executor of executors.values()) {
    const used = usage.get(executor.pid);
    if (executor.measured !== (used !== undefined)) countAnew(executor);
    executor.measured = used !== undefined;
    executor.memoryBytes = used?.memoryBytes;
    if (used) sample(executor, used.cpuMs, policy.idleCpuShare, now);
  }
  endByUse(books);
  endOld(books, wallMs);
}

/** Called while what has been seen of their work is fresh. */
function endByUse(books: Books): void {
  const { executors, health, policy } = books;
  for (const executor of executors.values()) {
    const why = idleForTooLong(policy, executor);
    if (why !== undefined) end(books, executor, 'idle', why);
    else if (executor.leaving && isIdleEnough(policy, executor))
      end(books, executor, 'asked', 'an operator wants it ended, and it is idle');
    const tooLong = worksForTooLong(executor);
    if (tooLong !== undefined) end(books, executor, 'run_time_max', tooLong);
  }
  const line = health.sickness ? [] : worthRoom(books).sort(byTurn); // a sick host would start nobody in its place
  for (const { executor, why } of evictions(policy, loadOf(books), line, [...executors.values()])) end(books, executor, 'evicted', why);
}

/** As many at once as may start: each may be started again. A host that starts nothing keeps what it has. */
function endOld(books: Books, wallMs: number): void {
  const { executors, health, policy, draining } = books;
  if (draining || health.sickness) return;
  const old = [...executors.values()].map((executor) => ({ executor, why: tooOldToKeep(policy, executor, wallMs) }));
  for (const { executor, why } of old) {
    if (why === undefined) continue;
    const ending = [...executors.values()].filter((other) => other.ending).length;
    if (ending + loadOf(books).starting >= policy.maxStarting) return;
    replace(books, executor, why);
  }
}

/** `lastExit` is empty when nobody knows how it ended: systemd keeps only failures in mind. */
function gone(books: Books, executor: Executor, lastExit: string): void {
  books.executors.remove(executor, books.now);
  const failure = failureOf(executor, lastExit, books.consuming, books.now);
  const soon = endedSoon(executor, lastExit, books.consuming, books.now);
  if (soon) books.endedSoon += 1;
  const ended = `the executor ended${soon ? ' soon after it was ready, without a job' : ''}: ${lastExit || 'no failure is known'}`;
  for (const user of usersOf(books, executor)) {
    if (!WITH_EXECUTOR.has(user.state)) continue;
    if (executor.failed) begin(books, user, ended);
    else if (failure) fail(books, user, failure);
    else {
      user.endsSoon = soon ? user.endsSoon + 1 : 0;
      if (soon) user.until = books.now + books.policy.startWindowMs; // if it stays idle: until when that is remembered
      settle(books, user, ended);
    }
  }
  books.executors.forgetNames(executor.osUser);
}
