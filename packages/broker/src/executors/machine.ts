import { ERRORS, type ErrorCode, type ExecutorInfo, ExecutorState, type KnimeUser, type OsUser } from '@kpx/protocol';
import { backoffMs } from '../policy/backoff.js';
import {
  BUSY_DELAY_MS,
  FIRST_OFFER,
  HOPS_FREE,
  hasRoom,
  isDenied,
  type Load,
  mayStart,
  NO_ROOM_DELAY_MS,
  nextOffer,
  type Offer,
  type Policy,
} from '../policy/policy.js';
import type { Reason } from '../reasons.js';
import type { Effect, Event, State, Ticket } from './events.js';

/*
 * The per-user state machine. Events in, effects out; no clock, no dice, no socket, no log of its own: `now` (milliseconds, monotonic) and
 * `random` ([0, 1)) come with each event. Every job that comes in leaves by exactly one effect, or is forgotten with the channel it came from.
 *
 *   idle -> queued -> starting -> booting -> ready -> idle
 *             ^          |           |         |
 *             |          v           v         v        backoff: waits for the next attempt, jobs are held
 *             +------- backoff <-----+---------+        broken:  start_attempts used up, jobs are parked until a trial is due
 *                        |                              refused: the helper will not, jobs are parked
 *                        +-> broken
 *
 * A job of a `ready` user is forwarded at once; one that keeps coming back is held, and offered again at the pace of its busy executor.
 */

/** Longest time that a job is held, in milliseconds: far below RabbitMQ's consumer timeout of 30 minutes. Then it waits in a delay queue. */
export const HOLD_MAX_MS = 300_000;
/** How long a refusal by the helper is believed before it is asked again, in milliseconds. */
export const REFUSAL_MS = 30_000;
/** Wait before the helper is asked again after it could not be reached, in milliseconds. Does not count as an attempt. */
export const NO_HELPER_RETRY_MS = 2_000;
/** An executor that crashes sooner than this after it was ready counts as one more failed start, in milliseconds. */
export const STABLE_MS = 10_000;

interface HeldJob {
  readonly ticket: Ticket;
  readonly since: number;
}

interface User {
  readonly name: KnimeUser;
  state: State;
  /** When `backoff`, `broken` or `refused` ends; when `idle`: until when the failures are remembered. */
  until: number;
  /** Failed starts in a row. */
  failures: number;
  /** Why it is `backoff`, `broken` or `refused`. */
  code: Reason | ErrorCode;
  detail: string;
  held: HeldJob[];
  /** When `ready`: how its held jobs are offered to a busy executor, when next, and whether one has come back since the last time. */
  offer: Offer;
  offerAt: number;
  cameBack: boolean;
}

interface Executor {
  osUser: OsUser;
  uid: number;
  pid: number;
  readonly since: number;
  ready: boolean;
  readySince: number;
  /** Until when it must be ready. */
  deadline: number;
}

export class Machine {
  readonly #policy: Policy;
  readonly #users = new Map<KnimeUser, User>();
  readonly #executors = new Map<OsUser, Executor>();
  /** Every KNIME name of which it is known that its jobs go to the executor of an account. */
  readonly #accounts = new Map<KnimeUser, OsUser>();
  /** Users in state `queued`, first come first served. */
  readonly #queue = new Set<User>();
  #starting = 0;
  #held = 0;
  #effects: Effect[] = [];
  #now = 0;

  constructor(policy: Policy) {
    this.#policy = policy;
  }

