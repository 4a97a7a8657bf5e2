import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { withChannel } from '../fixtures/amqp.js';
import { eventually } from '../fixtures/eventually.js';
import { drainQueue, jobOf, publishJobs } from '../fixtures/jobs.js';
import { declareKnimeTopology, KNIME_QUEUE } from '../fixtures/knime/topology.js';
import { Kpx } from '../fixtures/kpx.js';
import { type RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';

const SINK = 'refused-job-sink';
const OTHERS = 100;
/** How much later 100 jobs may be done where RabbitMQ ends the connection on one before them, in milliseconds. */
const LATER_MS_MAX = 15_000;
/** How long 100 jobs may take until they are through, in milliseconds. */
const THROUGH_MS_MAX = 60_000;

let rabbitmq: RabbitmqServer;
beforeAll(async () => {
  rabbitmq = await startRabbitmq();
});
afterAll(() => rabbitmq.remove());

const others = Array.from({ length: OTHERS }, (_, count) => jobOf('alice', `other-${count}`));
const TOO_LARGE = jobOf('alice', 'too large', { filling: 'x'.repeat(100 * 1024) });

/** Of messages that are published, at most, in bytes. Where each version keeps it while it runs. */
async function messageSizeIs(bytesMax: number): Promise<void> {
  await rabbitmq.ctl(
    'eval',
    `application:set_env(rabbit, max_message_size, ${bytesMax}), persistent_term:put(max_message_size, ${bytesMax}).`,
  );
}

/** kpx with these jobs in its queue, of which RabbitMQ takes none above 64 KiB any more, and how long it took until 100 were through. */
async function through(jobs: typeof others): Promise<{ kpx: Kpx; ms: number }> {
  const vhost = await rabbitmq.createVhost();
  await declareKnimeTopology(vhost.url('admin'), { 'x-queue-type': 'quorum', 'x-delivery-limit': 20 });
  await withChannel(vhost.url('admin'), async (channel) => {
    await channel.assertQueue(SINK, { durable: true });
    await channel.assertExchange(SINK, 'direct', { durable: true });
    await channel.bindQueue(SINK, SINK, 'job');
  });
  await vhost.setPermissions('broker', { configure: '^kpx\\.', write: '.*', read: '.*' });
  await messageSizeIs(134_217_728);
  await publishJobs(vhost.url('publisher'), jobs);
  // What is in the queue stays there. Channels that are opened from now on take less.
  await messageSizeIs(65_536);
  const kpx = new Kpx(vhost, {
    helper: { executor: { command: ['/usr/bin/sleep', 'infinity'] } },
    broker: {
      amqp: { exchange: SINK, routing_key: 'job', delivery_limit: 'accept' },
      executors: { ready: 'delay', ready_delay: '1ms', watch: false },
      jobs: { held_per_user: OTHERS + 1 }, // none waits in a delay queue
    },
  });
  onTestFinished(() => kpx.stop());
  await kpx.start();
  const from = performance.now();
  await eventually(`${OTHERS} jobs`, async () => ((await vhost.queueDepth(SINK))?.messages ?? 0) >= OTHERS, THROUGH_MS_MAX);
  const ms = performance.now() - from;
  return { kpx, ms };
}

it('a job that RabbitMQ no longer takes back is found, said and set aside, and those behind it pass: 0 lost with a delivery limit', {
  timeout: 120_000,
}, async () => {
  const { kpx: without, ms: before } = await through(others);
  await without.stop();
  const { kpx, ms } = await through([TOO_LARGE, ...others]);
  const { vhost } = kpx;
  console.log(`${OTHERS} jobs: ${Math.round(before)} ms, ${Math.round(ms)} ms behind one that RabbitMQ refuses`);
  expect(ms - before).toBeLessThan(LATER_MS_MAX);
  const { reason } = await kpx.brokerLog.line({ msg: 'RabbitMQ has not taken a job', job: 'too large' });
  expect(reason).toMatch(
    /^RabbitMQ ends the connection when this job is sent, also without its properties \(.*PRECONDITION_FAILED - message size/,
  );
  expect(kpx.brokerLog.lines.filter(({ msg }) => msg === 'lost RabbitMQ; connecting again').length).toBeLessThanOrEqual(4);
  // It holds nobody up from now on.
  const passed = new Set<string>();
  await publishJobs(vhost.url('publisher'), [jobOf('alice', 'later')]);
  await eventually('the later job', async () => {
    for (const { json } of await drainQueue(vhost.url('admin'), SINK)) passed.add((json as { job: string }).job);
    return passed.has('later');
  });
  // One that RabbitMQ had confirmed when the connection ended may be there twice.
  expect(passed.size).toBe(OTHERS + 1);
  await kpx.stop();
  await eventually('it is in the queue', async () => (await vhost.queueDepth(KNIME_QUEUE))?.messages === 1);
  expect((await vhost.queueDepth('kpx.dead-letter'))?.messages).toBe(0);
});
