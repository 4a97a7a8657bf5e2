import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openConnection, withChannel } from '../fixtures/amqp.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { idsOf, type Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { LEAST_PERMISSIONS } from '../fixtures/rabbitmq-access.js';
import { answersTo, asExecutor, startAccountsRabbitmq, takeClient } from '../fixtures/sealed-accounts.js';
import { jobsDone, publish, runKpxctl } from './installed-kpx.js';
import { installSealed } from './installed-sealed.js';

/* Queues that an executor declares itself: the stand-in has one for each loaded workflow, as KNIME's source shows. */

let accounts: RabbitmqServer;
beforeAll(async () => {
  accounts = await startAccountsRabbitmq();
});
afterAll(() => accounts.remove());

const LEARN = [{ queue: 'gateway-*', max: 3 }];
const { broker: least } = LEAST_PERMISSIONS;
const WITH_GATEWAYS = { configure: `${least.configure}|^gateway-`, write: least.write, read: `${least.read}|^gateway-` };

async function start(sealed: Record<string, unknown> = { learn: LEARN }): Promise<Kpx> {
  const kpx = await installSealed(accounts, { broker: { sealed } });
  await kpx.vhost.setPermissions('broker', WITH_GATEWAYS);
  return await kpx.start();
}

/** Has the executor of this user load a workflow, and resolves when it has told that it has. */
async function loaded(kpx: Kpx, user: string, id: string): Promise<void> {
  const client = await takeClient(kpx);
  const { body, properties } = jobOf(user, `load ${id}`, { load: id });
  await publish(kpx, { body, properties: { ...properties, replyTo: client, correlationId: id } });
  await answersTo(kpx, client, 1);
}

/** How long the answer to a call may take, in milliseconds. */
const ANSWER_MS_MAX = 15_000;
/** The same of a call that is made again and again. */
const AGAIN_MS = 2_000;

/** Calls a queue as the server does; resolves with the answer, `nobody` where RabbitMQ had nobody to give the call to, or `lost`. */
async function called(kpx: Kpx, queue: string, text: string, lostMs = ANSWER_MS_MAX): Promise<unknown> {
  const connection = await openConnection(kpx.vhost.url('admin'));
  try {
    const channel = await connection.createConfirmChannel();
    const { queue: replyTo } = await channel.assertQueue('', { exclusive: true });
    return await new Promise((resolve, reject) => {
      channel.on('return', () => resolve('nobody'));
      setTimeout(() => resolve('lost'), lostMs).unref();
      channel.consume(replyTo, (message) => message && resolve(JSON.parse(`${message.content}`)), { noAck: true }).catch(reject);
      channel.publish('', queue, Buffer.from(text), { replyTo, correlationId: text, mandatory: true }, (error) => error && reject(error));
    });
  } finally {
    await connection.close();
  }
}

const gone = (kpx: Kpx, queue: string) =>
  eventually(`${queue} is gone`, async () => (await called(kpx, queue, 'gone?', AGAIN_MS)) === 'nobody');
const mirrored = (kpx: Kpx, queue: string) =>
  eventually(`${queue} is mirrored`, async () => typeof (await called(kpx, queue, 'mirrored?', AGAIN_MS)) === 'object');

