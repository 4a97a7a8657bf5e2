import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { parse, stringify } from 'smol-toml';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { withChannel } from '../fixtures/amqp.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import type { Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { nameOf, startAccountsRabbitmq } from '../fixtures/sealed-accounts.js';
import { jobsDone, publish } from './installed-kpx.js';
import { installSealed } from './installed-sealed.js';

/* Another job queue: jobs that lie in the queue of an account with the old name go to the server's queue with the new one. */

const OTHER_QUEUE = 'other-jobs';
const JOBS = Array.from({ length: 30 }, (_, index) => `a${index}`);
/** How often the broker is killed while it takes jobs back, and the longest that it lives, in milliseconds. */
const KILLS = 8;
const LIVES_MAX_MS = 1_200;

let accounts: RabbitmqServer;
beforeAll(async () => {
  accounts = await startAccountsRabbitmq();
});
afterAll(() => accounts.remove());

/** With an executor that works on one job of alice, and others in its queue. */
async function startWithWaiting(): Promise<Kpx> {
  const kpx = await installSealed(accounts, { standIn: { BOOT_MS: '50', JOB_MS: '1000', PREFETCH: '1' } });
  await withChannel(kpx.vhost.url('admin'), (channel) => channel.assertQueue(OTHER_QUEUE, { durable: true }));
  await kpx.vhost.setPermissions('broker', {
    configure: '^kpx\\.',
    write: '.*',
    read: `^kpx\\.|^(${KNIME_QUEUE}|${OTHER_QUEUE})$`,
  });
  await kpx.start();
  await publish(kpx, ...JOBS.map((job) => jobOf('alice', job)));
  await jobsDone(kpx, 'alice', 1);
  await eventually('the account has all jobs', async () => (await kpx.vhost.queueDepth(KNIME_QUEUE))?.messages === 0);
  return kpx;
}

const AMQP = { queue: OTHER_QUEUE, exchange: '' };

/** Executors that are started from now on read from the other queue. */
async function changeExecutors(kpx: Kpx): Promise<void> {
  await kpx.endHelper();
  const config = parse(readFileSync(kpx.configFile, 'utf8')) as { executor: { environment: object } };
  const environment = { KPX_STANDIN_QUEUE: OTHER_QUEUE, KPX_STANDIN_EXCHANGE: '', KPX_STANDIN_BOOT_MS: '50', KPX_STANDIN_JOB_MS: '1' };
  writeFileSync(kpx.configFile, stringify({ ...config, executor: { ...config.executor, environment } }));
  await kpx.startHelper();
}

async function expectAllDone(kpx: Kpx): Promise<void> {
  await eventually('all jobs are done', () => new Set(kpx.done('alice').map(({ job }) => job)).size >= JOBS.length, 60_000).catch(() => {});
  expect(new Set(kpx.done('alice').map(({ job }) => job))).toEqual(new Set(JOBS));
}

const isInVhost = async (kind: 'queues' | 'policies', name: string) =>
  (await accounts.api<{ name: string }[]>('GET', `${kind}/${encodeURIComponent(nameOf('alice'))}`)).some((each) => each.name === name);

it('takes back what lies in the queue with the old name after a reload, and removes that queue when its executor has ended', {
  timeout: 120_000,
}, async () => {
  const kpx = await startWithWaiting();
  await kpx.reload({ amqp: AMQP });
  await kpx.brokerLog.line({ msg: 'jobs of an account are taken back from a queue with an earlier name', account: 'alice' });
  expect(await isInVhost('queues', KNIME_QUEUE)).toBe(true);
  await changeExecutors(kpx);
  await expectAllDone(kpx);
  expect(await isInVhost('queues', OTHER_QUEUE)).toBe(true);
  expect([await isInVhost('queues', KNIME_QUEUE), await isInVhost('policies', `kpx.window.${KNIME_QUEUE}`)]).toEqual([false, false]);
});

it('takes it back before the virtual host of an executor that has ended meanwhile may go', { timeout: 120_000 }, async () => {
  const kpx = await startWithWaiting();
  await kpx.endBroker('SIGKILL');
  process.kill(Number(kpx.done('alice')[0]?.pid), 'SIGKILL');
  await changeExecutors(kpx);
  kpx.configureBroker({ amqp: AMQP, sealed: { keep: '1s', vhosts_max: 1 } });
  await kpx.startBroker();
  await expectAllDone(kpx);
});

it('loses none where the broker is killed at any moment of that', { timeout: 180_000 }, async () => {
  const kpx = await startWithWaiting();
  kpx.configureBroker({ amqp: AMQP });
  for (let kill = 0; kill < KILLS; kill++) {
    await kpx.endBroker('SIGKILL');
    if (kill === KILLS / 2) await changeExecutors(kpx);
    await kpx.startBroker({ wait: false });
    await delay((LIVES_MAX_MS * (kill + 1)) / KILLS);
  }
  await kpx.endBroker('SIGKILL');
  await kpx.startBroker();
  await expectAllDone(kpx);
});
