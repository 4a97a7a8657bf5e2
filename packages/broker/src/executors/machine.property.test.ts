import { type ExecutorInfo, ExecutorState, type KnimeUser, knimeUserSchema, osUserSchema, profileNameSchema } from '@kpx/protocol';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { info } from '../../test-fixtures/executors.js';
import { PLAIN_POLICY, rule } from '../../test-fixtures/policy.js';
import type { Policy } from '../policy/policy.js';
import type { Effect, Event, State, Ticket } from './events.js';
import { HOLD_MAX_MS, Machine } from './machine.js';
import { RECENT_MAX_MS } from './recent-time.js';
import type { Executor } from './roster.js';

/*
 * The machine against a world that does anything at any time. The world keeps its own books: every job that went in is held, has left by one
 * effect, or was forgotten with its channel; no limit is ever passed; and when the world behaves, everything gets through.
 */

const POLICY: Policy = {
  ...PLAIN_POLICY,
  maxExecutors: 4,
  backoffInitialMs: 1_000,
  backoffMaxMs: 30_000,
  heldPerUser: 3,
  heldInAll: 7,
  startTimeoutMs: 60_000,
  readyForMs: 1_000,
  lostAfterMs: 30_000,
};

const NO_GROUPS: readonly string[] = [];
const GROUPS: Record<string, readonly string[]> = { carol: ['analysts'], dave: ['analysts'] };

/** Everything that limits and ends executors, at once. */
const ANALYSTS = rule({
  groups: ['analysts'],
  profile: profileNameSchema.parse('big'),
  maxExecutors: 1,
  priority: 5,
  idleStopMs: 90_000,
  keepWarmMs: 60_000,
  maxAgeMs: 150_000,
});
const TIGHT: Policy = {
  ...POLICY,
  maxExecutors: 3,
  rules: [ANALYSTS],
  whenFull: 'evict-idle',
  evictIdleAfterMs: 45_000,
  idleStopMs: 200_000,
  coreTokens: 5,
  tokensPerExecutor: 2,
  executorMemory: 1_000,
  minAvailableMemory: 500,
};
/** Readiness by time alone, and by both. */
const BLIND: Policy = { ...POLICY, readyDelayMs: 5_000, lostAfterMs: undefined };
const DELAYED: Policy = { ...POLICY, readyDelayMs: 5_000 };

/** KNIME name -> account: two names share one. */
const ACCOUNTS = { alice: 'alice', alice2: 'alice', bob: 'bob', carol: 'carol', dave: 'dave', erin: 'erin', mallory: 'mallory' } as const;
const NAMES = Object.keys(ACCOUNTS).map((name) => knimeUserSchema.parse(name));
const UIDS: Record<string, number> = { alice: 1_001, bob: 1_002, carol: 1_003, dave: 1_004, erin: 1_005, mallory: 1_006 };

type Move =
  | { readonly do: 'job'; readonly user: KnimeUser; readonly hops: number }
  | { readonly do: 'answer'; readonly with: 'started' | 'failed' | 'refused' | 'full' | 'no helper' | 'host failed' }
  | { readonly do: 'connect'; readonly pick: number }
  | { readonly do: 'end'; readonly pick: number; readonly exit: string }
  | { readonly do: 'list' }
  | { readonly do: 'measure' }
  | { readonly do: 'lose channel' }
  | { readonly do: 'open channel' }
  | { readonly do: 'look' }
  | { readonly do: 'disconnect'; readonly pick: number }
  | { readonly do: 'fail to end'; readonly user: KnimeUser }
  | { readonly do: 'work'; readonly pick: number }
  | { readonly do: 'memory'; readonly bytes: number }
  | { readonly do: 'drain'; readonly on: boolean }
  | { readonly do: 'policy'; readonly to: Policy }
  | { readonly do: 'groups'; readonly user: KnimeUser }
  | { readonly do: 'ask for start'; readonly user: KnimeUser }
  | { readonly do: 'cancel start'; readonly user: KnimeUser }
  | { readonly do: 'plan'; readonly user: KnimeUser; readonly forMs: number }
  | { readonly do: 'ask for stop'; readonly user: KnimeUser; readonly force: boolean }
  | { readonly do: 'ask for stop when idle' }
  | { readonly do: 'cancel'; readonly pick: number }
  | { readonly do: 'wait'; readonly ms: number };

