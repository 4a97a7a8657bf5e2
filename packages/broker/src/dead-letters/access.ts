import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { ConfigError } from '@kpx/protocol';
import { type Secrets, secretsOf } from '../amqp/connect.js';
import { answerInTime } from '../amqp/deadline.js';
import { AmqpSession } from '../amqp/session.js';
import type { TlsFiles } from '../amqp/tls-files.js';
import { type Config, readConfig } from '../config.js';
import { CommandError, EXIT } from '../exit.js';
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
}

/** What the dead letters are got by, and what root alone may be able to read. */
export interface Access {
  readonly config: Config;
  readonly password: string;
  /** undefined: no URL is one of TLS. */
  readonly files?: TlsFiles | undefined;
}

/** For kpxctl. Throws {@link CommandError} or ConfigError. */
export async function readAccess({ configFile, passwordFile }: AccessOptions): Promise<Access> {
  const file = await readConfig(configFile).catch((error: unknown) => {
    if (!(error instanceof ConfigError && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'EACCES')) throw error;
    throw new CommandError(
      EXIT.noPermission,
      `${configFile} cannot be read: EACCES. Run this as root, or, while the broker runs, as a member of kpx-admin.`,
    );
  });
  const password_file = passwordFile ?? (file.amqp.password_file || (process.env.CREDENTIALS_DIRECTORY ? '' : PASSWORD_FILE));
  if (password_file !== '') await checkReadable(password_file);
  const config = { ...file, amqp: { ...file.amqp, password_file } };
  const { password, files } = secretsOf(config.amqp);
  const byTls = config.amqp.urls.some((url) => url.startsWith('amqps:'));
  const unreadable = (error: Error) => {
    throw refusal([error.message], config.amqp);
  };
  return { config, password: await password().catch(unreadable), files: byTls ? await files().catch(unreadable) : undefined };
}

/** With what {@link readAccess} has read. Throws {@link CommandError}. */
export async function openDeadLetters({ config, password, files }: Access, note: Note): Promise<DeadLetterQueue> {
  const own = secretsOf(config.amqp);
  return await openQueue(config, note, { password: async () => password, files: async () => files ?? (await own.files()) });
}

/** Tells the operator what is waited for. */
export type Note = (text: string) => void;

/** Connects as the broker does, for one command at a time. Throws {@link CommandError}. */
export async function openQueue(config: Config, note: Note, secrets?: Secrets): Promise<DeadLetterQueue> {
  // Made by the broker when it may be, never by a look at the dead letters.
  const own = { ...config, amqp: { ...config.amqp, declare: false, held_bytes_max: Number.MAX_SAFE_INTEGER } };
  const deadline = performance.now() + LOCK_TIMEOUT_MS;
  for (let attempt = 0; ; attempt++) {
    const queue = await tryToOpen(own, secrets);
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
async function tryToOpen(config: Config, secrets: Secrets | undefined): Promise<DeadLetterQueue | undefined> {
  let block: (reason: string) => void = () => {};
  const blocked = new Promise<string>((resolve) => {
    block = resolve;
  });
  const session = await connectToAny(config.amqp, secrets, (reason) => reason !== undefined && block(reason));
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
async function connectToAny(
  amqp: Config['amqp'],
  secrets: Secrets | undefined,
  blocked: (reason: string | undefined) => void,
): Promise<AmqpSession> {
  const failures: string[] = [];
  for (const url of amqp.urls) {
    try {
      const giveUp = AbortSignal.timeout(OPEN_TIMEOUT_MS);
      return await AmqpSession.open(url, amqp, `${hostname()}, dead-letters`, { delivery: () => {}, blocked }, giveUp, secrets);
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
