import type { KnimeUser } from '@kpx/protocol';
import type { UserFrom } from '../config/user-from.js';
import { DEATH_HEADER } from './death.js';
import { HOPS_HEADER, ID_HEADER, REPLAYED_AT_HEADER, SEEN_AT_HEADER } from './headers.js';
import { isNearLimit } from './job-queue.js';
import { type Undecodable, userOf } from './submitter.js';
import type { WireMessage } from './wire/amqplib.js';
import type { WireProperties } from './wire/properties.js';

/** Largest body that is passed on, in bytes. */
export const BODY_BYTES_MAX = 1024 * 1024;

/** The facts that kpx needs of a job. Its body is passed on as it came. */
interface Job {
  /** The submitter as KNIME names them; syntax checked. */
  readonly user: KnimeUser;
  readonly hops: number;
  /** It comes from a delay queue: nobody has been offered it and given it back. */
  readonly waited: boolean;
  /** An operator has replayed it, and kpx has not sent it on since. */
  readonly replayed: boolean;
}

/** Reads what the broker decides by. */
export function decodeJob(body: Buffer, properties: WireProperties, from: UserFrom): Job | Undecodable {
  const { unreadable } = properties;
  if (unreadable !== undefined) return { reason: 'HEADERS_UNUSABLE', detail: unreadable };
  if (body.length > BODY_BYTES_MAX) return tooLarge(body.length);
  const user = userOf(body, properties, from);
  if (typeof user !== 'string') return user;
  const counted = properties.own[HOPS_HEADER];
  const hops = Number.isSafeInteger(counted) ? Math.max(0, Number(counted)) : 0;
  // RabbitMQ says where a message has expired last; kpx takes that off when it publishes it again.
  const waited = properties.hasHeader(DEATH_HEADER);
  const replayed = hops === 0 && properties.own[REPLAYED_AT_HEADER] !== undefined;
  return { user, hops, waited, replayed };
}

export const tooLarge = (bytes: number): Undecodable => ({
  reason: 'BODY_TOO_LARGE',
  detail: `the body has ${bytes} bytes, at most ${BODY_BYTES_MAX} are passed on`,
});

/** For a job that RabbitMQ would remove soon: see {@link isNearLimit}. */
export function nearDeliveryLimit(limit: number | undefined, deliveries: unknown): Undecodable | undefined {
  if (!isNearLimit(limit, deliveries)) return undefined;
  return { reason: 'DELIVERY_LIMIT', detail: `it was given back ${deliveries} times, and RabbitMQ removes a job after ${limit} times` };
}

/**
 * When a job was sent, in milliseconds since the epoch: by its timestamp (AMQP: seconds) where the sender has set one, else by when kpx first saw
 * it; undefined when this is the first time.
 */
export function sentAt(properties: WireProperties): number | undefined {
  const { timestamp } = properties;
  if (timestamp !== undefined && timestamp > 0) return timestamp * 1_000;
  const seen = properties.own[SEEN_AT_HEADER];
  return typeof seen === 'number' && seen > 0 ? seen : undefined;
}

/** The fields of the log about a message. Never its body. */
export function describe({ properties, fields }: WireMessage): Record<string, unknown> {
  const job = properties.text('messageId');
  const kpx_id = properties.own[ID_HEADER];
  return { ...(job !== undefined && { job }), ...(kpx_id !== undefined && { kpx_id }), delivery: fields.deliveryTag };
}
