import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { ConfigError } from '@kpx/protocol';
import { answerInTime } from '../amqp/deadline.js';
import { AmqpSession } from '../amqp/session.js';
import { type Config, readConfig } from '../config.js';
import { CommandError, EXIT } from '../exit.js';
import { leaveRoot } from '../leave-root.js';
import { DeadLetterQueue } from './queue.js';

export const CONFIG_FILE = '/etc/kpx/broker.toml';
/** What systemd makes the broker's credential of: commands have no credential. */
export const PASSWORD_FILE = '/etc/kpx/amqp-password';

/**
 * Exists while a command is at work, and goes with its connection: an exclusive queue. What one operator looks at, another would not see,
 * and take for not there.
 */
const LOCK_QUEUE = 'kpx.dead-letter.lock';
/** How long connecting to one URL and looking at the queues may take, in milliseconds. */
const OPEN_TIMEOUT_MS = 20_000;
/** How long another operator's command is waited for, and how often it is looked whether it is done, in milliseconds. */
const LOCK_TIMEOUT_MS = 60_000;
const LOCK_RETRY_MS = 300;
/** AMQP 0-9-1, RESOURCE_LOCKED. */
const RESOURCE_LOCKED = 405;

export interface AccessOptions {
  readonly configFile: string;
  /** undefined: where the configuration says, or {@link PASSWORD_FILE}. */
  readonly passwordFile: string | undefined;
  /** Tells the operator what is waited for. */
  readonly note: (text: string) => void;
}

/** For kpxctl: gives up root before the first message is read, as messages come from the network. Throws {@link CommandError} or ConfigError. */
export async function openDeadLetters({ configFile, passwordFile, note }: AccessOptions): Promise<DeadLetterQueue> {
  const config = await readConfig(configFile).catch((error: unknown) => {
    if (!(error instanceof ConfigError && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'EACCES')) throw error;
    throw new CommandError(
      EXIT.noPermission,
      `${configFile} cannot be read: EACCES. Run this as root, or, while the broker runs, as a member of kpx-admin.`,
    );
  });
  const password_file = passwordFile ?? (config.amqp.password_file || (process.env.CREDENTIALS_DIRECTORY ? '' : PASSWORD_FILE));
  if (password_file !== '') await checkReadable(password_file);
  const queue = await openQueue({ ...config, amqp: { ...config.amqp, password_file } }, note);
  leaveRoot();
  return queue;
}

/** Connects as the broker does, for one command at a time; `note` is told what is waited for. Throws {@link CommandError}. */
export async function openQueue(config: Config, note: AccessOptions['note']): Promise<DeadLetterQueue> {
  // Made by the broker when it may be, never by a look at the dead letters.
  const own = { ...config, amqp: { ...config.amqp, declare: false, held_bytes_max: Number.MAX_SAFE_INTEGER } };
  const deadline = performance.now() + LOCK_TIMEOUT_MS;
  for (let attempt = 0; ; attempt++) {
    const queue = await tryToOpen(own);
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

async function checkReadable(file: string): Promise<void> {
  await access(file, constants.R_OK).catch(({ code }: NodeJS.ErrnoException) => {
    const what = `RabbitMQ's password cannot be read from ${file}: ${code}.`;
    throw new CommandError(
      code === 'EACCES' ? EXIT.noPermission : EXIT.config,
      `${what} Run this as root, or name another file with --password-file.`,
    );
  });
}

/** undefined: another command is at work. */
async function tryToOpen(config: Config): Promise<DeadLetterQueue | undefined> {
  let block: (reason: string) => void = () => {};
  const blocked = new Promise<string>((resolve) => {
    block = resolve;
  });
  const session = await connectToAny(config.amqp, (reason) => reason !== undefined && block(reason));
  try {
    await answerInTime(session.channel.assertQueue(LOCK_QUEUE, { exclusive: true, durable: false }), `queue.declare of "${LOCK_QUEUE}"`);
    return new DeadLetterQueue(session, config, blocked);
  } catch (error) {
    await session.close();
    if ((error as { code?: unknown }).code === RESOURCE_LOCKED) return undefined;
    throw refusal([(error as Error).message], config.amqp);
  }
}

/** Every URL in turn, as the broker does. */
async function connectToAny(amqp: Config['amqp'], blocked: (reason: string | undefined) => void): Promise<AmqpSession> {
  const failures: string[] = [];
  for (const url of amqp.urls) {
    try {
      const giveUp = AbortSignal.timeout(OPEN_TIMEOUT_MS);
      return await AmqpSession.open(url, amqp, `${hostname()}, dead-letters`, { delivery: () => {}, blocked }, giveUp);
    } catch (error) {
      failures.push(`${new URL(url).host}: ${(error as Error).message}`);
    }
  }
  throw refusal(failures, amqp);
}

function refusal(failures: readonly string[], { password_file }: Config['amqp']): CommandError {
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
