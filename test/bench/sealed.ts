// Sealed executors beside shared ones beside no kpx, in one run: the same executors, the same jobs, the same machine.
import { rmSync } from 'node:fs';
import { nameOf, removeAccounts } from '../fixtures/accounts-rabbitmq.js';
import { openConnection } from '../fixtures/amqp.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf, publishJobs } from '../fixtures/jobs.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import { Kpx, type KpxOptions } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { RawAccounts } from '../fixtures/raw-accounts.js';
import { DoneJobs } from './done-jobs.js';
import { cpuMs, median, memoryMb, round } from './figures.js';
import { bareRound, IDLE_EXECUTORS, paused, relayRound, SLEEP } from './relay.js';
import { STEADY_JOBS, steadyState } from './steady.js';

const KIB = 1_024;
const TIMEOUT_MS = 300_000;

/** Both servers. */
export interface Servers {
  readonly rabbitmq: RabbitmqServer;
  readonly accounts: RabbitmqServer;
}

export const letIn = async ({ accounts }: Servers, user: string) => {
  const { name, password } = accounts.users.admin;
  const vhost = encodeURIComponent(nameOf(user));
  await accounts.api('PUT', `permissions/${vhost}/${name}`, { configure: '.*', write: '.*', read: '.*' });
  return `amqp://${name}:${password}@${accounts.host}:${accounts.amqpPort}/${vhost}`;
};

/** With accounts of these names, until `work` is over. */
export async function withKpx<T>(
  servers: Servers,
  { users, sealed, options }: { users: readonly string[]; sealed: boolean; options: KpxOptions },
  work: (kpx: Kpx) => Promise<T>,
): Promise<T> {
  const made = new RawAccounts();
  for (const user of users) made.account(user);
  const vhost = await servers.rabbitmq.createKnimeVhost();
  const kpx = new Kpx(vhost, { ...options, ...(sealed && { sealed: servers.accounts }) });
  try {
    await kpx.start();
    return await work(kpx);
  } finally {
    await kpx.stop();
    await vhost.delete();
    if (sealed) await removeAccounts(servers.accounts);
    kpx.removeDirectories();
    made.remove();
    // The next account of that name has another uid.
    for (const user of users) rmSync(`/home/${user}`, { recursive: true, force: true });
  }
}

const RELAY_ACCOUNTS = 20;
const RELAY_JOBS = 20_000;
const RELAY_PREFETCH = 200;

export interface SealedRelay {
  /** Jobs a second, medians: into the virtual hosts of 20 accounts; into one queue as for shared executors; a loop of amqplib alone. */
  readonly sealed: number;
  readonly shared: number;
  readonly bare: number;
  readonly ratio: number;
}

export async function sealedRelay(servers: Servers, rounds: number): Promise<SealedRelay> {
  const [sealed, shared, bare]: [number[], number[], number[]] = [[], [], []];
  for (let count = 0; count < rounds; count++) {
    bare.push(await bareRound(servers.rabbitmq, RELAY_PREFETCH, KIB));
    shared.push(await relayRound(servers.rabbitmq, RELAY_PREFETCH, KIB));
    sealed.push(await sealedRelayRound(servers));
  }
  const [bareRate, sealedRate] = [median(bare), median(sealed)];
  return { sealed: round(sealedRate), shared: round(median(shared)), bare: round(bareRate), ratio: round(sealedRate / bareRate, 2) };
}

/** Executors that do nothing, and a window that takes all: nothing but the broker and both servers take the processor. */
async function sealedRelayRound(servers: Servers): Promise<number> {
  const users = Array.from({ length: RELAY_ACCOUNTS }, (_, index) => `relay${index}`);
  const broker = { amqp: { prefetch: RELAY_PREFETCH }, executors: IDLE_EXECUTORS, sealed: { window: 10_000 } };
  const options = { helper: { executor: SLEEP }, broker };
  return await withKpx(servers, { users, sealed: true, options }, async (kpx) => {
    const publish = (count: number) => {
      const pad = 'x'.repeat(KIB - 50);
      const jobs = Array.from({ length: count }, (_, index) => {
        const job = jobOf(users[index % users.length] ?? '', 'job');
        return { ...job, body: { ...(job.body as object), pad } };
      });
      return publishJobs(kpx.vhost.url('publisher'), jobs);
    };
    await publish(users.length);
    await eventually('all accounts have a virtual host', () => users.every((user) => isReady(kpx, user)), TIMEOUT_MS);
    const connections = await Promise.all(users.map(async (user) => await openConnection(await letIn(servers, user))));
    const channels = await Promise.all(connections.map((connection) => connection.createChannel()));
    const arrived = async (wanted: number) => {
      const count = async () => {
        const queues = await Promise.all(channels.map((channel) => channel.checkQueue(KNIME_QUEUE)));
        return queues.reduce((sum, { messageCount }) => sum + messageCount, 0);
      };
      await eventually(`${wanted} jobs in the accounts' queues`, async () => (await count()) >= wanted, TIMEOUT_MS);
      return performance.now();
    };
    await arrived(users.length);
    await paused(kpx.broker?.pid, () => publish(RELAY_JOBS));
    const began = await arrived(users.length + RELAY_JOBS / 10);
    const ms = (await arrived(users.length + RELAY_JOBS)) - began;
    await Promise.all(connections.map((connection) => connection.close()));
    return (RELAY_JOBS * 0.9 * 1_000) / ms;
  });
}

const isReady = (kpx: Kpx, user: string) =>
  kpx.brokerLog.lines.some((line) => line.user === user && line.msg === 'executor' && line.state === 'ready');

