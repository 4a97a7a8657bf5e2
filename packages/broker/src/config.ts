import { readFile } from 'node:fs/promises';
import { CONFIG_BYTES_MAX, ConfigError, parseConfig } from '@kpx/protocol';
import * as z from 'zod';

/** Held jobs are unacknowledged deliveries: the prefetch bounds them all. */
const PREFETCH_MAX = 20_000;
const LIST_MAX = 10_000;
const TEXT_CHARS_MAX = 4_096;

const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;

/** "250ms", "15s", "2m", "1h" as milliseconds. */
const duration = z
  .string()
  .regex(/^[1-9]\d{0,6}(ms|s|m|h)$/, 'expected a duration such as "500ms", "15s", "2m" or "1h"')
  .transform((text) => Number.parseInt(text, 10) * UNITS_MS[text.replace(/^\d+/, '') as keyof typeof UNITS_MS]);

const text = z.string().max(TEXT_CHARS_MAX);

const amqpUrl = text.superRefine((value, context) => {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (!url || !/^amqps?:$/.test(url.protocol) || url.hostname === '') {
    context.addIssue({ code: 'custom', message: 'expected "amqp://USER@HOST:PORT/VHOST" or "amqps://…"' });
  } else if (url.password !== '') {
    context.addIssue({ code: 'custom', message: 'holds a password: put it into amqp.password_file' });
  } else if (url.username === '') {
    context.addIssue({ code: 'custom', message: 'names no RabbitMQ user: expected "amqp://USER@HOST:PORT/VHOST"' });
  }
});

/** broker.toml. */
export const configSchema = z.strictObject({
  amqp: z.strictObject({
    urls: z.array(amqpUrl).min(1).max(16),
    password_file: text.default(''),
    queue: text.min(1).default('knime-jobs'),
    exchange: text.default('knime-server2executorknime-jobs'),
    routing_key: text.default('new-work'),
    prefetch: z.int().min(1).max(PREFETCH_MAX).default(256),
    declare: z.boolean().default(false),
    tls: z.strictObject({ ca_file: text.default('') }).prefault({}),
  }),
  jobs: z
    .strictObject({
      user_field: text.min(1).default('user'),
      can_handle_header: text.min(1).default('canHandle'),
      held_per_user: z.int().min(1).max(PREFETCH_MAX).default(64),
    })
    .prefault({}),
  helper: z.strictObject({ socket: text.startsWith('/').default('/run/kpx/privhelper.sock') }).prefault({}),
  executors: z
    .strictObject({
      ready: z.enum(['connected', 'delay']).default('connected'),
      ready_delay: duration.prefault('15s'),
      start_timeout: duration.prefault('2m'),
    })
    .prefault({}),
  policy: z
    .strictObject({
      max_executors: z.int().min(1).max(5_000).default(40),
      max_starting: z.int().min(1).max(5_000).default(4),
      start_attempts: z.int().min(1).max(1_000).default(5),
      backoff_initial: duration.prefault('2s'),
      backoff_max: duration.prefault('5m'),
      deny: z.array(text.min(1)).max(LIST_MAX).default([]),
    })
    .refine(({ backoff_initial, backoff_max }) => backoff_initial <= backoff_max, {
      path: ['backoff_max'],
      message: 'expected at least backoff_initial',
    })
    .prefault({}),
  log: z.strictObject({ level: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace']).default('info') }).prefault({}),
});

export type Config = z.output<typeof configSchema>;

/** Reads and judges the configuration. Throws {@link ConfigError}: file, key or line, what is expected. */
export async function readConfig(file: string): Promise<Config> {
  const source = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError(file, [error.code === 'ENOENT' ? 'there is no such file' : `cannot be read: ${error.code}`], { cause: error });
  });
  if (source.length > CONFIG_BYTES_MAX) throw new ConfigError(file, [`has ${source.length} bytes, at most ${CONFIG_BYTES_MAX} are read`]);
  return parseConfig(file, source.toString('utf8'), configSchema);
}

/** systemd's name for the credential with RabbitMQ's password (`LoadCredential=amqp-password:…`). */
const PASSWORD_CREDENTIAL = 'amqp-password';

/**
 * The password for RabbitMQ: from `amqp.password_file`, or from the credential that systemd passes. Read for each connection, so that a new one
 * needs no restart. Throws an Error that names the file; never the content.
 */
export async function readPassword(config: Config['amqp']): Promise<string> {
  const directory = process.env.CREDENTIALS_DIRECTORY;
  const file = config.password_file || (directory ? `${directory}/${PASSWORD_CREDENTIAL}` : '');
  if (file === '') throw new Error('no password: set amqp.password_file, or pass the systemd credential amqp-password');
  const password = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Error(`the password file ${file} cannot be read: ${error.code}`);
  });
  return password.replace(/\r?\n$/, '');
}
