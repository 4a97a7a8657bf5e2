import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Channel, ChannelModel, ConfirmChannel } from 'amqplib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isAtLeast } from '../../packages/broker/src/amqp/job-queue.js';
import { ownQueues } from '../../packages/broker/src/amqp/topology.js';
import { replyQueueOf } from '../../packages/broker/src/sealed/names.js';
import { propertyBytes } from '../../packages/broker/test-fixtures/wire.js';
import { openConnection, withChannel } from '../fixtures/amqp.js';
import { withSocket } from '../fixtures/amqp-socket.js';
import { TREES_OF_EVERY_RUN } from '../fixtures/debian/trees.mjs';
import { eventually } from '../fixtures/eventually.js';
import { drainQueue, jobOf, publishJobs } from '../fixtures/jobs.js';
import { KNIME_EXCHANGE, KNIME_QUEUE, KNIME_ROUTING_KEY } from '../fixtures/knime/topology.js';
import { idsOf, type Kpx } from '../fixtures/kpx.js';
import { type RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';
import type { Vhost } from '../fixtures/rabbitmq-access.js';
import { installSealedAt, nameOf, startAccountsRabbitmq } from '../fixtures/sealed-accounts.js';

/*
 * What the code of a user can do with what stands in the environment of its executor: everything that AMQP has, to everything that there is. Nothing of it
 * reaches another account, the broker, or at the server more than [[sealed.up]] names.
 */

/** An exchange of the server that executors may publish to, with this key alone. */
const UP = 'results';
const UP_KEY = 'done';
const OWN = 'own-queue';
const OWN_EXCHANGE = 'own-exchange';
const CLIENT_OF_ALICE = 'client-of-alice';
const CLIENT_OF_BOB = 'client-of-bob';
const REFUSED = /ACCESS_REFUSED|PRECONDITION_FAILED|403/;
/** How long RabbitMQ's reason may come after the end of a channel, in milliseconds. */
const REASON_WITHIN_MS = 500;

/** `refused`: RabbitMQ refuses it. `own`: it is done, to what is the account's own. `told`: it is answered, and nothing changes; RabbitMQ 4.3 refuses that, too, of kpx's own. `judged`: the relay has to refuse it. */
type Expected = 'refused' | 'own' | 'told' | 'judged';
type Operation<Objects extends string> = (channel: ConfirmChannel, object: Objects) => Promise<unknown>;

const QUEUES = [OWN, KNIME_QUEUE, 'kpx.up', replyQueueOf(CLIENT_OF_ALICE).name];
const OF_QUEUES: readonly (readonly [
  what: string,
  operation: Operation<string>,
  expected: readonly [Expected, Expected, Expected, Expected],
])[] = [
  ['consumes from', (channel, queue) => channel.consume(queue, () => {}), ['own', 'own', 'refused', 'refused']],
  ['gets from', (channel, queue) => channel.get(queue), ['own', 'own', 'refused', 'refused']],
  ['purges', (channel, queue) => channel.purgeQueue(queue), ['own', 'own', 'refused', 'refused']],
  ['looks at', (channel, queue) => channel.checkQueue(queue), ['told', 'told', 'told', 'told']],
  ['declares anew', (channel, queue) => channel.assertQueue(queue), ['own', 'refused', 'refused', 'refused']],
  ['deletes', (channel, queue) => channel.deleteQueue(queue), ['own', 'refused', 'refused', 'refused']],
  ['binds to its own exchange', (channel, queue) => channel.bindQueue(queue, OWN_EXCHANGE, '#'), ['own', 'own', 'refused', 'refused']],
  ['binds to what is carried up', (channel, queue) => channel.bindQueue(queue, UP, '#'), ['own', 'own', 'refused', 'refused']],
  [
    'unbinds from the job exchange',
    (channel, queue) => channel.unbindQueue(queue, KNIME_EXCHANGE, KNIME_ROUTING_KEY),
    ['own', 'own', 'refused', 'refused'],
  ],
  [
    'unbinds from what is unrouted',
    (channel, queue) => channel.unbindQueue(queue, 'kpx.unrouted', ''),
    ['refused', 'refused', 'refused', 'refused'],
  ],
  [
    'puts a job of bob’s into',
    (channel, queue) => publish(channel, '', queue, { user: 'bob', job: `forged-by-queue-${queue}` }),
    ['own', 'judged', 'judged', 'judged'],
  ],
  [
    'copies to by CC',
    (channel, queue) => publish(channel, '', OWN, { user: 'bob', job: `copy-${queue}` }, { CC: [queue] }),
    ['own', 'judged', 'judged', 'judged'],
  ],
  [
    'copies to by BCC',
    (channel, queue) => publish(channel, '', OWN, { user: 'bob', job: `hidden-copy-${queue}` }, { BCC: [queue] }),
    ['own', 'judged', 'judged', 'judged'],
  ],
  ['has dead letters sent to', (channel, queue) => deadLetterTo(channel, '', queue), ['own', 'judged', 'judged', 'judged']],
  [
    'declares anew as a stream',
    (channel, queue) => channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'stream' } }),
    ['refused', 'refused', 'refused', 'refused'],
  ],
  [
    'declares anew with bounds of its own',
    (channel, queue) => channel.assertQueue(queue, { durable: true, arguments: { 'x-max-length': 1, 'x-expires': 1 } }),
    ['refused', 'refused', 'refused', 'refused'],
  ],
  [
    'has its own exchange’s unrouted messages go to',
    (channel, queue) => assertAlternate(channel, queue),
    ['own', 'own', 'refused', 'refused'],
  ],
];

