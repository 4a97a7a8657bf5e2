import { access, constants, readFile } from 'node:fs/promises';
import { CONFIG_BYTES_MAX, ConfigError, isComposed, knimePatternSchema, NOT_COMPOSED, parseConfig, profileNameSchema } from '@kpx/protocol';
import * as z from 'zod';
import type { Policy } from '../policy/policy.js';
import { addressOf } from './address.js';

/** Held jobs are unacknowledged deliveries: the prefetch bounds them all. */
const PREFETCH_MAX = 20_000;
const LIST_MAX = 10_000;
const EXECUTORS_MAX = 5_000;
const RULES_MAX = 1_000;
const TEXT_CHARS_MAX = 4_096;
/** AMQP's short strings, in bytes: names of queues, exchanges and headers, routing keys. */
const NAME_BYTES_MAX = 255;
/** The same of the job queue, whose name is in those of kpx's delay queues. */
const QUEUE_BYTES_MAX = 230;

export const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;

/** "250ms", "15s", "2m", "1h" as milliseconds. */
const duration = z
  .string()
  .regex(/^[1-9]\d{0,6}(ms|s|m|h)$/, 'expected a duration such as "500ms", "15s", "2m" or "1h"')
  .transform((text) => Number.parseInt(text, 10) * UNITS_MS[text.replace(/^\d+/, '') as keyof typeof UNITS_MS]);

/** A duration, or empty for none. */
const optionalDuration = z.union([z.literal('').transform(() => undefined), duration]).prefault('');

export const UNITS_BYTES = { KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 } as const;

/** "512MiB", "4GiB" as bytes, or empty for 0. */
const memory = z
  .string()
  .regex(/^([1-9]\d{0,8}(KiB|MiB|GiB|TiB))?$/, 'expected an amount of memory such as "512MiB" or "4GiB", or ""')
  .transform((text) => (text === '' ? 0 : Number.parseInt(text, 10) * UNITS_BYTES[text.replace(/^\d+/, '') as keyof typeof UNITS_BYTES]))
  .prefault('');

const text = z.string().max(TEXT_CHARS_MAX);

/** A name on the wire of AMQP. */
const amqpName = (bytesMax: number) => text.refine((name) => Buffer.byteLength(name) <= bytesMax, `expected at most ${bytesMax} bytes`);

const limit = z.int().min(1).max(EXECUTORS_MAX);

const rule = z
  .strictObject({
    name: text.default(''),
    users: z.array(knimePatternSchema).max(LIST_MAX).default([]),
    groups: z.array(text.min(1)).max(LIST_MAX).default([]),
    action: z.enum(['allow', 'deny']).default('allow'),
    profile: profileNameSchema.default(profileNameSchema.parse('default')),
    max_executors: limit.optional(),
    priority: z.int().min(-1_000).max(1_000).default(0),
    idle_stop: optionalDuration,
  })
  .refine(({ users, groups }) => users.length + groups.length > 0, {
    message: 'expected users, groups, or both; everybody is users = ["*"]',
  });

const amqpUrl = text.superRefine((value, context) => {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (!url || !/^amqps?:$/.test(url.protocol) || url.hostname === '') {
    context.addIssue({ code: 'custom', message: 'expected "amqp://USER@HOST:PORT/VHOST" or "amqps://…"' });
  } else if (url.password !== '') {
    context.addIssue({ code: 'custom', message: 'holds a password: put it into amqp.password_file' });
  }
});

/** Of one cluster of RabbitMQ. */
const NODES_MAX = 16;

/** The user is that of `amqp.urls`. */
function isManagementUrl(value: string): boolean {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  return url !== undefined && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '';
}

/** Files of TLS; the last two together, or neither. */
const tls = z
  .strictObject({ ca_file: text.default(''), cert_file: text.default(''), key_file: text.default('') })
  .refine(({ cert_file, key_file }) => (cert_file === '') === (key_file === ''), {
    path: ['key_file'],
    message: 'expected together with cert_file, or neither of them',
  })
  .prefault({});

/** Without a user, RabbitMQ takes its name from the client's certificate. */
function judgeUsers(
  { urls, tls }: { readonly urls: readonly string[]; readonly tls: { readonly cert_file: string } },
  context: z.RefinementCtx,
): void {
  for (const [index, value] of urls.entries()) {
    if (!URL.canParse(value)) continue; // said already
    const { username, protocol } = new URL(value);
    if (username !== '' || (protocol === 'amqps:' && tls.cert_file !== '')) continue;
    const message =
      'names no RabbitMQ user: expected "amqp://USER@HOST:PORT/VHOST"; only "amqps://…" with amqp.tls.cert_file can do without';
    context.addIssue({ code: 'custom', path: ['urls', index], message });
  }
}

