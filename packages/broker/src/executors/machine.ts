import { ERRORS, type ErrorCode, type ExecutorInfo, ExecutorState, type KnimeUser, type OsUser } from '@kpx/protocol';
import {
  admits,
  HOPS_FREE,
  hasRoom,
  idleForTooLong,
  idleGrainMs,
  type Limit,
  type Load,
  leaveDelayMs,
  NO_ROOM_DELAY_MS,
  type Policy,
  profileOf,
  ruleOf,
  tooOld,
  type Verdict,
} from '../policy/policy.js';
import type { Reason } from '../reasons.js';
import { Ending } from './ending.js';
import { denial, type Effect, type EndCause, type Event, RESTING, type State, type Ticket, WITH_EXECUTOR } from './events.js';
import { evictions } from './eviction.js';
import { STABLE_MS } from './executor-link.js';
import { type Explanation, explanationOf } from './explanation.js';
import { countFailure, REFUSAL_MS } from './failing.js';
import { HostHealth } from './health.js';
import { HELD_IN_LINE, HELD_IN_LINE_MAX_MS, longestWaitMs, nextToStart, PLACE_MS, whyWaiting } from './line.js';
import { spread } from './offering.js';
import { type Executor, Roster, sample } from './roster.js';
import { connectionsWanted, failureOf, serviceOf } from './service.js';
import { failsHere, forgive, honoursReplay, newUser, type User } from './user.js';

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
 * A `ready` user whose executor loses RabbitMQ is `lost`: jobs are held until it is connected again, or ended as a failed start.
 * A job of a `ready` user is forwarded at once; one that keeps coming back is held, and offered again at the pace of its busy executor.
 * Users for whom there is no room stay `queued`, in line, each at the price of one held job; their other jobs wait in a delay queue.
 */

/** Longest time that a job is held, in milliseconds: far below RabbitMQ's consumer timeout of 30 minutes. Then it waits in a delay queue. */
export const HOLD_MAX_MS = 300_000;
/** How often the machine is to be told that time has passed, in milliseconds, where nothing asks for more: the grain of every deadline. */
export const TICK_MS = 100;

export class Machine {
  #policy: Policy;
  readonly #users = new Map<KnimeUser, User>();
  readonly #executors = new Roster();
  /** Users in state `queued`, in the order in which they came. */
  readonly #queue = new Set<User>();
  /** Users for whose executors the helper has been asked. */
  readonly #asked = new Set<User>();
  readonly health = new HostHealth();
  #availableMemory: number | undefined;
  #draining = false;
  /** Jobs are consumed: an executor without RabbitMQ is alone in that. */
  #consuming = false;
  #held = 0;
  /** When the next offer to a busy executor is due, at the earliest. */
  #nextOfferAt = Number.POSITIVE_INFINITY;
  #effects: Effect[] = [];
  #now = 0;

  constructor(policy: Policy) {
    this.#policy = policy;
  }

