import { type KnimeUser, knimeUserSchema } from '@kpx/protocol';
import { placeOf, type UserFrom } from '../config/user-from.js';
import type { Reason } from '../policy/reasons.js';
import { ACCOUNT_HEADER, type Own, USER_HEADER, USER_ID_HEADER } from './headers.js';
import { BODY_BYTES_MAX, tooLarge } from './jobs.js';
import type { WireProperties } from './wire/properties.js';

/*
 * The user of a job, by `jobs.user_from`:
 *
 *   body:NAME         A key of the body, which is a JSON object. Everybody who may publish a job may write any name.
 *   header:NAME       A header, which is text and there once. Everybody who may publish a job may write any name. Nothing is read of the body.
 *   property:user_id  The name by which the publisher has logged in to RabbitMQ, which refuses any other. Nothing is read of the body.
 *
 * kpx never sets user_id itself, and a job that an executor gives back by publishing it anew has lost it. So a name that a broker has recorded comes first.
 * `properties.own` has what brokers have recorded, proven by x-kpx-mac. A job that the code of an account has published, and that names nobody, is of that account.
 */

/** Why a job is of nobody that kpx can serve. */
export interface Undecodable {
  readonly reason: Reason;
  readonly detail: string;
}

/** Longest piece of somebody's input that is repeated in a detail, in characters. */
const QUOTED_CHARS_MAX = 80;

/** The user of a job, and the place where it was read, for people. */
interface Submitter {
  readonly user: KnimeUser;
  readonly readFrom: string;
}

/** Reads the user of a job, whose properties have been judged by x-kpx-mac. */
export function submitterOf(body: Buffer, properties: WireProperties, from: UserFrom): Submitter | Undecodable {
  const kept = from.in === 'body' ? undefined : inOwnHeader(properties, from);
  const written = kept?.written ?? (from.in === 'body' ? inBody(body, from.name) : besideBody(properties, from));
  if (typeof written === 'string') return named(written, kept?.readFrom ?? placeOf(from));
  const account = properties.own[ACCOUNT_HEADER];
  if (from.in === 'body' || written.reason !== 'USER_MISSING' || typeof account !== 'string') return written;
  return named(account, `${ACCOUNT_HEADER}: the code of this account has published it`);
}

export function userOf(body: Buffer, properties: WireProperties, from: UserFrom): KnimeUser | Undecodable {
  const submitter = submitterOf(body, properties, from);
  return 'user' in submitter ? submitter.user : submitter;
}

function named(written: string, readFrom: string): Submitter | Undecodable {
  const name = knimeUserSchema.safeParse(written);
  if (name.success) return { user: name.data, readFrom };
  const quoted = JSON.stringify(written.slice(0, QUOTED_CHARS_MAX));
  return { reason: 'USER_NAME_INVALID', detail: `${quoted}: ${name.error.issues[0]?.message}` };
}

/** The header that keeps the user of a job whose own headers and properties stay behind. */
export function recorded(properties: WireProperties, from: UserFrom): Own {
  if (from.in === 'body') return {};
  const user = userOf(Buffer.alloc(0), properties, from);
  return typeof user === 'string' ? { [from.in === 'header' ? USER_HEADER : USER_ID_HEADER]: user } : {};
}

/** Source of the format: the body is JSON, of which only the user's key is used. */
function inBody(body: Buffer, field: string): string | Undecodable {
  if (body.length > BODY_BYTES_MAX) return tooLarge(body.length);
  const content = parseObject(body);
  if (!content) return { reason: 'BODY_NOT_JSON', detail: 'the body is not a JSON object in UTF-8' };
  const user = Object.hasOwn(content, field) ? content[field] : undefined;
  if (user === undefined) return { reason: 'USER_MISSING', detail: `the body has no key "${field}"` };
  return typeof user === 'string' ? user : { reason: 'USER_NOT_A_STRING', detail: `the value of "${field}" is not a string` };
}

type BesideBody = Exclude<UserFrom, { in: 'body' }>;

const besideBody = (properties: WireProperties, from: BesideBody) =>
  from.in === 'user_id' ? inUserId(properties) : inHeader(properties, from.name);

/** As a broker has recorded it. */
function inOwnHeader(properties: WireProperties, from: BesideBody): { readonly written: string; readonly readFrom: string } | undefined {
  const header = from.in === 'user_id' ? USER_ID_HEADER : USER_HEADER;
  const written = properties.own[header];
  return typeof written === 'string' ? { written, readFrom: `${header}, where a broker has recorded ${placeOf(from)}` } : undefined;
}

function inUserId(properties: WireProperties): string | Undecodable {
  const detail = 'the property user_id is not set: its publisher has to set it to its own RabbitMQ user';
  return properties.text('userId') ?? { reason: 'USER_MISSING', detail };
}

/** RabbitMQ takes a header twice, and its clients do not agree on which one counts. */
function inHeader(properties: WireProperties, name: string): string | Undecodable {
  const values = properties.headers(name);
  if (values.length === 0) return { reason: 'USER_MISSING', detail: `there is no header "${name}"` };
  if (values.length > 1) return { reason: 'USER_AMBIGUOUS', detail: `the header "${name}" is there ${values.length} times` };
  const [user] = values;
  return typeof user === 'string' ? user : { reason: 'USER_NOT_A_STRING', detail: `the header "${name}" is not text` };
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
