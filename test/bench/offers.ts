// How busy executors are kept, and at what price: kpx beside what it supersedes at its fastest (spinner.mjs), and beside executors that have all
// jobs in a queue of their own from the start, in the same run. From publishing, when nobody has an executor, until the last job is done.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { withChannel } from '../fixtures/amqp.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf, publishJobs } from '../fixtures/jobs.js';
import { KNIME_EXCHANGE, KNIME_QUEUE, KNIME_ROUTING_KEY } from '../fixtures/knime/topology.js';
import { checkout, idsOf, Kpx, node } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { RawAccounts } from '../fixtures/raw-accounts.js';
import { bareExecutor } from './bare-executor.js';
import { cpuMs, median, round } from './figures.js';

const JOB_MS = 20;
const JOBS_EACH = 200;
/** One job after the other, with four in hand, as an executor with a single thread has them. */
const STAND_IN = { BOOT_MS: '500', JOB_MS: String(JOB_MS), PREFETCH: '4', SERIAL: '1' };
const PARENT = '/srv/kpx-bench-offers';
const TIMEOUT_MS = 180_000;

export interface Offers {
  readonly users: number;
  readonly kpxMs: number;
  readonly spinnerMs: number;
  readonly floorMs: number;
  /** Of the times of kpx and the spinner. */
  readonly ratio: number;
  /** Processor time of broker or spinner, and of RabbitMQ, in milliseconds a job. */
  readonly kpxCpu: Cpu;
  readonly spinnerCpu: Cpu;
  readonly cpuRatio: number;
}

interface Cpu {
  readonly own: number;
  readonly rabbitmq: number;
}

interface Run extends Cpu {
  readonly ms: number;
}

/** Medians of `rounds`. */
export async function offers(rabbitmq: RabbitmqServer, count: number, rounds: number): Promise<Offers> {
  const accounts = new RawAccounts();
  const users = Array.from({ length: count }, (_, index) => `offers${count}u${index}`);
  for (const user of users) accounts.account(user);
  const [kpx, spinner, floor]: [Run[], Run[], Run[]] = [[], [], []];
  try {
    for (let done = 0; done < rounds; done++) {
      floor.push(await bareRound(rabbitmq, users));
      spinner.push(await spinnerRound(rabbitmq, users));
      kpx.push(await kpxRound(rabbitmq, users));
    }
  } finally {
    accounts.remove();
  }
  const of = (runs: Run[], pick: (run: Run) => number, digits = 0) => round(median(runs.map(pick)), digits);
  const cpuOf = (runs: Run[]): Cpu => ({ own: of(runs, (run) => run.own, 2), rabbitmq: of(runs, (run) => run.rabbitmq, 2) });
  const [kpxMs, spinnerMs, floorMs] = [of(kpx, (run) => run.ms), of(spinner, (run) => run.ms), of(floor, (run) => run.ms)];
  const [kpxCpu, spinnerCpu] = [cpuOf(kpx), cpuOf(spinner)];
  const cpuRatio = round((kpxCpu.own + kpxCpu.rabbitmq) / (spinnerCpu.own + spinnerCpu.rabbitmq), 2);
  return { users: count, kpxMs, spinnerMs, floorMs, ratio: round(kpxMs / spinnerMs, 2), kpxCpu, spinnerCpu, cpuRatio };
}

/** All users' jobs in turn, `each` of them. */
const jobsFor = (users: readonly string[], each = JOBS_EACH) =>
  Array.from({ length: users.length * each }, (_, index) => jobOf(users[index % users.length] ?? ''));

/** From `publish` until every job is done. `pid`: of the broker or spinner. */
async function measured(rabbitmq: RabbitmqServer, pid: number | undefined, publish: () => Promise<void>, done: () => number, jobs: number) {
  const server = Number(readFileSync(`${rabbitmq.directory}/pid`, 'utf8'));
  const cpu = () => ({ own: pid === undefined ? 0 : cpuMs(pid), rabbitmq: cpuMs(server) });
  const before = cpu();
  const began = performance.now();
  await publish();
  await eventually('all jobs are done', () => done() >= jobs, TIMEOUT_MS);
  const ms = performance.now() - began;
  const after = cpu();
  return { ms, own: (after.own - before.own) / jobs, rabbitmq: (after.rabbitmq - before.rabbitmq) / jobs };
}

async function kpxRound(rabbitmq: RabbitmqServer, users: readonly string[]): Promise<Run> {
  const vhost = await rabbitmq.createKnimeVhost();
  const kpx = await new Kpx(vhost, { standIn: STAND_IN }).start();
  const jobs = jobsFor(users);
  const done = () => users.reduce((sum, user) => sum + kpx.done(user).length, 0);
  try {
    return await measured(rabbitmq, kpx.broker?.pid, () => publishJobs(vhost.url('publisher'), jobs), done, jobs.length);
  } finally {
    await kpx.stop();
    await vhost.delete();
    kpx.removeDirectories();
  }
}

