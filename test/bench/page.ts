// What the status page takes of the broker's processor: names are told, and one job a second sees to it that each second there is something to send.

import { setTimeout as delay } from 'node:timers/promises';
import { freePorts } from '../fixtures/free-ports.js';
import { jobOf, publishJobs } from '../fixtures/jobs.js';
import { Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { RawAccounts } from '../fixtures/raw-accounts.js';
import { cpuMs, round } from './figures.js';
import { arrived, TO_SINK, vhostWithSink } from './sink.js';

const EXECUTORS = 100;
/** Of each measurement. A processor's time is told in steps of 10 ms: 0.05 %. */
const SECONDS = 20;
const SECOND_MS = 1_000;

export interface PageFigures {
  readonly executors: number;
  readonly streams: number;
  /** Of one processor: what the broker takes without a page, and beyond that. */
  readonly withoutPercent: number;
  readonly percent: number;
  /** Of what is sent on all streams. */
  readonly kbPerSecond: number;
}

/** With one page that is open, and with ten. */
export async function pages(rabbitmq: RabbitmqServer): Promise<PageFigures[]> {
  const accounts = new RawAccounts();
  const users = Array.from({ length: EXECUTORS }, (_, index) => `page-user-${index}`);
  for (const user of users) accounts.account(user);
  const [port = 0] = await freePorts(1);
  const vhost = await vhostWithSink(rabbitmq);
  const kpx = new Kpx(vhost, {
    helper: { executor: { command: ['/usr/bin/sleep', 'infinity'], max_executors: EXECUTORS } },
    broker: {
      amqp: TO_SINK,
      executors: { ready: 'delay', ready_delay: '1ms', watch: false },
      policy: { max_executors: EXECUTORS, max_starting: 32 },
      http: { listen: `127.0.0.1:${port}`, user_labels: true },
    },
  });
  const measured = async (streams: number) => {
    const closing = new AbortController();
    let bytes = 0;
    const reading = Array.from({ length: streams }, async () => {
      const { body } = await fetch(`http://127.0.0.1:${port}/events`, { signal: closing.signal });
      for await (const chunk of body ?? []) bytes += chunk.length;
    });
    const ended = Promise.allSettled(reading);
    await delay(SECOND_MS);
    const before = cpuMs(kpx.broker?.pid ?? 0);
    bytes = 0;
    for (let second = 0; second < SECONDS; second++) {
      await Promise.all([delay(SECOND_MS), publishJobs(vhost.url('publisher'), [jobOf(users[second] ?? '')])]);
    }
    const percent = ((cpuMs(kpx.broker?.pid ?? 0) - before) / (SECONDS * SECOND_MS)) * 100;
    closing.abort();
    await ended;
    return { streams, percent, kbPerSecond: bytes / 1_000 / SECONDS };
  };
  try {
    await kpx.start();
    await publishJobs(
      vhost.url('publisher'),
      users.map((user) => jobOf(user)),
    );
    await arrived(vhost, EXECUTORS);
    await measured(0); // what the starts have left to do
    const without = await measured(0);
    const figures = [await measured(1), await measured(10)];
    return figures.map(({ streams, percent, kbPerSecond }) => ({
      executors: EXECUTORS,
      streams,
      withoutPercent: round(without.percent, 2),
      percent: round(percent - without.percent, 2),
      kbPerSecond: round(kbPerSecond, 1),
    }));
  } finally {
    await kpx.stop();
    await vhost.delete();
    kpx.removeDirectories();
    accounts.remove();
  }
}
