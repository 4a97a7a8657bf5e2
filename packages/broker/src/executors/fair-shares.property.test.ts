import type { ExecutorInfo, KnimeUser } from '@kpx/protocol';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { info, knimeUser } from '../../test-fixtures/executors.js';
import { PLAIN_POLICY, rule } from '../../test-fixtures/policy.js';
import type { Policy } from '../policy/policy.js';
import type { Effect, Event } from './events.js';
import { Machine } from './machine.js';
import { RECENT_HALF_MS, RECENT_MAX_MS, RECENT_USERS_MAX, RecentTime } from './recent-time.js';

/*
 * Who is next in line, against books of the test's own: it keeps every executor that has run, and adds their time up anew for each decision. Users come at
 * any time, for executors that run for any time, with any shares.
 */

interface Waiting {
  readonly user: KnimeUser;
  readonly at: number;
  readonly share: number;
  /** By the test's own books. */
  readonly turnAt: number;
}

/** A host with some places, and executors that end when the test says so. */
class Host {
  now = 1_000;
  readonly line: Waiting[] = [];
  readonly running = new Map<KnimeUser, ExecutorInfo & { readonly since: number }>();
  /** Of executors that have ended. */
  readonly #ran: { readonly user: KnimeUser; readonly since: number; readonly until: number }[] = [];
  readonly #started: Event[] = [];
  readonly #machine: Machine;
  readonly #shares: ReadonlyMap<string, number>;
  /** Starts of users who were not the first to come. */
  overtakes = 0;
  #tickets = 0;
  #pids = 100;

  constructor(places: number, shares: ReadonlyMap<string, number>) {
    const rules = [...shares].map(([user, share]) => rule({ users: [user], share }));
    const policy: Policy = { ...PLAIN_POLICY, maxExecutors: places, maxStarting: places, heldInAll: 1_000, rules };
    this.#machine = new Machine(policy);
    this.#shares = shares;
  }

  step(event: Event): void {
    for (const effect of this.#machine.step(event, this.now, 0.5)) this.#take(effect);
  }

  comes(user: KnimeUser): void {
    this.step({ kind: 'job', ticket: ++this.#tickets, user, hops: 0, waited: false, groups: [], ageMs: 0 });
  }

  ends(user: KnimeUser): void {
    const executor = this.running.get(user);
    if (!executor) return;
    this.running.delete(user);
    this.#ran.push({ user, since: executor.since, until: this.now });
    this.step({ kind: 'listed', executors: [...this.running.values()], askedAt: this.now });
  }

  /** In all, in milliseconds. */
  timeOf(user: KnimeUser): number {
    return this.#ran.reduce((sum, ran) => sum + (ran.user === user ? ran.until - ran.since : 0), 0);
  }

  #recentMs(user: KnimeUser): number {
    const left = (ms: number) => RECENT_MAX_MS * 2 ** (-ms / RECENT_HALF_MS);
    return this.#ran.reduce((sum, ran) => sum + (ran.user === user ? left(this.now - ran.until) - left(this.now - ran.since) : 0), 0);
  }

  #take(effect: Effect): void {
    if (effect.kind === 'state' && effect.state === 'queued') {
      const share = this.#shares.get(effect.user) ?? 1;
      this.line.push({ user: effect.user, at: this.now, share, turnAt: this.now + this.#recentMs(effect.user) / share });
    } else if (effect.kind === 'state' && effect.state === 'idle') this.#leave(effect.user);
    else if (effect.kind === 'start') this.#starts(effect.user);
  }

  #leave(user: KnimeUser): Waiting | undefined {
    const at = this.line.findIndex((waiting) => waiting.user === user);
    return at < 0 ? undefined : this.line.splice(at, 1)[0];
  }

  #starts(user: KnimeUser): void {
    if (this.line[0]?.user !== user) this.overtakes += 1;
    const next = this.#leave(user);
    expect(next, `${user} was in line`).toBeDefined();
    if (!next) return;
    for (const other of this.line) {
      expect(next.turnAt, `${user} before ${other.user}`).toBeLessThanOrEqual(other.turnAt + 1e-3);
      expect(next.at, `${other.user} is not overtaken for ever`).toBeLessThanOrEqual(other.at + RECENT_MAX_MS / other.share + 1e-3);
    }
    const executor = info(user, ++this.#pids, { cpuMs: 1 });
    this.running.set(user, { ...executor, since: this.now });
    this.#started.push({ kind: 'started', user, executor });
  }

  /** The helper answers: each executor that was asked for runs, and is connected. */
  answer(): void {
    for (let event = this.#started.shift(); event; event = this.#started.shift()) {
      this.step(event);
      this.step({ kind: 'connections', uids: new Set([...this.running.values()].map(({ uid }) => uid)) });
    }
  }
}

const NAMES = ['ann', 'ben', 'cleo', 'dan', 'eve', 'fay'].map(knimeUser);
const shares = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: NAMES.length, maxLength: NAMES.length });
const happening = fc.record({
  user: fc.constantFrom(...NAMES),
  does: fc.constantFrom('comes' as const, 'comes' as const, 'ends' as const),
  afterMs: fc.oneof(fc.integer({ min: 0, max: 20_000 }), fc.integer({ min: 0, max: 3_600_000 })),
});