  /** Executors that are not known to be ready: whose connection is to be looked for. */
  awaited(): Iterable<Readonly<Executor>> {
    return [...this.#executors.values()].filter(({ ready }) => !ready);
  }

  /** Executors that run: whose end is to be noticed. */
  running(): Iterable<Readonly<Executor>> {
    return this.#executors.values();
  }

  /** For status and tests. */
  get counts() {
    return { held: this.#held, executors: this.#executors.size, starting: this.#load().starting, users: this.#users.size };
  }

  step(event: Event, now: number, random: number): Effect[] {
    this.#effects = [];
    this.#now = now;
    switch (event.kind) {
      case 'job':
        this.#job(event.ticket, event.user, event.hops);
        break;
      case 'started':
        this.#started(event.user, event.executor);
        break;
      case 'not started':
        this.#notStarted(event, random);
        break;
      case 'no helper':
        this.#leaveStarting(event.user, (user) => this.#rest(user, 'backoff', NO_HELPER_RETRY_MS, 'LAUNCH_FAILED', event.detail));
        break;
      case 'connected':
        for (const executor of this.#executors.values()) if (executor.uid === event.uid) this.#ready(executor);
        break;
      case 'listed':
        this.#listed(event.executors, event.askedAt, random);
        break;
      case 'channel lost':
        for (const user of this.#users.values()) user.held = [];
        this.#held = 0;
        break;
      case 'tick':
        this.#tick(random);
        break;
    }
    this.#startQueued();
    return this.#effects;
  }

  #job(ticket: Ticket, name: KnimeUser, hops: number): void {
    if (isDenied(name, this.#policy)) {
      this.#effects.push({ kind: 'park', ticket, user: name, reason: 'USER_DENIED', detail: `"${name}" is in policy.deny` });
      return;
    }
    const user = this.#user(name);
    if (user.state === 'idle') this.#wake(user);
    switch (user.state) {
      case 'ready':
        if (hops < HOPS_FREE && user.held.length === 0) this.#effects.push({ kind: 'forward', ticket, user: name });
        else this.#hold(user, ticket);
        if (hops >= HOPS_FREE) user.cameBack = true;
        break;
      case 'broken':
      case 'refused':
        this.#effects.push({ kind: 'park', ticket, user: name, reason: user.code, detail: user.detail });
        break;
      case 'idle':
        this.#effects.push({ kind: 'defer', ticket, user: name, delayMs: NO_ROOM_DELAY_MS, why: 'as many executors run as may' });
        this.#forgetIfNothing(user);
        break;
      default:
        this.#hold(user, ticket);
    }
  }

  /** What the first job of an idle user leads to: its executor is known already, or one is planned, or (still `idle`) there is no room. */
  #wake(user: User): void {
    const executor = this.#executorOf(user);
    if (executor) {
      if (executor.deadline === Number.POSITIVE_INFINITY) executor.deadline = this.#now + this.#policy.startTimeoutMs;
      this.#set(user, executor.ready ? 'ready' : 'booting', `executor of "${executor.osUser}"`);
    } else if (hasRoom(this.#load(), this.#policy)) {
      this.#set(user, 'queued', '');
      this.#queue.add(user);
    }
  }

  #hold(user: User, ticket: Ticket): void {
    if (user.held.length >= this.#policy.heldPerUser || this.#held >= this.#policy.heldInAll) {
      const delayMs = user.state === 'ready' ? BUSY_DELAY_MS : NO_ROOM_DELAY_MS;
      this.#effects.push({ kind: 'defer', ticket, user: user.name, delayMs, why: 'as many jobs are held as may' });
      return;
    }
    user.held.push({ ticket, since: this.#now });
    this.#held += 1;
  }

  #release(user: User, effect: (ticket: Ticket) => Effect, which: (job: HeldJob) => boolean = () => true): void {
    const leaving = user.held.filter(which);
    if (leaving.length === 0) return;
    user.held = user.held.filter((job) => !leaving.includes(job));
    this.#held -= leaving.length;
    for (const { ticket } of leaving) this.#effects.push(effect(ticket));
  }

  #startQueued(): void {
    for (const user of this.#queue) {
      if (!mayStart(this.#load(), this.#policy)) return;
      this.#queue.delete(user);
      this.#starting += 1;
      this.#set(user, 'starting', '');
      this.#effects.push({ kind: 'start', user: user.name });
    }
  }

  #started(name: KnimeUser, info: ExecutorInfo): void {
    const executor = this.#adopt(info);
    this.#accounts.set(name, info.osUser);
    this.#leaveStarting(name, (user) => this.#set(user, 'booting', `executor of "${info.osUser}", uid ${info.uid}, pid ${info.mainPid}`));
    if (executor.ready) this.#ready(executor);
  }

  /** Takes an executor into the books. A new process under an account known before has to become ready anew. */
  #adopt({ osUser, uid, mainPid, knimeUsers }: ExecutorInfo): Executor {
    for (const name of knimeUsers) this.#accounts.set(name, osUser);
    const known = this.#executors.get(osUser);
    if (known && known.pid === mainPid) return known;
    const { startTimeoutMs, readyDelayMs } = this.#policy;
    const deadline = this.#now + (readyDelayMs ?? startTimeoutMs);
    const executor = { osUser, uid, pid: mainPid, since: this.#now, ready: false, readySince: 0, deadline };
    this.#executors.set(osUser, executor);
    for (const user of this.#users.values()) {
      if (this.#accounts.get(user.name) !== osUser) continue;
      if (this.#queue.delete(user) || user.state === 'ready') this.#set(user, 'booting', `executor of "${osUser}"`);
    }
    return executor;
  }

  #ready(executor: Executor): void {
    if (!executor.ready) executor.readySince = this.#now;
    executor.ready = true;
    for (const user of this.#usersOf(executor)) {
      if (user.state !== 'booting') continue;
      this.#set(user, 'ready', `uid ${executor.uid}, pid ${executor.pid}`);
      user.offer = FIRST_OFFER;
      this.#release(user, (ticket) => ({ kind: 'forward', ticket, user: user.name }));
    }
  }

  #notStarted({ user: name, code, detail }: Extract<Event, { kind: 'not started' }>, random: number): void {
    this.#leaveStarting(name, (user) => {
      if (code === 'LIMIT_REACHED') {
        this.#set(user, 'idle', detail);
        const why = `the helper has no room: ${detail}`;
        this.#release(user, (ticket) => ({ kind: 'defer', ticket, user: name, delayMs: NO_ROOM_DELAY_MS, why }));
        this.#forgetIfNothing(user);
      } else if (ERRORS[code].retry === 'never') {
        this.#rest(user, 'refused', REFUSAL_MS, code, detail);
        this.#release(user, (ticket) => ({ kind: 'park', ticket, user: name, reason: code, detail }));
      } else this.#fail(user, `${code}: ${detail}`, random);
    });
  }

  #leaveStarting(name: KnimeUser, next: (user: User) => void): void {
    const user = this.#users.get(name);
    if (user?.state !== 'starting') return;
    this.#starting -= 1;
    next(user);
  }

  /** One more failed start: wait longer, or give up for a while. */
  #fail(user: User, detail: string, random: number): void {
    const { startAttempts, backoffInitialMs, backoffMaxMs } = this.#policy;
    user.failures += 1;
    if (user.failures < startAttempts) {
      this.#rest(user, 'backoff', backoffMs(user.failures - 1, backoffInitialMs, backoffMaxMs, random), 'START_FAILED', detail);
      return;
    }
    const why = `${user.failures} starts failed, the last one: ${detail}`;
    this.#rest(user, 'broken', backoffMaxMs, 'START_FAILED', why);
    this.#release(user, (ticket) => ({ kind: 'park', ticket, user: user.name, reason: 'START_FAILED', detail: why }));
  }

