import { createHash } from 'node:crypto';
import { DELIVERIES_HEADER, DETAIL_HEADER, HOST_HEADER, PARKED_AT_HEADER, REASON_HEADER } from '../amqp/headers.js';
import { submitterOf } from '../amqp/submitter.js';
import type { WireMessage } from '../amqp/wire/amqplib.js';
import type { UserFrom } from '../config/user-from.js';

/** The digits of a key that a table shows, in hex. */
const ID_CHARS = 12;
/** Longest header or property that is kept of a message, in characters: thousands of letters are looked at together. */
const FIELD_CHARS_MAX = 256;
const DETAIL_CHARS_MAX = 4_096;

/** A dead letter without its body. Texts are as somebody sent them, cut to bounds, '' when missing. */
export interface Letter {
  /** SHA-256, in hex: the same at every look, and another one when the same job is parked again. */
  readonly key: string;
  /** Its name for people: the beginning of the key. */
  readonly id: string;
  readonly parkedAt: string;
  readonly reason: string;
  readonly detail: string;
  readonly host: string;
  /** The KNIME user, '' where the job names none that kpx takes. */
  readonly user: string;
  /** The place where the user was read, for people; '' where there is none. */
  readonly readFrom: string;
  /** `jobs.user_from` is no key of the body: nothing is known of its format. */
  readonly opaque: boolean;
  /** The property message_id. */
  readonly job: string;
  readonly bytes: number;
  /** A broker has parked it, for this reason: x-kpx-mac proves that. Otherwise somebody else has written it, or kpx before it had a key. */
  readonly verified: boolean;
}

export function readLetter({ content, properties }: WireMessage, from: UserFrom): Letter {
  const parkedAt = textOf(properties.header(PARKED_AT_HEADER), FIELD_CHARS_MAX);
  const messageId = textOf(properties.text('messageId'), FIELD_CHARS_MAX);
  const key = createHash('sha256')
    .update(JSON.stringify([messageId, parkedAt]))
    .update(content)
    .digest('hex');
  const submitter = submitterOf(content, properties, from);
  return {
    key,
    id: key.slice(0, ID_CHARS),
    parkedAt,
    reason: textOf(properties.header(REASON_HEADER), FIELD_CHARS_MAX),
    detail: textOf(properties.header(DETAIL_HEADER), DETAIL_CHARS_MAX),
    host: textOf(properties.header(HOST_HEADER), FIELD_CHARS_MAX),
    ...('user' in submitter ? submitter : { user: '', readFrom: '' }),
    opaque: from.in !== 'body',
    job: messageId,
    bytes: content.length,
    verified: properties.own[REASON_HEADER] !== undefined,
  };
}

/** How often the message has been given back to the queue already. */
export function deliveriesOf({ properties }: WireMessage): number {
  return Number(properties.header(DELIVERIES_HEADER) ?? 0);
}

const textOf = (value: unknown, charsMax: number) => (typeof value === 'string' ? value.slice(0, charsMax) : '');
