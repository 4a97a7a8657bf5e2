import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { openConnection, withChannel } from '../fixtures/amqp.js';
import { treesToTest } from '../fixtures/debian/trees.mjs';
import { eventually } from '../fixtures/eventually.js';
import { freePorts } from '../fixtures/free-ports.js';
import { startIdleExecutors, type WAYS } from '../fixtures/idle-executors.js';
import { jobOf, publishJobs } from '../fixtures/jobs.js';
import { declareKnimeTopology, KNIME_EXCHANGE, KNIME_QUEUE, KNIME_ROUTING_KEY } from '../fixtures/knime/topology.js';
import { Kpx, type KpxOptions } from '../fixtures/kpx.js';
import { type RabbitmqServer, SOON_TOLD, startRabbitmq } from '../fixtures/rabbitmq.js';
import type { Vhost } from '../fixtures/rabbitmq-access.js';
import { scrape } from '../fixtures/scrape.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { visit } from './browser.js';
import { deadLetters, jobsDone, runKpxctl } from './installed-kpx.js';

const QUORUM = { 'x-queue-type': 'quorum' };
const REFUSED = 'not consuming: jobs would be lost in the job queue';
/** The command in what the broker says, without its first word. */
const COMMAND = /rabbitmqctl (set_policy .*?}')/;
const IDLE_EXECUTORS = 26;
const JOBS = 208;

/** As a shell takes it apart. */
const words = (command: string) => [...command.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '');

