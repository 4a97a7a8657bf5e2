import { expect, it, onTestFinished } from 'vitest';
import { withChannel } from '../fixtures/amqp.js';
import { jobOf } from '../fixtures/jobs.js';
import { declareKnimeTopology, KNIME_QUEUE } from '../fixtures/knime/topology.js';
import { Kpx } from '../fixtures/kpx.js';
import { startRabbitmq } from '../fixtures/rabbitmq.js';
import { jobsDone, publish } from './installed-kpx.js';

/**
 * How long RabbitMQ waits before it moves a job again that had no queue to go to, in milliseconds. Its own default, 180000, was tried with
 * KPX_TEST_MOVE_AGAIN_MS=180000: docs/rabbitmq.md has what was seen.
 */
const MOVE_AGAIN_MS = Number(process.env.KPX_TEST_MOVE_AGAIN_MS ?? 3_000);
const MARGIN_MS = 30_000;
const DRAINING = 'draining: no executor is started any more';

it('jobs that wait in a delay queue outlive the job queue: they return some time after it is there again, and are done', {
  timeout: MOVE_AGAIN_MS + 120_000,
}, async () => {
  const rabbitmq = await startRabbitmq({ application: { dead_letter_worker_publisher_confirm_timeout: MOVE_AGAIN_MS } });
  onTestFinished(() => rabbitmq.remove());
  const vhost = await rabbitmq.createKnimeVhost();
  const kpx = new Kpx(vhost, { standIn: { BOOT_MS: '50' }, broker: { log: { level: 'debug' } } });
  onTestFinished(() => kpx.stop());
  await kpx.start();
  // On a host that starts nothing they wait in RabbitMQ.
  await kpx.signal('SIGUSR2', { msg: DRAINING });
  const jobs = ['d1', 'd2', 'd3'];
  await publish(kpx, ...jobs.map((job) => jobOf('bob', job)));
  for (const job of jobs) await kpx.brokerLog.line({ msg: 'job deferred', job });
  await withChannel(vhost.url('admin'), (channel) => channel.deleteQueue(KNIME_QUEUE));
  await kpx.brokerLog.line({ msg: 'lost RabbitMQ; connecting again' });
  // Their time runs out while there is no queue for them.
  await expect
    .poll(() => kpx.brokerLog.lines.filter(({ msg }) => msg === 'RabbitMQ cannot be used; trying again').length, { timeout: 60_000 })
    .toBeGreaterThan(4);
  await declareKnimeTopology(vhost.url('admin'));
  const again = performance.now();
  await kpx.signal('SIGUSR2', { msg: 'executors are started again' });
  const done = await jobsDone(kpx, 'bob', jobs.length, MOVE_AGAIN_MS + MARGIN_MS);
  console.log(`all done ${Math.round(performance.now() - again)} ms after the queue was there again`);
  expect(done.map(({ job }) => job).sort()).toEqual(jobs);
});