  #listed(executors: readonly ExecutorInfo[], askedAt: number, random: number): void {
    const alive = new Map(executors.filter(({ state }) => state !== ExecutorState.exited).map((executor) => [executor.osUser, executor]));
    const ended = new Map(executors.map(({ osUser, lastExit }) => [osUser, lastExit]));
    // New ones first: they take the room that those who lost theirs would otherwise ask for.
    for (const info of alive.values()) if (!this.#executors.has(info.osUser)) this.#adopt(info);
    for (const executor of [...this.#executors.values()]) {
      if (executor.since >= askedAt || alive.get(executor.osUser)?.mainPid === executor.pid) continue;
      this.#gone(executor, ended.get(executor.osUser) || 'end unknown', random);
    }
    for (const info of alive.values()) this.#adopt(info);
  }

  #gone(executor: Executor, lastExit: string, random: number): void {
    this.#executors.delete(executor.osUser);
    const early = !executor.ready || (lastExit !== 'exit 0' && this.#now - executor.readySince < STABLE_MS);
    for (const user of this.#usersOf(executor)) {
      if (user.state !== 'booting' && user.state !== 'ready') continue;
      if (early) this.#fail(user, `the executor ended ${executor.ready ? 'soon after' : 'before'} it was ready: ${lastExit}`, random);
      else this.#settle(user, `the executor ended: ${lastExit}`);
    }
    for (const [name, osUser] of this.#accounts) if (osUser === executor.osUser) this.#accounts.delete(name);
  }

  /** An executor has come to an end that is no failure: what is held for it is the reason for a new one. */
  #settle(user: User, detail: string): void {
    user.failures = 0;
    this.#begin(user, detail);
    this.#forgetIfNothing(user);
  }

  /** To `idle`, and on from there if jobs are held. Where there is no room for an executor, they wait in a delay queue. */
  #begin(user: User, detail: string): void {
    this.#set(user, 'idle', detail);
    if (user.held.length > 0) this.#wake(user);
    if (user.state === 'ready') this.#release(user, (ticket) => ({ kind: 'forward', ticket, user: user.name }));
    if (user.state !== 'idle') return;
    const why = 'as many executors run as may';
    this.#release(user, (ticket) => ({ kind: 'defer', ticket, user: user.name, delayMs: NO_ROOM_DELAY_MS, why }));
  }