const NEVER = ['refused', 'refused', 'refused', 'refused', 'refused'] as const;
const EXCHANGES = ['', KNIME_EXCHANGE, UP, 'kpx.unrouted', 'amq.topic'];
const OF_EXCHANGES: readonly (readonly [
  what: string,
  operation: Operation<string>,
  expected: readonly [Expected, Expected, Expected, Expected, Expected],
])[] = [
  [
    'publishes as a job to',
    (channel, exchange) => publish(channel, exchange, KNIME_ROUTING_KEY, { user: 'bob', job: `forged-${exchange}` }),
    ['judged', 'own', 'judged', 'refused', 'judged'],
  ],
  [
    'publishes with the name of the server’s job queue to',
    (channel, exchange) => publish(channel, exchange, KNIME_QUEUE, { user: 'bob', job: `named-${exchange}` }),
    ['own', 'judged', 'judged', 'refused', 'judged'],
  ],
  [
    'publishes with the name of bob’s client to',
    (channel, exchange) => publish(channel, exchange, CLIENT_OF_BOB, 'forged'),
    ['judged', 'judged', 'judged', 'refused', 'judged'],
  ],
  [
    'publishes with the key of kpx.dead-letter to',
    (channel, exchange) => publish(channel, exchange, 'kpx.dead-letter', 'forged'),
    ['judged', 'judged', 'judged', 'refused', 'judged'],
  ],
  [
    'declares anew',
    (channel, exchange) => channel.assertExchange(exchange, 'headers', { durable: false }),
    ['refused', 'refused', 'refused', 'refused', 'refused'],
  ],
  [
    'looks at',
    (channel, exchange) =>
      exchange === '' ? Promise.reject(new Error('403: it has no name to look at')) : channel.checkExchange(exchange),
    ['refused', 'told', 'told', 'told', 'told'],
  ],
  ['deletes', (channel, exchange) => channel.deleteExchange(exchange), ['refused', 'own', 'own', 'refused', 'refused']],
  ['binds its queue to', (channel, exchange) => channel.bindQueue(OWN, exchange, '#'), ['refused', 'own', 'own', 'refused', 'own']],
  [
    'binds to its own exchange',
    (channel, exchange) => channel.bindExchange(exchange, OWN_EXCHANGE, '#'),
    ['refused', 'own', 'own', 'refused', 'own'],
  ],
  [
    'binds its own exchange to',
    (channel, exchange) => channel.bindExchange(OWN_EXCHANGE, exchange, '#'),
    ['refused', 'own', 'own', 'refused', 'own'],
  ],
  [
    'unbinds its own exchange from',
    (channel, exchange) => channel.unbindExchange(OWN_EXCHANGE, exchange, '#'),
    ['refused', 'own', 'own', 'refused', 'own'],
  ],
  [
    'binds to what is carried up',
    (channel, exchange) => channel.bindExchange(UP, exchange, '#'),
    ['refused', 'own', 'own', 'refused', 'own'],
  ],
  ['binds to what is unrouted', (channel, exchange) => channel.bindExchange('kpx.unrouted', exchange, '#'), NEVER],
  ['binds kpx.up to', (channel, exchange) => channel.bindQueue('kpx.up', exchange, '#'), NEVER],
  ['unbinds kpx.up from', (channel, exchange) => channel.unbindQueue('kpx.up', exchange, '#'), NEVER],
  [
    'publishes with the address of a direct reply to',
    (channel, exchange) => publish(channel, exchange, 'amq.rabbitmq.reply-to.made-up', 'forged'),
    ['judged', 'judged', 'judged', 'refused', 'judged'],
  ],
  ['makes the alternate exchange', (channel, exchange) => assertAlternate(channel, exchange), ['own', 'own', 'own', 'refused', 'own']],
  [
    'has dead letters sent to',
    (channel, exchange) => deadLetterTo(channel, exchange, 'forged'),
    ['judged', 'judged', 'judged', 'refused', 'judged'],
  ],
];