describe('[[sealed.learn]]', () => {
  it('lets the server call each workflow that an executor has loaded, from the moment that the executor says so', async () => {
    const kpx = await start();
    for (const id of ['a', 'b', 'c']) {
      await loaded(kpx, 'alice', id);
      expect(await called(kpx, `gateway-${id}`, `call of ${id}`)).toEqual({ workflow: id, call: `call of ${id}`, uid: idsOf('alice').uid });
    }
    await publish(kpx, jobOf('alice', 'unload', { unload: 'a' }));
    await gone(kpx, 'gateway-a');
    expect(await called(kpx, 'gateway-a', 'too late')).toBe('nobody');
    expect(await called(kpx, 'gateway-b', 'still there')).toMatchObject({ workflow: 'b' });
    expect(await kpx.vhost.queueDepth('kpx.dead-letter')).toMatchObject({ messages: 0 });
  });

  it('goes on after a restart of the broker, and ends with the executor, whose successor is called by none of its queues', async () => {
    const kpx = await start();
    const id = randomUUID();
    await loaded(kpx, 'alice', id);
    await kpx.endBroker('SIGKILL');
    await kpx.startBroker();
    await mirrored(kpx, `gateway-${id}`);
    expect(await called(kpx, `gateway-${id}`, 'again')).toMatchObject({ workflow: id });
    const [first] = kpx.done('alice');
    process.kill(Number(first?.pid), 'SIGKILL');
    await gone(kpx, `gateway-${id}`);
    await publish(kpx, jobOf('alice', 'next'));
    await jobsDone(kpx, 'alice', 2);
    await loaded(kpx, 'alice', 'other');
    expect(await called(kpx, `gateway-${id}`, 'gone')).toBe('nobody');
  });

  it('gives no account the calls of another one, nor of the server', async () => {
    const kpx = await start();
    await withChannel(kpx.vhost.url('admin'), (channel) => channel.assertQueue('gateway-server', { durable: true }));
    await loaded(kpx, 'alice', 'a');
    await loaded(kpx, 'bob', 'b');
    const channel = await (await asExecutor(kpx, 'bob')).createChannel();
    for (const queue of ['gateway-a', 'gateway-server']) {
      await channel.assertQueue(queue, { durable: false });
      const { reason } = await kpx.brokerLog.line({
        account: 'bob',
        queue,
        msg: 'a queue of an executor has no mirror: no call of the server reaches it',
      });
      expect(reason).toMatch(queue === 'gateway-a' ? /another account/ : /gateway-server/);
    }
    expect(await called(kpx, 'gateway-a', 'whose?')).toMatchObject({ uid: idsOf('alice').uid });
    expect(await called(kpx, 'gateway-b', 'whose?')).toMatchObject({ uid: idsOf('bob').uid });
    expect((await kpx.vhost.queueDepth('gateway-server'))?.consumers ?? 0).toBe(0);
  });

  it('takes no more than it allows, of an account that declares as much as it can, and others are served', {
    timeout: 120_000,
  }, async () => {
    const kpx = await start({ learn: LEARN, replies_max: 20 });
    await loaded(kpx, 'bob', 'b');
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
    const channel = await (await asExecutor(kpx, 'alice')).createChannel();
    channel.on('error', () => {}); // there are as many as the account may have
    const names = Array.from({ length: 300 }, (_, each) => `gateway-${each}%/"ä`);
    await Promise.allSettled(names.map((name) => channel.assertQueue(name, { durable: false })));
    const exchanges = await (await asExecutor(kpx, 'alice')).createChannel();
    await Promise.all(Array.from({ length: 2_000 }, (_, each) => exchanges.assertExchange(`x${each}`, 'fanout', { durable: false })));
    await kpx.brokerLog.line({ account: 'alice', reason: '[[sealed.learn]] allows 3 of these for an account' });
    const { stdout } = await runKpxctl(['sealed', 'learn', 'alice', '--config', kpx.brokerConfigFile, '--json']);
    const { queues, exchanges: seen, problems } = JSON.parse(stdout);
    expect(queues.items.filter(({ mirrored }: { mirrored: boolean }) => mirrored)).toHaveLength(3);
    expect([seen.items.length, seen.total, problems.length > 50]).toEqual([500, 2_001, true]);
    expect(kpx.brokerLog.lines.filter(({ account, queue }) => account === 'alice' && queue !== undefined).length).toBeLessThan(30);
    expect(await called(kpx, 'gateway-b', 'is bob served?')).toMatchObject({ uid: idsOf('bob').uid });
  });
});

it('without [[sealed.learn]] the log names a queue that nothing reaches, and kpxctl sealed learn what to write, which helps', async () => {
  const kpx = await start({});
  const id = randomUUID();
  await loaded(kpx, 'alice', id);
  expect(await called(kpx, `gateway-${id}`, 'nobody hears it')).toBe('nobody');
  const { stdout } = await runKpxctl(['sealed', 'learn', 'alice', '--config', kpx.brokerConfigFile]);
  const said = { account: 'alice', queue: `gateway-${id}` };
  expect((await kpx.brokerLog.line(said)).msg).toContain(
    'no call of the server reaches; kpxctl sealed learn alice shows what to configure',
  );
  expect(stdout).toContain('[[sealed.learn]]\nqueue = "gateway-*"\nmax = 50\n');
  kpx.configureBroker({ sealed: { learn: [{ queue: 'gateway-*', max: 50 }] } });
  await kpx.endBroker();
  await kpx.startBroker();
  await mirrored(kpx, `gateway-${id}`);
  expect(await called(kpx, `gateway-${id}`, 'heard')).toMatchObject({ workflow: id });
});

it('[[sealed.learn]]: where the server refuses the broker such a queue, the log and kpxctl say what it needs', async () => {
  const kpx = await start();
  await kpx.vhost.setPermissions('broker', least);
  await loaded(kpx, 'alice', 'a');
  const { reason } = await kpx.brokerLog.line({ account: 'alice', queue: 'gateway-a' });
  expect(reason).toContain("refused for user 'kpx-broker'");
});
