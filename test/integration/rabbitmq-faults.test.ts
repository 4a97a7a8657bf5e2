import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { delayQueue } from '../../packages/broker/src/amqp/topology.js';
import { DELAYS_MS } from '../../packages/broker/src/policy/policy.js';
import { eventually } from '../fixtures/eventually.js';
import { freePorts } from '../fixtures/free-ports.js';
import { drainQueue, jobOf } from '../fixtures/jobs.js';
import { declareKnimeTopology } from '../fixtures/knime/topology.js';
import { Kpx, type KpxOptions } from '../fixtures/kpx.js';
import { type RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';
import { installKpx, jobsDone, publish, startKpx } from './installed-kpx.js';
import { sharedRabbitmq, takeKnimeVhost } from './shared-rabbitmq.js';

const CANNOT = 'RabbitMQ cannot be used; trying again';

describe('what RabbitMQ is not ready for yet', () => {
  it('a queue that is missing is named in the log, and used as soon as it is there', async () => {
    const vhost = await sharedRabbitmq().createVhost();
    onTestFinished(() => vhost.delete());
    const kpx = new Kpx(vhost, { standIn: { BOOT_MS: '50' } });
    onTestFinished(() => kpx.stop());
    await kpx.startHelper();
    await kpx.startBroker({ wait: false });
    const { reason } = await kpx.brokerLog.line({ msg: CANNOT });
    expect(reason).toMatch(
      /queue "knime-jobs" or exchange "knime-server2executorknime-jobs" is not usable: .*NOT_FOUND - no queue 'knime-jobs'/,
    );
    await declareKnimeTopology(vhost.url('admin'));
    await kpx.brokerLog.line({ msg: 'consuming' });
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
  });

  it('a wrong password is said, without the password, and the right one is taken without a restart', async () => {
    const kpx = new Kpx(await takeKnimeVhost());
    onTestFinished(() => kpx.stop());
    const file = `${kpx.etc}/amqp-password`;
    writeFileSync(file, 'hunter2\n');
    await kpx.startHelper();
    await kpx.startBroker({ wait: false });
    const { reason } = await kpx.brokerLog.line({ msg: CANNOT });
    expect(reason).toMatch(/ACCESS.REFUSED/);
    writeFileSync(file, `${kpx.vhost.server.users.broker.password}\n`);
    await kpx.brokerLog.line({ msg: 'consuming' });
    expect(JSON.stringify(kpx.brokerLog.lines)).not.toContain('hunter2');
  });

  it('a server that is not there is tried again, and the next URL in the list is used at once', async () => {
    const vhost = await takeKnimeVhost();
    const [nobody] = await freePorts(1);
    const dead = `amqp://kpx-broker@127.0.0.1:${nobody}/x`;
    const kpx = new Kpx(vhost, { broker: { amqp: { urls: [dead, vhost.urlWithoutPassword('broker')] } } });
    onTestFinished(() => kpx.stop());
    await kpx.startHelper();
    await kpx.startBroker({ wait: false });
    expect(await kpx.brokerLog.line({ msg: CANNOT })).toMatchObject({
      server: `127.0.0.1:${nobody}`,
      reason: expect.stringContaining('ECONNREFUSED'),
    });
    expect(await kpx.brokerLog.line({ msg: 'consuming' })).toMatchObject({ server: `127.0.0.1:${vhost.server.amqpPort}` });
  });

  it('nor the helper, and the broker ends at once when it is asked to', async () => {
    const [nobody] = await freePorts(1);
    const kpx = await installKpx({ broker: { amqp: { urls: [`amqp://kpx-broker@127.0.0.1:${nobody}/x`] } } });
    await kpx.startBroker({ wait: false });
    await kpx.brokerLog.line({ msg: CANNOT });
    await kpx.brokerLog.line({ msg: 'the helper cannot be used; trying again' });
    expect(await kpx.endBroker('SIGTERM')).toBe(0);
  });

  it('queue, exchange and binding are made when told to', async () => {
    const vhost = await sharedRabbitmq().createVhost();
    onTestFinished(() => vhost.delete());
    await vhost.setPermissions('broker', { configure: '.*', write: '.*', read: '.*' });
    const kpx = await new Kpx(vhost, { broker: { amqp: { declare: true } }, standIn: { BOOT_MS: '50' } }).start();
    onTestFinished(() => kpx.stop());
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
  });

  it('a job that the exchange routes nowhere is kept and tried again', async () => {
    const kpx = await startKpx({ broker: { amqp: { routing_key: 'bound-to-nothing' } }, standIn: { BOOT_MS: '50' } });
    await publish(kpx, jobOf('alice', 'a1'));
    const { reason } = await kpx.brokerLog.line({ msg: 'RabbitMQ has not taken a job' });
    expect(reason).toMatch(/RabbitMQ found no queue from exchange "knime-server2executorknime-jobs" with routing key "bound-to-nothing"/);
    const queue = 'kpx.delay.knime-jobs.10000ms';
    await eventually('it waits', async () => (await kpx.vhost.queueDepth(queue))?.messages === 1);
    const delayed = await drainQueue(kpx.vhost.url('admin'), queue);
    expect(delayed.map(({ json }) => json)).toEqual([{ user: 'alice', job: 'a1' }]);
  });

  it('a job with the user id of another RabbitMQ user passes all the same', async () => {
    const kpx = await startKpx({ standIn: { BOOT_MS: '50' } });
    const { body } = jobOf('alice', 'a1');
    await publish(kpx, { body, properties: { userId: kpx.vhost.server.users.publisher.name } });
    await jobsDone(kpx, 'alice', 1);
  });
});

describe('what happens to RabbitMQ in the middle', () => {
  it('a consumer that is ended by deleting the queue comes back with the queue', async () => {
    const kpx = await startKpx({ standIn: { BOOT_MS: '50' } });
    await kpx.vhost.server.api('DELETE', `queues/${encodeURIComponent(kpx.vhost.vhost)}/knime-jobs`);
    await kpx.brokerLog.line({
      msg: 'lost RabbitMQ; connecting again',
      reason: 'RabbitMQ ended the consumer of "knime-jobs"; probably the queue was deleted, or its node is away',
    });
    const from = kpx.brokerLog.lines.length;
    await declareKnimeTopology(kpx.vhost.url('admin'));
    await kpx.brokerLog.line({ msg: 'consuming' }, { from });
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
  });

  it('closed connections: jobs that were held are held again, and done', async () => {
    const kpx = await startKpx({ standIn: { BOOT_MS: '1500' } });
    await publish(kpx, ...['1', '2', '3'].map((job) => jobOf('alice', job)));
    await kpx.brokerLog.line({ user: 'alice', state: 'booting' });
    expect(await kpx.vhost.closeConnections('broker')).toBe(2); // one takes jobs, one publishes
    await kpx.brokerLog.line({ msg: 'lost RabbitMQ; connecting again' });
    const done = await jobsDone(kpx, 'alice', 3);
    expect(done.map(({ job }) => job).sort()).toEqual(['1', '2', '3']);
  });
});

describe('a RabbitMQ of its own', () => {
  let rabbitmq: RabbitmqServer;
  beforeAll(async () => {
    rabbitmq = await startRabbitmq();
  });
  afterAll(() => rabbitmq.remove());

  const install = async (options: KpxOptions) => {
    const kpx = await new Kpx(await rabbitmq.createKnimeVhost(), options).start();
    onTestFinished(() => kpx.stop());
    return kpx;
  };

  it('is killed and started again: the broker reconnects, nothing is lost', { timeout: 120_000 }, async () => {
    const kpx = await install({ standIn: { BOOT_MS: '100', JOB_MS: '20' } });
    const jobs = Array.from({ length: 200 }, (_, count) => jobOf(count % 2 ? 'alice' : 'bob', `job-${count}`));
    await publish(kpx, ...jobs);
    await jobsDone(kpx, 'alice', 10);
    await rabbitmq.registered(
      kpx.vhost.vhost,
      DELAYS_MS.map((delayMs) => delayQueue('knime-jobs', delayMs)),
    );
    await rabbitmq.kill();
    await kpx.brokerLog.line({ msg: 'lost RabbitMQ; connecting again' });
    await kpx.brokerLog.line({ msg: CANNOT });
    const from = kpx.brokerLog.lines.length;
    await rabbitmq.start();
    await kpx.brokerLog.line({ msg: 'consuming' }, { from, timeoutMs: 60_000 });
    const done = () => new Set([...kpx.done('alice'), ...kpx.done('bob')].map(({ job }) => job)).size;
    await expect.poll(done, { timeout: 60_000 }).toBe(200);
  });

  it('is not there yet when the broker starts', { timeout: 120_000 }, async () => {
    const vhost = await rabbitmq.createKnimeVhost();
    await rabbitmq.stop();
    const kpx = new Kpx(vhost, { standIn: { BOOT_MS: '50' } });
    onTestFinished(() => kpx.stop());
    await kpx.startHelper();
    await kpx.startBroker({ wait: false });
    await kpx.brokerLog.line({ msg: CANNOT });
    await rabbitmq.start();
    await kpx.brokerLog.line({ msg: 'consuming' }, { timeoutMs: 60_000 });
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
  });
});
