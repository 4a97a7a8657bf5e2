import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ExecutorInfo, ExecutorState, type KnimeUser, knimeUserSchema, osUserSchema, StopMode } from '@kpx/protocol';
import type { Logger } from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PLAIN_POLICY } from '../test-fixtures/policy.js';
import { configSchema } from './config/config-schema.js';
import { EarlyStart } from './early-start.js';
import { Engine } from './engine.js';
import type { Effect } from './executors/events.js';
import { GroupLookups } from './host/group-lookups.js';
import { KeptOrders } from './host/kept-orders.js';
import { LaterOrders, PLANNED_MAX } from './later-orders.js';
import { Operator } from './operator.js';
import type { Policy } from './policy/policy.js';
import { LATE_MS } from './policy/schedule.js';
import { ReadModel } from './record/read-model.js';

const AHEAD_MS = 60_000;
const SECOND_MS = 1_000;
const LAST_MS = 2 * SECOND_MS;
const NOON = Date.parse('2026-11-30T12:00Z');
const [alice, bob] = ['alice', 'bob'].map((name) => knimeUserSchema.parse(name)) as [KnimeUser, KnimeUser];
const mallory = knimeUserSchema.parse('mallory'); // whom PLAIN_POLICY denies
const ada = knimeUserSchema.parse('Ada Weiß-Ölmann');
const connected = { connected: true, since: new Date(NOON).toISOString(), reason: null, next_try: null };
const config = configSchema.parse({ amqp: { urls: ['amqp://kpx-broker@127.0.0.1'] } });

let directory: string;
/** By how much the clock was changed. */
let changedMs: number;
let said: { readonly msg: string; readonly level: string }[];
const say =
  (level: string) =>
  (facts: object | string, msg = String(facts)) =>
    void said.push({ ...(typeof facts === 'object' && facts), level, msg });
const log = Object.fromEntries(['debug', 'info', 'warn', 'error', 'fatal'].map((level) => [level, say(level)])) as unknown as Logger;
const saidOf = (text: string) => said.filter(({ msg }) => msg.includes(text));

/** A broker without RabbitMQ and helper. */
class Broker {
  readonly engine: Engine;
  readonly operator: Operator;
  readonly orders: LaterOrders;
  /** Whose executors the helper was asked to start, and to end. */
  readonly asked: Effect[] = [];

  constructor(policy: Partial<Policy> = {}) {
    const groups = new GroupLookups(log, []);
    this.engine = new Engine(
      log,
      { ...PLAIN_POLICY, ...policy },
      {
        marked: (effect) => effect,
        observe: () => {},
        carryOut: (effect) => void (effect.kind !== 'state' && this.asked.push(effect)),
      },
    );
    const links = { rabbitmq: connected, helper: connected };
    const record = new ReadModel(this.engine.machine, () => ({ config, links, planned: this.orders.planned }));
    this.operator = new Operator(log, this.engine, groups, record, () => links);
    const early = new EarlyStart(log, this.engine, groups);
    this.orders = new LaterOrders(log, this.engine, this.operator, early, new KeptOrders({ STATE_DIRECTORY: directory }, ''));
    this.orders.restore();
  }

  /** The helper says which executors run. */
  listed(...users: KnimeUser[]): this {
    this.engine.emit({ kind: 'listed', executors: users.map(executorOf), askedAt: performance.now() + 1 });
    this.orders.begin();
    return this;
  }

  started(user: KnimeUser): void {
    this.engine.emit({ kind: 'started', user, executor: executorOf(user) });
    this.engine.emit({ kind: 'connections', uids: new Set([executorOf(user).uid]) });
  }

  users(kind: Effect['kind'] = 'start'): KnimeUser[] {
    return this.asked.filter((effect) => effect.kind === kind).map(({ user }) => user);
  }

  /** As a process that ends: nothing is written any more. */
  end(): void {
    this.orders.stop();
    this.engine.stop();
  }
}

const executorOf = (user: KnimeUser): ExecutorInfo => ({
  ...{ osUser: osUserSchema.parse(user), uid: 1_000 + user.length, knimeUsers: [user], state: ExecutorState.running },
  ...{ sinceMs: 1, mainPid: 10_000 + user.length, lastExit: '', cpuMs: 0 },
});
/** Only in the last seconds is anything done. */
const pass = async (ms: number) => {
  const jumped = Math.max(0, ms - LAST_MS);
  vi.setSystemTime(Date.now() + jumped);
  await vi.advanceTimersByTimeAsync(ms - jumped);
};
const setClock = (ms: number) => {
  changedMs += ms - Date.now();
  vi.setSystemTime(ms);
};
const file = () => join(directory, 'orders');
const kept = () => (existsSync(file()) ? readFileSync(file(), 'utf8') : '');

