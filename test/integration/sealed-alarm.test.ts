import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { startAccountsRabbitmq } from '../fixtures/sealed-accounts.js';
import { jobsDone, publish } from './installed-kpx.js';
import { startSealed } from './installed-sealed.js';

/* An alarm of the accounts' RabbitMQ, and connections to the server that are lost during it. */

const JOBS = ['a1', 'a2', 'a3', 'a4', 'a5'];
/** How often the connections to the server are lost. */
const LOSSES = 3;

/** RabbitMQ says within this that it takes no messages, in milliseconds; a job that was given twice would be done twice by then. */
const TOLD_WITHIN_MS = 1_000;
/** Jobs that were not taken are offered again after growing pauses, in milliseconds. */
const DONE_WITHIN_MS = 60_000;

let accounts: RabbitmqServer;
beforeAll(async () => {
  accounts = await startAccountsRabbitmq();
});
afterAll(() => accounts.remove());

it('sealed, jobs wait in the broker during an alarm, and those that come after its first word are done once, also where the server was lost meanwhile', {
  timeout: 120_000,
}, async () => {
  const kpx = await startSealed(accounts);
  await publish(kpx, jobOf('alice', 'before'));
  await jobsDone(kpx, 'alice', 1);
  await accounts.ctl('set_vm_memory_high_watermark', '0.00001');
  // RabbitMQ says that it takes no more when this one has come, and takes it when the alarm is over.
  await publish(kpx, jobOf('alice', 'first'));
  await delay(TOLD_WITHIN_MS);
  await publish(kpx, ...JOBS.map((job) => jobOf('alice', job)));
  for (let loss = 0; loss < LOSSES; loss++) {
    const lines = kpx.brokerLog.lines.filter(({ msg }) => msg === 'consuming').length;
    await eventually('the broker has the jobs', async () => (await kpx.vhost.queueDepth(KNIME_QUEUE))?.messages === 0);
    await kpx.vhost.closeConnections('broker');
    await eventually('it takes jobs again', () => kpx.brokerLog.lines.filter(({ msg }) => msg === 'consuming').length > lines);
  }
  expect(kpx.done('alice')).toHaveLength(1);
  await accounts.ctl('set_vm_memory_high_watermark', '0.4');
  const done = () => kpx.done('alice').map(({ job }) => job);
  await eventually('all are done', () => [...JOBS, 'first'].every((job) => done().includes(job)), DONE_WITHIN_MS);
  await delay(TOLD_WITHIN_MS);
  expect(
    done()
      .filter((job) => job !== 'first')
      .toSorted(),
  ).toEqual([...JOBS, 'before']);
});