  /** Whether connections of executors are to be looked for: soon, where one is not ready; now and then; or not at all. */
  get looksForConnections(): 'soon' | 'sometimes' | 'never' {
    return connectionsWanted(this.#policy, [...this.#executors.values()]);
  }

  /** Executors that run: whose end is to be noticed. */
  running(): Iterable<Readonly<Executor>> {
    return this.#executors.values();
  }

  /** For status and tests. `executors` has those that are being started, as the limits have. */
  get counts() {
    const { executors, starting } = this.#load();
    const waiting = { waiting: this.#queue.size, longestWaitMs: longestWaitMs(this.#queue, this.#now) };
    return { held: this.#held, executors, starting, users: this.#users.size, ...waiting };
  }

  /** Somebody waits for an executor that could be ended: look at them soon. */
  get wantsList(): boolean {
    return this.#queue.size > 0 && this.#policy.whenFull === 'evict-idle' && !this.#draining;
  }

  /** When the next `tick` is wanted, in milliseconds from the last event. */
  get tickInMs(): number {
    return Math.max(1, Math.min(TICK_MS, this.#nextOfferAt - this.#now));
  }

  /** The one that this user's jobs go to. */
  executorOf(user: KnimeUser): Readonly<Executor> | undefined {
    return this.#executors.of(user);
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** How often to look at the executors so that idle_stop means what it says, in milliseconds; undefined: it is off. */
  get idleGrainMs(): number | undefined {
    return idleGrainMs(this.#policy);
  }

  /** Whose groups are not known: executors that ran before the broker did, and users from before a rule asked. */
  ungrouped(): Set<KnimeUser> {
    const everybody = [...[...this.#users.values()].map(({ name, groups }) => ({ user: name, groups })), ...this.#executors.values()];
    return new Set(everybody.filter(({ groups }) => groups === undefined).map(({ user }) => user));
  }

  /** Executors stay, whatever the new policy says; so do jobs, but for those of users whom it denies. */
  #setPolicy(policy: Policy): void {
    this.#policy = policy;
    for (const user of this.#users.values()) this.#judge(user);
    this.#executors.judge(policy);
    for (const user of this.#queue) this.#shorten(user);
  }

  #setGroups(name: KnimeUser, groups: readonly string[]): void {
    const user = this.#users.get(name);
    if (user) {
      user.groups = groups;
      this.#judge(user);
    }
    for (const executor of this.#executors.values()) if (executor.user === name) executor.groups = groups;
    this.#executors.judge(this.#policy);
  }

  /** Everybody who has jobs here, an executor, or a past. */
  users(): { readonly user: KnimeUser; readonly state: State; readonly held: number }[] {
    return [...this.#users.values()].map(({ name, state, held }) => ({ user: name, state, held: held.size }));
  }

  /** What a job of each of them would meet now. */
  explanations(names: Iterable<KnimeUser> = this.#users.keys()): Explanation[] {
    return [...names].map((name) => this.explain(name, this.#users.get(name)?.groups ?? []));
  }

  /** What a job of this user would meet now. Changes nothing. */
  explain(name: KnimeUser, groups: readonly string[]): Explanation {
    const [user, executor] = [this.#users.get(name), this.#executors.of(name)];
    const sick = this.health.refuses(name, this.#now);
    return explanationOf(name, groups, { policy: this.#policy, load: this.#load(), user, executor, sick, now: this.#now });
  }

  step(event: Event, now: number, random: number): Effect[] {
    this.#effects = [];
    this.#now = now;
    switch (event.kind) {
      case 'job':
        this.#job(event);
        break;
      case 'started':
        this.#started(event.user, event.executor);
        break;
      case 'not started':
        this.#notStarted(event, random);
        break;
      case 'no helper':
        this.health.waitForHelper();
        this.#leaveStarting(event.user, (user) => this.#fail(user, event.detail, random, 'HOST_FAILED'));
        break;
      case 'connections':
        for (const executor of this.#executors.values()) {
          executor.link.see(event.uids.has(executor.uid), now);
          this.#judgeService(executor, random);
        }
        break;
      case 'not ended':
        this.#executors.of(event.user)?.end?.failed(now);
        break;
      case 'channel opened':
        this.#consuming = true;
        for (const { link } of this.#executors.values()) link.startAnew(now);
        break;
      case 'listed':
        this.#listed(event.executors, event.askedAt, random);
        break;
      case 'account lost':
        this.#accountLost(event.osUser, event.why);
        break;
      case 'memory':
        this.#availableMemory = event.availableBytes;
        break;
      case 'policy':
        this.#setPolicy(event.policy);
        break;
      case 'groups':
        this.#setGroups(event.user, event.groups);
        break;
      case 'groups unknown':
        this.#groupsUnknown(event, random);
        break;
      case 'drain':
        this.#draining = event.on;
        for (const user of this.#queue) this.#shorten(user);
        break;
      case 'start asked':
        this.#startAsked(event.user, event.groups);
        break;
      case 'stop asked':
        this.#stopAsked(event.user, event.force);
        break;
      case 'channel lost':
        for (const user of this.#users.values()) user.held.clear();
        this.#held = 0;
        this.#consuming = false;
        break;
      case 'tick':
        this.#tick(random);
        break;
    }
    this.#startQueued();
    return this.#effects;
  }

  #job({ ticket, user: name, hops, waited, replayed, groups, ageMs, crowded = false }: Extract<Event, { kind: 'job' }>): void {
    const detail = tooOld(this.#policy, ageMs);
    if (detail !== undefined) {
      this.#effects.push({ kind: 'park', ticket, user: name, reason: 'JOB_TOO_OLD', detail });
      return;
    }
    const user = this.#user(name, groups);
    if (!user.admitted.ok) {
      this.#effects.push(denial(name, user.admitted.why, ticket));
      this.#forgetIfNothing(user);
      return;
    }
    if (replayed && honoursReplay(user, this.#now)) this.#startAnew(user, 'an operator has replayed a job');
    if (user.state === 'idle') this.#wake(user);
    switch (user.state) {
      case 'ready':
        if (hops < HOPS_FREE && user.held.size === 0) this.#forward(user, ticket);
        else this.#hold(user, ticket, hops, crowded);
        if (hops > 0 && !waited) this.#cameBack(user);
        break;
      case 'broken':
      case 'refused':
        if (failsHere(user)) this.#effects.push({ kind: 'hand back', ticket, user: name, why: user.detail, failed: false });
        else this.#effects.push({ kind: 'park', ticket, user: name, reason: user.code, detail: user.detail });
        break;
      default:
        this.#hold(user, ticket, hops, crowded);
    }
  }

  /** As a first job would, but for the job. A user who rests after failures, or was refused, is tried at once. */
  #startAsked(name: KnimeUser, groups: readonly string[] | undefined): void {
    const user = this.#user(name, groups);
    this.health.tryNow();
    if (user.admitted.ok) this.#startAnew(user, 'an operator asks for a start');
    if (user.admitted.ok && user.state === 'idle') this.#wake(user);
    else this.#forgetIfNothing(user);
  }

  /** What has failed so far counts no more, and neither does a refusal. */
  #startAnew(user: User, why: string): void {
    forgive(user);
    if (RESTING.has(user.state)) this.#set(user, 'idle', why);
  }

  #stopAsked(name: KnimeUser, force: boolean): void {
    const executor = this.#executors.of(name);
    if (!executor) return;
    const why = 'an operator ends it';
    if (!executor.ending) this.#end(executor, 'asked', why);
    if (!force) return;
    executor.end?.force(this.#now);
    this.#effects.push({ kind: 'kill', user: name, why });
  }

  #forward(user: User, ticket: Ticket): void {
    this.#gives(user, 1);
    this.#effects.push({ kind: 'forward', ticket, user: user.name });
  }

  #gives(user: User, jobs: number): void {
    const executor = this.#executors.of(user.name);
    if (!executor) return;
    executor.quietSince = this.#now;
    executor.given.gave(jobs, this.#now);
  }

  /** The executor did not take a job. */
  #cameBack(user: User): void {
    user.offering.cameBack();
    this.#executors.of(user.name)?.given.cameBack(this.#now);
  }

  /** What the first job of an idle user leads to: its executor is known already, or one is wanted. */
  #wake(user: User): void {
    const executor = this.#executors.of(user.name);
    if (!executor) {
      user.until = this.#now + PLACE_MS;
      const room = this.#roomFor(user);
      this.#set(user, 'queued', room.ok ? '' : room.why, room.ok ? undefined : room.limit);
      this.#queue.add(user);
      this.#shorten(user);
      return;
    }
    const state = executor.ending || !executor.booted ? 'booting' : executor.ready ? 'ready' : 'lost';
    this.#set(user, state, `executor of "${executor.osUser}"${executor.ending ? ', which is ending' : ''}`);
  }

  /** How many jobs may be held for this user. Nobody else gets what a host holds that starts nothing. */
  #heldAtMost(user: User): number {
    if (failsHere(user)) return 0;
    if (user.state !== 'queued' || this.#roomFor(user).ok) return this.#policy.heldPerUser;
    return this.#draining || this.health.sickness ? 0 : HELD_IN_LINE;
  }

  /** Gives away what is held beyond that. */
  #shorten(user: User): void {
    const beyond = user.held.takeBeyond(this.#heldAtMost(user));
    if (beyond.length === 0) return;
    this.#letGo(user, beyond, 0);
  }

  /** To other hosts, or until there is room. */
  #letGo(user: User, tickets: readonly Ticket[], hops: number): void {
    const inLine = user.state === 'queued';
    const why = failsHere(user) ? user.detail : inLine ? this.#whyWaiting(user) : 'as many jobs are held as may';
    const delayMs = user.state === 'ready' ? user.offering.delayMs : leaveDelayMs(this.#draining, hops);
    if (failsHere(user) || (inLine && this.health.sickness && !this.#draining)) this.#handBack(user, tickets, why, false);
    else this.#release(tickets, (ticket) => ({ kind: 'defer', ticket, user: user.name, delayMs, why }));
  }

  #handBack(user: User, tickets: readonly Ticket[], why: string, failed: boolean): void {
    this.#release(tickets, (ticket) => ({ kind: 'hand back', ticket, user: user.name, why, failed }));
  }

  #hold(user: User, ticket: Ticket, hops: number, crowded: boolean): void {
    const most = this.#heldAtMost(user);
    if (user.state === 'queued') user.until = this.#now + PLACE_MS;
    this.#held += 1;
    if (user.held.size >= most || this.#held > this.#policy.heldInAll || crowded) {
      this.#letGo(user, [ticket], hops);
      return;
    }
    user.held.add(ticket, this.#now);
    if (user.state === 'ready' && user.held.size === 1) this.#nextOfferAt = Math.min(this.#nextOfferAt, user.offering.dueAt(this.#now));
  }

  /** What has been taken from those that are held leaves. */
  #release(tickets: readonly Ticket[], effect: (ticket: Ticket) => Effect): void {
    this.#held -= tickets.length;
    for (const ticket of tickets) this.#effects.push(effect(ticket));
  }

  #startQueued(): void {
    while (this.#queue.size > 0) {
      const load = this.#load();
      const admitted = [...this.#queue].filter(({ name }) => this.health.admits(name, this.#now));
      const user = nextToStart(this.#policy, load, admitted);
      if (!user) return;
      this.#queue.delete(user);
      this.#asked.add(user);
      this.health.starts(user.name, this.#now);
      const rule = user.rule ? `, ${user.rule.label}` : '';
      const why = `${load.executors + 1} of ${this.#policy.maxExecutors} executors with this one${rule}`;
      this.#set(user, 'starting', why);
      this.#effects.push({ kind: 'start', user: user.name, profile: profileOf(user.rule), why });
    }
  }

  #roomFor(user: User): Verdict {
    const why = this.health.refuses(user.name, this.#now);
    return why === undefined ? hasRoom(this.#policy, this.#load(), user.rule) : { ok: false, why, limit: 'host_sick' };
  }

  #whyWaiting(user: User): string {
    return this.health.refuses(user.name, this.#now) ?? whyWaiting(this.#policy, this.#load(), user);
  }

  /** Its users wait for the next one. */
  #end(executor: Executor, cause: EndCause, why: string, force = false): void {
    executor.end = executor.named ? new Ending(this.#now, force) : undefined;
    for (const user of this.#usersOf(executor)) if (user.state === 'ready' || user.state === 'lost') this.#begin(user, why);
    if (executor.named) this.#effects.push({ kind: force ? 'kill' : 'stop', user: executor.user, why, cause });
  }

  #accountLost(osUser: OsUser, why: string): void {
    const executor = [...this.#executors.values()].find((one) => one.osUser === osUser);
    if (executor && !executor.ending && this.#policy.accountLost === 'end') this.#end(executor, 'account_lost', why);
  }

  /** An executor that lives, and that RabbitMQ does not serve, is a failed start. */
  #endWithoutRabbitmq(executor: Executor, why: string, random: number): void {
    const users = [...this.#usersOf(executor)].filter(({ state }) => WITH_EXECUTOR.has(state));
    executor.failed = true;
    for (const user of users) this.#fail(user, why, random, 'LAUNCH_FAILED', 'EXECUTOR_WITHOUT_RABBITMQ');
    this.#end(executor, 'without_rabbitmq', why, !executor.booted);
  }

  #started(name: KnimeUser, info: ExecutorInfo): void {
    const executor = this.#adopt(info);
    this.#executors.leads(name, info.osUser);
    this.#startedFor(executor, this.#users.get(name));
    this.#leaveStarting(name, (user) => this.#set(user, 'booting', `executor of "${info.osUser}", uid ${info.uid}, pid ${info.mainPid}`));
    if (executor.ready && !executor.ending) this.#ready(executor);
  }

  /** Whoever waits for an executor of this account, or had the one before, waits for this one now. */
  #adopt(info: ExecutorInfo): Executor {
    const { executor, isNew } = this.#executors.adopt(info, this.#policy, this.#now);
    if (!isNew) return executor;
    for (const waiting of this.#users.values()) {
      if (this.#executors.accountOf(waiting.name) !== info.osUser) continue;
      if (this.#queue.delete(waiting) || waiting.state === 'ready' || waiting.state === 'lost')
        this.#set(waiting, 'booting', `executor of "${info.osUser}"`);
    }
    return executor;
  }

  /** What is known of the user is better than what the helper knows of the account. */
  #startedFor(executor: Executor, user: User | undefined): void {
    if (!user) return;
    executor.user = user.name;
    executor.groups = user.groups;
    executor.rule = user.rule;
  }

  #judgeService(executor: Executor, random: number): void {
    if (executor.ending) return;
    const service = serviceOf(executor, this.#policy, this.#consuming, this.#now);
    if (service?.is === 'ready') this.#ready(executor);
    else if (service?.is === 'lost') this.#lost(executor);
    else if (service) this.#endWithoutRabbitmq(executor, service.why, random);
  }

  /** It may come back by itself: jobs wait until lost_after. */
  #lost(executor: Executor): void {
    executor.ready = false;
    for (const user of this.#usersOf(executor))
      if (user.state === 'ready') this.#set(user, 'lost', 'it has no connection to RabbitMQ any more');
  }

  #ready(executor: Executor): void {
    this.#executors.markReady(executor, this.#now);
    for (const user of this.#usersOf(executor)) {
      if (user.state !== 'booting' && user.state !== 'lost') continue;
      user.hostFailures = 0;
      this.health.worked(executor.since);
      this.#set(user, 'ready', `uid ${executor.uid}, pid ${executor.pid}`);
      this.#forwardHeld(user);
    }
  }

  #forwardHeld(user: User, count = user.held.size): void {
    this.#gives(user, Math.min(count, user.held.size));
    this.#release(user.held.takeFirst(count), (ticket) => ({ kind: 'forward', ticket, user: user.name }));
  }

  #notStarted({ user: name, code, detail }: Extract<Event, { kind: 'not started' }>, random: number): void {
    this.#leaveStarting(name, (user) => {
      if (code === 'LIMIT_REACHED') {
        this.#set(user, 'idle', detail);
        const why = `the helper has no room: ${detail}`;
        this.#release(user.held.takeAll(), (ticket) => ({ kind: 'defer', ticket, user: name, delayMs: NO_ROOM_DELAY_MS, why }));
        this.#forgetIfNothing(user);
      } else if (ERRORS[code].retry === 'never' && ERRORS[code].fault === 'user') {
        this.#rest(user, 'refused', REFUSAL_MS, code, detail);
        this.#parkHeld(user, code, detail);
      } else this.#fail(user, `${code}: ${detail}`, random, code);
    });
  }

  #leaveStarting(name: KnimeUser, next: (user: User) => void): void {
    const user = this.#users.get(name);
    if (user?.state !== 'starting') return;
    this.#asked.delete(user);
    next(user);
  }

  #fail(user: User, detail: string, random: number, code: ErrorCode = 'LAUNCH_FAILED', reason: Reason = 'START_FAILED'): void {
    const sick = this.health.failed(user.name, code, detail, this.#now);
    const { state, forMs, jobs, ...why } = countFailure(user, { code, reason, detail, sick }, this.#policy, this.#now, random);
    this.#rest(user, state, forMs, why.code, why.detail);
    if (jobs === 'handed back') this.#handBack(user, user.held.takeAll(), detail, true);
    else if (jobs === 'parked') this.#parkHeld(user, why.code, why.detail);
    if (sick) for (const waiting of this.#queue) this.#shorten(waiting);
  }

  /** Whoever has an executor, or waits for one, has been judged before. */
  #groupsUnknown({ user: name, ticket, detail }: Extract<Event, { kind: 'groups unknown' }>, random: number): void {
    const user = this.#user(name, undefined);
    if (user.state === 'idle') this.#fail(user, `ACCOUNT_LOOKUP_FAILED: ${detail}`, random, 'ACCOUNT_LOOKUP_FAILED');
    this.#effects.push({ kind: 'hand back', ticket, user: name, why: detail, failed: true });
  }

  #parkHeld(user: User, reason: Reason | ErrorCode, detail: string): void {
    this.#release(user.held.takeAll(), (ticket) => ({ kind: 'park', ticket, user: user.name, reason, detail }));
  }

  #listed(executors: readonly ExecutorInfo[], askedAt: number, random: number): void {
    this.health.helperAnswers();
    const alive = new Map(executors.filter(({ state }) => state !== ExecutorState.exited).map((executor) => [executor.osUser, executor]));
    const ended = new Map(executors.map(({ osUser, lastExit }) => [osUser, lastExit]));
    // New ones first: they take the room that those who lost theirs would otherwise ask for.
    for (const info of alive.values()) if (!this.#executors.has(info.osUser)) this.#adopt(info);
    for (const executor of [...this.#executors.values()]) {
      if (executor.since >= askedAt || alive.get(executor.osUser)?.mainPid === executor.pid) continue;
      this.#gone(executor, ended.get(executor.osUser) ?? '', random);
    }
    for (const info of alive.values()) sample(this.#adopt(info), info.cpuMs, this.#policy.idleCpuShare, this.#now);
    // Now, while what has been seen of their work is fresh.
    for (const executor of this.#executors.values()) {
      const why = idleForTooLong(this.#policy, executor);
      if (why !== undefined) this.#end(executor, 'idle', why);
    }
    const line = this.health.sickness ? [] : this.#queue; // a sick host would start nobody in its place
    for (const { executor, why } of evictions(this.#policy, this.#load(), line, [...this.#executors.values()]))
      this.#end(executor, 'evicted', why);
  }

  /** `lastExit` is empty when nobody knows how it ended: systemd keeps only failures in mind. */
  #gone(executor: Executor, lastExit: string, random: number): void {
    this.#executors.remove(executor);
    const failure = failureOf(executor, lastExit, this.#consuming, this.#now);
    const ended = `the executor ended: ${lastExit || 'no failure is known'}`;
    for (const user of this.#usersOf(executor)) {
      if (!WITH_EXECUTOR.has(user.state)) continue;
      if (executor.failed) this.#begin(user, ended);
      else if (failure) this.#fail(user, failure, random);
      else this.#settle(user, ended);
    }
    this.#executors.forgetNames(executor.osUser);
  }

  /** An executor has come to an end that is no failure: what is held for it is the reason for a new one. */
  #settle(user: User, detail: string): void {
    forgive(user);
    this.#begin(user, detail);
    this.#forgetIfNothing(user);
  }

  /** To `idle`, and on from there if jobs are held. */
  #begin(user: User, detail: string): void {
    this.#set(user, 'idle', detail);
    if (user.held.size > 0) this.#wake(user);
    if (user.state === 'ready') this.#forwardHeld(user);
  }

  #tick(random: number): void {
    for (const executor of this.#executors.values()) {
      const due = executor.end?.due(this.#now);
      if (due) this.#effects.push({ kind: due, user: executor.user, why: 'it has not ended' });
      this.#judgeService(executor, random);
    }
    this.#nextOfferAt = Number.POSITIVE_INFINITY;
    let offering = 0;
    for (const user of this.#users.values()) {
      if (user.held.size > 0) this.#releaseOld(user);
      if (user.state === 'ready' && user.held.size > 0) this.#offer(user, spread(random, offering++));
      if (user.until > this.#now) continue;
      if (user.state === 'queued' && user.held.size === 0) this.#leaveLine(user, 'no job has come back');
      else if (user.state === 'backoff') {
        user.until = this.#now + this.#policy.backoffMaxMs; // if it stays idle: until when the failures are remembered
        this.#begin(user, 'trying again');
      } else if (user.state === 'broken' || user.state === 'refused') {
        // Half open: one trial, and one more failure is enough to break again.
        user.failures = user.state === 'broken' ? this.#policy.startAttempts - 1 : 0;
        user.failingSince = this.#now;
        this.#set(user, 'idle', 'the next job is a trial');
        if (user.failures === 0) this.#forgetIfNothing(user);
        else user.until = this.#now + this.#policy.backoffMaxMs;
      } else if (user.state === 'idle') this.#settle(user, '');
      else if (user.state === 'ready' && user.failures > 0) this.#forgive(user);
    }
  }

  #leaveLine(user: User, why: string): void {
    this.#queue.delete(user);
    this.#set(user, 'idle', why);
    this.#forgetIfNothing(user);
  }

  #forgive(user: User): void {
    const executor = this.#executors.of(user.name);
    if (executor?.given.hasTaken(this.#now) && this.#now - executor.readySince >= STABLE_MS) user.failures = 0;
  }

  #offer(user: User, random: number): void {
    const { jobs, nextAt } = user.offering.take(user.held.size, this.#now, random);
    this.#nextOfferAt = Math.min(this.#nextOfferAt, nextAt);
    if (jobs > 0) this.#forwardHeld(user, jobs);
  }

  #releaseOld(user: User): void {
    const inLine = user.state === 'queued';
    const old = user.held.takeHeldSince(this.#now - (inLine ? HELD_IN_LINE_MAX_MS : HOLD_MAX_MS));
    if (old.length === 0) return;
    const why = inLine ? this.#whyWaiting(user) : `held for ${HOLD_MAX_MS} ms`;
    if (inLine) user.until = this.#now + PLACE_MS;
    this.#release(old, (ticket) => ({ kind: 'defer', ticket, user: user.name, delayMs: NO_ROOM_DELAY_MS, why }));
  }

  #rest(user: User, state: 'backoff' | 'broken' | 'refused', forMs: number, code: Reason | ErrorCode, detail: string): void {
    user.until = this.#now + forMs;
    user.code = code;
    user.detail = detail;
    this.#set(user, state, `${detail}; for ${forMs} ms`);
  }

  #set(user: User, state: State, detail: string, limit?: Limit): void {
    if (user.state === state) return;
    user.state = state;
    user.stateSince = this.#now;
    this.#effects.push({ kind: 'state', user: user.name, state, detail, ...(limit && { limit }) });
  }

  #user(name: KnimeUser, groups: readonly string[] | undefined): User {
    const known = this.#users.get(name);
    if (known) {
      if (known.groups !== groups && groups !== undefined) this.#setGroups(name, groups);
      return known;
    }
    const user = newUser(name, groups);
    this.#judge(user);
    this.#users.set(name, user);
    return user;
  }

  /** Jobs of a user who is not admitted any more do not wait for an executor either. */
  #judge(user: User): void {
    user.rule = ruleOf(this.#policy, user.name, user.groups ?? []);
    const admitted = admits(this.#policy, user.name, user.rule);
    user.admitted = admitted;
    if (admitted.ok) return;
    this.#release(user.held.takeAll(), (ticket) => denial(user.name, admitted.why, ticket));
    if (this.#queue.has(user)) this.#leaveLine(user, admitted.why);
  }

  /** Keeps the books as small as what is going on: an idle user without a past is no entry. */
  #forgetIfNothing(user: User): void {
    if (user.state === 'idle' && user.held.size === 0 && user.failures === 0) this.#users.delete(user.name);
  }

  *#usersOf(executor: Executor): Iterable<User> {
    for (const user of [...this.#users.values()]) if (this.#executors.accountOf(user.name) === executor.osUser) yield user;
  }

  #load(): Load {
    return { ...this.#executors.load(this.#asked), availableMemory: this.#availableMemory, draining: this.#draining };
  }
}
