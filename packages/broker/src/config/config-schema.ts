import { hints, isComposed, knimePatternSchema, knimeUserSchema, NOT_COMPOSED, profileNameSchema } from '@kpx/protocol';
import * as z from 'zod';
import { parseSchedule } from '../policy/schedule.js';
import { addressOf } from './address.js';
import { sealed } from './sealed.js';
import { whyNotUserFrom } from './user-from.js';
import { amqpName, amqpUrl, duration, isManagementUrl, memory, NAME_BYTES_MAX, NODES_MAX, optionalDuration, text } from './values.js';

/** Held jobs are unacknowledged deliveries: the prefetch bounds them all. */
const PREFETCH_MAX = 20_000;
const LIST_MAX = 10_000;
const EXECUTORS_MAX = 5_000;
const RULES_MAX = 1_000;
const SHARE_MAX = 1_000;
/** Of the hook's command: its program and arguments. */
const HOOK_WORDS_MAX = 64;
/** Of the job queue, in bytes: a name of AMQP, less what is before it in those of kpx's delay queues. */
const QUEUE_BYTES_MAX = 230;

const limit = z.int().min(1).max(EXECUTORS_MAX);

function judgeSchedule(value: string, context: z.RefinementCtx): void {
  if (value === '') return;
  try {
    parseSchedule(value);
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message });
  }
}

interface Prestarting {
  readonly users: readonly string[];
  readonly action: 'allow' | 'deny';
  readonly prestart: string;
}

/** Executors are started for users who are named, since nobody has to send a job before. */
function judgePrestart({ users, action, prestart }: Prestarting, context: z.RefinementCtx): void {
  if (prestart === '') return;
  const issue = (message: string) => context.addIssue({ code: 'custom', path: ['prestart'], message });
  const noName = users.find((name) => !knimeUserSchema.safeParse(name).success);
  if (action === 'deny') issue('action is "deny", and no executor of these users is started: take prestart = out');
  else if (users.length === 0) issue('names of users are needed, as the members of groups are not known: add users = ["alice"]');
  else if (noName !== undefined)
    issue(`"${noName}" in users is no name, and prestart = needs names: have a rule with users = ["alice"] for it`);
}

const rule = z
  .strictObject({
    name: text.default(''),
    users: z
      .array(knimePatternSchema)
      .max(LIST_MAX)
      .default([])
      .register(hints, { example: ['svc-*'] }),
    groups: z
      .array(text.min(1))
      .max(LIST_MAX)
      .default([])
      .register(hints, { example: ['analysts'] }),
    action: z.enum(['allow', 'deny']).default('allow'),
    profile: profileNameSchema.default(profileNameSchema.parse('default')),
    max_executors: limit.optional().register(hints, { example: 5, tooSmall: 'to keep these users out: action = "deny"' }),
    priority: z.int().min(-1_000).max(1_000).default(0),
    share: z.int().min(1).max(SHARE_MAX).default(1),
    idle_stop: optionalDuration,
    keep_warm: optionalDuration,
    max_age: optionalDuration,
    jobs_max: z.int().min(1).max(PREFETCH_MAX).optional().register(hints, { example: 32 }),
    run_time_max: optionalDuration,
    prestart: text.superRefine(judgeSchedule).default('').register(hints, { example: 'Mon-Fri 07:30' }),
  })
  .refine(({ users, groups }) => users.length + groups.length > 0, {
    message: 'expected users, groups, or both; everybody is users = ["*"]',
  })
  .superRefine(judgePrestart);

const URLS_EXAMPLE = ['amqp://kpx-broker@127.0.0.1:5672/knime'];

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

export const controlSchema = z
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
      urls: z.array(amqpUrl).min(1).max(NODES_MAX).register(hints, { secret: true, example: URLS_EXAMPLE }),
      password_file: text.default('').register(hints, { secret: true, example: '/etc/kpx/amqp-password' }),
      queue: amqpName(QUEUE_BYTES_MAX).min(1).default('knime-jobs'),
      exchange: amqpName(NAME_BYTES_MAX).default('knime-server2executorknime-jobs'),
      routing_key: amqpName(NAME_BYTES_MAX).default('new-work'),
      prefetch: z.int().min(1).max(PREFETCH_MAX).default(1_024),
      held_bytes_max: memory.prefault('256MiB').refine((bytes) => bytes > 0, 'expected an amount of memory such as "256MiB"'),
      declare: z.boolean().default(false),
      delivery_limit: z.enum(['refuse', 'accept']).default('refuse'),
      management_urls: z
        .array(text.refine(isManagementUrl, 'expected "http://HOST:PORT" or "https://…", without a user'))
        .max(NODES_MAX)
        .default([])
        .register(hints, { secret: true, example: ['http://127.0.0.1:15672'] }),
      tls,
    })
    .superRefine(judgeUsers),
  jobs: z
    .strictObject({
      user_from: text
        .superRefine((value, context) => {
          const message = whyNotUserFrom(value);
          if (message !== undefined) context.addIssue({ code: 'custom', message });
        })
        .default('')
        .register(hints, { example: 'header:user' }),
      user_field: text.default(''),
      can_handle_header: amqpName(NAME_BYTES_MAX).min(1).default('canHandle'),
      held_per_user: z.int().min(1).max(PREFETCH_MAX).default(256),
      mac_key_file: text.default(''),
    })
    .refine(({ user_from, user_field }) => user_from === '' || user_field === '', {
      path: ['user_field'],
      message: 'is short for user_from = "body:NAME": take one of the two out',
    })
    .prefault({}),
  sealed,
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
      max_executors: limit.default(40).register(hints, { tooSmall: 'to start no executor: kpxctl drain' }),
      max_starting: limit.default(4),
      start_attempts: z.int().min(1).max(1_000).default(5),
      start_window: duration.prefault('30m'),
      backoff_initial: duration.prefault('2s'),
      backoff_max: duration.prefault('5m'),
      deny: z
        .array(text.min(1).refine(isComposed, NOT_COMPOSED))
        .max(LIST_MAX)
        .default([])
        .register(hints, { example: ['mallory'] }),
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
  control: controlSchema,
  http,
  hook: z
    .strictObject({
      command: z
        .array(text.min(1))
        .max(HOOK_WORDS_MAX)
        .refine(
          ([program]) => program === undefined || program.startsWith('/'),
          'expected a program with its whole path: ["/usr/local/lib/kpx-hook"]',
        )
        .refine((words) => !words.some((word) => word.includes('\0')), 'expected words without a zero byte')
        .default([])
        .register(hints, { example: ['/usr/local/lib/kpx-hook'] }),
    })
    .prefault({}),
  log: z.strictObject({ level: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace']).default('info') }).prefault({}),
});

export type Config = z.output<typeof configSchema>;
