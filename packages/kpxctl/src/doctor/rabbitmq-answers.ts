import { setTimeout as delay } from 'node:timers/promises';
import type { Channel, ChannelModel } from 'amqplib';

/** How long RabbitMQ may take for one answer, in milliseconds. */
const ANSWER_TIMEOUT_MS = 10_000;

/** Asked on a channel of its own: RabbitMQ closes it when it refuses. */
export type Question = (channel: Channel) => Promise<unknown>;

/** Resolves with the code by which RabbitMQ closes the channel on what `ask` does; undefined: it does not. */
export async function refusal(connection: ChannelModel, ask: Question): Promise<number | undefined> {
  const channel = await connection.createChannel();
  let lost = () => {};
  const closed = new Promise<number>((resolve, reject) => {
    channel.on('error', (error: Error & { code?: number }) => resolve(error.code ?? 0));
    lost = () => reject(new Error('RabbitMQ closed the connection'));
    connection.once('close', lost);
  });
  closed.catch(() => {}); // of no interest once there is an answer
  const asked = ask(channel).then(
    () => undefined,
    (error: { code?: number }) => error.code ?? closed,
  );
  const code = await Promise.race([asked, closed, late()]).finally(() => connection.off('close', lost));
  if (code === undefined) await channel.close().catch(() => {});
  return code;
}

export const late = () =>
  delay(ANSWER_TIMEOUT_MS, undefined, { ref: false }).then(() => {
    throw new Error(`RabbitMQ does not answer within ${ANSWER_TIMEOUT_MS / 1_000} s`);
  });

/*
 * An expiration, a priority and a time to live that are no numbers: RabbitMQ refuses these in any case. It judges the permission first, so a missing
 * one is refused with another error. Nothing is published, consumed or made.
 */
const NO_NUMBER = 'kpx-doctor';
/** A name of kpx's own that nothing has. */
export const NEW_QUEUE = 'kpx.doctor';

export const consume =
  (queue: string): Question =>
  async (channel) =>
    await channel.consume(queue, () => {}, { arguments: { 'x-priority': NO_NUMBER } });

export const make =
  (queue: string): Question =>
  async (channel) =>
    await channel.assertQueue(queue, { arguments: { 'x-message-ttl': NO_NUMBER } });

/** Never resolves: RabbitMQ's refusal does not come as an answer. */
export const publish =
  (exchange: string): Question =>
  async (channel) => {
    channel.publish(exchange, NEW_QUEUE, Buffer.alloc(0), { expiration: NO_NUMBER });
    await new Promise(() => {});
  };