describe.each(treesToTest())('RabbitMQ 4 of %s', (tree) => {
  let rabbitmq: RabbitmqServer;
  beforeAll(async () => {
    rabbitmq = await startRabbitmq({ ...SOON_TOLD, tree });
    await rabbitmq.api('PUT', `users/${rabbitmq.users.broker.name}`, { password: rabbitmq.users.broker.password, tags: 'management' });
  });
  afterAll(() => rabbitmq.remove());

  async function takeVhost(queueArguments: Record<string, unknown>): Promise<Vhost> {
    const vhost = await rabbitmq.createVhost();
    onTestFinished(() => vhost.delete());
    await declareKnimeTopology(vhost.url('admin'), queueArguments);
    return vhost;
  }

  function install(vhost: Vhost, options: KpxOptions = {}): Kpx {
    const kpx = new Kpx(vhost, { standIn: { BOOT_MS: '50', JOB_MS: '1' }, ...options });
    onTestFinished(() => kpx.stop());
    return kpx;
  }

  const managed = () => ({ management_urls: [`http://127.0.0.1:${rabbitmq.managementPort}`] });

  async function lifted(vhost: Vhost): Promise<void> {
    const definition = { 'delivery-limit': -1 };
    await rabbitmq.api('PUT', `policies/${vhost.vhost}/lifted`, { pattern: '^knime-jobs$', definition, 'apply-to': 'quorum_queues' });
    await eventually('RabbitMQ says so', async () => (await told(vhost)).policy === 'lifted');
  }

  const told = (vhost: Vhost) => rabbitmq.api<{ policy?: string | null }>('GET', `queues/${vhost.vhost}/${KNIME_QUEUE}`);

  it('a quorum queue is refused with the command that fixes it, and consumed once that was given', { timeout: 120_000 }, async () => {
    const vhost = await takeVhost(QUORUM);
    const [port = 0] = await freePorts(1);
    const http = { listen: `127.0.0.1:${port}` };
    const kpx = install(vhost, { broker: { http } });
    await kpx.startHelper();
    await kpx.startBroker({ wait: false });
    const refusal = await kpx.brokerLog.line({ msg: REFUSED });
    expect(refusal.reason).toContain('is a quorum queue, and RabbitMQ 4.');
    expect(refusal.reason).toContain('amqp.management_urls is []');
    expect(refusal.fix).toMatch(COMMAND);
    const status = await runKpxctl(['status', '--config', kpx.brokerConfigFile]);
    expect(status.stdout).toContain('connected to RabbitMQ, and takes nothing from it since');
    expect(status.stdout).toContain('set_policy');
    const explained = await runKpxctl(['explain', 'alice', '--config', kpx.brokerConfigFile, '--helper-config', kpx.configFile]);
    expect(explained.stdout).toContain('set_policy');
    const doctor = await runKpxctl(['doctor', '--config', kpx.brokerConfigFile, '--helper-config', kpx.configFile]);
    expect(doctor.stdout).toMatch(/fail\s+delivery limit\s+the broker takes no jobs: .*set_policy/s);
    const { page } = await visit(`http://127.0.0.1:${port}/`);
    await page.locator('#rabbitmq', { hasText: /takes nothing from it since .*set_policy/ }).waitFor();
    expect((await scrape(port)).value('kpx_job_queue_loses_jobs')).toBe(1);
    expect((await vhost.queueDepth(KNIME_QUEUE))?.consumers).toBe(0);

    // With the management API the broker sees that the limit is there, and then that it is not.
    const from = kpx.brokerLog.lines.length;
    await kpx.reload({ http, amqp: managed() });
    const seen = await eventually('it sees the default', () =>
      kpx.brokerLog.lines.slice(from).find(({ msg, reason }) => msg === REFUSED && String(reason).includes('the default of this version')),
    );
    await rabbitmq.ctl(...words(COMMAND.exec(String(seen.fix))?.[1] ?? ''));
    await kpx.brokerLog.line({ msg: 'consuming' });
    await publishJobs(vhost.url('publisher'), [jobOf('alice', 'first')]);
    await jobsDone(kpx, 'alice', 1);
    await page.locator('#rabbitmq', { hasText: 'consuming' }).waitFor();
    expect((await scrape(port)).value('kpx_job_queue_loses_jobs')).toBe(0);
  });

  it('a stream is refused in any case, and named', { timeout: 120_000 }, async () => {
    const vhost = await takeVhost({ 'x-queue-type': 'stream' });
    const kpx = install(vhost, { broker: { amqp: { delivery_limit: 'accept' } } });
    await kpx.startHelper();
    await kpx.startBroker({ wait: false });
    const refusal = await kpx.brokerLog.line({ msg: REFUSED });
    expect(refusal.reason).toContain('"knime-jobs" is a stream: what is published while nobody consumes is not delivered later');
    expect(refusal.fix).toMatch(/^stop KNIME Server, delete the queue, .* must not be among its arguments$/);
    const doctor = await runKpxctl(['doctor', '--config', kpx.brokerConfigFile, '--helper-config', kpx.configFile]);
    expect(doctor.stdout).toMatch(/fail\s+delivery limit\s+the broker takes no jobs: "knime-jobs" is a stream.*Stop KNIME Server/s);
    expect((await vhost.queueDepth(KNIME_QUEUE))?.consumers).toBe(0);
  });

  it.each(['reject', 'nack', 'republish'] as const satisfies (keyof typeof WAYS)[])(
    `${IDLE_EXECUTORS} idle executors that %s, and a broker that is restarted, lose none of ${JOBS} jobs where the limit is lifted`,
    { timeout: 180_000 },
    async (way) => {
      const vhost = await takeVhost(QUORUM);
      await lifted(vhost);
      const kpx = install(vhost, { broker: { amqp: managed() } });
      await kpx.start();
      const stopIdle = await startIdleExecutors(vhost.url('executor'), IDLE_EXECUTORS, way);
      onTestFinished(stopIdle);
      const jobs = Array.from({ length: JOBS }, (_, index) => `${way}-${index}`);
      await publishJobs(
        vhost.url('publisher'),
        jobs.map((job, index) => jobOf(index % 2 === 0 ? 'alice' : 'bob', job)),
      );
      await jobsDone(kpx, 'alice', 1);
      await kpx.endBroker('SIGKILL');
      await kpx.startBroker();
      const done = () => new Set([...kpx.done('alice'), ...kpx.done('bob')].map(({ job }) => job));
      await eventually(`${JOBS} jobs are done`, () => done().size >= JOBS, 120_000);
      expect([...done()].sort()).toEqual(jobs.sort());
    },
  );

  it('where a limit is accepted, a job that comes near it is parked, and the others are done', { timeout: 120_000 }, async () => {
    const vhost = await takeVhost({ ...QUORUM, 'x-delivery-limit': 8 });
    await publishJobs(vhost.url('publisher'), [jobOf('alice', 'often')]);
    await givenBack(vhost, 7);
    await publishJobs(vhost.url('publisher'), [jobOf('alice', 'new')]);
    const kpx = install(vhost, { broker: { amqp: { ...managed(), delivery_limit: 'accept' } } });
    await eventually('RabbitMQ says its policies', async () => 'policy' in (await told(vhost)));
    await kpx.start();
    const warned = await kpx.brokerLog.line({
      msg: 'jobs can be lost in the job queue; amqp.delivery_limit = "accept" lets them be taken',
    });
    expect(warned.reason).toContain('gives a job back 8 times at most');
    const [letter] = await deadLetters(kpx, 1);
    expect(letter).toMatchObject({ json: { job: 'often' }, headers: { 'x-kpx-reason': 'DELIVERY_LIMIT' } });
    expect((await jobsDone(kpx, 'alice', 1)).map(({ job }) => job)).toEqual(['new']);
  });

  it('where a limit is assumed, a job that was given back more often shows that it is not there, and no job is parked', async () => {
    const vhost = await takeVhost({ ...QUORUM, 'x-delivery-limit': -1 });
    await publishJobs(vhost.url('publisher'), [jobOf('alice', 'often')]);
    await givenBack(vhost, 25);
    const kpx = install(vhost, { broker: { amqp: { delivery_limit: 'accept' } } });
    await kpx.start();
    expect((await jobsDone(kpx, 'alice', 1)).map(({ job }) => job)).toEqual(['often']);
    const status = await runKpxctl(['status', '--config', kpx.brokerConfigFile]);
    expect(status.stdout).not.toContain('set_policy');
  });

  it('a broker that has seen the limit lifted, and can ask no longer, takes jobs as before', { timeout: 120_000 }, async () => {
    const vhost = await takeVhost(QUORUM);
    await lifted(vhost);
    const port = rabbitmq.managementPort;
    const proxy = await TcpProxy.start({ host: rabbitmq.host, port }, { host: '127.0.0.9', port });
    onTestFinished(() => proxy.close());
    const nobody = 'http://127.0.0.1:1';
    const kpx = install(vhost, { broker: { amqp: { management_urls: [nobody, `http://127.0.0.9:${port}`] } } });
    await kpx.start();
    proxy.refuse();
    proxy.cut();
    const from = kpx.brokerLog.lines.length;
    await vhost.closeConnections('broker');
    await kpx.brokerLog.line({ msg: 'consuming' }, { from });
  });

  it('declare makes a queue without a limit in a virtual host of quorum queues, and takes an exchange as it is', async () => {
    const vhost = await rabbitmq.createVhost();
    onTestFinished(() => vhost.delete());
    await rabbitmq.api('PUT', `vhosts/${vhost.vhost}`, { default_queue_type: 'quorum' });
    await vhost.setPermissions('broker', { configure: '.*', write: '.*', read: '.*' });
    await withChannel(vhost.url('admin'), (channel) => channel.assertExchange(KNIME_EXCHANGE, 'topic', { durable: true }));
    const kpx = install(vhost, { broker: { amqp: { declare: true } } });
    await kpx.start();
    const { type } = await rabbitmq.api<{ type: string }>('GET', `queues/${vhost.vhost}/${KNIME_QUEUE}`);
    expect(type).toBe('classic');
    await publishJobs(vhost.url('admin'), [jobOf('alice', 'declared')], { routingKey: KNIME_ROUTING_KEY });
    await jobsDone(kpx, 'alice', 1);
  });
});

/** Every way that counts on all versions. */
async function givenBack(vhost: Vhost, times: number): Promise<void> {
  const connection = await openConnection(vhost.url('admin'));
  const channel = await connection.createChannel();
  for (let time = 0; time < times; time += 1) {
    const message = await eventually('the job is there again', async () => (await channel.get(KNIME_QUEUE)) || undefined);
    channel.reject(message, true);
  }
  await channel.close();
  await connection.close();
}