beforeEach(() => {
  vi.useFakeTimers({ now: NOON, toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] });
  changedMs = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => Date.now() - changedMs - NOON);
  directory = mkdtempSync(join(tmpdir(), 'kpx-orders-'));
  said = [];
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
  rmSync(directory, { recursive: true });
});

describe('an executor that is started at a time', () => {
  it('is started then, once, and not before; explain and status say so until it is there', async () => {
    const broker = new Broker().listed();
    const at = new Date(NOON + AHEAD_MS).toISOString();
    expect(await broker.orders.plan(alice, NOON + AHEAD_MS)).toMatchObject({ user: alice, decision: 'start', planned: { at } });
    await pass(AHEAD_MS - SECOND_MS);
    expect(broker.users()).toEqual([]);
    expect([...broker.orders.planned]).toEqual([[alice, { at }]]);
    await pass(2 * SECOND_MS);
    expect(broker.users()).toEqual([alice]);
    expect(await broker.operator.explain(alice, undefined)).toMatchObject({ state: 'starting', planned: { at } });
    broker.started(alice);
    await pass(SECOND_MS);
    const { executor, planned } = await broker.operator.explain(alice, undefined);
    expect([executor.replace(/\d{4}-\d\d-\d\d \d\d:\d\d/, 'TIME'), planned]).toEqual([
      'account "alice", uid 1005, pid 10005, ready, started before the job (kpxctl start --at TIME)',
      undefined,
    ]);
    await pass(2 * AHEAD_MS);
    expect(broker.users()).toEqual([alice]);
    expect(kept()).toBe('');
    expect(said.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('is not forgotten with a restart of the broker, also when that is away at the time', async () => {
    const first = new Broker().listed();
    await first.orders.plan(alice, NOON + AHEAD_MS);
    first.end();
    await pass(AHEAD_MS + LATE_MS / 2);
    const second = new Broker();
    expect([...second.orders.planned.keys()]).toEqual([alice]);
    await pass(5 * SECOND_MS);
    expect(second.users()).toEqual([]); // it is not known yet which executors run
    second.listed();
    await pass(SECOND_MS);
    expect(second.users()).toEqual([alice]);
    // It stands for as long as the executor is not there.
    second.end();
    expect(kept()).toMatch(/^start 2026-11-30T12:01:00.000Z alice\n$/);
    const third = new Broker().listed();
    await pass(SECOND_MS);
    expect(third.users()).toEqual([alice]);
  });

  it('is none any more half an hour after its time, and the log says so', async () => {
    const first = new Broker().listed();
    await first.orders.plan(alice, NOON + AHEAD_MS);
    first.end();
    await pass(AHEAD_MS + LATE_MS);
    const second = new Broker().listed();
    await pass(SECOND_MS);
    expect(second.users()).toEqual([]);
    expect(kept()).toBe('');
    expect(saidOf('the broker was not there in time for a planned start')).toMatchObject([{ user: alice, level: 'warn' }]);
  });

  it('goes by the clock, and is started once, whichever way that is put', async () => {
    const broker = new Broker().listed();
    await broker.orders.plan(alice, NOON + AHEAD_MS);
    setClock(NOON - 24 * 60 * AHEAD_MS);
    await pass(2 * AHEAD_MS);
    expect(broker.users()).toEqual([]);
    setClock(NOON + AHEAD_MS);
    await pass(SECOND_MS);
    expect(broker.users()).toEqual([alice]);
    setClock(NOON);
    await pass(2 * AHEAD_MS);
    expect(broker.users()).toEqual([alice]);
  });

  it('waits for room, says why, and is given up half an hour later, with the reason', async () => {
    const broker = new Broker({ maxExecutors: 1 }).listed(bob);
    broker.started(bob);
    await broker.orders.plan(alice, NOON + AHEAD_MS);
    await pass(AHEAD_MS + SECOND_MS);
    const reason = '1 of 1 executors run (max_executors)';
    expect(saidOf('an executor before the job has to wait: kpxctl start --at')).toMatchObject([{ user: alice, reason, level: 'warn' }]);
    expect(await broker.operator.explain(alice, undefined)).toMatchObject({ state: 'queued', why: reason, planned: {} });
    await pass(LATE_MS + LAST_MS);
    expect(saidOf('no executor was started at the time that an operator has named')).toMatchObject([{ user: alice, reason }]);
    expect([broker.users(), broker.orders.planned.size]).toEqual([[], 0]);
  });

  it('is not started while the host is drained, which explain and the log say', async () => {
    const broker = new Broker().listed();
    broker.operator.drain({ reason: 'a new KNIME' });
    await broker.orders.plan(alice, NOON + AHEAD_MS);
    await pass(AHEAD_MS + SECOND_MS);
    const reason = 'the host is being drained: a new KNIME';
    expect(saidOf('an executor before the job has to wait')).toMatchObject([{ reason }]);
    expect(await broker.operator.explain(alice, undefined)).toMatchObject({ state: 'queued', why: reason });
    broker.operator.drain(undefined);
    expect(broker.users()).toEqual([alice]);
  });

  it('is none for a user who is denied then: explain says so for half an hour, and the log', async () => {
    const broker = new Broker().listed();
    expect(await broker.orders.plan(mallory, NOON + AHEAD_MS)).toMatchObject({ decision: 'park' });
    await pass(AHEAD_MS + SECOND_MS);
    const refused = 'USER_DENIED: "mallory" is in policy.deny';
    expect(saidOf('no executor is started for this user before a job: kpxctl start --at')).toMatchObject([
      { user: mallory, reason: refused },
    ]);
    expect(await broker.operator.explain(mallory, undefined)).toMatchObject({ planned: { refused } });
    await pass(LATE_MS);
    expect([broker.users(), broker.orders.planned.size]).toEqual([[], 0]);
    expect(saidOf('not there in time')).toEqual([]);
  });

  it('is tried again for an account that there is not, until all attempts are used up, and the reason is in the log', async () => {
    const broker = new Broker({ startAttempts: 1 }).listed();
    await broker.orders.plan(alice, NOON + AHEAD_MS);
    await pass(AHEAD_MS + SECOND_MS);
    broker.engine.emit({ kind: 'not started', user: alice, code: 'ACCOUNT_UNKNOWN', detail: 'there is no account "alice"' });
    await pass(SECOND_MS);
    expect(saidOf('no executor was started at the time')).toMatchObject([
      { user: alice, reason: expect.stringContaining('ACCOUNT_UNKNOWN') },
    ]);
    expect(broker.orders.planned.size).toBe(0);
  });

  it('is one a user: another time replaces the first, and is said to', async () => {
    const broker = new Broker().listed();
    await broker.orders.plan(alice, NOON + AHEAD_MS);
    expect(await broker.orders.plan(alice, NOON + 2 * AHEAD_MS)).toMatchObject({ replaced: new Date(NOON + AHEAD_MS).toISOString() });
    await pass(AHEAD_MS + SECOND_MS);
    expect(broker.users()).toEqual([]);
    await pass(AHEAD_MS);
    expect(broker.users()).toEqual([alice]);
  });

  it('is taken back, also while it is in line; where there is none, that is said', async () => {
    const broker = new Broker({ maxExecutors: 1 }).listed(bob);
    await broker.orders.plan(alice, NOON + AHEAD_MS);
    expect(await broker.orders.cancel(alice)).toMatchObject({ taken_back: new Date(NOON + AHEAD_MS).toISOString(), state: 'idle' });
    expect(kept()).toBe('');
    await broker.orders.plan(alice, NOON + AHEAD_MS);
    await pass(AHEAD_MS + SECOND_MS);
    expect(await broker.orders.cancel(alice)).toMatchObject({ state: 'idle' });
    await broker.operator.startFor(alice);
    expect(await broker.orders.cancel(alice)).toMatchObject({ taken_back: null, state: 'idle' });
    await expect(broker.orders.cancel(alice)).rejects.toThrow('no start of the executor of "alice" is planned or in line on this host');
    await pass(AHEAD_MS);
    expect([broker.users(), saidOf('no executor was started at the time')]).toEqual([[], []]);
  });

  it('is taken back also while the groups of its user are looked up', async () => {
    const broker = new Broker().listed();
    await broker.orders.plan(alice, NOON + AHEAD_MS);
    let answer: (groups: string[]) => void = () => {};
    vi.spyOn(GroupLookups.prototype, 'asked', 'get').mockReturnValue(true);
    const lookUp = vi.spyOn(GroupLookups.prototype, 'of').mockReturnValueOnce(
      new Promise((resolve) => {
        answer = resolve;
      }),
    );
    lookUp.mockResolvedValue([]);
    await pass(AHEAD_MS + SECOND_MS);
    expect(await broker.orders.cancel(alice)).toMatchObject({ state: 'idle' });
    answer([]);
    await pass(SECOND_MS);
    expect(broker.users()).toEqual([]);
  });

  it(`is one of ${PLANNED_MAX} at most, however often that is asked for, and all of them are kept`, async () => {
    const at = new Date(NOON + AHEAD_MS).toISOString();
    const left = 2;
    const lines = Array.from({ length: PLANNED_MAX - left }, (_, number) => `start ${at} user-${number}\n`);
    writeFileSync(file(), lines.join(''));
    const broker = new Broker().listed();
    const calls = 10_000;
    let refused = 0;
    for (let call = 0; call < calls; call++)
      await broker.orders.plan(knimeUserSchema.parse(`another-${call}`), NOON + AHEAD_MS).catch((error: Error) => {
        expect(error.message).toMatch(/^1000 starts are planned on this host, and no more may be\. /);
        refused += 1;
      });
    expect(refused).toBe(calls - left);
    await broker.orders.plan(knimeUserSchema.parse('user-7'), NOON + 2 * AHEAD_MS); // one that is there already
    broker.end();
    expect(new Broker().orders.planned.size).toBe(PLANNED_MAX);
  });
});

describe('executors that are to end once they are idle', () => {
  it('are not known before the helper has said which ones run: the order is refused', async () => {
    const broker = new Broker();
    const notKnown = 'does not know yet which executors run';
    await expect(broker.orders.stopWhenIdle(undefined)).rejects.toThrow(notKnown);
    await expect(broker.orders.stopOf(alice, StopMode.graceful)).rejects.toThrow(notKnown);
    broker.listed(alice, bob);
    expect(await broker.orders.stopWhenIdle(undefined)).toMatchObject({ executors: 2 });
    expect(await broker.orders.stopOf(alice, StopMode.graceful)).toMatchObject({ user: alice });
  });

  it('are counted by the order', async () => {
    const broker = new Broker().listed(alice, bob);
    await broker.orders.stopWhenIdle(alice);
    expect(await broker.orders.stopWhenIdle(bob)).toMatchObject({ executors: 1 });
  });

  it('are so after a restart of the broker too, and no others', async () => {
    const first = new Broker().listed(alice, bob);
    await first.orders.stopWhenIdle(alice);
    first.end();
    expect(kept()).toBe('stop-when-idle alice 10005\n');
    const second = new Broker();
    await second.orders.plan(bob, NOON + AHEAD_MS); // before it is known which executors run
    second.listed(alice, bob);
    const described = async (user: KnimeUser) => (await second.operator.explain(user, undefined)).executor;
    expect(await described(alice)).toMatch(/, ended once it is idle$/);
    expect(await described(bob)).not.toContain('idle');
    // Once it has ended, the one after it stays.
    await pass(SECOND_MS);
    second.listed(bob);
    await pass(SECOND_MS);
    expect(kept()).toBe(`start ${new Date(NOON + AHEAD_MS).toISOString()} bob\n`);
  });

  it('are not those that have another process by now', () => {
    writeFileSync(file(), 'stop-when-idle alice 77\nstop-when-idle bob 10005\n');
    const broker = new Broker().listed(alice);
    expect([...broker.engine.machine.running()].map(({ leaving }) => leaving)).toEqual([false]);
  });
});

it('says how many lines of a damaged file it cannot read, and goes by the others', () => {
  const at = new Date(NOON + AHEAD_MS).toISOString();
  const damage = ['start soon alice', `start ${at} -a`, 'stop-when-idle alice', 'stop-when-idle alice x', '\0\0', 'start'];
  writeFileSync(file(), `start ${at} bob\nstart ${at} ${ada}\n${damage.join('\n')}\nstop-when-idle al`);
  expect([...new Broker().orders.planned]).toEqual([
    [bob, { at }],
    [ada, { at }],
  ]);
  expect(saidOf('some orders of operators are forgotten')).toMatchObject([{ lines: damage.length + 1, level: 'error' }]);
});

it('says that a restart will not know of an order, once in the log, and carries it out all the same', async () => {
  mkdirSync(file()); // what is there is no file
  const broker = new Broker().listed();
  expect(saidOf('the orders of operators from before the restart are not known')).toMatchObject([
    { reason: expect.stringMatching(/^EISDIR/) },
  ]);
  expect(await broker.orders.plan(alice, NOON + AHEAD_MS)).toMatchObject({ forgotten: expect.stringMatching(/EISDIR|ENOTEMPTY|EEXIST/) });
  await pass(AHEAD_MS + SECOND_MS);
  expect(broker.users()).toEqual([alice]);
  expect(saidOf('a restart of the broker will not know of the orders')).toHaveLength(1);
});
