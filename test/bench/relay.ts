// How fast jobs of a user whose executor runs go through the broker, beside a bare amqplib loop in the same run.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openConnection } from '../fixtures/amqp.js';
import { jobOf, publishJobs } from '../fixtures/jobs.js';
import { KNIME_EXCHANGE, KNIME_QUEUE, KNIME_ROUTING_KEY } from '../fixtures/knime/topology.js';
import { checkout, idsOf, Kpx, node } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { median, percentile, round } from './figures.js';
import { arrived, fillingMs, TO_SINK, vhostWithSink, watchSink } from './sink.js';

export interface RelayFigures {
  readonly prefetch: number;
  readonly bodyBytes: number;
  /** Jobs a second, medians. */
  readonly relay: number;
  readonly bare: number;
  readonly ratio: number;
}

const KIB = 1_024;
const jobsFor = (prefetch: number, bodyBytes: number) => (prefetch === 1 ? 2_000 : bodyBytes > 16 * KIB ? 4_000 : 20_000);

/** Executors that do nothing, ready at once: nothing but the broker takes the processor. */
export const IDLE_EXECUTORS = { ready: 'delay', ready_delay: '1ms', watch: false };
export const SLEEP = { command: ['/usr/bin/sleep', 'infinity'] };

export async function relayRate(rabbitmq: RabbitmqServer, prefetch: number, bodyBytes: number, rounds: number): Promise<RelayFigures> {
  const relay: number[] = [];
  const bare: number[] = [];
  for (let count = 0; count < rounds; count++) {
    bare.push(await bareRound(rabbitmq, prefetch, bodyBytes));
    relay.push(await relayRound(rabbitmq, prefetch, bodyBytes));
  }
  return { prefetch, bodyBytes, relay: round(median(relay)), bare: round(median(bare)), ratio: round(median(relay) / median(bare), 2) };
}

const padded = (user: string, bodyBytes: number) => {
  const job = jobOf(user, 'job');
  const missing = Math.max(0, bodyBytes - JSON.stringify(job.body).length - 9);
  return { ...job, body: { ...(job.body as object), pad: 'x'.repeat(missing) } };
};

const fill = (url: string, count: number, bodyBytes: number) =>
  publishJobs(
    url,
    Array.from({ length: count }, () => padded('alice', bodyBytes)),
  );

const rate = (count: number, ms: number) => (count * 0.9 * 1_000) / ms;

/** Both loops are stopped while the queue is filled, so that no publisher takes part in what is measured. */
export async function paused(pid: number | undefined, fillQueue: () => Promise<void>): Promise<void> {
  process.kill(pid ?? 0, 'SIGSTOP');
  await fillQueue();
  process.kill(pid ?? 0, 'SIGCONT');
}

export async function relayRound(rabbitmq: RabbitmqServer, prefetch: number, bodyBytes: number): Promise<number> {
  const vhost = await vhostWithSink(rabbitmq);
  const count = jobsFor(prefetch, bodyBytes);
  const kpx = new Kpx(vhost, { helper: { executor: SLEEP }, broker: { amqp: { ...TO_SINK, prefetch }, executors: IDLE_EXECUTORS } });
  try {
    await kpx.start();
    await fill(vhost.url('publisher'), 1, bodyBytes);
    await arrived(vhost, 1);
    await paused(kpx.broker?.pid, () => fill(vhost.url('publisher'), count, bodyBytes));
    return rate(count, await fillingMs(vhost, count));
  } finally {
    await kpx.stop();
    await vhost.delete();
    kpx.removeDirectories();
  }
}

export async function bareRound(rabbitmq: RabbitmqServer, prefetch: number, bodyBytes: number): Promise<number> {
  const vhost = await vhostWithSink(rabbitmq);
  const count = jobsFor(prefetch, bodyBytes);
  const { uid, gid } = idsOf('kpx-broker');
  const argv = [
    `${checkout()}/test/bench/bare-loop.mjs`,
    vhost.url('broker'),
    KNIME_QUEUE,
    TO_SINK.exchange,
    TO_SINK.routing_key,
    String(prefetch),
  ];
  const loop = spawn(node(), argv, { uid, gid, env: {}, stdio: ['ignore', 'ignore', 'inherit'] });
  try {
    await fill(vhost.url('publisher'), 1, bodyBytes);
    await arrived(vhost, 1);
    await paused(loop.pid, () => fill(vhost.url('publisher'), count, bodyBytes));
    return rate(count, await fillingMs(vhost, count));
  } finally {
    loop.kill('SIGKILL');
    await once(loop, 'close');
    await vhost.delete();
  }
}

export interface Latency {
  readonly jobs: number;
  readonly everyMs: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

const LATENCY_JOBS = 1_000;
const LATENCY_EVERY_MS = 5;

/** From publishing a job until its copy has arrived where the executor would take it, one job every few milliseconds. */
export async function relayLatency(rabbitmq: RabbitmqServer): Promise<Latency> {
  const vhost = await vhostWithSink(rabbitmq);
  const kpx = new Kpx(vhost, { helper: { executor: SLEEP }, broker: { amqp: TO_SINK, executors: IDLE_EXECUTORS } });
  const latencies: number[] = [];
  const arrivals = new Map<string, (at: number) => void>();
  const stop = await watchSink(vhost, ({ properties }) => arrivals.get(properties.messageId)?.(performance.now()));
  try {
    await kpx.start();
    await kpx.brokerLog.line({ msg: 'consuming' });
    const send = async (id: string) => {
      const sent = performance.now();
      const arrived = new Promise<number>((resolve) => arrivals.set(id, resolve));
      await publishJobs(vhost.url('publisher'), [jobOf('alice', id)]);
      return (await arrived) - sent;
    };
    await send('warm-up');
    const { publish, close } = await publisher(vhost.url('publisher'));
    for (let count = 0; count < LATENCY_JOBS; count++) {
      const sent = performance.now();
      arrivals.set(`job-${count}`, (at) => latencies.push(at - sent));
      publish(jobOf('alice', `job-${count}`));
      await new Promise((resolve) => setTimeout(resolve, LATENCY_EVERY_MS));
    }
    while (latencies.length < LATENCY_JOBS) await new Promise((resolve) => setTimeout(resolve, LATENCY_EVERY_MS));
    await close();
  } finally {
    await stop();
    await kpx.stop();
    await vhost.delete();
    kpx.removeDirectories();
  }
  const at = (share: number) => round(percentile(latencies, share), 1);
  const figures = { p50Ms: at(0.5), p90Ms: at(0.9), p99Ms: at(0.99), maxMs: round(Math.max(...latencies), 1) };
  return { jobs: LATENCY_JOBS, everyMs: LATENCY_EVERY_MS, ...figures };
}

async function publisher(url: string) {
  const connection = await openConnection(url);
  const channel = await connection.createChannel();
  return {
    publish: ({ body, properties }: ReturnType<typeof jobOf>) =>
      channel.publish(KNIME_EXCHANGE, KNIME_ROUTING_KEY, Buffer.from(JSON.stringify(body)), { persistent: true, ...properties }),
    close: async () => {
      await channel.close();
      await connection.close();
    },
  };
}
