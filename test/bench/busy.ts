// Many short jobs of users whose executors run and cannot take them all at once: how busy the broker keeps the executors. The limit, in the same
// run: the same executors on the same queue without a broker, with one user's jobs that carry the header already. With several users' jobs there
// is none: executors that all hold each other's jobs and give them back in turn get nowhere without somebody who takes jobs out of the queue.
import { eventually } from '../fixtures/eventually.js';
import { jobOf, publishJobs } from '../fixtures/jobs.js';
import { Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { RawAccounts } from '../fixtures/raw-accounts.js';
import { median, round } from './figures.js';

/** Real jobs take longer; short ones ask most of the broker. */
const JOB_MS = 2;
const JOBS = 1_000;
const RUNNING = 4;
const TIMEOUT_MS = 120_000;

export interface Busy {
  /** Users that have jobs; four have an executor. */
  readonly users: number;
  /** Jobs a second, medians. */
  readonly rate: number;
  readonly limit: number | undefined;
  readonly ratio: number | undefined;
}

export async function busy(rabbitmq: RabbitmqServer, count: number, rounds: number): Promise<Busy> {
  const accounts = new RawAccounts();
  const running = Array.from({ length: RUNNING }, (_, index) => `busy${count}u${index}`);
  for (const user of running) accounts.account(user);
  const users = running.slice(0, count);
  const rates: number[] = [];
  const limits: number[] = [];
  const vhost = await rabbitmq.createKnimeVhost();
  const kpx = await new Kpx(vhost, { standIn: { BOOT_MS: '100', JOB_MS: String(JOB_MS) } }).start();
  const perSecond = async (headers: Record<string, unknown> | undefined) => {
    const before = users.map((user) => kpx.done(user).length);
    const began = Date.now();
    await publishJobs(
      vhost.url('publisher'),
      Array.from({ length: JOBS }, (_, index) => ({ ...jobOf(users[index % count] ?? ''), ...(headers && { headers }) })),
    );
    const done = () => users.reduce((sum, user, index) => sum + kpx.done(user).length - (before[index] ?? 0), 0);
    await eventually('all jobs are done', () => done() >= JOBS, TIMEOUT_MS);
    return (JOBS * 1_000) / (Math.max(...users.map((user) => kpx.done(user).at(-1)?.at ?? 0)) - began);
  };
  const allRun = async () => {
    const before = running.map((user) => kpx.done(user).length);
    await publishJobs(
      vhost.url('publisher'),
      running.map((user) => jobOf(user)),
    );
    const oneMore = () => running.every((user, index) => kpx.done(user).length > (before[index] ?? 0));
    await eventually('all executors do a job', oneMore, TIMEOUT_MS);
  };
  try {
    await allRun();
    for (let done = 0; done < rounds; done++) {
      rates.push(await perSecond(undefined));
      if (count > 1) continue;
      await kpx.endBroker();
      limits.push(await perSecond({ canHandle: true }));
      await kpx.startBroker();
      await allRun(); // one that does not know it yet has most of the jobs wait for 10 s
    }
  } finally {
    await kpx.stop();
    await vhost.delete();
    kpx.removeDirectories();
    accounts.remove();
  }
  const rate = round(median(rates));
  const limit = count > 1 ? undefined : round(median(limits));
  return { users: count, rate, limit, ratio: limit && round(rate / limit, 2) };
}
