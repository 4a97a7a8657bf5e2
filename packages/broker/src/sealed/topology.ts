import type { Channel, ConfirmChannel } from 'amqplib';
import { answerInTime } from '../amqp/deadline.js';
import type { Config } from '../config/config.js';
import { literally, type Permissions } from '../rabbitmq/permissions.js';
import type { Provisioning, Vhost } from '../rabbitmq/provisioning.js';
import { type ReplyQueue, THEIRS, theirsBut, UNROUTED_EXCHANGE, UP_QUEUE } from './names.js';

/* The virtual host of an account: its queues, exchanges and policies, and the rights of the account's user. */

/** Of an account's user. */
const CONNECTIONS_MAX = 10;
const CHANNELS_MAX = 200;
/** Queues that an account may have beside those that stand in for clients, of which each has one or, with its own name, two. */
const QUEUES_MAX = 100;
const QUEUES_PER_CLIENT = { jobs: 1, clients: 2 } as const;
/** Of a queue that the account has declared, and of what it has published: messages and bytes. */
const MESSAGES_MAX = 10_000;
const BYTES_MAX = 256 * 1024 * 1024;
/** How long such a queue is kept that nobody uses, in milliseconds. */
const UNUSED_MS = 24 * 60 * 60 * 1_000;
const ALL: Permissions = { configure: '.*', write: '.*', read: '.*' };

const HELD = { 'x-max-length': MESSAGES_MAX, 'x-max-length-bytes': BYTES_MAX, 'x-overflow': 'reject-publish' };

/**
 * Makes the virtual host, and lets the broker do there what it likes. Nobody else can log in there by this. `isKnown`: that was done before, and only has to be
 * done again where the virtual host has gone since. Answers whether it is known still.
 */
export async function makeVhost(api: Provisioning, { name, description }: Vhost, broker: string, isKnown: boolean): Promise<boolean> {
  const isNew = await api.putVhost(name, description);
  if (isKnown && !isNew) return true;
  await api.putPermissions(name, broker, ALL);
  return false;
}

/**
 * Before the name of a job queue. This policy is also the record of the queue, which no account can change: it is there before the queue has a job, and goes
 * after the queue.
 */
const WINDOW = 'kpx.window.';

const UNROUTED = 'kpx.unrouted';

/** Job queues that are there with earlier names. */
function earlierQueues(policies: readonly string[], { amqp }: Config): string[] {
  const windows = policies.filter((policy) => policy.startsWith(WINDOW));
  return windows.map((policy) => policy.slice(WINDOW.length)).filter((queue) => queue !== amqp.queue);
}

/** An earlier one that is not there any more. */
export async function forgetQueue(api: Provisioning, name: string, queue: string): Promise<void> {
  await api.deletePolicy(name, WINDOW + queue);
}

/**
 * Bounds what is in the virtual host, and has what nobody in there takes brought to the broker. Answers its earlier job queues. A job queue is bounded in what
 * no consumer has in hand. RabbitMQ drops what is beyond that when it starts, from the head, whatever its overflow is, in all versions tried (3.10 to 4.3):
 * of a full queue the jobs that its executor had in hand. The broker gets these as dead letters. `isKnown`: all of that was done before, and is done again only
 * where a policy has gone since.
 */
export async function boundVhost(api: Provisioning, name: string, config: Config, isKnown: boolean): Promise<string[]> {
  const { amqp, sealed } = config;
  const policies = await api.policies(name);
  const earlier = earlierQueues(policies, config);
  if (isKnown && [UNROUTED, WINDOW + amqp.queue].every((policy) => policies.includes(policy))) return earlier;
  const unrouted = { 'alternate-exchange': UNROUTED_EXCHANGE };
  // A broadcast that nobody in there listens to is not the account's.
  const broadcasts = sealed.down.map(({ exchange }) => exchange);
  const window = { 'max-length': sealed.window, overflow: 'reject-publish', 'dead-letter-exchange': UNROUTED_EXCHANGE };
  const bounds = { 'max-length': MESSAGES_MAX, 'max-length-bytes': BYTES_MAX, expires: UNUSED_MS };
  await Promise.all([
    api.limitVhost(name, { 'max-queues': QUEUES_MAX + sealed.replies_max * QUEUES_PER_CLIENT[sealed.answers] }),
    api.putPolicy(name, UNROUTED, { pattern: theirsBut(...broadcasts), appliesTo: 'exchanges', definition: unrouted }),
    api.putPolicy(name, WINDOW + amqp.queue, { pattern: `^${literally(amqp.queue)}$`, appliesTo: 'queues', definition: window }),
    api.putOperatorPolicy(name, 'kpx.bounds', { pattern: theirsBut(amqp.queue, ...earlier), appliesTo: 'queues', definition: bounds }),
  ]);
  return earlier;
}