const control = z
  .strictObject({ socket: z.union([text.startsWith('/'), z.literal('')]).default('/run/kpx-broker/control.sock') })
  .prefault({});

const http = z
  .strictObject({
    listen: text
      .refine(
        (value) => value === '' || addressOf(value) !== undefined,
        'expected an address and a port such as "127.0.0.1:9464" or "[::1]:9464", or ""',
      )
      .default('127.0.0.1:9464'),
    user_labels: z.boolean().default(false),
  })
  .prefault({});

/** broker.toml. */
export const configSchema = z.strictObject({
  amqp: z
    .strictObject({
      urls: z.array(amqpUrl).min(1).max(NODES_MAX),
      password_file: text.default(''),
      queue: amqpName(QUEUE_BYTES_MAX).min(1).default('knime-jobs'),
      exchange: amqpName(NAME_BYTES_MAX).default('knime-server2executorknime-jobs'),
      routing_key: amqpName(NAME_BYTES_MAX).default('new-work'),
      prefetch: z.int().min(1).max(PREFETCH_MAX).default(256),
      held_bytes_max: memory.prefault('256MiB').refine((bytes) => bytes > 0, 'expected an amount of memory such as "256MiB"'),
      declare: z.boolean().default(false),
      delivery_limit: z.enum(['refuse', 'accept']).default('refuse'),
      management_urls: z
        .array(text.refine(isManagementUrl, 'expected "http://HOST:PORT" or "https://…", without a user'))
        .max(NODES_MAX)
        .default([]),
      tls,
    })
    .superRefine(judgeUsers),
  jobs: z
    .strictObject({
      user_field: text.min(1).default('user'),
      can_handle_header: amqpName(NAME_BYTES_MAX).min(1).default('canHandle'),
      held_per_user: z.int().min(1).max(PREFETCH_MAX).default(64),
    })
    .prefault({}),
  helper: z.strictObject({ socket: text.startsWith('/').default('/run/kpx/privhelper.sock') }).prefault({}),
  executors: z
    .strictObject({
      ready: z.enum(['connected', 'delay']).default('connected'),
      ready_delay: duration.prefault('15s'),
      start_timeout: duration.prefault('2m'),
      ready_for: duration.prefault('1s'),
      watch: z.boolean().default(true),
      lost_after: duration.prefault('30s'),
    })
    .refine(({ ready_for, start_timeout }) => ready_for < start_timeout, {
      path: ['ready_for'],
      message: 'expected less than start_timeout',
    })
    .refine(({ ready_for, lost_after }) => ready_for <= lost_after, { path: ['lost_after'], message: 'expected at least ready_for' })
    .prefault({}),
  policy: z
    .strictObject({
      max_executors: limit.default(40),
      max_starting: limit.default(4),
      start_attempts: z.int().min(1).max(1_000).default(5),
      start_window: duration.prefault('30m'),
      backoff_initial: duration.prefault('2s'),
      backoff_max: duration.prefault('5m'),
      deny: z.array(text.min(1).refine(isComposed, NOT_COMPOSED)).max(LIST_MAX).default([]),
      when_full: z.enum(['wait', 'evict-idle']).default('evict-idle'),
      evict_idle_after: duration.prefault('2m'),
      account_lost: z.enum(['end', 'warn']).default('end'),
      idle_stop: optionalDuration,
      idle_cpu_percent: z.number().min(0).max(100).default(5),
      executor_memory: memory,
      min_available_memory: memory,
      core_tokens: z.int().min(0).max(1_000_000).default(0),
      tokens_per_executor: z.int().min(0).max(1_000_000).default(0),
      job_max_age: optionalDuration,
      rule: z.array(rule).max(RULES_MAX).default([]),
    })
    .refine(
      ({ core_tokens, tokens_per_executor }) => core_tokens === 0 || (tokens_per_executor > 0 && tokens_per_executor <= core_tokens),
      {
        path: ['tokens_per_executor'],
        message: 'expected 1 to core_tokens',
      },
    )
    .refine(({ backoff_initial, backoff_max }) => backoff_initial <= backoff_max, {
      path: ['backoff_max'],
      message: 'expected at least backoff_initial',
    })
    .prefault({}),
  control,
  http,
  log: z.strictObject({ level: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace']).default('info') }).prefault({}),
});

export type Config = z.output<typeof configSchema>;

/** Reads and judges the configuration. Throws {@link ConfigError}: file, key or line, what is expected. */
export async function readConfig(file: string): Promise<Config> {
  return parseConfig(file, await readSource(file), configSchema);
}

/**
 * Only where the running broker answers: what else the file says may be wrong meanwhile. Where an operator may not read it, the default.
 * `problem`: the file is no TOML, and the section [control] was read alone. Throws {@link ConfigError}.
 */
export async function readControlSocket(file: string): Promise<{ readonly socket: string; readonly problem?: string }> {
  const unreadable = await access(file, constants.R_OK).then(
    () => false,
    ({ code }: NodeJS.ErrnoException) => code === 'EACCES',
  );
  if (unreadable) return control.parse({});
  const source = await readSource(file);
  const socketIn = (text: string) => parseConfig(file, text, z.looseObject({ control })).control.socket;
  try {
    return { socket: socketIn(source) };
  } catch (error) {
    const alone = sectionOf(source, 'control');
    if (!(error instanceof ConfigError) || alone === source) throw error;
    return { socket: socketIn(alone), problem: error.message };
  }
}

/** The lines from a heading of TOML to the next one; none where it is not there. */
function sectionOf(source: string, name: string): string {
  const lines = source.split('\n');
  const isHeading = (line: string) => /^\s*\[/.test(line);
  const start = lines.findIndex((line) => new RegExp(`^\\s*\\[\\s*${name}\\s*\\]`).test(line));
  if (start < 0) return '';
  const length = lines.slice(start + 1).findIndex(isHeading);
  return lines.slice(start, length < 0 ? undefined : start + 1 + length).join('\n');
}

async function readSource(file: string): Promise<string> {
  const source = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError(file, [error.code === 'ENOENT' ? 'there is no such file' : `cannot be read: ${error.code}`], { cause: error });
  });
  if (source.length > CONFIG_BYTES_MAX) throw new ConfigError(file, [`has ${source.length} bytes, at most ${CONFIG_BYTES_MAX} are read`]);
  return source.toString('utf8');
}

/** systemd's name for the credential with RabbitMQ's password (`LoadCredential=amqp-password:…`). */
const PASSWORD_CREDENTIAL = 'amqp-password';

/**
 * The password for RabbitMQ: from `amqp.password_file`, or from the credential that systemd passes. Read for each connection, so that a new one
 * in `password_file` needs no restart; systemd reads a credential when the service starts. Throws an Error that names the file; never the content.
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

/** Turns what the configuration says into the numbers that the machine decides by. */
export function policyOf({ policy, jobs, amqp, executors }: Config): Policy {
  return {
    maxExecutors: policy.max_executors,
    maxStarting: policy.max_starting,
    startAttempts: policy.start_attempts,
    startWindowMs: policy.start_window,
    backoffInitialMs: policy.backoff_initial,
    backoffMaxMs: policy.backoff_max,
    deny: new Set(policy.deny.map((name) => name.toLowerCase())),
    rules: policy.rule.map((rule, index) => ({
      label: `rule ${index + 1}${rule.name === '' ? '' : ` "${rule.name}"`}`,
      users: rule.users.map((pattern) => pattern.toLowerCase()),
      groups: rule.groups,
      action: rule.action,
      profile: rule.profile,
      maxExecutors: rule.max_executors,
      priority: rule.priority,
      idleStopMs: rule.idle_stop,
    })),
    whenFull: policy.when_full,
    evictIdleAfterMs: policy.evict_idle_after,
    accountLost: policy.account_lost,
    idleStopMs: policy.idle_stop,
    idleCpuShare: policy.idle_cpu_percent / 100,
    executorMemory: policy.executor_memory,
    minAvailableMemory: policy.min_available_memory,
    coreTokens: policy.core_tokens,
    tokensPerExecutor: policy.tokens_per_executor,
    jobMaxAgeMs: policy.job_max_age,
    heldPerUser: jobs.held_per_user,
    // Half of the prefetch stays free, so that held jobs never keep RabbitMQ from delivering those of other users.
    heldInAll: Math.floor(amqp.prefetch / 2),
    startTimeoutMs: executors.start_timeout,
    readyDelayMs: executors.ready === 'delay' ? executors.ready_delay : undefined,
    readyForMs: executors.ready_for,
    lostAfterMs: executors.watch ? executors.lost_after : undefined,
  };
}
