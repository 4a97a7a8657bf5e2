import { hints, NODE, NODE_RULE, nodeOf } from '@kpx/protocol';
import * as z from 'zod';
import { amqpName, duration, isManagementUrl, NAME_BYTES_MAX, NODES_MAX, text } from './values.js';

/* The table [sealed] of broker.toml: a RabbitMQ in which each account has a virtual host and a user of its own. */

const WINDOW_MAX = 10_000;
const REPLIES_MAX = 10_000;
const REFUSED_PER_MINUTE_MAX = 10_000;
const VHOSTS_MAX = 10_000;
const EXCHANGES_MAX = 100;
const ARGUMENTS_MAX = 64;
const EXCHANGE_TYPES = ['direct', 'fanout', 'topic', 'headers'] as const;

/** A broker of a cluster, without a virtual host: each account has its own. */
const serverUrl = text.superRefine((value, context) => {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  const expected = (message: string) => context.addIssue({ code: 'custom', message });
  if (!url || !/^amqps?:$/.test(url.protocol) || url.hostname === '') expected('expected "amqp://USER@HOST:PORT" or "amqps://…"');
  else if (url.password !== '') expected('holds a password: put it into sealed.management_password_file');
  else if (url.username === '') expected('names no RabbitMQ user: expected "amqp://USER@HOST:PORT"');
  else if (!['', '/'].includes(url.pathname)) expected('names a virtual host: each account has its own, leave it out');
});

/** A queue that has no place refuses a job. */
const KEEPS = 'reject-publish';

/** Arguments of a queue or an exchange. */
const declaredWith = z
  .record(amqpName(NAME_BYTES_MAX), z.union([text, z.int(), z.boolean()]))
  .refine((table) => Object.keys(table).length <= ARGUMENTS_MAX, `expected at most ${ARGUMENTS_MAX} arguments`)
  .default({});

const theirs = (name: z.ZodType<string>) =>
  name.refine((value) => value !== '' && !value.startsWith('kpx.'), 'expected a name, not one of kpx’s own');

const up = z.strictObject({
  exchange: theirs(amqpName(NAME_BYTES_MAX)),
  type: z.enum(EXCHANGE_TYPES).default('direct'),
  durable: z.boolean().default(true),
  auto_delete: z.boolean().default(false),
  keys: z.array(amqpName(NAME_BYTES_MAX)).max(EXCHANGES_MAX).default([]),
});

const LEARN_MAX = 1_000;

/** Names of queues that executors declare. One that begins with a `*` would let them take any name at the server. */
const learn = z.strictObject({
  queue: theirs(amqpName(NAME_BYTES_MAX)).refine(
    (pattern) => !/^(\*|amq\.)/.test(pattern),
    'expected a beginning that names the queues: "gateway-*"',
  ),
  max: z.int().min(1).max(LEARN_MAX).default(50),
});

const down = z.strictObject({
  exchange: theirs(amqpName(NAME_BYTES_MAX)),
  type: z.enum(EXCHANGE_TYPES).default('fanout'),
  durable: z.boolean().default(true),
  auto_delete: z.boolean().default(false),
  keys: z.array(amqpName(NAME_BYTES_MAX)).max(EXCHANGES_MAX).default([]),
});

export const sealed = z
  .strictObject({
    enabled: z.boolean().default(false),
    node: z.union([text.regex(NODE, NODE_RULE), z.literal('')]).default(''),
    urls: z
      .array(serverUrl)
      .max(NODES_MAX)
      .default([])
      .register(hints, { secret: true, example: ['amqp://kpx-broker@127.0.0.1:5673'] }),
    management_url: text
      .refine(isManagementUrl, 'expected "http://HOST:PORT" or "https://…", without a user')
      .default('http://127.0.0.1:15673'),
    management_password_file: text.default('').register(hints, { secret: true, example: '/etc/kpx/sealed-password' }),
    window: z.int().min(1).max(WINDOW_MAX).default(256),
    keep: duration.prefault('168h'),
    vhosts_max: z.int().min(1).max(VHOSTS_MAX).default(200),
    reply_grace: duration.prefault('1h'),
    replies_max: z.int().min(1).max(REPLIES_MAX).default(200),
    refused_per_minute: z.int().min(0).max(REFUSED_PER_MINUTE_MAX).default(10),
    answers: z.enum(['jobs', 'clients']).default('jobs'),
    api_timeout: duration.prefault('5s'),
    job_queue: z
      .strictObject({
        durable: z.boolean().default(true),
        executor_declares: z.boolean().default(false),
        arguments: declaredWith.refine(
          ({ 'x-overflow': overflow = KEEPS }) => overflow === KEEPS,
          `expected "x-overflow" = "${KEEPS}" or none: a queue with sealed.window jobs would drop its oldest for each new one`,
        ),
      })
      .prefault({}),
    job_exchange: z
      .strictObject({ type: z.enum(EXCHANGE_TYPES).default('direct'), durable: z.boolean().default(true), arguments: declaredWith })
      .prefault({}),
    up: z.array(up).max(EXCHANGES_MAX).default([]),
    down: z.array(down).max(EXCHANGES_MAX).default([]),
    learn: z.array(learn).max(EXCHANGES_MAX).default([]),
  })
  .superRefine(({ enabled, node, urls, management_password_file, up, down }, context) => {
    const expected = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message });
    const twiceIn = (names: readonly string[]) => names.find((name, index) => names.indexOf(name) !== index);
    const [ups, downs] = [up, down].map((each) => each.map(({ exchange }) => exchange)) as [string[], string[]];
    const [upTwice, downTwice, both] = [twiceIn(ups), twiceIn(downs), ups.find((name) => downs.includes(name))];
    if (upTwice !== undefined) expected('up', `names the exchange "${upTwice}" twice: list all keys at the first`);
    if (downTwice !== undefined) expected('down', `names the exchange "${downTwice}" twice`);
    if (both !== undefined) expected('down', `names the exchange "${both}", which is in [[sealed.up]] too: it would go round for ever`);
    const keyless = down.find(({ type, keys }) => type === 'direct' && keys.length === 0);
    if (keyless) expected('down', `names the direct exchange "${keyless.exchange}" without keys: list those to listen to`);
    if (!enabled) return;
    if (urls.length === 0) expected('urls', 'expected the accounts’ RabbitMQ, as enabled = true: ["amqp://USER@127.0.0.1:5673"]');
    if (management_password_file === '')
      expected('management_password_file', 'expected the file with the password of the user in sealed.urls');
    if (!NODE.test(nodeOf({ node }))) expected('node', `${NODE_RULE}, because the name of this host is no such text`);
  })
  .prefault({});