interface Victims {
  readonly kpx: Kpx;
  readonly vhost: Vhost;
  /** What stands in the environment of alice's executor. */
  readonly url: string;
}

const body = (what: unknown) => Buffer.from(typeof what === 'string' ? what : JSON.stringify(what));

async function publish(
  channel: ConfirmChannel,
  exchange: string,
  key: string,
  what: unknown,
  headers: Record<string, unknown> = {},
): Promise<void> {
  const forged = { ...headers, canHandle: true, 'x-kpx-account': 'bob', 'x-kpx-replayed-at': new Date().toISOString() };
  const properties = { headers: forged, persistent: true, correlationId: 'of-bob', replyTo: CLIENT_OF_BOB };
  await new Promise<void>((resolve) => channel.publish(exchange, key, body(what), properties, () => resolve()));
}

/** A queue of its own, whose messages go there as soon as they come. */
async function deadLetterTo(channel: ConfirmChannel, exchange: string, key: string): Promise<void> {
  const name = `dies-${randomUUID()}`;
  const declaredWith = { 'x-message-ttl': 0, 'x-dead-letter-exchange': exchange, 'x-dead-letter-routing-key': key };
  await channel.assertQueue(name, { arguments: declaredWith });
  await publish(channel, '', name, { user: 'bob', job: `dead-${exchange}-${key}` });
  await channel.deleteQueue(name);
}

async function assertAlternate(channel: ConfirmChannel, exchange: string): Promise<void> {
  const name = `with-alternate-${randomUUID()}`;
  await channel.assertExchange(name, 'direct', { arguments: { 'alternate-exchange': exchange }, autoDelete: true });
  await publish(channel, name, KNIME_QUEUE, { user: 'bob', job: `alternate-${exchange}` });
  await channel.deleteExchange(name);
}

/** What comes of it on a channel of its own. */
async function attempt(connection: ChannelModel, operation: (channel: ConfirmChannel) => Promise<unknown>): Promise<'done' | 'refused'> {
  const channel = await connection.createConfirmChannel();
  const refused = new Promise<never>((_, reject) => {
    channel.on('error', reject);
  });
  refused.catch(() => {});
  try {
    await Promise.race([refused, operation(channel)]);
    await Promise.race([refused, close(channel)]);
    return 'done';
  } catch (error) {
    const reason = await Promise.race([refused, delay(REASON_WITHIN_MS)]).catch((why: Error) => why.message);
    if (REFUSED.test(reason ?? (error as Error).message)) return 'refused';
    throw error;
  }
}

const close = async (channel: Channel) => await channel.close();

let server: RabbitmqServer;
beforeAll(async () => {
  server = await startRabbitmq();
});
afterAll(() => server.remove());

