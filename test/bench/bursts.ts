// Many users' first jobs at once: from publishing until the last executor runs, and until the last job is done. The floor, measured in the
// same run: the same executors started by a bare loop, without queue, broker, helper, account checks, directories and ACLs.
import { spawn } from 'node:child_process';
import { chownSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { eventually } from '../fixtures/eventually.js';
import { jobOf, publishJobs } from '../fixtures/jobs.js';
import { idsOf, Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { RawAccounts } from '../fixtures/raw-accounts.js';
import { bareExecutor } from './bare-executor.js';
import { median, round } from './figures.js';

const BOOT_MS = 500;
const BURST_TIMEOUT_MS = 180_000;
const FLOOR_PARENT = '/srv/kpx-bench-floor';

export interface Burst {
  readonly users: number;
  /** Until the last executor had been exec'd: the earlier of the moments at which the helper saw it and at which its main() began. */
  readonly lastExecMs: number;
  /** Until the last executor's main() began: programs that load wait for each other. */
  readonly lastMainMs: number;
  readonly lastDoneMs: number;
  readonly floorMainMs: number;
  /** Of the main()s. */
  readonly ratio: number;
}

/** Medians of `rounds`; nobody has a home or a directory before. */
export async function burst(rabbitmq: RabbitmqServer, count: number, rounds: number): Promise<Burst> {
  const accounts = new RawAccounts();
  const users = Array.from({ length: count }, (_, index) => `burst${count}u${index}`);
  for (const user of users) accounts.account(user);
  const all: Awaited<ReturnType<typeof burstRound>>[] = [];
  try {
    for (let done = 0; done < rounds; done++) all.push(await burstRound(rabbitmq, users));
  } finally {
    accounts.remove();
  }
  const of = (pick: (one: (typeof all)[number]) => number) => round(median(all.map(pick)));
  const lastMainMs = of((one) => one.lastMainMs);
  const floorMainMs = of((one) => one.floorMainMs);
  const [lastExecMs, lastDoneMs] = [of((one) => one.lastExecMs), of((one) => one.lastDoneMs)];
  return { users: count, lastExecMs, lastMainMs, lastDoneMs, floorMainMs, ratio: round(lastMainMs / floorMainMs, 2) };
}

async function burstRound(rabbitmq: RabbitmqServer, users: readonly string[]) {
  for (const user of users) rmSync(`/home/${user}`, { recursive: true, force: true });
  const vhost = await rabbitmq.createKnimeVhost();
  const policy = { max_starting: users.length, max_executors: users.length };
  const kpx = await new Kpx(vhost, {
    standIn: { BOOT_MS: String(BOOT_MS) },
    broker: { policy, amqp: { prefetch: Math.max(256, 4 * users.length) } },
  }).start();
  try {
    const published = Date.now();
    await publishJobs(
      vhost.url('publisher'),
      users.map((user) => jobOf(user)),
    );
    await eventually('all jobs are done', () => users.every((user) => kpx.done(user).length > 0), BURST_TIMEOUT_MS);
    const lastExecMs = Math.max(...users.map((user) => execdAt(kpx, user))) - published;
    const lastMainMs = Math.max(...users.map((user) => mainAt(`${kpx.workspaces}/${user}`))) - published;
    const lastDoneMs = Math.max(...users.map((user) => kpx.done(user)[0]?.at ?? 0)) - published;
    return { lastExecMs, lastMainMs, lastDoneMs, floorMainMs: await floor(vhost.url('executor'), users) };
  } finally {
    await kpx.stop();
    await vhost.delete();
    kpx.removeDirectories();
  }
}

/** The helper says what it has started when it has seen the exec, and the program itself when its main() began: the exec was before both. */
export function execdAt(kpx: Kpx, user: string): number {
  const seen = kpx.helperLog.lines.filter(({ verb, os_user }) => verb === 'spawnExecutor' && os_user === user).at(-1);
  return Math.min(Date.parse(String(seen?.time)), mainAt(`${kpx.workspaces}/${user}`));
}

/** The stand-in's own record of when it began. */
const mainAt = (workspace: string): number => JSON.parse(readFileSync(`${workspace}/started.json`, 'utf8')).execdAt;

async function floor(msgq: string, names: readonly string[]): Promise<number> {
  rmSync(FLOOR_PARENT, { recursive: true, force: true });
  const users = names.map((user) => ({ user, workspace: `${FLOOR_PARENT}/${user}`, ...idsOf(user) }));
  for (const { workspace, uid, gid } of users) {
    mkdirSync(workspace, { recursive: true });
    chownSync(workspace, uid, gid);
  }
  const began = Date.now();
  const children = users.map(({ user, workspace }) => {
    const { command, args, env } = bareExecutor(user, msgq, workspace);
    return spawn(command, args, { env, stdio: 'ignore' });
  });
  const started = () => users.every(({ workspace }) => exists(`${workspace}/started.json`));
  await eventually('the floor’s executors run', started, BURST_TIMEOUT_MS);
  for (const child of children) child.kill('SIGKILL');
  return Math.max(...users.map(({ workspace }) => mainAt(workspace))) - began;
}

function exists(file: string): boolean {
  try {
    readFileSync(file);
    return true;
  } catch {
    return false;
  }
}

export interface WarmStart {
  readonly starts: number;
  readonly warmStartMs: number;
  readonly maxMs: number;
  readonly floorMs: number;
}

const WARM_STARTS = 20;

/** One user whose directories are there, again and again: from publishing until the executor runs. */
export async function warmStart(rabbitmq: RabbitmqServer): Promise<WarmStart> {
  const vhost = await rabbitmq.createKnimeVhost();
  const kpx = await new Kpx(vhost, { standIn: { BOOT_MS: '0', IDLE_MS: '50' } }).start();
  const starts: number[] = [];
  const floors: number[] = [];
  try {
    for (let count = 0; count <= WARM_STARTS; count++) {
      const from = kpx.brokerLog.lines.length;
      const published = Date.now();
      await publishJobs(vhost.url('publisher'), [jobOf('alice', `warm-${count}`)]);
      await eventually('the job is done', () => kpx.done('alice').some(({ job }) => job === `warm-${count}`));
      if (count > 0) starts.push(execdAt(kpx, 'alice') - published);
      await kpx.brokerLog.line({ user: 'alice', state: 'idle' }, { from });
      if (count > 0) floors.push(await floor(vhost.url('executor'), ['alice']));
    }
  } finally {
    await kpx.stop();
    await vhost.delete();
    kpx.removeDirectories();
  }
  return { starts: starts.length, warmStartMs: round(median(starts)), maxMs: round(Math.max(...starts)), floorMs: round(median(floors)) };
}