const JOB_MS = 2;
const BUSY_USERS = 4;
const BUSY_JOBS = 4_000;
const LARGE_WINDOW = 100_000;

/** How many jobs wait in an account's queue, are in the hands of the broker, and are held there for one user. */
export interface Room {
  readonly window: number;
  readonly prefetch: number;
  readonly heldPerUser: number;
}

export interface SealedBusy extends Room {
  readonly rate: number;
  /** The same executors, whose jobs are published into their queues: without a broker. */
  readonly limit: number;
  readonly ratio: number;
}

/**
 * Short jobs of four users whose executors run. Shared executors are in busy.ts. One round before those that count: a program that has just started is slow.
 * The broker is stopped and not ended while the executors are alone, for the same reason.
 */
export async function sealedBusy(servers: Servers, rounds: number, room: Room): Promise<SealedBusy> {
  const { window, prefetch, heldPerUser } = room;
  const users = Array.from({ length: BUSY_USERS }, (_, index) => `quick${index}`);
  const options = {
    standIn: { BOOT_MS: '100', JOB_MS: String(JOB_MS) },
    broker: { sealed: { window }, amqp: { prefetch }, jobs: { held_per_user: heldPerUser } },
  };
  return await withKpx(servers, { users, sealed: true, options }, async (kpx) => {
    const job = (index: number) => jobOf(users[index % users.length] ?? '');
    const server = kpx.vhost.url('publisher');
    await publishJobs(
      server,
      users.map((user) => jobOf(user)),
    );
    await eventually('all executors run', () => users.every((user) => kpx.done(user).length > 0), TIMEOUT_MS);
    const urls = await Promise.all(users.map((user) => letIn(servers, user)));
    const done = new DoneJobs(kpx, users);
    const perSecond = async (publish: () => Promise<unknown>) => {
      const wanted = done.count + BUSY_JOBS;
      const began = Date.now();
      await publish();
      await eventually('all jobs are done', () => done.count >= wanted, TIMEOUT_MS);
      return (BUSY_JOBS * 1_000) / (done.lastAt - began);
    };
    const byServer = () =>
      publishJobs(
        server,
        Array.from({ length: BUSY_JOBS }, (_, index) => job(index)),
      );
    const directly = () =>
      Promise.all(
        urls.map((url, at) => {
          const own = Array.from({ length: BUSY_JOBS / BUSY_USERS }, () => ({ ...job(at), headers: { canHandle: true } }));
          return publishJobs(url, own);
        }),
      );
    const alone = async () => {
      await Promise.all(users.map((user) => limitQueue(servers, user, LARGE_WINDOW)));
      let rate = 0;
      await paused(kpx.broker?.pid, async () => {
        rate = await perSecond(directly);
      });
      await Promise.all(users.map((user) => limitQueue(servers, user, window)));
      return rate;
    };
    await perSecond(byServer);
    await alone();
    const [rates, limits]: [number[], number[]] = [[], []];
    for (let count = 0; count < rounds; count++) {
      rates.push(await perSecond(byServer));
      limits.push(await alone());
    }
    const [rate, limit] = [median(rates), median(limits)];
    return { ...room, rate: round(rate), limit: round(limit), ratio: round(rate / limit, 2) };
  });
}

/** As the broker does it for `sealed.window`. */
const limitQueue = async ({ accounts }: Servers, user: string, length: number) => {
  const definition = { 'max-length': length, overflow: 'reject-publish' };
  const policy = { pattern: `^${KNIME_QUEUE}$`, 'apply-to': 'queues', definition };
  await accounts.api('PUT', `policies/${encodeURIComponent(nameOf(user))}/kpx.window.${KNIME_QUEUE}`, policy);
};

const MANY = 200;

export interface SealedMemory {
  readonly accounts: number;
  /** Of the broker, in MB, and its processor time per job in microseconds; shared, then sealed. */
  readonly sharedMb: number;
  readonly sealedMb: number;
  readonly sharedCpuUs: number;
  readonly sealedCpuUs: number;
}

/** The broker with 200 executors that are connected, under the load of {@link steadyState}. */
export async function sealedMemory(servers: Servers): Promise<SealedMemory> {
  const shared = await steadyState(servers.rabbitmq, MANY);
  const users = Array.from({ length: MANY }, (_, index) => `many${index}`);
  const broker = {
    amqp: { prefetch: 2_000 },
    executors: IDLE_EXECUTORS,
    policy: { max_executors: MANY, max_starting: 4 },
    sealed: { window: 10_000 },
  };
  const options = { helper: { executor: { ...SLEEP, max_executors: MANY } }, broker };
  const sealed = await withKpx(servers, { users, sealed: true, options }, async (kpx) => {
    const publish = (count: number) =>
      publishJobs(
        kpx.vhost.url('publisher'),
        Array.from({ length: count }, (_, index) => jobOf(users[index % MANY] ?? '')),
      );
    await publish(MANY);
    await eventually('all executors run', () => users.every((user) => isReady(kpx, user)), TIMEOUT_MS);
    const pid = kpx.broker?.pid ?? 0;
    const before = cpuMs(pid);
    await publish(STEADY_JOBS);
    const isGiven = async () => (await kpx.vhost.queueDepth(KNIME_QUEUE))?.messages === 0;
    await eventually('the jobs are given', isGiven, TIMEOUT_MS);
    return { mb: round(memoryMb(pid).resident, 1), cpuUs: round(((cpuMs(pid) - before) * 1_000) / STEADY_JOBS, 1) };
  });
  return {
    accounts: MANY,
    sharedMb: shared.residentMb,
    sealedMb: sealed.mb,
    sharedCpuUs: shared.cpuUsPerJob,
    sealedCpuUs: sealed.cpuUs,
  };
}
