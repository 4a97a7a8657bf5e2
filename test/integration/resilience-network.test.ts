import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { Kpx, type KpxOptions } from '../fixtures/kpx.js';
import { doneJobs, takeStock } from '../fixtures/ledger.js';
import { descriptorsOf } from '../fixtures/process.js';
import { type RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';
import type { Vhost } from '../fixtures/rabbitmq-access.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { jobsDone, publish } from './installed-kpx.js';

/** RabbitMQ asks for it, and the smaller of both sides' wishes counts; a silent peer is noticed after two or three of them. */
const HEARTBEAT_S = 2;
const SILENCE_NOTICED_MS = 3 * HEARTBEAT_S * 1000 + 2_000;
/** STOP_TIMEOUT_MS and twice CLOSE_TIMEOUT_MS of the broker, and a little. */
const STOP_MS_MAX = 10_000;
/** Of the broker: how long it waits for an orderly close. */
const CLOSE_TIMEOUT_MS = 2_000;
/** CLOSE_TIMEOUT_MS of the broker, and a little. */
const CLOSE_MS_MAX = 4_000;
/** CONNECT_TIMEOUT_MS of the broker, and a little. */
const NEXT_URL_MS_MAX = 13_000;
/** ANSWER_TIMEOUT_MS and CLOSE_TIMEOUT_MS of the broker, and a little. */
const MUTE_NOTICED_MS_MAX = 30_000;
/** AMQP 0-9-1: class basic, method consume. */
const BASIC_CONSUME = [60, 20] as const;
/** Start, tune, open: what RabbitMQ says before a connection can be used. */
const HANDSHAKE_ANSWERS = 3;
const CUTS = 5;
const JOBS_A_CUT = 20;
const CANNOT = 'RabbitMQ cannot be used; trying again';
const USERS = ['alice', 'bob'];
/** Quick enough not to be what is waited for. */
const STAND_IN = { BOOT_MS: '100', JOB_MS: '2', PREFETCH: '32' };

let rabbitmq: RabbitmqServer;
let vhost: Vhost;
beforeAll(async () => {
  rabbitmq = await startRabbitmq({ settings: { heartbeat: HEARTBEAT_S } });
});
afterAll(() => rabbitmq.remove());

let proxies = 1;

/** A proxy on another loopback address and RabbitMQ's port: by the port the broker knows its executors' connections. */
async function startProxy(): Promise<TcpProxy> {
  const proxy = await TcpProxy.start(
    { host: rabbitmq.host, port: rabbitmq.amqpPort },
    { host: `127.0.0.${++proxies}`, port: rabbitmq.amqpPort },
  );
  onTestFinished(() => proxy.close());
  return proxy;
}

function urlAt(host: string): string {
  const url = new URL(vhost.urlWithoutPassword('broker'));
  url.hostname = host;
  return url.href;
}

/** kpx whose broker reaches RabbitMQ through a proxy, executors directly. */
async function throughProxy(options: KpxOptions = {}, urls = (through: string) => [through]): Promise<{ kpx: Kpx; proxy: TcpProxy }> {
  vhost = await rabbitmq.createKnimeVhost();
  const proxy = await startProxy();
  const amqp = { urls: urls(urlAt(`127.0.0.${proxies}`)) };
  const kpx = new Kpx(vhost, { standIn: STAND_IN, ...options, broker: { amqp, jobs: { held_per_user: 1_000 }, ...options.broker } });
  onTestFinished(() => kpx.stop());
  return { kpx, proxy };
}

const someJobs = (count: number, from = 0) =>
  Array.from({ length: count }, (_, index) => jobOf(USERS[index % USERS.length] ?? '', `job-${from + index}`));
const idsOf = (count: number) => Array.from({ length: count }, (_, index) => `job-${index}`);
const socketsOf = ({ broker }: Kpx) =>
  Object.values(descriptorsOf(broker?.pid ?? 0)).filter((target) => target.startsWith('socket:')).length;
const allDone = (kpx: Kpx, count: number) =>
  eventually(`${count} jobs are done`, () => new Set(doneJobs([kpx], USERS)).size === count, 60_000);

async function expectNothingLost(kpx: Kpx, count: number) {
  await kpx.stop();
  const stock = await takeStock(idsOf(count), [kpx], USERS, vhost.url('admin'));
  expect(stock.lost).toEqual([]);
  return stock;
}

describe('a network between the broker and RabbitMQ that', () => {
  it('is slow: 50 ms each way hold nothing up but by themselves', async () => {
    const { kpx, proxy } = await throughProxy();
    proxy.delay(50);
    await kpx.start();
    const from = performance.now();
    await publish(kpx, ...someJobs(100));
    await allDone(kpx, 100);
    console.log(`100 jobs with 100 ms round trips: ${Math.round(performance.now() - from)} ms`);
    expect((await expectNothingLost(kpx, 100)).doneAgain).toBe(0);
  });

  it('cuts connections in the middle of a burst: nothing is lost', async () => {
    const { kpx, proxy } = await throughProxy();
    await kpx.start();
    for (let cut = 0; cut < CUTS; cut++) {
      await publish(kpx, ...someJobs(JOBS_A_CUT, cut * JOBS_A_CUT));
      const from = kpx.brokerLog.lines.length;
      expect(proxy.cut()).toBe(2); // it takes jobs by one and publishes by another
      await kpx.brokerLog.line({ msg: 'lost RabbitMQ; connecting again' }, { from });
      await kpx.brokerLog.line({ msg: 'consuming' }, { from });
    }
    await allDone(kpx, CUTS * JOBS_A_CUT);
    const { doneAgain } = await expectNothingLost(kpx, CUTS * JOBS_A_CUT);
    console.log(`${CUTS} cuts, ${CUTS * JOBS_A_CUT} jobs: 0 lost, ${doneAgain} done again`);
  });

  it('cuts connections: the broker connects again, and waits for no answer that cannot come', async () => {
    const { kpx, proxy } = await throughProxy();
    await kpx.start();
    const from = kpx.brokerLog.lines.length;
    const cutAt = performance.now();
    proxy.cut();
    await kpx.brokerLog.line({ msg: 'consuming' }, { from });
    const backMs = performance.now() - cutAt;
    console.log(`consuming again ${Math.round(backMs)} ms after both connections were cut`);
    expect(backMs).toBeLessThan(CLOSE_TIMEOUT_MS);
  });

  it('refuses for a while: tried again until it does not', async () => {
    const { kpx, proxy } = await throughProxy();
    proxy.refuse();
    await kpx.startHelper();
    await kpx.startBroker({ wait: false });
    await kpx.brokerLog.line({ msg: CANNOT });
    proxy.heal();
    await kpx.brokerLog.line({ msg: 'consuming' });
  });

  it('goes silent with jobs under way: noticed by heartbeat, and they are done', async () => {
    const { kpx, proxy } = await throughProxy();
    await kpx.start();
    await publish(kpx, ...someJobs(20));
    await allDone(kpx, 20);
    const sockets = socketsOf(kpx);
    proxy.halfOpen();
    const from = performance.now();
    await publish(kpx, ...someJobs(40, 20)); // delivered into the silence
    const { reason } = await kpx.brokerLog.line({ msg: 'lost RabbitMQ; connecting again' });
    const noticedMs = performance.now() - from;
    console.log(`silence noticed after ${Math.round(noticedMs)} ms with a heartbeat of ${HEARTBEAT_S} s`);
    expect(reason).toMatch(/Heartbeat timeout/);
    expect(noticedMs).toBeLessThan(SILENCE_NOTICED_MS);
    proxy.heal();
    await kpx.brokerLog.line({ msg: 'consuming' }, { from: kpx.brokerLog.lines.length - 1 });
    await allDone(kpx, 60);
    // One connection to RabbitMQ and one to the helper, as before: the silent one is not left open.
    expect(socketsOf(kpx)).toBe(sockets);
    await expectNothingLost(kpx, 60);
  });

  it('is silent when the broker is asked to end: it ends in time, and what it held is done by the next one', async () => {
    const { kpx, proxy } = await throughProxy({ standIn: { BOOT_MS: '600000' } });
    await kpx.start();
    await publish(kpx, ...someJobs(20));
    await kpx.brokerLog.line({ user: 'alice', state: 'booting' });
    proxy.halfOpen();
    const from = performance.now();
    expect(await kpx.endBroker('SIGTERM')).toBe(0);
    const endedMs = performance.now() - from;
    console.log(`ended ${Math.round(endedMs)} ms after SIGTERM on a silent connection`);
    expect(endedMs).toBeLessThan(STOP_MS_MAX);
    expect((await expectNothingLost(kpx, 20)).queued.size).toBe(20);
  });

  it('is silent from the beginning when the broker is asked to end: it ends once the attempt to connect has', async () => {
    const { kpx, proxy } = await throughProxy();
    proxy.halfOpen();
    await kpx.startHelper();
    await kpx.startBroker({ wait: false });
    await kpx.brokerLog.line({ msg: 'connected to the helper' });
    await eventually('it is connecting', () => proxy.accepted > 0);
    const from = performance.now();
    expect(await kpx.endBroker('SIGTERM')).toBe(0);
    expect(performance.now() - from).toBeLessThan(NEXT_URL_MS_MAX);
  });

  it('goes silent while the broker asks for its queues, and the broker is asked to end: it ends at once', async () => {
    const { kpx, proxy } = await throughProxy();
    proxy.delay(200); // so that there is time between two answers
    await kpx.startHelper();
    await kpx.startBroker({ wait: false });
    await eventually('it is connected, and asking', () => proxy.answers > HANDSHAKE_ANSWERS);
    proxy.halfOpen();
    const from = performance.now();
    expect(await kpx.endBroker('SIGTERM')).toBe(0);
    expect(performance.now() - from).toBeLessThan(CLOSE_MS_MAX);
  });
});

describe('of two URLs', () => {
  it('the first accepts and says nothing: the second is used after the time limit of a connection attempt', async () => {
    const { kpx, proxy } = await throughProxy({}, (through) => [through, urlAt(rabbitmq.host)]);
    proxy.halfOpen();
    await kpx.startHelper();
    const from = performance.now();
    await kpx.startBroker({ wait: false });
    const { reason, server } = await kpx.brokerLog.line({ msg: CANNOT });
    expect({ reason, server }).toMatchObject({
      reason: expect.stringContaining('ETIMEDOUT'),
      server: `127.0.0.${proxies}:${rabbitmq.amqpPort}`,
    });
    await kpx.brokerLog.line({ msg: 'consuming', server: `${rabbitmq.host}:${rabbitmq.amqpPort}` });
    expect(performance.now() - from).toBeLessThan(NEXT_URL_MS_MAX);
  });

  /** RabbitMQ suspends the process of a queue: whatever asks for this queue waits for ever, and the connection is alive. */
  const suspendQueue = (vhost: Vhost, queue: string) =>
    rabbitmq.ctl(
      'eval',
      `{ok, Queue} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"${vhost.vhost}">>, queue, <<"${queue}">>)), sys:suspend(amqqueue:get_pid(Queue)).`,
    );

  it('the first has a queue that hangs: said, and the second is used', { timeout: 60_000 }, async () => {
    const hanging = await rabbitmq.createKnimeVhost();
    const { kpx } = await throughProxy({}, () => [hanging.urlWithoutPassword('broker'), urlAt(rabbitmq.host)]);
    await suspendQueue(hanging, 'knime-jobs');
    await kpx.startHelper();
    const from = performance.now();
    await kpx.startBroker({ wait: false });
    const { reason } = await kpx.brokerLog.line({ msg: CANNOT }, { timeoutMs: MUTE_NOTICED_MS_MAX });
    expect(reason).toMatch(/RabbitMQ did not answer to queue\.declare of "knime-jobs" within 15 s/);
    await kpx.brokerLog.line({ msg: 'consuming' });
    expect(performance.now() - from).toBeLessThan(MUTE_NOTICED_MS_MAX);
    await publish(kpx, ...someJobs(2));
    await allDone(kpx, 2);
  });

  it('the first sends heartbeats and no answer to basic.consume: said, and the second is used', { timeout: 60_000 }, async () => {
    const { kpx, proxy } = await throughProxy({}, (through) => [through, urlAt(rabbitmq.host)]);
    proxy.muteFrom(...BASIC_CONSUME);
    await kpx.startHelper();
    const from = performance.now();
    await kpx.startBroker({ wait: false });
    // Of RabbitMQ 4 the broker asks in this way which type the queue has, before it consumes.
    const { msg } = await kpx.brokerLog.line(
      { reason: 'RabbitMQ did not answer to basic.consume of "knime-jobs" within 15 s' },
      { timeoutMs: MUTE_NOTICED_MS_MAX },
    );
    expect(msg).toMatch(/^(lost RabbitMQ; connecting again|RabbitMQ cannot be used; trying again)$/);
    await kpx.brokerLog.line({ msg: 'consuming', server: `${rabbitmq.host}:${rabbitmq.amqpPort}` });
    expect(performance.now() - from).toBeLessThan(MUTE_NOTICED_MS_MAX);
  });

  it('the first dies in the middle of a burst: the second goes on, nothing is lost', async () => {
    const { kpx, proxy } = await throughProxy({}, (through) => [through, urlAt(rabbitmq.host)]);
    await kpx.start();
    await publish(kpx, ...someJobs(60));
    await jobsDone(kpx, 'alice', 10);
    proxy.refuse();
    proxy.cut();
    await kpx.brokerLog.line({ msg: 'consuming', server: `${rabbitmq.host}:${rabbitmq.amqpPort}` });
    await allDone(kpx, 60);
    await expectNothingLost(kpx, 60);
  });
});
