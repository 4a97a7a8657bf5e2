import type { Channel, ChannelModel } from 'amqplib';
import type { Config } from '../config/config.js';
import { shellWord } from '../output/format.js';
import { type QueueFacts, queueFacts } from '../rabbitmq/management.js';
import { literally } from '../rabbitmq/permissions.js';
import { answerInTime } from './deadline.js';

/*
 * A quorum queue with a delivery limit removes a job that was given back more often, without a word. Executors give back each job that is not theirs, and
 * so do brokers that end. From RabbitMQ 4.0 on each quorum queue has a limit of 20 unless a policy lifts it.
 * Source: rabbitmq.com, "Quorum Queues", "Poison Message Handling"; tried with 3.10.8, 4.0.5 and 4.3.6.
 */

/** Of RabbitMQ 4, where nothing else is set. */
const DEFAULT_LIMIT = 20;
const MAJOR_WITH_DEFAULT = 4;
/** A job is parked so many deliveries before RabbitMQ would remove it: connections that end cost one each. */
const MARGIN = 2;
export const POLICY = 'kpx-job-queue';
/** Above those of other policies, since RabbitMQ applies only the one with the highest. */
const POLICY_PRIORITY = 100;

/** Facts about the queue that jobs come from. */
export interface JobQueue {
  /** RabbitMQ's. */
  readonly version: string;
  readonly type: string;
  /** How often a job may be given back before RabbitMQ removes it; undefined: without end. */
  readonly limit: number | undefined;
  /** RabbitMQ did not say the limit: it is the default of its version. */
  readonly assumed?: true;
  /** Why jobs can be lost there, for people; undefined: they are kept. */
  readonly danger: string | undefined;
  /** The operator's next step. */
  readonly fix: string | undefined;
  /** The policy of the name {@link POLICY} that the fix is, where it is one. As the management API takes it. */
  readonly policy?: LiftingPolicy;
}

interface LiftingPolicy {
  readonly pattern: string;
  readonly definition: Readonly<Record<string, unknown>>;
  readonly priority: number;
  readonly 'apply-to': 'quorum_queues';
}

/** RabbitMQ's version, "4.0.5". */
export const versionOf = (connection: ChannelModel): string =>
  String((connection.connection as unknown as { serverProperties: { version?: unknown } }).serverProperties.version ?? 'unknown');

/** Is "4.3.6" the version `major`.`minor` or a later one? */
export function isAtLeast(version: string, major: number, minor: number): boolean {
  const [ofServer = 0, second = 0] = version.split('.').map((part) => Number.parseInt(part, 10) || 0);
  return ofServer > major || (ofServer === major && second >= minor);
}

const majorOf = (version: string): number => Number.parseInt(version, 10) || 0;

/** Asks RabbitMQ. `password`: where it is not the broker that asks. Throws an Error where RabbitMQ does not answer to AMQP. */
export async function lookAtJobQueue(
  connection: ChannelModel,
  url: string,
  amqp: Config['amqp'],
  password?: () => Promise<string>,
): Promise<JobQueue> {
  const version = versionOf(connection);
  const type = await typeOf(connection, amqp.queue);
  if (type === 'stream') return { version, type, limit: undefined, ...lossOf(amqp.queue) };
  if (type !== 'quorum') return { version, type, limit: undefined, danger: undefined, fix: undefined };
  let facts: QueueFacts | undefined;
  let unknown = 'amqp.management_urls is [], and AMQP does not tell policies';
  if (amqp.management_urls.length > 0) {
    try {
      facts = await queueFacts(url, amqp, password);
    } catch (error) {
      unknown = (error as Error).message;
    }
  }
  return judged({ version, vhost: decodeURIComponent(new URL(url).pathname.slice(1)) || '/', queue: amqp.queue, facts, unknown });
}

/** A stream has no job for one consumer alone. Source: rabbitmq.com, "Streams and Super Streams", "Feature Comparison". */
const lossOf = (queue: string) => ({
  danger: `"${queue}" is a stream: what is published while nobody consumes is not delivered later, and a job that is given back is not delivered again`,
  fix: 'stop KNIME Server, delete the queue, and have it made as a classic queue or a quorum queue: x-queue-type "stream" must not be among its arguments',
});

/** By what RabbitMQ says when it refuses to read the queue as a stream, on a channel of its own. It needs the read right alone. */
async function typeOf(connection: ChannelModel, queue: string): Promise<string> {
  const channel: Channel = await answerInTime(connection.createChannel(), 'channel.open');
  channel.on('error', () => {}); // rejects the call as well
  try {
    const asked = channel.consume(queue, () => {}, { arguments: { 'x-stream-offset': 'next' } });
    await answerInTime(asked, `basic.consume of "${queue}"`);
    await answerInTime(channel.close(), 'channel.close');
    return 'stream';
  } catch (error) {
    const { message } = error as Error;
    const [, type] = /of queue type rabbit_(\w+)_queue/.exec(message) ?? [];
    if (type !== undefined) return type;
    if (/consumer prefetch count is not set/.test(message)) return 'stream';
    throw error;
  }
}

interface Seen {
  readonly version: string;
  readonly vhost: string;
  readonly queue: string;
  readonly facts: QueueFacts | undefined;
  /** Why there are none. */
  readonly unknown: string;
}

