import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { isAtLeast } from '../../packages/broker/src/amqp/job-queue.js';
import { DEAD_LETTER_QUEUE, ownQueues } from '../../packages/broker/src/amqp/topology.js';
import { withChannel } from '../fixtures/amqp.js';
import { treesToTest } from '../fixtures/debian/trees.mjs';
import { eventually } from '../fixtures/eventually.js';
import { jobOf, publishJobs } from '../fixtures/jobs.js';
import { declareKnimeTopology, KNIME_QUEUE } from '../fixtures/knime/topology.js';
import { Kpx, type KpxOptions } from '../fixtures/kpx.js';
import { type RabbitmqServer, SOON_TOLD, startRabbitmq } from '../fixtures/rabbitmq.js';
import type { Vhost } from '../fixtures/rabbitmq-access.js';
import { jobsDone, runKpxctl } from './installed-kpx.js';

/* What differs from version to version of RabbitMQ, beside delivery limits. */

/** How long looked-at letters are hidden, in milliseconds. */
const HIDDEN_MS = 3_000;

describe.each([undefined, ...treesToTest()])('RabbitMQ of %s', (tree) => {
  let rabbitmq: RabbitmqServer;
  let version = '';
  /** Is it RabbitMQ 4.3 or later? */
  let has43 = false;
  beforeAll(async () => {
    rabbitmq = await startRabbitmq({ ...SOON_TOLD, ...(tree !== undefined && { tree }) });
    ({ rabbitmq_version: version } = await rabbitmq.api<{ rabbitmq_version: string }>('GET', 'overview'));
    has43 = isAtLeast(version, 4, 3);
  });
  afterAll(() => rabbitmq.remove());

  async function takeVhost(queue: Record<string, unknown> = {}): Promise<Vhost> {
    const vhost = await rabbitmq.createVhost();
    onTestFinished(() => vhost.delete());
    await declareKnimeTopology(vhost.url('admin'), queue);
    return vhost;
  }

  function install(vhost: Vhost, options: KpxOptions): Kpx {
    const kpx = new Kpx(vhost, options);
    onTestFinished(() => kpx.stop());
    return kpx;
  }

  it('a policy that hides looked-at letters does not hide what to do, and they are replayed', { timeout: 60_000 }, async () => {
    const vhost = await takeVhost();
    const definition = { 'delayed-retry-type': 'all', 'delayed-retry-min': HIDDEN_MS, 'delayed-retry-max': 60_000 };
    const policy = { pattern: '^kpx\\.dead-letter$', definition, 'apply-to': 'quorum_queues' };
    if (has43) await rabbitmq.api('PUT', `policies/${vhost.vhost}/hides`, policy);
    const kpx = install(vhost, { standIn: { BOOT_MS: '50' }, broker: { policy: { deny: ['alice'] } } });
    await kpx.start();
    await publishJobs(vhost.url('publisher'), [jobOf('alice', 'first'), jobOf('alice', 'second')]);
    await eventually('both are parked', async () => (await vhost.queueDepth(DEAD_LETTER_QUEUE))?.messages === 2);
    const letters = (...args: string[]) => runKpxctl(['dead-letters', ...args, '--config', kpx.brokerConfigFile]);
    const [first = ''] = (await letters('list', '--json')).stdout.split('\n');
    const { id, job } = JSON.parse(first);
    if (has43) {
      const hidden = await letters('replay', id);
      expect(hidden.code).toBe(66);
      expect(hidden.stderr).toMatch(/hides a dead letter that was looked at.*delayed-retry-type.*rabbitmqctl list_policies/);
      expect((await letters('list')).stderr).toContain('delayed-retry-type');
      await delay(HIDDEN_MS);
    }
    await kpx.reload({});
    expect(await letters('replay', id)).toMatchObject({ code: 0, stderr: '' });
    expect((await jobsDone(kpx, 'alice', 1)).map(({ job }) => job)).toEqual([job]);
    if (has43) await delay(HIDDEN_MS);
    expect(await letters('replay', '--all', '--direct', '--password-file', `${kpx.etc}/amqp-password`)).toMatchObject({ code: 0 });
    await jobsDone(kpx, 'alice', 2);
  });

  it('a job that is held longer than RabbitMQ likes is done, and the broker says what that was', { timeout: 60_000 }, async () => {
    const timeout = has43 ? { 'x-consumer-timeout': 3_000 } : {};
    const vhost = await takeVhost({ 'x-queue-type': 'quorum', ...timeout });
    const kpx = install(vhost, { standIn: { BOOT_MS: has43 ? '5000' : '50' }, broker: { amqp: { delivery_limit: 'accept' } } });
    await kpx.start();
    await publishJobs(vhost.url('publisher'), [jobOf('alice', 'long')]);
    await jobsDone(kpx, 'alice', 1);
    const lost = kpx.brokerLog.lines.filter(({ msg }) => msg === 'lost RabbitMQ; connecting again').map(({ reason }) => String(reason));
    if (has43)
      expect(lost[0]).toMatch(/ended the consumer of "knime-jobs"; probably a job was held longer than its consumer timeout \(.*5 minutes/);
    else expect(lost).toEqual([]);
  });

  it('a delivery limit of -1 is none, or is refused where it means that no job comes back', { timeout: 60_000 }, async () => {
    const isLifted = isAtLeast(version, 4, 0);
    const queue = { 'x-queue-type': 'quorum' };
    const vhost = await takeVhost(isLifted ? queue : { ...queue, 'x-delivery-limit': -1 });
    const policy = { pattern: '^knime-jobs$', definition: { 'delivery-limit': -1 }, 'apply-to': 'queues' };
    const set = rabbitmq.api('PUT', `policies/${vhost.vhost}/unlimited`, policy);
    if (isLifted) await set;
    else await expect(set).rejects.toThrow(/-1 is not a valid delivery limit/);
    const told = () => rabbitmq.api<{ policy?: string }>('GET', `queues/${vhost.vhost}/${KNIME_QUEUE}`);
    await eventually('RabbitMQ says so', async () => 'policy' in (await told()) && ((await told()).policy === 'unlimited') === isLifted);
    await publishJobs(vhost.url('publisher'), [jobOf('alice', 'returned')]);
    await withChannel(vhost.url('admin'), async (channel) => {
      const message = await channel.get(KNIME_QUEUE);
      if (message) channel.reject(message, true);
    });
    await eventually('it is back, or gone', async () => (await vhost.queueDepth(KNIME_QUEUE))?.messages === Number(isLifted));
    await rabbitmq.api('PUT', `users/${rabbitmq.users.broker.name}`, { password: rabbitmq.users.broker.password, tags: 'management' });
    const management_urls = [`http://127.0.0.1:${rabbitmq.managementPort}`];
    const kpx = install(vhost, { standIn: { BOOT_MS: '50' }, broker: { amqp: { management_urls } } });
    await kpx.startHelper();
    await kpx.startBroker({ wait: false });
    if (!isLifted) {
      const { reason, fix } = await kpx.brokerLog.line({ msg: 'not consuming: jobs would be lost in the job queue' });
      expect(reason).toContain(
        'gives a job back 0 times at most, then removes it without a word (argument x-delivery-limit -1 of the queue)',
      );
      const [, command = ''] = / messages: rabbitmqctl (.* delete_queue .*); then/.exec(String(fix)) ?? [];
      await rabbitmq.ctl(...command.split(' '));
      await declareKnimeTopology(vhost.url('admin'), queue);
    }
    await kpx.brokerLog.line({ msg: 'consuming' });
    await publishJobs(vhost.url('publisher'), [jobOf('alice', 'next')]);
    await jobsDone(kpx, 'alice', isLifted ? 2 : 1);
  });

  it('what is parked in a queue that was made a moment ago outlives a kill of RabbitMQ', { timeout: 60_000 }, async () => {
    const vhost = await takeVhost();
    // What is made last is registered last: so only the queue of dead letters is new.
    const others = ownQueues(KNIME_QUEUE).filter(([name]) => name !== DEAD_LETTER_QUEUE);
    await withChannel(vhost.url('admin'), async (channel) => {
      for (const [name, options] of others) await channel.assertQueue(name, options);
    });
    const names = others.map(([name]) => name);
    await rabbitmq.registered(vhost.vhost, names);
    await publishJobs(vhost.url('publisher'), [jobOf('alice', 'parked')]);
    const kpx = install(vhost, { broker: { policy: { deny: ['alice'] } } });
    await kpx.start();
    await eventually('it is parked', async () => (await vhost.queueDepth(DEAD_LETTER_QUEUE))?.messages === 1);
    await kpx.endBroker();
    await rabbitmq.kill();
    await rabbitmq.start();
    const jobs = async (queue: string) => (await vhost.queueDepth(queue))?.messages ?? 0;
    await eventually('it is there', async () => (await jobs(DEAD_LETTER_QUEUE)) + (await jobs(KNIME_QUEUE)) > 0);
  });
});
