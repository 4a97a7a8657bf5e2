import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, open, rename, rm } from 'node:fs/promises';
import type { Config } from '@kpx/broker/config/config';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { readConfig as readHelperConfig } from '@kpx/privhelper/config';
import { lookUpIds } from '@kpx/privhelper/system/name-service';
import { PASSWORD_FILE } from '../broker-options.js';
import { firstUrl } from '../doctor/configuration.js';
import { BROKER_ACCOUNT } from '../doctor/scene.js';

/** Of the executors, where no file names another one. */
const EXECUTORS_USER = 'knime-executor';
/** In hexadecimal digits nothing means something in a URL. */
const PASSWORD_BYTES = 24;
const SECRET_MODE = 0o600;
const SECRET_MODE_MAX = 0o640;
const SECRET_BYTES_MAX = 16 * 1024;
/** In milliseconds. */
const LOOK_UP_TIMEOUT_MS = 10_000;

/** One of RabbitMQ's users with the file that its program has the password from. */
export interface Login {
  readonly of: 'broker' | 'executors';
  readonly user: string;
  readonly password: string;
  readonly file: string;
  /** The new content of the file; undefined: it has this password already. */
  readonly content: string | undefined;
  /** Whether the broker itself reads the file, not PID 1. */
  readonly brokerReads: boolean;
}

/** The broker's first; sealed executors share no user. A file without a password gets one, and with `anew` each does; written by {@link writePassword} alone. */
export async function loginsOf(config: Config, helperFile: string, anew: boolean): Promise<Login[]> {
  const { executor } = await readHelperConfig(helperFile);
  const broker = await brokersLogin(config.amqp, anew);
  return executor.sealed ? [broker] : [broker, await executorsLogin(config.amqp, executor.msgq_file, anew)];
}

async function brokersLogin({ urls, password_file }: Config['amqp'], anew: boolean): Promise<Login> {
  const user = decodeURIComponent(new URL(urls[0] ?? '').username);
  if (user === '') {
    const why = 'RabbitMQ takes it from the certificate. Set both users up by hand: docs/rabbitmq.md, "Accounts" and "Client certificates"';
    throw new CommandError(EXIT.config, `amqp.urls names no user: ${why}.`);
  }
  const file = password_file || PASSWORD_FILE;
  const login = { of: 'broker', user, file, brokerReads: password_file !== '' } as const;
  const there = await secretIn(file);
  if (there !== '' && !anew) return { ...login, password: there, content: undefined };
  const password = newPassword();
  return { ...login, password, content: `${password}\n` };
}

async function executorsLogin({ urls }: Config['amqp'], file: string, anew: boolean): Promise<Login> {
  const there = await secretIn(file);
  const [first, ...others] = there === '' ? newUrls(urls) : [firstOf(file, there), ...there.split(',').slice(1)];
  const url = new URL(first ?? '');
  const user = decodeURIComponent(url.username);
  if (there !== '' && !anew) {
    const password = decodeURIComponent(url.password);
    if (user === '' || password === '') throw new CommandError(EXIT.config, `${file}: the first URL has no user or no password.`);
    return { of: 'executors', user, password, file, content: undefined, brokerReads: false };
  }
  const password = newPassword();
  url.password = password;
  return { of: 'executors', user, password, file, content: `${[url.href, ...others].join(',')}\n`, brokerReads: false };
}

/** The broker's addresses, as KNIME_EXECUTOR_MSGQ has them: the first with user and virtual host, the others without both. */
function newUrls([first = '', ...others]: readonly string[]): string[] {
  const url = new URL(first);
  url.username = EXECUTORS_USER;
  const bare = (text: string) => {
    const { protocol, host } = new URL(text);
    return `${protocol}//${host}`;
  };
  return [url.href, ...others.map(bare)];
}

function firstOf(file: string, text: string): string {
  try {
    return firstUrl(file, text).href;
  } catch (error) {
    throw new CommandError(EXIT.config, `${(error as Error).message}.`);
  }
}

const newPassword = () => randomBytes(PASSWORD_BYTES).toString('hex');

/** Without the end of its line; empty where there is no file, or nothing in it. */
async function secretIn(file: string): Promise<string> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw problem(file, 'read', error);
  });
  if (handle === undefined) return '';
  try {
    const status = await handle.stat();
    if (!status.isFile() || status.size > SECRET_BYTES_MAX) {
      throw new CommandError(
        EXIT.config,
        `${file} is no file with one password or URL: it has to be a file of at most ${SECRET_BYTES_MAX} bytes.`,
      );
    }
    return (await handle.readFile('utf8')).replace(/\r?\n$/, '');
  } finally {
    await handle.close();
  }
}

export async function writePassword({ file, content, brokerReads }: Login): Promise<void> {
  if (content !== undefined) await writeSecret(file, content, brokerReads ? await brokersGroup() : undefined);
}

/** Undefined where there is no such group, and for somebody who may give no file to it. */
async function brokersGroup(): Promise<number | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  return (await lookUpIds('group', [BROKER_ACCOUNT], AbortSignal.timeout(LOOK_UP_TIMEOUT_MS))).get(BROKER_ACCOUNT);
}

/**
 * Whole or not at all. An existing file keeps its owner and, up to 0640, its mode; a new one is 0600, or 0640 of `group` where that is given.
 * Throws {@link CommandError}.
 */
export async function writeSecret(file: string, content: string, group?: number): Promise<void> {
  const before = await lstat(file).catch(() => undefined);
  const beside = `${file}.new`;
  try {
    await rm(beside, { force: true });
    const made = await open(beside, 'wx', SECRET_MODE);
    try {
      if (before?.isFile()) {
        await made.chown(before.uid, before.gid);
        await made.chmod(before.mode & SECRET_MODE_MAX);
      } else if (group !== undefined) {
        await made.chown(0, group);
        await made.chmod(SECRET_MODE_MAX);
      }
      await made.writeFile(content);
      await made.sync();
    } finally {
      await made.close();
    }
    await rename(beside, file);
  } catch (error) {
    throw problem(file, 'written', error as NodeJS.ErrnoException);
  }
}

function problem(file: string, what: 'read' | 'written', { code, message }: NodeJS.ErrnoException): CommandError {
  const isForbidden = code === 'EACCES' || code === 'EPERM';
  return new CommandError(
    isForbidden ? EXIT.noPermission : EXIT.cannotCreate,
    `${file} cannot be ${what}: ${code ?? message}.${isForbidden ? ' Run this as root.' : ''}`,
  );
}