const move: fc.Arbitrary<Move> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('job' as const), user: fc.constantFrom(...NAMES), hops: fc.nat(12) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('answer' as const),
      with: fc.constantFrom(
        'started' as const,
        'started' as const,
        'failed' as const,
        'refused' as const,
        'full' as const,
        'no helper' as const,
        'host failed' as const,
      ),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('connect' as const), pick: fc.nat(9) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('end' as const), pick: fc.nat(9), exit: fc.constantFrom('exit 0', 'exit 1') }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('disconnect' as const), pick: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('fail to end' as const), user: fc.constantFrom(...NAMES) }) },
  {
    weight: 6,
    arbitrary: fc.constantFrom<Move>(
      { do: 'list' },
      { do: 'measure' },
      { do: 'ask for stop when idle' },
      { do: 'lose channel' },
      { do: 'open channel' },
      { do: 'look' },
      { do: 'look' },
    ),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('work' as const), pick: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('memory' as const), bytes: fc.constantFrom(0, 1_400, 1_600, 5_000, 1_000_000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drain' as const), on: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('policy' as const), to: fc.constantFrom(POLICY, TIGHT, BLIND, DELAYED) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('groups' as const), user: fc.constantFrom(...NAMES) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('ask for start' as const), user: fc.constantFrom(...NAMES) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel start' as const), user: fc.constantFrom(...NAMES) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('plan' as const),
      user: fc.constantFrom(...NAMES),
      forMs: fc.constantFrom(1_000, 60_000, 1_800_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('ask for stop' as const), user: fc.constantFrom(...NAMES), force: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel' as const), pick: fc.nat(9) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(1, 100, 1_500, 40_000, 400_000) }) },
);

class World {
  readonly machine: Machine;
  now = 0;
  /** When an account's executor last got a job, or used its processor. */
  readonly workedAt = new Map<string, number>();
  memory: number | undefined;
  draining = false;
  consuming = false;
  /** Uids with a connection to RabbitMQ; since when, and in how many looks, the others have been without one. */
  readonly connected = new Set<number>();
  readonly missingSince = new Map<number, { readonly at: number; looks: number }>();
  lookedAt = 0;

  constructor(public policy: Policy = POLICY) {
    this.machine = new Machine(policy);
  }

  /** Jobs that the machine has, by ticket. */
  readonly inside = new Map<Ticket, KnimeUser>();
  /** Start requests that the helper has not answered. */
  readonly asked: KnimeUser[] = [];
  readonly processes = new Map<string, ExecutorInfo>();
  /** Users in line, in the order in which they came. */
  readonly #line: { readonly user: KnimeUser; readonly at: number }[] = [];
  /** Users for whom a schedule has wanted an executor. */
  readonly #planned = new Set<KnimeUser>();
  /** Executors that the helper was asked to end. */
  readonly ended: ExecutorInfo[] = [];
  #tickets = 0;
  #pids = 100;

  apply(move: Move): void {
    this.now += 1;
    if (move.do === 'job') this.job(move.user, move.hops);
    else if (move.do === 'look') this.look();
    else if (move.do === 'disconnect') this.disconnect([...this.processes.values()][move.pick]);
    else if (move.do === 'open channel') this.consume(true);
    else if (move.do === 'fail to end') this.step({ kind: 'not ended', user: move.user });
    else if (move.do === 'answer') this.answer(move.with);
    else if (move.do === 'connect') this.connect([...this.processes.values()][move.pick]);
    else if (move.do === 'end') this.end([...this.processes.values()][move.pick], move.exit);
    else if (move.do === 'list') this.step({ kind: 'listed', executors: [...this.processes.values()], askedAt: this.now });
    else if (move.do === 'measure') this.measure();
    else if (move.do === 'ask for stop when idle') this.step({ kind: 'stop when idle asked', pids: new Set(this.pids()) });
    else if (move.do === 'lose channel') {
      this.inside.clear();
      this.consume(false);
    } else if (move.do === 'work') this.work([...this.processes.values()][move.pick]);
    else if (move.do === 'memory') {
      this.memory = move.bytes;
      this.step({ kind: 'memory', availableBytes: move.bytes });
    } else if (move.do === 'drain') {
      this.draining = move.on;
      this.step({ kind: 'drain', on: move.on });
    } else if (move.do === 'policy') {
      this.policy = move.to;
      this.step({ kind: 'policy', policy: move.to });
    } else if (move.do === 'groups') {
      this.step({ kind: 'groups', user: move.user, groups: GROUPS[move.user as string] ?? NO_GROUPS });
    } else if (move.do === 'ask for start') {
      this.step({ kind: 'start asked', user: move.user, groups: GROUPS[move.user as string] ?? NO_GROUPS });
    } else if (move.do === 'cancel start') {
      this.step({ kind: 'start cancelled', user: move.user });
    } else if (move.do === 'plan') {
      const groups = GROUPS[move.user as string] ?? NO_GROUPS;
      this.#planned.add(move.user);
      this.step({ kind: 'start planned', user: move.user, groups, forMs: move.forMs, why: 'a schedule' });
    } else if (move.do === 'ask for stop') {
      this.step({ kind: 'stop asked', user: move.user, force: move.force });
    } else if (move.do === 'cancel') {
      const [ticket, user] = [...this.inside][move.pick] ?? [];
      if (ticket !== undefined && user !== undefined) this.step({ kind: 'cancel asked', user, ticket });
    } else {
      this.now += move.ms;
      this.step({ kind: 'tick' });
    }
  }

  pids(): number[] {
    return [...this.machine.running()].map(({ pid }) => pid);
  }

  job(user: KnimeUser, hops = 0): void {
    this.inside.set(++this.#tickets, user);
    this.step({
      kind: 'job',
      ticket: this.#tickets,
      user,
      hops,
      waited: hops % 2 === 1,
      groups: GROUPS[user as string] ?? NO_GROUPS,
      ageMs: 0,
    });
  }

  answer(how: Extract<Move, { do: 'answer' }>['with']): void {
    const user = this.asked.shift();
    if (user === undefined) return;
    if (how === 'started') this.step({ kind: 'started', user, executor: this.#process(user) });
    else if (how === 'no helper') this.step({ kind: 'no helper', user, detail: 'gone' });
    else {
      const code = ({ failed: 'LAUNCH_FAILED', refused: 'ACCOUNT_DENIED', full: 'LIMIT_REACHED', 'host failed': 'HOST_FAILED' } as const)[
        how
      ];
      this.step({ kind: 'not started', user, code, detail: how });
    }
  }

  consume(consuming: boolean): void {
    this.consuming = consuming;
    this.missingSince.clear(); // RabbitMQ was away for everybody: each gets the whole time anew
    this.step({ kind: consuming ? 'channel opened' : 'channel lost' });
  }

  connect(executor: ExecutorInfo | undefined): void {
    if (executor && executor.state !== ExecutorState.exited) this.connected.add(executor.uid);
    this.look();
  }

  disconnect(executor: ExecutorInfo | undefined): void {
    if (executor) this.connected.delete(executor.uid);
    this.look();
  }

  /** At all connections that there are. */
  look(): void {
    for (const uid of Object.values(UIDS)) {
      if (this.connected.has(uid)) this.missingSince.delete(uid);
      else if (!this.missingSince.has(uid)) this.missingSince.set(uid, { at: this.now, looks: 0 });
      const missing = this.missingSince.get(uid);
      if (missing) missing.looks += 1;
    }
    this.lookedAt = this.now;
    this.step({ kind: 'connections', uids: new Set(this.connected) });
  }

  /** A job that did not come by way of kpx: a second of processor time, all of it used. */
  work(executor: ExecutorInfo | undefined): void {
    if (!executor || executor.state === ExecutorState.exited) return;
    this.now += 1_000;
    this.processes.set(executor.osUser, { ...executor, cpuMs: executor.cpuMs + 1_000 });
    this.workedAt.set(executor.osUser, this.now);
  }

  measure(): void {
    const usage = new Map([...this.processes.values()].map(({ mainPid, cpuMs }) => [mainPid, { cpuMs, memoryBytes: undefined }]));
    this.step({ kind: 'usage', usage, wallMs: this.now });
  }

  end(executor: ExecutorInfo | undefined, lastExit: string): void {
    if (!executor) return;
    this.connected.delete(executor.uid);
    this.processes.set(executor.osUser, { ...executor, state: ExecutorState.exited, mainPid: 0, lastExit });
  }

  #process(user: KnimeUser): ExecutorInfo {
    const osUser = osUserSchema.parse(ACCOUNTS[user as string as keyof typeof ACCOUNTS]);
    const running = this.processes.get(osUser);
    if (running && running.state !== ExecutorState.exited) return running;
    const knimeUsers = NAMES.filter((name) => ACCOUNTS[name as string as keyof typeof ACCOUNTS] === (osUser as string));
    const uid = UIDS[osUser] ?? 0;
    const started = info(osUser, uid, { knimeUsers, sinceMs: this.now, mainPid: ++this.#pids, cpuMs: 1 });
    this.processes.set(osUser, started);
    return started;
  }

  step(event: Event): void {
    for (const effect of this.machine.step(event, this.now, 0.5)) this.#take(effect);
    const { held, starting, executors } = this.machine.counts;
    expect(starting, 'those that start are among the executors').toBeLessThanOrEqual(executors);
    expect(held, 'every job inside is held').toBe(this.inside.size);
    expect(held).toBeLessThanOrEqual(this.policy.heldInAll);
    for (const name of NAMES) {
      expect([...this.inside.values()].filter((user) => user === name).length).toBeLessThanOrEqual(this.policy.heldPerUser);
    }
    expect(this.asked.length, 'starts under way').toBeLessThanOrEqual(this.policy.maxStarting);
    expect(new Set(this.asked).size, 'one start a user').toBe(this.asked.length);
    for (const { user, state } of this.machine.users()) this.#expectNextEvent(user, state, this.machine.executorOf(user));
  }

  /** No user is left without something that has to happen next; and whoever is ready has an executor that RabbitMQ serves. */
  #expectNextEvent(user: KnimeUser, state: State, executor: Readonly<Executor> | undefined): void {
    const { readyForMs, lostAfterMs } = this.policy;
    if (state === 'starting') expect(this.asked, 'the helper has been asked').toContain(user);
    if (state === 'booting') expect(executor && (!executor.ready || executor.ending), `${user} waits for an executor`).toBe(true);
    if (state === 'booting' && !executor?.ending) expect(executor?.deadline).toBeLessThan(Number.POSITIVE_INFINITY);
    if (state === 'lost') expect(executor && !executor.ready && !executor.ending, `${user} waits for a connection`).toBe(true);
    if (state !== 'ready') return;
    expect(executor?.ready && !executor.ending, `${user} is ready`).toBe(true);
    const missing = this.missingSince.get(executor?.uid ?? 0);
    if (missing && missing.looks > 1 && this.consuming && lostAfterMs !== undefined)
      expect(this.lookedAt - missing.at, `${user} is ready without RabbitMQ`).toBeLessThan(readyForMs);
  }

  #take(effect: Effect): void {
    if (effect.kind === 'stop' || effect.kind === 'kill') {
      const executor = this.processes.get(ACCOUNTS[effect.user as string as keyof typeof ACCOUNTS]);
      if (executor) this.ended.push(executor);
    }
    if (effect.kind === 'start') {
      expect(effect.user).not.toBe('mallory');
      expect(this.draining, 'a host that is drained starts nothing').toBe(false);
      this.asked.push(effect.user);
      this.#expectWithinLimits(effect.user);
    } else if (effect.kind === 'state') {
      const at = this.#line.findIndex(({ user }) => user === effect.user);
      const [left] = at < 0 ? [] : this.#line.splice(at, 1);
      if (effect.state === 'starting' && this.policy.rules.length === 0) this.#expectTurn(left?.at);
      if (effect.state === 'queued') this.#line.push({ user: effect.user, at: this.now });
    } else if (effect.kind === 'stop' && (effect.cause === 'idle' || effect.cause === 'evicted' || effect.cause === 'max_age')) {
      const osUser = ACCOUNTS[effect.user as string as keyof typeof ACCOUNTS];
      const idleMs = this.now - (this.workedAt.get(osUser) ?? 0);
      expect(idleMs, `${osUser} is not ended at work`).toBeGreaterThanOrEqual(Math.min(TIGHT.evictIdleAfterMs, ANALYSTS.idleStopMs ?? 0));
    } else if (effect.kind === 'forward' || effect.kind === 'defer' || effect.kind === 'park' || effect.kind === 'hand back') {
      expect(this.inside.get(effect.ticket), 'a job leaves once, as the job of its own user').toBe(effect.user);
      this.inside.delete(effect.ticket);
      if (effect.kind === 'forward') this.workedAt.set(ACCOUNTS[effect.user as string as keyof typeof ACCOUNTS], this.now);
    }
  }

  /** Who came at this time passes nobody who came much earlier, but for users without jobs, whose executors a schedule wants. */
  #expectTurn(at: number | undefined): void {
    const withJobs = new Set(this.inside.values());
    for (const other of this.#line) {
      if (this.#planned.has(other.user) && !withJobs.has(other.user)) continue;
      expect(at, `${other.user} came first`).toBeLessThanOrEqual(other.at + RECENT_MAX_MS);
    }
  }

  /** Of the executors that the machine knows of or has asked for. */
  #expectWithinLimits(started: KnimeUser): void {
    const { maxExecutors, coreTokens, tokensPerExecutor, executorMemory, minAvailableMemory, rules } = this.policy;
    const known = this.machine.counts.executors;
    expect(known).toBeLessThanOrEqual(maxExecutors);
    if (coreTokens > 0) expect(known * tokensPerExecutor).toBeLessThanOrEqual(coreTokens);
    if (executorMemory > 0) expect(this.memory ?? 0).toBeGreaterThanOrEqual(executorMemory + minAvailableMemory);
    const analysts = this.asked.filter((name) => GROUPS[name as string] !== undefined);
    if (rules.length > 0 && analysts.includes(started)) expect(analysts.length).toBeLessThanOrEqual(ANALYSTS.maxExecutors ?? 0);
  }
}

it.each([
  ['a plain policy', POLICY],
  ['rules, tokens, memory and eviction', TIGHT],
  ['readiness by time alone', BLIND],
  ['readiness by time and connection', DELAYED],
])('keeps every job until it leaves by exactly one effect, within all limits, whatever happens in whatever order: %s', (_, policy) => {
  fc.assert(
    fc.property(fc.array(move, { maxLength: 120 }), (moves) => {
      const world = new World(policy);
      for (const one of moves) world.apply(one);
    }),
    { numRuns: 500 },
  );
});

it('gets every held job out once starts succeed and executors connect', () => {
  fc.assert(
    fc.property(fc.array(move, { maxLength: 80 }), (moves) => {
      const world = new World();
      for (const one of moves) world.apply(one);
      world.apply({ do: 'policy', to: POLICY });
      world.apply({ do: 'open channel' });
      const deadline = world.now + HOLD_MAX_MS;
      while (world.inside.size > 0 && world.now < deadline) {
        world.apply({ do: 'wait', ms: 500 });
        while (world.asked.length > 0) world.apply({ do: 'answer', with: 'started' });
        world.apply({ do: 'list' });
        for (const executor of world.processes.values()) world.connect(executor);
      }
      expect(world.inside.size).toBe(0);
    }),
    { numRuns: 300 },
  );
});

it('lets no job wait for executors that RabbitMQ never serves: each is ended, and in the end the jobs are parked', () => {
  fc.assert(
    fc.property(fc.array(move, { maxLength: 80 }), (moves) => {
      const world = new World();
      for (const one of moves) world.apply(one);
      world.apply({ do: 'drain', on: false });
      world.apply({ do: 'policy', to: POLICY });
      world.apply({ do: 'open channel' });
      world.connected.clear();
      const deadline = world.now + HOLD_MAX_MS * 4;
      const waiting = () => world.machine.users().filter(({ state }) => !['idle', 'broken', 'refused'].includes(state));
      while ((world.inside.size > 0 || waiting().length > 0) && world.now < deadline) {
        world.apply({ do: 'wait', ms: 5_000 });
        world.look();
        while (world.asked.length > 0) world.apply({ do: 'answer', with: 'started' });
        for (const executor of world.ended.splice(0)) world.end(executor, 'signal SIGKILL');
        world.apply({ do: 'list' });
      }
      expect(world.inside.size).toBe(0);
      expect(waiting()).toEqual([]);
    }),
    { numRuns: 100 },
  );
});