  #tick(random: number): void {
    for (const executor of this.#executors.values()) {
      if (executor.ready) continue;
      if (executor.deadline > this.#now) continue;
      if (this.#policy.readyDelayMs !== undefined) this.#ready(executor);
      else this.#notReadyInTime(executor, random);
    }
    for (const user of this.#users.values()) {
      if (user.held.length > 0) this.#releaseOld(user);
      if (user.state === 'ready' && user.held.length > 0) this.#offer(user);
      if (user.until > this.#now) continue;
      if (user.state === 'backoff') {
        user.until = this.#now + this.#policy.backoffMaxMs; // if it stays idle: until when the failures are remembered
        this.#begin(user, 'trying again');
      } else if (user.state === 'broken' || user.state === 'refused') {
        // Half open: one trial, and one more failure is enough to break again.
        user.failures = user.state === 'broken' ? this.#policy.startAttempts - 1 : 0;
        this.#set(user, 'idle', 'the next job is a trial');
        if (user.failures === 0) this.#forgetIfNothing(user);
        else user.until = this.#now + this.#policy.backoffMaxMs;
      } else if (user.state === 'idle') this.#settle(user, '');
      else if (user.state === 'ready' && user.failures > 0) this.#forgive(user);
    }
  }

  #notReadyInTime(executor: Executor, random: number): void {
    // Should it become ready all the same before it ends, it is taken up again.
    executor.deadline = Number.POSITIVE_INFINITY;
    const users = [...this.#usersOf(executor)].filter(({ state }) => state === 'booting');
    const [first] = users;
    if (first) this.#effects.push({ kind: 'kill', user: first.name });
    for (const user of users) this.#fail(user, `the executor was not ready within ${this.#policy.startTimeoutMs} ms`, random);
  }

  #forgive(user: User): void {
    const executor = this.#executorOf(user);
    if (executor && this.#now - executor.readySince >= STABLE_MS) user.failures = 0;
  }

  /** A busy executor's jobs, a few at a time, as often as it takes them. */
  #offer(user: User): void {
    if (user.offerAt > this.#now) return;
    user.offer = nextOffer(user.offer, user.cameBack);
    user.offerAt = this.#now + user.offer.everyMs;
    user.cameBack = false;
    const offered = new Set(user.held.slice(0, user.offer.jobs));
    this.#release(
      user,
      (ticket) => ({ kind: 'forward', ticket, user: user.name }),
      (job) => offered.has(job),
    );
  }

  #releaseOld(user: User): void {
    const old = (job: HeldJob) => this.#now - job.since >= HOLD_MAX_MS;
    const why = `held for ${HOLD_MAX_MS} ms`;
    this.#release(user, (ticket) => ({ kind: 'defer', ticket, user: user.name, delayMs: NO_ROOM_DELAY_MS, why }), old);
  }

  #rest(user: User, state: 'backoff' | 'broken' | 'refused', forMs: number, code: Reason | ErrorCode, detail: string): void {
    user.until = this.#now + forMs;
    user.code = code;
    user.detail = detail;
    this.#set(user, state, `${detail}; for ${forMs} ms`);
  }

  #set(user: User, state: State, detail: string): void {
    if (user.state === state) return;
    user.state = state;
    this.#effects.push({ kind: 'state', user: user.name, state, detail });
  }

  #user(name: KnimeUser): User {
    const known = this.#users.get(name);
    if (known) return known;
    const offering = { offer: FIRST_OFFER, offerAt: 0, cameBack: false };
    const user: User = { name, state: 'idle', until: 0, failures: 0, code: 'START_FAILED', detail: '', held: [], ...offering };
    this.#users.set(name, user);
    return user;
  }

  /** Keeps the books as small as what is going on: an idle user without a past is no entry. */
  #forgetIfNothing(user: User): void {
    if (user.state === 'idle' && user.held.length === 0 && user.failures === 0) this.#users.delete(user.name);
  }

  #executorOf(user: User): Executor | undefined {
    const osUser = this.#accounts.get(user.name);
    return osUser === undefined ? undefined : this.#executors.get(osUser);
  }

  *#usersOf(executor: Executor): Iterable<User> {
    for (const user of [...this.#users.values()]) if (this.#accounts.get(user.name) === executor.osUser) yield user;
  }

  #load(): Load {
    const booting = [...this.#executors.values()].filter(({ ready }) => !ready).length;
    const starting = booting + this.#starting;
    return { executors: this.#executors.size + this.#starting + this.#queue.size, starting };
  }
}
