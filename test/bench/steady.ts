// What the broker takes: processor time per job with 10, 100 and 1,000 running executors, and memory with 10,000 held jobs.

import { eventually } from '../fixtures/eventually.js';
import { freePorts } from '../fixtures/free-ports.js';
import { jobOf, publishJobs } from '../fixtures/jobs.js';
import { Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { RawAccounts } from '../fixtures/raw-accounts.js';
import { cpuMs, memoryMb, round } from './figures.js';
import { fillingMs, TO_SINK, vhostWithSink } from './sink.js';
import { explain } from './status.js';

export const STEADY_JOBS = 20_000;
const START_TIMEOUT_MS = 300_000;
const HELD_JOBS = 10_000;
const HELD_BODY_BYTES = 1_024;

export interface Steady {
  readonly executors: number;
  /** Processor time of the broker per job, in microseconds. */
  readonly cpuUsPerJob: number;
  readonly residentMb: number;
}

/** `executors` users with running executors (cheap ones), then as many jobs for them in turn. */
export async function steadyState(rabbitmq: RabbitmqServer, executors: number): Promise<Steady> {
  const accounts = new RawAccounts();
  const users = Array.from({ length: executors }, (_, index) => `s${executors}u${index}`);
  for (const user of users) accounts.account(user);
  const vhost = await vhostWithSink(rabbitmq);
  const kpx = new Kpx(vhost, {
    helper: {
      executor: { command: ['/usr/bin/sleep', 'infinity'], max_executors: executors },
    },
    broker: {
      amqp: { ...TO_SINK, prefetch: 2_000 },
      executors: { ready: 'delay', ready_delay: '1ms', watch: false },
      policy: { max_executors: executors, max_starting: 32 },
    },
  });
  try {
    await kpx.start();
    await publishJobs(
      vhost.url('publisher'),
      users.map((user) => jobOf(user)),
    );
    await eventually(
      'all executors run',
      async () => ((await vhost.queueDepth('bench-sink'))?.messages ?? 0) >= executors,
      START_TIMEOUT_MS,
    );
    const broker = kpx.broker?.pid ?? 0;
    const before = cpuMs(broker);
    const filling = fillingMs(vhost, executors + STEADY_JOBS);
    await publishJobs(
      vhost.url('publisher'),
      Array.from({ length: STEADY_JOBS }, (_, index) => jobOf(users[index % executors] ?? '')),
    );
    await filling;
    return {
      executors,
      cpuUsPerJob: round(((cpuMs(broker) - before) * 1_000) / STEADY_JOBS, 1),
      residentMb: round(memoryMb(broker).resident, 1),
    };
  } finally {
    await kpx.stop();
    await vhost.delete();
    kpx.removeDirectories();
    accounts.remove();
  }
}

export interface Held {
  readonly jobs: number;
  readonly residentMb: number;
  readonly privateMb: number;
}

/** Jobs of one user whose executor never becomes ready. */
export async function heldJobs(rabbitmq: RabbitmqServer): Promise<Held> {
  const [port = 0] = await freePorts(1);
  const vhost = await vhostWithSink(rabbitmq);
  const kpx = new Kpx(vhost, {
    helper: { executor: { command: ['/usr/bin/sleep', 'infinity'] } },
    broker: {
      amqp: { ...TO_SINK, prefetch: 2 * HELD_JOBS },
      jobs: { held_per_user: HELD_JOBS },
      executors: { start_timeout: '30m' },
      http: { listen: `127.0.0.1:${port}` }, // as by default
    },
  });
  try {
    await kpx.start();
    const job = jobOf('alice', 'held');
    const pad = 'x'.repeat(HELD_BODY_BYTES - JSON.stringify(job.body).length - 9);
    const bodies = Array.from({ length: HELD_JOBS }, () => ({ ...job, body: { ...(job.body as object), pad } }));
    await publishJobs(vhost.url('publisher'), bodies);
    await eventually('all are held', async () => (await explain(kpx, 'alice')).held === HELD_JOBS);
    const { resident, privateDirty } = memoryMb(kpx.broker?.pid ?? 0);
    return { jobs: HELD_JOBS, residentMb: round(resident, 1), privateMb: round(privateDirty, 1) };
  } finally {
    await kpx.stop(); // the virtual host goes with the server: its 10,000 jobs have only just come back
    kpx.removeDirectories();
  }
}
