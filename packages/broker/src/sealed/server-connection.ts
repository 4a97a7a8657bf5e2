import { setTimeout as delay } from 'node:timers/promises';
import type { Channel, ChannelModel } from 'amqplib';
import { answerInTime } from '../amqp/deadline.js';
import { isRefusal, NOT_FOUND } from '../amqp/reply-codes.js';
import { backoffMs } from '../policy/backoff.js';

const RECONNECT_INITIAL_MS = 500;
const RECONNECT_MAX_MS = 10_000;

/**
 * Keeps one connection to whichever URL answers, until `signal`. `urls` are asked for before each round. `serve` is one connection from beginning to end;
 * it never rejects, and answers whether the connection could be opened.
 */
export async function keepConnected(
  signal: AbortSignal,
  urls: () => readonly string[],
  serve: (url: string) => Promise<boolean>,
): Promise<void> {
  for (let failures = 0; !signal.aborted; ) {
    for (const url of urls()) if (!signal.aborted && (await serve(url))) failures = 0;
    const wait = backoffMs(failures++, RECONNECT_INITIAL_MS, RECONNECT_MAX_MS, Math.random());
    await delay(wait, undefined, { signal }).catch(() => {}); // aborted
  }
}

/** Whether an exchange is at the server. */
export async function isThere(connection: ChannelModel, exchange: string): Promise<boolean> {
  const channel = await answerInTime(connection.createChannel(), 'channel.open');
  channel.on('error', () => {}); // rejects the question as well
  try {
    await answerInTime(channel.checkExchange(exchange), `exchange.declare of "${exchange}"`);
  } catch (error) {
    if (isRefusal(error, NOT_FOUND)) return false;
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