/** Of a quorum queue. */
export function judged(seen: Seen): JobQueue {
  const { version, queue, facts, unknown } = seen;
  const major = majorOf(version);
  const { limit, origin } = facts === undefined ? assumed(major, unknown) : known(major, facts);
  if (limit === undefined) return withoutLimit(version);
  const target = facts && deadLettersOf(facts);
  const end = target === undefined ? 'removes it without a word' : `moves it to ${target}`;
  const danger = `"${queue}" is a quorum queue, and RabbitMQ ${version} gives a job back ${limit} times at most, then ${end} (${origin})`;
  const other = fixWithoutPolicy(seen, major);
  if (other !== undefined) return { version, type: 'quorum', limit, danger, fix: other };
  const policy = liftingPolicy(seen);
  return {
    version,
    type: 'quorum',
    limit,
    ...(facts === undefined && { assumed: true }),
    danger,
    fix: setting(policy, seen.vhost),
    policy,
  };
}

/** A quorum queue that keeps its jobs. */
export const withoutLimit = (version: string): JobQueue => ({
  version,
  type: 'quorum',
  limit: undefined,
  danger: undefined,
  fix: undefined,
});

const assumed = (major: number, unknown: string) =>
  major < MAJOR_WITH_DEFAULT
    ? { limit: undefined, origin: '' }
    : { limit: DEFAULT_LIMIT, origin: `assumed: it is the default, and another one cannot be seen: ${unknown}` };

const numberIn = (table: Readonly<Record<string, unknown>>, key: string): number | undefined =>
  typeof table[key] === 'number' ? table[key] : undefined;

function known(major: number, { arguments: given, definition, policy, operatorPolicy }: QueueFacts) {
  const argument = numberIn(given, 'x-delivery-limit');
  const ofPolicy = numberIn(definition, 'delivery-limit');
  const all = [argument, ofPolicy].filter((limit) => limit !== undefined);
  const origin = argument === undefined ? `policy "${policy ?? operatorPolicy}"` : `argument x-delivery-limit ${argument} of the queue`;
  if (all.length === 0) return { limit: major < MAJOR_WITH_DEFAULT ? undefined : DEFAULT_LIMIT, origin: 'the default of this version' };
  // Before 4.0 a negative one is no "unlimited": the job goes when it is given back for the first time.
  if (major < MAJOR_WITH_DEFAULT) return { limit: Math.max(0, Math.min(...all)), origin };
  const limit = Math.min(...all) < 0 ? Math.max(...all) : Math.min(...all);
  return { limit: limit < 0 ? undefined : limit, origin };
}

function deadLettersOf({ arguments: given, definition }: QueueFacts): string | undefined {
  const exchange = given['x-dead-letter-exchange'] ?? definition['dead-letter-exchange'];
  if (typeof exchange !== 'string') return undefined;
  const key = given['x-dead-letter-routing-key'] ?? definition['dead-letter-routing-key'];
  return `the dead-letter exchange "${exchange}"${typeof key === 'string' ? ` with routing key "${key}"` : ''}`;
}

/** Undefined: a policy of kpx's own lifts the limit. */
function fixWithoutPolicy({ vhost, queue, facts }: Seen, major: number): string | undefined {
  if (facts === undefined) return undefined; // so it is RabbitMQ 4, and its default
  const at = `-p ${shellWord(vhost)}`;
  const argument = numberIn(facts.arguments, 'x-delivery-limit');
  if (argument !== undefined && (argument >= 0 || major < MAJOR_WITH_DEFAULT)) {
    // RabbitMQ deletes no quorum queue on the condition that it is empty.
    return `stop KNIME Server; on the RabbitMQ machine, once rabbitmqctl ${at} list_queues says that the queue has 0 messages: rabbitmqctl ${at} delete_queue ${shellWord(queue)}; then have it made without x-delivery-limit, which no policy lifts`;
  }
  const { policy, operatorPolicy, definition } = facts;
  if (operatorPolicy === undefined && major >= MAJOR_WITH_DEFAULT) return undefined;
  const [kind, name] = operatorPolicy === undefined ? ['policy', policy ?? ''] : ['operator_policy', operatorPolicy];
  const isAlone = policy === undefined || operatorPolicy === undefined;
  if (isAlone && Object.keys(definition).length === 1) return `on the RabbitMQ machine: rabbitmqctl clear_${kind} ${at} ${shellWord(name)}`;
  const list = kind === 'policy' ? 'list_policies' : 'list_operator_policies';
  return `on the RabbitMQ machine: rabbitmqctl ${list} ${at}, and take delivery-limit out of "${name}"`;
}

const liftingPolicy = ({ queue, facts }: Seen): LiftingPolicy => ({
  pattern: `^${literally(queue)}$`,
  definition: { ...facts?.definition, 'delivery-limit': -1 },
  priority: POLICY_PRIORITY,
  'apply-to': 'quorum_queues',
});

function setting({ pattern, definition, priority, 'apply-to': kind }: LiftingPolicy, vhost: string): string {
  const words = ['-p', vhost, '--priority', `${priority}`, '--apply-to', kind, POLICY, pattern, JSON.stringify(definition)];
  return `on the RabbitMQ machine: rabbitmqctl set_policy ${words.map(shellWord).join(' ')}`;
}

/** Has this job been given back so often that RabbitMQ would remove it soon? `deliveries`: what it says in x-delivery-count. */
export function isNearLimit(limit: number | undefined, deliveries: unknown): deliveries is number {
  if (limit === undefined || typeof deliveries !== 'number') return false;
  return deliveries >= Math.max(1, limit - Math.min(MARGIN, Math.floor(limit / 4)));
}

/** Does this job show that the limit is not the one that was assumed? RabbitMQ would have removed it. */
export const refutes = ({ limit, assumed }: JobQueue, deliveries: unknown): deliveries is number =>
  assumed === true && limit !== undefined && typeof deliveries === 'number' && deliveries > limit;
