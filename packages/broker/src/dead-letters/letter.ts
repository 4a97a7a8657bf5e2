import { createHash } from 'node:crypto';
import type { GetMessage, MessageProperties, Options } from 'amqplib';
import { DETAIL_HEADER, REASON_HEADER } from '../amqp/relay.js';
import { decodeJob } from '../jobs.js';

/** Headers that the relay adds beside reason and detail when it parks. */
const PARKED_AT_HEADER = 'x-kpx-parked-at';
const HOST_HEADER = 'x-kpx-host';
/** How often RabbitMQ has had this message back; from quorum queues only. */
const DELIVERIES_HEADER = 'x-delivery-count';

/** What a table shows of a key, in hex digits. */
const ID_CHARS = 12;
/** Longest header or property that is kept of a message, in characters: thousands of letters are looked at together. */
const FIELD_CHARS_MAX = 256;
const DETAIL_CHARS_MAX = 4_096;

/** What is known of a dead letter without its body. Texts are as somebody sent them, cut to bounds, '' when missing. */
export interface Letter {
  /** SHA-256, in hex: the same at every look, and another one when the same job is parked again. */
  readonly key: string;
  /** What people call it: the beginning of the key. */
  readonly id: string;
  readonly parkedAt: string;
  readonly reason: string;
  readonly detail: string;
  readonly host: string;
  /** The KNIME user, '' where the body names none that kpx takes. */
  readonly user: string;
  /** The property message_id. */
  readonly job: string;
  readonly bytes: number;
}

export function readLetter({ content, properties }: GetMessage, userField: string): Letter {
  const headers: Record<string, unknown> = properties.headers ?? {};
  const parkedAt = textOf(headers[PARKED_AT_HEADER], FIELD_CHARS_MAX);
  const messageId = textOf(properties.messageId, FIELD_CHARS_MAX);
  const key = createHash('sha256')
    .update(JSON.stringify([messageId, parkedAt]))
    .update(content)
    .digest('hex');
  const job = decodeJob(content, {}, userField);
  return {
    key,
    id: key.slice(0, ID_CHARS),
    parkedAt,
    reason: textOf(headers[REASON_HEADER], FIELD_CHARS_MAX),
    detail: textOf(headers[DETAIL_HEADER], DETAIL_CHARS_MAX),
    host: textOf(headers[HOST_HEADER], FIELD_CHARS_MAX),
    user: 'reason' in job ? '' : job.user,
    job: messageId,
    bytes: content.length,
  };
}

/** How often the message has been given back to the queue already. */
export function deliveriesOf({ properties }: GetMessage): number {
  return Number(properties.headers?.[DELIVERIES_HEADER] ?? 0);
}

const textOf = (value: unknown, charsMax: number) => (typeof value === 'string' ? value.slice(0, charsMax) : '');

/** RabbitMQ's own about an earlier way of the message, or orders to it: see amqp/relay.ts. */
const SERVER_HEADERS = /^(x-death|x-(first|last)-death-.*|x-delivery-count|x-acquired-count|CC|BCC)$/;
/** All of kpx's own (reason, hops, time to live, …) but the one that stands in for the sender's property user_id. */
const OWN_HEADERS = /^x-kpx-(?!user-id$)/;

/**
 * The properties of a dead letter as it goes back to where jobs come from: as it came to kpx the first time. Not restored is its time to
 * live, which counted from then: it would have the job expire before anybody has tried it.
 */
export function replayOptions(properties: MessageProperties, canHandleHeader: string): Options.Publish {
  const ours = ([name, value]: [string, unknown]) => OWN_HEADERS.test(name) || (name === canHandleHeader && value === true);
  const { expiration: _, ...options } = sameOptions(properties);
  return { ...options, headers: Object.fromEntries(Object.entries(options.headers ?? {}).filter((header) => !ours(header))) };
}

/** The properties of a message that is published once more, all else being equal. */
export function sameOptions({ headers, userId, ...rest }: MessageProperties): Options.Publish {
  const kept = Object.entries(headers ?? {}).filter(([name]) => !SERVER_HEADERS.test(name));
  return {
    ...Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined && value !== null)),
    // RabbitMQ closes the channel of whoever publishes under another user's id.
    headers: { ...Object.fromEntries(kept), ...(userId === undefined ? {} : { 'x-kpx-user-id': userId }) },
  };
}
