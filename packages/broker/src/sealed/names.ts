import { createHash } from 'node:crypto';
import { literally } from '../rabbitmq/permissions.js';

/*
 * Names in RabbitMQ of sealed executors. `kpx.NODE.ACCOUNT` is both the virtual host and the user of an account. In that virtual host everything that
 * begins with `kpx.` is the broker's, and everything else the account's.
 */

/** Where messages of the account go that nothing in its virtual host has taken. */
export const UNROUTED_EXCHANGE = 'kpx.unrouted';
export const UP_QUEUE = 'kpx.up';

/** Everything that the account may touch, as a pattern for RabbitMQ's permissions and policies. */
export const THEIRS = '^(?!kpx\\.)';
/** The exchanges of that kind, without those that RabbitMQ makes. */
export const THEIR_EXCHANGES = '^(?!kpx\\.|amq\\.|$)';
/** The same without these queues or exchanges. */
export const theirsBut = (...names: readonly string[]) => `^(?!kpx\\.)${names.map((name) => `(?!${literally(name)}$)`).join('')}`;

/** The prefix of all that is made for executors on this node. The node's name has no dot: none of these is the prefix of another node's. */
export const prefixOf = (node: string) => `kpx.${node}.`;

/** The queue at the server by which a broker gets the broadcasts of an exchange. */
export const broadcastQueueOf = (node: string, exchange: string) =>
  `kpx.down.${node}.${createHash('sha256').update(exchange).digest('base64url')}`;

const REPLY = 'kpx.reply.';
/** Behind {@link REPLY}; a dot is not in base64url. */
const HASHED = 'sha256.';
/** Of a reply_to that is in the name as it is: its base64url, in a name of 255 bytes at most, leaves room for the prefix. */
const NAMED_BYTES_MAX = 180;
/** The argument of a reply queue that has the reply_to where the name has its hash. RabbitMQ keeps arguments that it does not know. */
const NOTED = 'x-kpx-reply-to';

/** A queue that stands in for one at the server. */
export interface ReplyQueue {
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

/** The queue in an account's virtual host to which it answers instead of to `replyTo`. Its name is the record of that. */
export function replyQueueOf(replyTo: string): ReplyQueue {
  const bytes = Buffer.from(replyTo);
  if (bytes.length <= NAMED_BYTES_MAX) return { name: REPLY + bytes.toString('base64url'), arguments: {} };
  const hash = createHash('sha256').update(bytes).digest('base64url');
  return { name: REPLY + HASHED + hash, arguments: { [NOTED]: replyTo } };
}

/** Whether a queue of an account's virtual host may have the name of this client's queue at the server. RabbitMQ declares none that begins with `amq.`. */
export const mayBeNamedAs = (client: string, jobQueue: string) => client !== jobQueue && !/^(kpx|amq)\./.test(client);

/** The client that such a queue stands in for; undefined: it is none. */
export function replyToOf({ name, arguments: noted }: ReplyQueue): string | undefined {
  if (!name.startsWith(REPLY)) return undefined;
  const text = noted[NOTED];
  const replyTo = typeof text === 'string' ? text : Buffer.from(name.slice(REPLY.length), 'base64url').toString('utf8');
  return replyTo !== '' && replyQueueOf(replyTo).name === name ? replyTo : undefined;
}
