import type { Channel, ChannelModel, Options } from 'amqplib';
import type { Config } from '../config/config.js';
import { DELAYS_MS, type DelayMs } from '../policy/policy.js';
import { answerInTime } from './deadline.js';
import { isRefusal, NOT_FOUND } from './reply-codes.js';

/** Where parked jobs wait for an administrator. */
export const DEAD_LETTER_QUEUE = 'kpx.dead-letter';

/** How long nothing is published to a queue of kpx's own that was just made, in milliseconds. */
const SETTLING_MS = 1_500;

/** One queue per wait: RabbitMQ expires messages only at the head of a queue. */
export const delayQueue = (queue: string, delayMs: DelayMs) => `kpx.delay.${queue}.${delayMs}ms`;

/** The server's reason in words, for an Error whose message operators read. */
const explain = (error: unknown) => (error instanceof Error ? error.message : String(error));

/**
 * KNIME's queue and exchange: looked for, never changed; made only where they are missing and `amqp.declare` is on. Throws an Error that names what is
 * missing.
 */
export async function checkKnimeTopology(
  connection: ChannelModel,
  { queue, exchange, routing_key, declare }: Config['amqp'],
): Promise<void> {
  const ask = (work: (channel: Channel) => Promise<unknown>, asked: string) => answered(connection, work, asked);
  const find = async (look: (channel: Channel) => Promise<unknown>, make: (channel: Channel) => Promise<unknown>, asked: string) => {
    try {
      await ask(look, asked);
    } catch (error) {
      if (!declare || !isMissing(error)) throw error;
      await ask(make, asked);
    }
  };
  const type = { 'x-queue-type': 'classic' };
  try {
    await find(
      (channel) => channel.checkQueue(queue),
      // Named, so that it is one in each virtual host, whatever the default there: a classic queue has no delivery limit.
      (channel) => channel.assertQueue(queue, { durable: true, arguments: type }),
      `queue.declare of "${queue}"`,
    );
    if (exchange === '') return;
    await find(
      (channel) => channel.checkExchange(exchange),
      (channel) => channel.assertExchange(exchange, 'direct', { durable: true }),
      `exchange.declare of "${exchange}"`,
    );
    if (declare) await ask((channel) => channel.bindQueue(queue, exchange, routing_key), `queue.bind of "${queue}"`);
  } catch (error) {
    throw new Error(`queue "${queue}" or exchange "${exchange}" is not usable: ${explain(error)}`, { cause: error });
  }
}

const isMissing = (error: unknown) => isRefusal(error, NOT_FOUND);

/** On a channel of its own, because RabbitMQ closes a channel when it refuses. */
async function answered(connection: ChannelModel, work: (channel: Channel) => Promise<unknown>, asked: string): Promise<void> {
  const channel = await answerInTime(connection.createChannel(), 'channel.open');
  let code: unknown;
  channel.on('error', (error: Error & { code?: unknown }) => {
    ({ code } = error); // rejects the call as well
  });
  try {
    await answerInTime(work(channel), asked);
  } catch (error) {
    throw Object.assign(error as Error, code === undefined ? {} : { code });
  }
  await answerInTime(channel.close(), 'channel.close');
}

/**
 * kpx's own queues. Quorum queues with at-least-once dead-lettering: with a classic queue RabbitMQ may lose a job that it moves back at the
 * moment of a crash. Needs RabbitMQ 3.10. Source: rabbitmq.com, "Quorum Queues", "Dead Letter Strategy".
 *
 * RabbitMQ registers a new quorum queue on disk about a second after it has answered (1.0 s; tried with 3.10.8, 4.0.5 and 4.3.6). A node that is killed before
 * that comes back without what was confirmed in it, or with a queue that is unusable (github.com/rabbitmq/rabbitmq-server, issue 15725). Nothing tells
 * when it is registered. So kpx leaves a queue that it has just made alone for {@link SETTLING_MS}. Answers until when, in milliseconds of the machine's
 * clock; 0: all were there, perhaps made by another broker a moment ago.
 */
export async function declareOwnQueues(connection: ChannelModel, channel: Channel, queue: string): Promise<number> {
  let isNew = false;
  for (const [name, options] of ownQueues(queue)) {
    isNew ||= !(await isThere(connection, name));
    await answerInTime(channel.assertQueue(name, options), `queue.declare of "${name}"`);
  }
  return isNew ? performance.now() + SETTLING_MS : 0;
}

async function isThere(connection: ChannelModel, name: string): Promise<boolean> {
  try {
    await answered(connection, (channel) => channel.checkQueue(name), `queue.declare of "${name}"`);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** Their names, and what they are declared with, for the job queue `queue`. */
export function ownQueues(queue: string): [name: string, options: Options.AssertQueue][] {
  const delays = DELAYS_MS.map((delayMs): [string, Options.AssertQueue] => [
    delayQueue(queue, delayMs),
    {
      durable: true,
      arguments: {
        'x-queue-type': 'quorum',
        'x-message-ttl': delayMs,
        'x-dead-letter-exchange': '',
        'x-dead-letter-routing-key': queue,
        'x-dead-letter-strategy': 'at-least-once',
        'x-overflow': 'reject-publish', // at-least-once asks for it
      },
    },
  ]);
  return [[DEAD_LETTER_QUEUE, { durable: true, arguments: { 'x-queue-type': 'quorum' } }], ...delays];
}