export interface Full {
  readonly seconds: number;
  /** Processor time, in percent of a core. */
  readonly broker: number;
  readonly rabbitmq: number;
}

const FULL_MS = 60_000;

/** Jobs wait for an executor that has as many as it takes, and finishes none. */
export async function fullExecutor(rabbitmq: RabbitmqServer): Promise<Full> {
  const vhost = await rabbitmq.createKnimeVhost();
  const kpx = await new Kpx(vhost, { standIn: { ...STAND_IN, JOB_MS: String(10 * FULL_MS) } }).start();
  const [broker, server] = [kpx.broker?.pid ?? 0, Number(readFileSync(`${rabbitmq.directory}/pid`, 'utf8'))];
  try {
    await publishJobs(vhost.url('publisher'), jobsFor(['alice']));
    await kpx.brokerLog.line({ user: 'alice', state: 'ready' });
    const before = [cpuMs(broker), cpuMs(server)] as const;
    await delay(FULL_MS);
    const percent = (pid: number, from: number) => round(((cpuMs(pid) - from) * 100) / FULL_MS, 2);
    return { seconds: FULL_MS / 1_000, broker: percent(broker, before[0]), rabbitmq: percent(server, before[1]) };
  } finally {
    await kpx.stop();
    await vhost.delete();
    kpx.removeDirectories();
  }
}

const workspaceOf = (user: string) => `${PARENT}/${user}`;

function makeWorkspaces(users: readonly string[]): void {
  rmSync(PARENT, { recursive: true, force: true });
  for (const user of users) {
    const { uid, gid } = idsOf(user);
    mkdirSync(workspaceOf(user), { recursive: true });
    chownSync(workspaceOf(user), uid, gid);
  }
}

/** How many jobs are done, by the lines that the stand-ins have written. */
const doneOf = (users: readonly string[]) => users.reduce((sum, user) => sum + linesOf(`${workspaceOf(user)}/jobs-done.jsonl`), 0);

function linesOf(file: string): number {
  try {
    return readFileSync(file, 'utf8').split('\n').length - 1;
  } catch {
    return 0;
  }
}

async function spinnerRound(rabbitmq: RabbitmqServer, users: readonly string[]): Promise<Run> {
  const vhost = await rabbitmq.createKnimeVhost();
  makeWorkspaces(users);
  const jobs = jobsFor(users);
  const executors = Object.fromEntries(users.map((user) => [user, bareExecutor(user, vhost.url('executor'), workspaceOf(user), STAND_IN)]));
  const to = { url: vhost.url('broker'), queue: KNIME_QUEUE, exchange: KNIME_EXCHANGE, key: KNIME_ROUTING_KEY };
  const argv = [`${checkout()}/test/bench/spinner.mjs`, JSON.stringify({ ...to, executors })];
  const spinner = spawn(node(), argv, { env: {}, stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(spinner.stdout, 'data');
    return await measured(
      rabbitmq,
      spinner.pid,
      () => publishJobs(vhost.url('publisher'), jobs),
      () => doneOf(users),
      jobs.length,
    );
  } finally {
    await ended(spinner, 'SIGTERM');
    await vhost.delete();
  }
}

async function bareRound(rabbitmq: RabbitmqServer, users: readonly string[]): Promise<Run> {
  const vhost = await rabbitmq.createKnimeVhost();
  makeWorkspaces(users);
  await vhost.setPermissions('executor', { configure: '^$', write: '.*', read: '.*' });
  const children: ChildProcess[] = [];
  const publish = async () => {
    for (const user of users) {
      const own = jobsFor([user]).map((job) => ({ ...job, headers: { canHandle: true } }));
      await publishJobs(vhost.url('admin'), own, { exchange: '', routingKey: user });
    }
    for (const user of users) {
      const { command, args, env } = bareExecutor(user, vhost.url('executor'), workspaceOf(user), { ...STAND_IN, QUEUE: user });
      children.push(spawn(command, args, { env, stdio: 'ignore' }));
    }
  };
  try {
    await withChannel(vhost.url('admin'), async (channel) => {
      for (const user of users) await channel.assertQueue(user);
    });
    return await measured(rabbitmq, undefined, publish, () => doneOf(users), users.length * JOBS_EACH);
  } finally {
    for (const child of children) await ended(child, 'SIGKILL');
    await vhost.delete();
  }
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const closed = once(child, 'close');
  child.kill(signal);
  await closed;
}
