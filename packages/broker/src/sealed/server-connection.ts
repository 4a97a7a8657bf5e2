import type { Channel, ChannelModel } from 'amqplib';
import { answerInTime } from '../amqp/deadline.js';

/** AMQP 0-9-1. */
const NOT_FOUND = 404;

/** Whether an exchange is at the server. */
export async function isThere(connection: ChannelModel, exchange: string): Promise<boolean> {
  const channel = await answerInTime(connection.createChannel(), 'channel.open');
  channel.on('error', () => {}); // rejects the question as well
  try {
    await answerInTime(channel.checkExchange(exchange), `exchange.declare of "${exchange}"`);
  } catch (error) {
    if ((error as { code?: unknown }).code === NOT_FOUND) return false;
    throw error;
  }
  await answerInTime(channel.close(), 'channel.close');
  return true;
}

/** The reason, when a connection or channel has ended. */
export const endOf = (of: ChannelModel | Channel) =>
  new Promise<string>((resolve) => {
    of.on('error', ({ message }: Error) => resolve(message));
    of.on('close', () => resolve('the connection was closed'));
  });