/** Lets the account's user work in its virtual host and nowhere else. */
export async function permitUser(api: Provisioning, name: string, { amqp, sealed }: Config): Promise<void> {
  const configure = sealed.job_queue.executor_declares ? THEIRS : theirsBut(amqp.queue);
  await api.putPermissions(name, name, { configure, write: THEIRS, read: THEIRS });
  await api.limitUser(name, { 'max-connections': CONNECTIONS_MAX, 'max-channels': CHANNELS_MAX });
}

/** Declares what the broker reads from, and what the executor expects. Throws an Error with RabbitMQ's words. */
export async function declareAccountTopology(channel: ConfirmChannel, { amqp, sealed }: Config): Promise<void> {
  const ask = (answer: Promise<unknown>, asked: string) => answerInTime(answer, asked);
  await ask(
    channel.assertExchange(UNROUTED_EXCHANGE, 'fanout', { durable: true, internal: true }),
    `exchange.declare of "${UNROUTED_EXCHANGE}"`,
  );
  await ask(channel.assertQueue(UP_QUEUE, { durable: true, arguments: HELD }), `queue.declare of "${UP_QUEUE}"`);
  await ask(channel.bindQueue(UP_QUEUE, UNROUTED_EXCHANGE, ''), `queue.bind of "${UP_QUEUE}"`);
  for (const { exchange, type, durable, auto_delete: autoDelete } of sealed.up) {
    if (exchange === amqp.exchange) continue; // jobs that nobody in there takes come by the alternate exchange
    await ask(channel.assertExchange(exchange, type, { durable, autoDelete }), `exchange.declare of "${exchange}"`);
    // A message that also goes to a queue of the executor's own is never unrouted: kpx.up gets all of them by a binding.
    if (type === 'direct') continue;
    await ask(channel.bindQueue(UP_QUEUE, exchange, '#', allOf(type)), `queue.bind to "${exchange}"`);
  }
  for (const { exchange, type, durable, auto_delete: autoDelete } of sealed.down) {
    await ask(channel.assertExchange(exchange, type, { durable, autoDelete }), `exchange.declare of "${exchange}"`);
    // As from before a reload, when it was one of [[sealed.up]]: a broadcast would come back as the account's own.
    if (type !== 'direct') await ask(channel.unbindQueue(UP_QUEUE, exchange, '#', allOf(type)), `queue.unbind of "${exchange}"`);
  }
  const { durable, arguments: withArguments } = sealed.job_queue;
  await ask(channel.assertQueue(amqp.queue, { durable, arguments: withArguments }), `queue.declare of "${amqp.queue}"`);
  if (amqp.exchange === '') return;
  const { type, durable: kept, arguments: exchangeArguments } = sealed.job_exchange;
  await ask(
    channel.assertExchange(amqp.exchange, type, { durable: kept, arguments: exchangeArguments }),
    `exchange.declare of "${amqp.exchange}"`,
  );
  await ask(channel.bindQueue(amqp.queue, amqp.exchange, amqp.routing_key), `queue.bind of "${amqp.queue}"`);
}

/** Arguments of a binding that gets every message. */
const allOf = (type: string) => (type === 'headers' ? { 'x-match': 'all' } : {});

/** The same each time: RabbitMQ refuses a queue that is there with other arguments. */
export async function declareReplyQueue(channel: Channel, { name, arguments: noted }: ReplyQueue): Promise<void> {
  await answerInTime(channel.assertQueue(name, { durable: true, arguments: { ...HELD, ...noted } }), `queue.declare of "${name}"`);
}
