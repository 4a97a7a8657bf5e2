// What Prometheus gets of a broker with 1,000 users, and how long it takes.

import { eventually } from '../fixtures/eventually.js';
import { freePorts } from '../fixtures/free-ports.js';
import { jobOf, publishJobs } from '../fixtures/jobs.js';
import { Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { RawAccounts } from '../fixtures/raw-accounts.js';
import { scrape } from '../fixtures/scrape.js';
import { percentile, round } from './figures.js';
import { arrived, TO_SINK, vhostWithSink } from './sink.js';

const USERS = 1_000;
const SCRAPES = 50;
const BYTES_PER_KB = 1_000;

export interface ScrapeFigures {
  readonly users: number;
  readonly userLabels: boolean;
  readonly p50Ms: number;
  readonly maxMs: number;
  readonly kb: number;
}

/** Without names of users, then with them. */
export async function scrapes(rabbitmq: RabbitmqServer): Promise<ScrapeFigures[]> {
  const accounts = new RawAccounts();
  const users = Array.from({ length: USERS }, (_, index) => `scraped-user-${index}`);
  for (const user of users) accounts.account(user);
  const [port = 0] = await freePorts(1);
  const http = { listen: `127.0.0.1:${port}` };
  const vhost = await vhostWithSink(rabbitmq);
  const broker = {
    amqp: { ...TO_SINK, prefetch: 2_000 },
    executors: { ready: 'delay', ready_delay: '1ms', watch: false },
    policy: { max_executors: USERS, max_starting: 32 },
  };
  const kpx = new Kpx(vhost, {
    helper: { executor: { command: ['/usr/bin/sleep', 'infinity'], max_executors: USERS } },
    broker: { ...broker, http },
  });
  try {
    await kpx.start();
    await publishJobs(
      vhost.url('publisher'),
      users.map((user) => jobOf(user)),
    );
    await arrived(vhost, USERS);
    await eventually('all users are ready', async () => (await scrape(port)).value('kpx_users{state="ready"}') === USERS);
    const figures = [await measured(port, false)];
    await kpx.reload({ ...broker, http: { ...http, user_labels: true } });
    return [...figures, await measured(port, true)];
  } finally {
    await kpx.stop();
    await vhost.delete();
    kpx.removeDirectories();
    accounts.remove();
  }
}

async function measured(port: number, userLabels: boolean): Promise<ScrapeFigures> {
  const times: number[] = [];
  let bytes = 0;
  for (let count = 0; count < SCRAPES; count++) {
    const began = performance.now();
    const { text } = await scrape(port);
    times.push(performance.now() - began);
    bytes = Buffer.byteLength(text);
  }
  const kb = round(bytes / BYTES_PER_KB, 1);
  return { users: USERS, userLabels, p50Ms: round(percentile(times, 0.5), 1), maxMs: round(Math.max(...times), 1), kb };
}
