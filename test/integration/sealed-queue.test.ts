import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Channel } from 'amqplib';
import { parse, stringify } from 'smol-toml';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { withChannel } from '../fixtures/amqp.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import type { Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { answeredAll, asExecutor, letAdminister, letLook, nameOf, startAccountsRabbitmq, takeClient } from '../fixtures/sealed-accounts.js';
import { jobsDone, publish } from './installed-kpx.js';
import { installSealed, startSealed } from './installed-sealed.js';

/* The job queue of an account. With another name: jobs that lie in the one with the old name go to the server's queue with the new one. */

const OTHER_QUEUE = 'other-jobs';
const JOBS = Array.from({ length: 30 }, (_, index) => `a${index}`);
/** How often the broker is killed while it takes jobs back, and the longest that it lives, in milliseconds. */
const KILLS = 8;
const LIVES_MAX_MS = 1_200;
/** Places in the queue. */
const WINDOW = 8;
const DROPPED = "a job is taken back that the accounts' RabbitMQ has dropped at its start: the queue was full";

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

async function expectAllDone(kpx: Kpx, ...others: string[]): Promise<void> {
  const all = new Set([...others, ...JOBS]);
  await eventually('all jobs are done', () => new Set(kpx.done('alice').map(({ job }) => job)).size >= all.size, 60_000).catch(() => {});
  expect(new Set(kpx.done('alice').map(({ job }) => job))).toEqual(all);
}

const isInVhost = async (kind: 'queues' | 'policies', name: string) =>
  (await accounts.api<{ name: string }[]>('GET', `${kind}/${encodeURIComponent(nameOf('alice'))}`)).some((each) => each.name === name);

it.each(['stop', 'kill'] as const)(
  "that is full loses no job where the accounts' RabbitMQ is started anew after a %s",
  { timeout: 120_000 },
  async (how) => {
    const own = await startAccountsRabbitmq();
    onTestFinished(() => own.remove());
    const kpx = await startSealed(own, {
      standIn: { BOOT_MS: '50', PREFETCH: '3', RETRY_MS: '60000' },
      broker: { sealed: { window: WINDOW }, log: { level: 'debug' } },
    });
    const client = await takeClient(kpx);
    const asked = (job: string) => {
      const { body, properties } = jobOf('alice', job);
      return { body, properties: { ...properties, replyTo: client, correlationId: job } };
    };
    await publish(kpx, asked('first'));
    const pid = Number((await jobsDone(kpx, 'alice', 1))[0]?.pid);
    process.kill(pid, 'SIGSTOP'); // with three jobs in hand, which RabbitMQ has not read from it
    await publish(kpx, ...JOBS.map(asked));
    await kpx.brokerLog.line({ msg: 'job not taken' });
    await own[how]();
    await own.start();
    await letAdminister(own);
    await kpx.brokerLog.line({ account: 'alice', msg: DROPPED });
    process.kill(pid, 'SIGCONT');
    await expectAllDone(kpx, 'first');
    await answeredAll(kpx, client, ['first', ...JOBS]);
    expect(await kpx.vhost.queueDepth('kpx.dead-letter')).toMatchObject({ messages: 0 });
  },
);

it('that rejects jobs for good, or lets them expire, has lost those alone', async () => {
  const kpx = await startSealed(accounts, { standIn: { BOOT_MS: '50', PREFETCH: '1' } });
  await publish(kpx, jobOf('alice', 'first'));
  const pid = Number((await jobsDone(kpx, 'alice', 1))[0]?.pid);
  process.kill(pid, 'SIGSTOP');
  const channel = await (await asExecutor(kpx, 'alice')).createChannel();
  await publish(kpx, jobOf('alice', 'in hand'), jobOf('alice', 'rejected'));
  const got = await eventually('there is a job', async () => (await channel.get(KNIME_QUEUE)) || undefined);
  channel.reject(got, false);
  channel.sendToQueue(KNIME_QUEUE, Buffer.from('{}'), { expiration: '1' });
  process.kill(pid, 'SIGCONT');
  await publish(kpx, jobOf('alice', 'last'));
  await eventually('the last job is done', () => kpx.done('alice').some(({ job }) => job === 'last'));
  expect(kpx.done('alice').map(({ job }) => job)).toEqual(['first', 'in hand', 'last']);
  const up = async (look: Channel) => (await look.checkQueue('kpx.up')).messageCount;
  const url = await letLook(accounts, 'alice');
  await eventually('nothing is left of the others', async () => (await withChannel(url, up)) === 0);
  expect(await kpx.vhost.queueDepth('kpx.dead-letter')).toMatchObject({ messages: 0 });
});

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