describe.each([undefined, ...TREES_OF_EVERY_RUN])('the code of alice, whose executor is sealed in RabbitMQ of %s', (tree) => {
  let accounts: RabbitmqServer;
  beforeAll(async () => {
    accounts = await startAccountsRabbitmq(tree === undefined ? {} : { tree });
  });
  afterAll(() => accounts.remove());

  async function takeServerVhost(): Promise<Vhost> {
    const vhost = await server.createKnimeVhost();
    await withChannel(vhost.url('admin'), async (channel) => {
      for (const [name, options] of ownQueues(KNIME_QUEUE)) await channel.assertQueue(name, options);
      for (const client of [CLIENT_OF_ALICE, CLIENT_OF_BOB]) await channel.assertQueue(client, { durable: true });
      for (const exchange of [UP, 'never']) {
        await channel.assertExchange(exchange, 'topic', { durable: true });
        await channel.assertQueue(`all-of-${exchange}`, { durable: true });
        await channel.bindQueue(`all-of-${exchange}`, exchange, '#');
      }
      await channel.assertQueue('all-of-amq.topic', { durable: true });
      await channel.bindQueue('all-of-amq.topic', 'amq.topic', '#');
    });
    const { broker } = server.users;
    const permissions = {
      configure: '^kpx\\.',
      write: `^kpx\\.|^(${KNIME_EXCHANGE}|amq\\.default|${UP})$`,
      read: `^kpx\\.|^${KNIME_QUEUE}$`,
    };
    await server.api('PUT', `permissions/${vhost.vhost}/${broker.name}`, permissions);
    return vhost;
  }

  async function startVictims(up: object[] = [{ exchange: UP, type: 'topic', keys: [UP_KEY] }]): Promise<Victims> {
    const vhost = await takeServerVhost();
    const kpx = await installSealedAt(vhost, accounts, { broker: { sealed: { up } } }).start();
    for (const user of ['alice', 'bob']) {
      const { body: job, properties } = jobOf(user, `first-of-${user}`);
      const replyTo = user === 'alice' ? CLIENT_OF_ALICE : CLIENT_OF_BOB;
      await publishJobs(vhost.url('publisher'), [{ body: job, properties: { ...properties, replyTo, correlationId: `of-${user}` } }]);
      await eventually(`the job of ${user} is done`, () => kpx.done(user).length > 0);
    }
    for (const client of [CLIENT_OF_ALICE, CLIENT_OF_BOB]) {
      await eventually('the client is answered', async () => (await vhost.queueDepth(client))?.messages === 1);
      await drainQueue(vhost.url('admin'), client);
    }
    const { env } = kpx.started('alice') as unknown as { env: Record<string, string> };
    return { kpx, vhost, url: env.KNIME_EXECUTOR_MSGQ ?? '' };
  }

  it('can do everything to its own objects, and nothing to others', { timeout: 180_000 }, async () => {
    const { kpx, vhost, url } = await startVictims();
    const connection = await openConnection(url);
    const own = async () =>
      await attempt(connection, async (channel) => {
        await channel.assertQueue(OWN);
        await channel.assertExchange(OWN_EXCHANGE, 'topic');
        // What it has deleted, which is its own loss.
        await channel.assertExchange(UP, 'topic', { durable: true });
        await channel.assertExchange(KNIME_EXCHANGE, 'direct', { durable: true });
      });
    const { rabbitmq_version: version } = await accounts.api<{ rabbitmq_version: string }>('GET', 'overview');
    const refusesLooks = isAtLeast(version, 4, 3);
    const found: unknown[] = [];
    const expected: unknown[] = [];
    const cell = async (what: string, object: string, operation: Operation<string>, wanted: Expected) => {
      await own();
      const came = await attempt(connection, (channel) => operation(channel, object)).catch((error: Error) => error.message);
      found.push([what, object, came]);
      const isRefused = wanted === 'refused' || (wanted === 'told' && refusesLooks && object.startsWith('kpx.'));
      expected.push([what, object, isRefused ? 'refused' : 'done']);
    };
    for (const [what, operation, each] of OF_QUEUES)
      for (const [at, object] of QUEUES.entries()) await cell(what, object, operation, each[at] as Expected);
    for (const [what, operation, each] of OF_EXCHANGES)
      for (const [at, object] of EXCHANGES.entries()) await cell(what, object, operation, each[at] as Expected);
    expect(found.length).toBeGreaterThanOrEqual(60);
    expect(found).toEqual(expected);
    await connection.close();
    await afterwards(kpx, vhost);
  });

  it('publishes to the exchange and key that are named, and cannot say that it is somebody else', async () => {
    const { vhost, url } = await startVictims();
    const death = [{ queue: 'knime-jobs', reason: 'expired', exchange: KNIME_EXCHANGE, count: 1, 'routing-keys': [KNIME_ROUTING_KEY] }];
    const routed = { CC: ['never'], BCC: ['kpx.dead-letter'], 'x-death': death, 'x-first-death-queue': KNIME_QUEUE, 'x-delay': 1 };
    await withChannel(url, (channel) => publish(channel, UP, UP_KEY, 'a result', routed));
    await eventually('it is carried', async () => (await vhost.queueDepth(`all-of-${UP}`))?.messages === 1);
    const [message] = await drainQueue(vhost.url('admin'), `all-of-${UP}`);
    const properties = { correlationId: 'of-bob', replyTo: undefined };
    expect(message).toMatchObject({ text: 'a result', headers: { 'x-kpx-account': 'alice' }, properties });
    for (const header of ['x-kpx-replayed-at', 'CC', 'BCC', 'x-death', 'x-first-death-queue'])
      expect(message?.headers).not.toHaveProperty(header);
    expect((await vhost.queueDepth('kpx.dead-letter'))?.messages).toBe(0);
  });

  it('publishes with a key that is not UTF-8: it is refused, and all that it has published is settled', async () => {
    const { kpx, vhost, url } = await startVictims([{ exchange: UP, type: 'topic' }]);
    await withSocket(url, async (client) => {
      await client.publish(UP, Buffer.alloc(255, 0xff), { properties: propertyBytes({}), body: Buffer.from('x') });
    });
    await eventually('it is parked', async () => (await vhost.queueDepth('kpx.dead-letter'))?.messages === 1);
    process.kill(Number(kpx.done('alice').at(-1)?.pid), 'SIGKILL');
    await kpx.brokerLog.line({ msg: 'the virtual host of an account is left: all that was published is carried', account: 'alice' });
    await afterwards(kpx, vhost);
  });

  it('logs in nowhere else, and is no administrator', async () => {
    const { kpx, vhost, url } = await startVictims();
    const { username, password } = new URL(url);
    const login = (vhostName: string, at = accounts, user = username) =>
      openConnection(`amqp://${user}:${password}@${at.host}:${at.amqpPort}/${encodeURIComponent(vhostName)}`);
    for (const other of [nameOf('bob'), '/', nameOf('nobody')]) await expect(login(other), other).rejects.toThrow();
    await expect(login(nameOf('bob'), accounts, nameOf('bob'))).rejects.toThrow(/ACCESS.REFUSED/);
    await expect(login(nameOf('bob'), accounts, accounts.users.broker.name)).rejects.toThrow(/ACCESS.REFUSED/);
    await expect(login(vhost.vhost, server)).rejects.toThrow(/ACCESS.REFUSED/);
    for (const at of [accounts, server])
      for (const [method, path] of [
        ['GET', 'whoami'],
        ['GET', 'overview'],
        ['GET', 'queues'],
        ['PUT', 'vhosts/taken'],
        ['PUT', `permissions/${nameOf('bob')}/${nameOf('alice')}`],
        ['PUT', `users/${nameOf('alice')}`],
        ['DELETE', `users/${nameOf('bob')}`],
        ['DELETE', `vhosts/${nameOf('bob')}`],
        ['DELETE', `policies/${nameOf('alice')}/kpx.window.${KNIME_QUEUE}`],
        ['PUT', `policies/${nameOf('alice')}/own`],
        ['PUT', `operator-policies/${nameOf('alice')}/kpx.bounds`],
        ['PUT', `parameters/shovel/${nameOf('alice')}/own`],
        ['PUT', `parameters/federation-upstream/${nameOf('alice')}/own`],
        ['PUT', 'global-parameters/own'],
        ['PUT', `user-limits/${nameOf('alice')}/max-connections`],
        ['PUT', `vhost-limits/${nameOf('alice')}/max-queues`],
        ['PUT', `topic-permissions/${nameOf('bob')}/${nameOf('alice')}`],
        ['PUT', `exchanges/${nameOf('bob')}/taken`],
        ['POST', `exchanges/${nameOf('bob')}/amq.default/publish`],
        ['POST', `queues/${nameOf('bob')}/${KNIME_QUEUE}/get`],
        ['POST', 'definitions'],
        ['GET', 'connections'],
        ['GET', 'definitions'],
      ] as const) {
        const headers = { authorization: `Basic ${btoa(`${decodeURIComponent(username)}:${password}`)}` };
        const { status } = await fetch(`http://${at.host}:${at.managementPort}/api/${path}`, {
          method,
          headers,
          ...((method === 'PUT' || method === 'POST') && { body: '{}' }),
        });
        expect([at === server, method, path, status]).toEqual([at === server, method, path, 401]);
      }
    const { tags } = await accounts.api<{ tags: string | string[] }>('GET', `users/${nameOf('alice')}`);
    expect([...tags]).toEqual([]);
    await afterwards(kpx, vhost);
  });

  it('fills its queues, declares as much as it can, and opens connections to the limit: no other account is affected', {
    timeout: 120_000,
  }, async () => {
    const { kpx, vhost, url } = await startVictims();
    const connections: ChannelModel[] = [];
    for (let refused = false; !refused; ) {
      await openConnection(url).then(
        (connection) => connections.push(connection),
        () => {
          refused = true;
        },
      );
      expect(connections.length).toBeLessThan(20);
    }
    const [connection] = connections;
    if (!connection) throw new Error('alice is not connected');
    const flood = async (channel: ConfirmChannel, key: string, count: number, size: number) => {
      let refused = 0;
      for (let index = 0; index < count; index++) channel.publish('', key, Buffer.alloc(size), {}, (error) => (refused += error ? 1 : 0));
      await channel.waitForConfirms().catch(() => {});
      return refused;
    };
    await attempt(connection, async (channel) => {
      await channel.assertQueue(OWN);
      expect(await flood(channel, KNIME_QUEUE, 1_000, 10)).toBeGreaterThan(0);
      await flood(channel, 'kpx.up', 3_000, 100);
      await flood(channel, replyQueueOf(CLIENT_OF_ALICE).name, 3_000, 100);
      await flood(channel, 'kpx.up', 3, 40 * 1024 * 1024);
    });
    const many = await attempt(connection, async (channel) => {
      for (let index = 0; index < 400; index++) await channel.assertQueue(`many-${index}`);
    });
    expect(many).toBe('refused');
    await Promise.all(connections.map((each) => each.close().catch(() => {})));
    const parked = await afterwards(kpx, vhost);
    expect(parked).toBeGreaterThan(0);
    expect(parked).toBeLessThanOrEqual(60);
  });

  /** What is the same for everybody else as if alice had done nothing. */
  async function afterwards(kpx: Kpx, vhost: Vhost): Promise<number> {
    const { body: job, properties } = jobOf('bob', 'last-of-bob');
    await publishJobs(vhost.url('publisher'), [
      { body: job, properties: { ...properties, replyTo: CLIENT_OF_BOB, correlationId: 'last' } },
    ]);
    await eventually('bob is answered', async () => ((await vhost.queueDepth(CLIENT_OF_BOB))?.messages ?? 0) >= 1);
    const answers = await drainQueue(vhost.url('admin'), CLIENT_OF_BOB);
    expect(answers.map(({ json, headers }) => [json, headers['x-kpx-account']])).toEqual([
      [{ job: 'last-of-bob', uid: idsOf('bob').uid }, 'bob'],
    ]);
    expect(kpx.done('bob').map(({ job: done }) => done)).toEqual(['first-of-bob', 'last-of-bob']);
    for (const queue of ['all-of-never', 'all-of-amq.topic', CLIENT_OF_ALICE])
      expect([queue, (await vhost.queueDepth(queue))?.messages]).toEqual([queue, 0]);
    for (const { headers } of await drainQueue(vhost.url('admin'), `all-of-${UP}`)) expect(headers['x-kpx-account']).toBe('alice');
    const letters = await drainQueue(vhost.url('admin'), 'kpx.dead-letter');
    for (const { headers } of letters) expect(headers).toMatchObject({ 'x-kpx-reason': 'SEALED_REFUSED', 'x-kpx-account': 'alice' });
    return letters.length;
  }
});