it('starts who has the earliest turn, by arrival and by recent executor time divided by share; nobody is overtaken for ever', () => {
  let overtaken = 0;
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2 }),
      shares,
      fc.array(happening, { maxLength: 150, size: 'max' }),
      (places, weights, happenings) => {
        const host = new Host(places, new Map(NAMES.map((name, index) => [name, weights[index] ?? 1])));
        for (const { user, does, afterMs } of happenings) {
          host.now += afterMs;
          if (does === 'comes') host.comes(user);
          else host.ends([...host.running.keys()][0] ?? user);
          host.answer();
        }
        overtaken += host.overtakes;
      },
    ),
    { numRuns: 100 },
  );
  expect(overtaken, 'the order was not that of arrival alone').toBeGreaterThan(100);
});

it('lets a user who has had all executor time wait no longer than it counts for, however many others come', () => {
  const host = new Host(1, new Map());
  const [greedy, ...others] = NAMES;
  if (greedy === undefined) throw new Error('there are names');
  host.comes(greedy);
  host.answer();
  host.now += 100 * 3_600_000;
  host.comes(others[0] as KnimeUser);
  host.ends(greedy);
  host.answer();
  host.comes(greedy);
  const came = host.now;
  for (let count = 0; !host.running.has(greedy); count++) {
    expect(host.now - came, 'the wait of the user').toBeLessThan(RECENT_MAX_MS + 60_000);
    host.now += 30_000;
    host.comes(knimeUser(`new${count}`)); // who has had nothing yet
    for (const user of [...host.running.keys()]) host.ends(user);
    host.answer();
  }
  expect(host.now - came, 'others were before').toBeGreaterThan(RECENT_MAX_MS / 2);
});

it.each([
  [[1, 1, 1], 60_000],
  [[1, 2, 4], 60_000],
  [[1, 3, 3], 300_000],
])('divides a place among users who always want it by their shares, %j', (weights, runMs) => {
  const users = NAMES.slice(0, weights.length);
  const host = new Host(1, new Map(users.map((name, index) => [name, weights[index] ?? 1])));
  for (const end = host.now + 12 * 3_600_000; host.now < end; host.now += runMs / 4) {
    for (const user of users) host.comes(user);
    host.answer();
    const [running] = host.running.values();
    if (running && host.now - running.since >= runMs) {
      host.ends(running.knimeUsers[0] as KnimeUser);
      host.answer();
    }
  }
  const total = users.reduce((sum, user) => sum + host.timeOf(user), 0);
  const all = weights.reduce((sum, weight) => sum + weight, 0);
  for (const [index, user] of users.entries()) {
    const due = (weights[index] ?? 1) / all;
    expect(host.timeOf(user) / total, user).toBeGreaterThan(due * 0.7);
  }
});

it('remembers so many users and no more, and nobody has more than all', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(4), fc.nat(10_000_000), fc.nat(10_000_000)), { maxLength: 60, size: 'max' }), (runs) => {
      const recent = new RecentTime();
      let now = 0;
      for (const [who, pauseMs, ms] of runs) {
        now += pauseMs + ms;
        recent.ran(NAMES[who] as KnimeUser, now - ms, now);
        for (const name of NAMES) expect(recent.of(name, now)).toBeLessThanOrEqual(RECENT_MAX_MS);
      }
    }),
  );
  const recent = new RecentTime();
  for (let count = 0; count < RECENT_USERS_MAX + 10; count++) recent.ran(knimeUser(`u${count}`), 0, 60_000);
  expect(recent.size).toBe(RECENT_USERS_MAX);
  expect(recent.of(knimeUser('u0'), 60_000)).toBe(0);
  expect(recent.of(knimeUser('U100'), 60_000)).toBeGreaterThan(59_000);
});
