import { type KnimeUser, knimeUserSchema } from '@kpx/protocol';
import type { Reason } from './reasons.js';

/** Largest body that is passed on, in bytes. */
export const BODY_BYTES_MAX = 1024 * 1024;

/** How often kpx has sent this job on already; ours, beside KNIME's own headers. */
export const HOPS_HEADER = 'x-kpx-hops';

/** When kpx first saw this job, in milliseconds since the epoch. */
export const SEEN_AT_HEADER = 'x-kpx-seen-at';

/** When an operator has replayed this dead letter: the same for all of one command. */
export const REPLAYED_AT_HEADER = 'x-kpx-replayed-at';
const REPLAYED_AT_CHARS_MAX = 64;

/** What kpx has to know of a job. Its body is passed on as it came. */
export interface Job {
  /** The submitter as KNIME names them; syntax checked. */
  readonly user: KnimeUser;
  readonly hops: number;
  /** It comes from a delay queue: nobody has been offered it and given it back. */
  readonly waited: boolean;
  /** Which command of an operator has replayed it, when it comes from that; undefined: it comes from the sender, or kpx has sent it on since. */
  readonly replay: string | undefined;
}

export interface Undecodable {
  readonly reason: Reason;
  readonly detail: string;
}

/** Longest piece of somebody's input that is repeated in a detail, in characters. */
const QUOTED_CHARS_MAX = 80;

/** Reads the user of a job. Source of the format: the body is JSON, of which only the user's key is used. */
export function decodeJob(body: Buffer, headers: Record<string, unknown>, userField: string): Job | Undecodable {
  if (body.length > BODY_BYTES_MAX) {
    return { reason: 'BODY_TOO_LARGE', detail: `the body has ${body.length} bytes, at most ${BODY_BYTES_MAX} are passed on` };
  }
  const content = parseObject(body);
  if (!content) return { reason: 'BODY_NOT_JSON', detail: 'the body is not a JSON object in UTF-8' };
  const user = Object.hasOwn(content, userField) ? content[userField] : undefined;
  if (user === undefined) return { reason: 'USER_MISSING', detail: `the body has no key "${userField}"` };
  if (typeof user !== 'string') return { reason: 'USER_NOT_A_STRING', detail: `the value of "${userField}" is not a string` };
  const name = knimeUserSchema.safeParse(user);
  if (!name.success) {
    const quoted = JSON.stringify(user.slice(0, QUOTED_CHARS_MAX));
    return { reason: 'USER_NAME_INVALID', detail: `${quoted}: ${name.error.issues[0]?.message}` };
  }
  const hops = Number.isSafeInteger(headers[HOPS_HEADER]) ? Math.max(0, Number(headers[HOPS_HEADER])) : 0;
  // RabbitMQ says where a message has expired last; kpx takes that off when it publishes it again.
  const waited = Array.isArray(headers['x-death']);
  const replayedAt = headers[REPLAYED_AT_HEADER];
  const replay = hops === 0 && typeof replayedAt === 'string' ? replayedAt.slice(0, REPLAYED_AT_CHARS_MAX) : undefined;
  return { user: name.data, hops, waited, replay };
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function parseObject(body: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(utf8.decode(body));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * When a job was sent, in milliseconds since the epoch: by its timestamp (AMQP: seconds) where the sender has set one, else by when kpx first saw
 * it; undefined when this is the first time.
 */
export function sentAt(properties: {
  readonly timestamp?: unknown;
  readonly headers?: Record<string, unknown> | undefined;
}): number | undefined {
  const { timestamp, headers } = properties;
  if (typeof timestamp === 'number' && timestamp > 0) return timestamp * 1_000;
  const seen = headers?.[SEEN_AT_HEADER];
  return typeof seen === 'number' && seen > 0 ? seen : undefined;
}
