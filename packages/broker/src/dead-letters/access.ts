import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { Secrets } from '../amqp/connect.js';
import { answerInTime } from '../amqp/deadline.js';
import type { JobMac } from '../amqp/mac.js';
import { isRefusal, RESOURCE_LOCKED } from '../amqp/reply-codes.js';
import { AmqpSession } from '../amqp/session.js';
import type { Config } from '../config/config.js';
import { CommandError, EXIT } from '../output/exit.js';
import { DeadLetterQueue } from './queue.js';

/**
 * Exists while a command is at work, and goes with its connection: an exclusive queue. Letters that one operator looks at are hidden from
 * another, who would take them for not there.
 */
const LOCK_QUEUE = 'kpx.dead-letter.lock';
/** How long connecting to one URL and looking at the queues may take, in milliseconds. */
const OPEN_TIMEOUT_MS = 20_000;
/** How long another operator's command is waited for, and how often it is looked whether it is done, in milliseconds. */
const LOCK_TIMEOUT_MS = 60_000;
const LOCK_RETRY_MS = 300;

/** Tells the operator what is waited for. */
export type Note = (text: string) => void;

/** Connects as the broker does, for one command at a time. Throws {@link CommandError}. */
export async function openQueue(config: Config, mac: JobMac, note: Note, secrets?: Secrets): Promise<DeadLetterQueue> {
  // Made by the broker when it may be, never by a look at the dead letters.
  const own = { ...config, amqp: { ...config.amqp, declare: false, held_bytes_max: Number.MAX_SAFE_INTEGER } };
  const deadline = performance.now() + LOCK_TIMEOUT_MS;
  for (let attempt = 0; ; attempt++) {
    const queue = await tryToOpen(own, mac, secrets);
    if (queue) return queue;
    if (attempt === 0) note('Another kpxctl dead-letters command is at work: waiting for it to end …');
    if (performance.now() > deadline) {
      throw new CommandError(
        EXIT.unavailable,
        `Another kpxctl dead-letters command has not ended within ${LOCK_TIMEOUT_MS / 1_000} s. Try again when it has.`,
      );
    }
    await delay(LOCK_RETRY_MS);
  }
}

/** undefined: another command is at work. */
async function tryToOpen(config: Config, mac: JobMac, secrets: Secrets | undefined): Promise<DeadLetterQueue | undefined> {
  let block: (reason: string) => void = () => {};
  const blocked = new Promise<string>((resolve) => {
    block = resolve;
  });
  const session = await connectToAny(config.amqp, secrets, (reason) => reason !== undefined && block(reason));
  try {
    await answerInTime(
      session.source.channel.assertQueue(LOCK_QUEUE, { exclusive: true, durable: false }),
      `queue.declare of "${LOCK_QUEUE}"`,
    );
    return new DeadLetterQueue(session, config, mac, blocked);
  } catch (error) {
    await session.close();
    if (isRefusal(error, RESOURCE_LOCKED)) return undefined;
    throw refusal([(error as Error).message], config.amqp);
  }
}

/** Every URL in turn, as the broker does. */
async function connectToAny(
  amqp: Config['amqp'],
  secrets: Secrets | undefined,
  blocked: (reason: string | undefined) => void,
): Promise<AmqpSession> {
  const failures: string[] = [];
  for (const url of amqp.urls) {
    try {
      const giveUp = AbortSignal.timeout(OPEN_TIMEOUT_MS);
      const server = { url, amqp };
      const ends = { source: server, destination: server };
      return await AmqpSession.open(ends, `${hostname()}, dead-letters`, { delivery: () => {}, blocked }, giveUp, secrets);
    } catch (error) {
      failures.push(`${new URL(url).host}: ${(error as Error).message}`);
    }
  }
  throw refusal(failures, amqp);
}

export function refusal(failures: readonly string[], { password_file }: Config['amqp']): CommandError {
  const what = `RabbitMQ cannot be used: ${failures.join('; ')}`;
  if (failures.some((failure) => /ACCESS[_-]REFUSED|NOT_ALLOWED/.test(failure))) {
    const password = password_file === '' ? 'the credential amqp-password' : password_file;
    return new CommandError(EXIT.noPermission, `${what}\nCheck the user and virtual host in amqp.urls, its permissions, and ${password}.`);
  }
  return new CommandError(
    EXIT.unavailable,
    `${what}\nCheck that RabbitMQ runs and that amqp.urls, amqp.queue and amqp.exchange are right.`,
  );
}
