import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { freePorts } from '../fixtures/free-ports.js';
import { jobOf } from '../fixtures/jobs.js';
import { Kpx, type KpxOptions } from '../fixtures/kpx.js';
import { isGone } from '../fixtures/process.js';
import { type RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';
import { scrape } from '../fixtures/scrape.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { deadLetters, explain, jobsDone, publish } from './installed-kpx.js';

/** An executor that never gives up by itself. */
const PATIENT = { BOOT_MS: '50', RETRY_MS: '600000' };
/** Long enough for a login that takes a few pieces each way, and for it to be refused before `ready_for` is over. */
const PIECE_MS = 60;

let rabbitmq: RabbitmqServer;
beforeAll(async () => {
  rabbitmq = await startRabbitmq();
});
afterAll(() => rabbitmq.remove());

let proxies = 100;

/** kpx whose executors reach RabbitMQ through a proxy, the broker directly. By the port the broker knows its executors' connections. */
async function throughProxy(options: KpxOptions, password?: string): Promise<{ kpx: Kpx; proxy: TcpProxy }> {
  const vhost = await rabbitmq.createKnimeVhost();
  const near = { host: `127.0.0.${++proxies}`, port: rabbitmq.amqpPort };
  const proxy = await TcpProxy.start({ host: rabbitmq.host, port: rabbitmq.amqpPort }, near);
  onTestFinished(() => proxy.close());
  const url = new URL(vhost.url('executor'));
  url.hostname = near.host;
  if (password !== undefined) url.password = password;
  const kpx = new Kpx(vhost, { standIn: PATIENT, ...options, msgq: url.href });
  onTestFinished(() => kpx.stop());
  await kpx.start();
  return { kpx, proxy };
}

const pidOf = async (kpx: Kpx, user: string, jobs = 1) => Number((await jobsDone(kpx, user, jobs)).at(-1)?.pid);

/** As a firewall with a new rule does, for this executor alone. */
function takeAway(proxy: TcpProxy): void {
  proxy.refuse();
  proxy.cut();
}

it('holds the jobs of an executor that has lost RabbitMQ, and gives them to it when it is back', async () => {
  const { kpx, proxy } = await throughProxy({ broker: { executors: { lost_after: '60s' } } });
  await publish(kpx, jobOf('alice', 'a1'));
  const pid = await pidOf(kpx, 'alice');
  takeAway(proxy);
  await kpx.brokerLog.line({ user: 'alice', state: 'lost' });
  await publish(kpx, jobOf('alice', 'a2'));
  await expect
    .poll(() => explain(kpx, 'alice'))
    .toMatchObject({
      decision: 'hold',
      state: 'lost',
      held: expect.toSatisfy((held) => held === 1 || held === 2), // the first one's acknowledgement may have been cut off
      why: 'the executor has lost its connection to RabbitMQ; it is ended if that does not come back within lost_after',
    });
  proxy.heal();
  expect(await pidOf(kpx, 'alice', 2)).toBe(pid);
});

it('ends an executor that does not get RabbitMQ back: said, counted, and a failed start; its job is done by the next one', async () => {
  const [port = 0] = await freePorts(1);
  const { kpx, proxy } = await throughProxy({ broker: { executors: { lost_after: '2s' }, http: { listen: `127.0.0.1:${port}` } } });
  await publish(kpx, jobOf('alice', 'a1'));
  const pid = await pidOf(kpx, 'alice');
  takeAway(proxy);
  await kpx.brokerLog.line({ user: 'alice', state: 'lost' });
  await publish(kpx, jobOf('alice', 'a2'));
  const why = 'the executor has had no connection to RabbitMQ for 2s (lost_after)';
  expect(await kpx.brokerLog.line({ user: 'alice', msg: 'ending an executor' })).toMatchObject({ reason: why, level: 40 });
  await kpx.brokerLog.line({ user: 'alice', state: 'backoff' });
  proxy.heal();
  expect(await pidOf(kpx, 'alice', 2)).not.toBe(pid);
  expect(isGone(pid)).toBe(true);
  expect((await scrape(port)).value('kpx_executor_ends_total{cause="without_rabbitmq"}')).toBe(1);
});

it('never takes an executor for ready whose login is refused: after start_attempts the job is parked, with the reason', async () => {
  const executors = { ready_for: '1s', start_timeout: '4s' };
  const policy = { start_attempts: 2, backoff_initial: '100ms' };
  const { kpx, proxy } = await throughProxy({ broker: { executors, policy } }, 'wrong');
  proxy.delay(PIECE_MS);
  await publish(kpx, jobOf('alice', 'a1'));
  const [parked] = await deadLetters(kpx, 1);
  expect(parked?.headers).toMatchObject({
    'x-kpx-reason': 'EXECUTOR_WITHOUT_RABBITMQ',
    'x-kpx-detail':
      '2 starts failed, the last one: the executor was not ready within 4s (start_timeout): no connection to RabbitMQ; RabbitMQ ended its connections: is the login refused? See kpxctl logs alice',
  });
  expect(kpx.brokerLog.lines.filter(({ state }) => state === 'ready')).toEqual([]);
});

it('with ready = "delay" ends one without a connection, too; with watch = false it does not look', async () => {
  const executors = { ready: 'delay', ready_delay: '500ms', ready_for: '1s', start_timeout: '2s' };
  const { kpx, proxy } = await throughProxy({ broker: { executors, policy: { backoff_initial: '100ms' } } });
  proxy.refuse();
  await publish(kpx, jobOf('alice', 'a1'));
  const { reason } = await kpx.brokerLog.line({ user: 'alice', state: 'backoff' });
  expect(reason).toContain('the executor was not ready within 2s (start_timeout): no connection to RabbitMQ');
  expect(kpx.brokerLog.lines.filter(({ state }) => state === 'ready')).toEqual([]);
  await kpx.reload({ executors: { ...executors, watch: false } });
  await kpx.brokerLog.line({ user: 'alice', state: 'ready' });
  proxy.heal();
  await jobsDone(kpx, 'alice', 1);
});
