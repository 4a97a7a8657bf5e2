import type { Channel, ChannelModel, Options } from 'amqplib';
import type { Config } from '../config.js';
import { DELAYS_MS, type DelayMs } from '../policy/policy.js';
import { answerInTime } from './deadline.js';

/** Where parked jobs wait for an administrator. */
export const DEAD_LETTER_QUEUE = 'kpx.dead-letter';

/** One queue per wait: RabbitMQ expires messages only at the head of a queue. */
export const delayQueue = (queue: string, delayMs: DelayMs) => `kpx.delay.${queue}.${delayMs}ms`;

/** The server's reason in words, for an Error whose message operators read. */
const explain = (error: unknown) => (error instanceof Error ? error.message : String(error));

/**
 * KNIME's queue and exchange: looked for, never changed; made (as KNIME makes them) only when `amqp.declare` is on. On a channel of its own,
 * because RabbitMQ closes the channel on a missing one. Throws an Error that names what is missing.
 */
export async function checkKnimeTopology(
  connection: ChannelModel,
  { queue, exchange, routing_key, declare }: Config['amqp'],
): Promise<void> {
  const channel = await answerInTime(connection.createChannel(), 'channel.open');
  channel.on('error', () => {}); // Rejects the call as well, which is where it is handled.
  const aboutQueue = `queue.declare of "${queue}"`;
  const aboutExchange = `exchange.declare of "${exchange}"`;
  try {
    if (declare) {
      await answerInTime(channel.assertQueue(queue, { durable: true }), aboutQueue);
      if (exchange !== '') {
        await answerInTime(channel.assertExchange(exchange, 'direct', { durable: true }), aboutExchange);
        await answerInTime(channel.bindQueue(queue, exchange, routing_key), `queue.bind of "${queue}"`);
      }
    } else {
      await answerInTime(channel.checkQueue(queue), aboutQueue);
      if (exchange !== '') await answerInTime(channel.checkExchange(exchange), aboutExchange);
    }
  } catch (error) {
    throw new Error(`queue "${queue}" or exchange "${exchange}" is not usable: ${explain(error)}`, { cause: error });
  }
  await answerInTime(channel.close(), 'channel.close');
}

/**
 * kpx's own queues. Quorum queues with at-least-once dead-lettering: with a classic queue RabbitMQ may lose a job that it moves back at the
 * moment of a crash. Needs RabbitMQ 3.10. Source: rabbitmq.com, "Quorum Queues", "Dead Letter Strategy".
 *
 * A RabbitMQ node (seen with 3.10) that is killed within about a second after a quorum queue was declared for the first time may come back with
 * that queue unusable, since the queue's registration is not on disk yet (github.com/rabbitmq/rabbitmq-server, issue 15725). Jobs that are
 * sent there stay unacknowledged, not lost; deleting the queue mends it.
 */
export async function declareOwnQueues(channel: Channel, queue: string): Promise<void> {
  for (const [name, options] of ownQueues(queue)) await answerInTime(channel.assertQueue(name, options), `queue.declare of "${name}"`);
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
