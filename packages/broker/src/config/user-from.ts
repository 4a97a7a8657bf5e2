/** The keys of `[jobs]` that say where the user of a job is written. At most one of them is not empty. */
interface Keys {
  readonly user_from: string;
  readonly user_field: string;
}

/** A key of the body, which is JSON; a header; or the property `user_id`, for which RabbitMQ vouches. */
export type UserFrom = { readonly in: 'body' | 'header'; readonly name: string } | { readonly in: 'user_id' };

const DEFAULT_FIELD = 'user';
const USER_ID = 'property:user_id';
const NAMED = /^(body|header):(.+)$/s;
const HEADER_BYTES_MAX = 255;
/** The broker removes those of others: see amqp/headers.ts. */
const NOT_KEPT = /^(x-kpx-.*|x-death|CC|BCC)$/s;

/** The reason that this is no value of `jobs.user_from`; undefined: it is one. */
export function whyNotUserFrom(text: string): string | undefined {
  if (text === '' || text === USER_ID) return undefined;
  const [, place, name = ''] = NAMED.exec(text) ?? [];
  if (place === undefined) return 'expected "body:NAME", "header:NAME" or "property:user_id"';
  if (place === 'body') return undefined;
  if (Buffer.byteLength(name) > HEADER_BYTES_MAX) return `expected the name of a header, at most ${HEADER_BYTES_MAX} bytes`;
  return NOT_KEPT.test(name) ? `"${name}" is a header of kpx's or RabbitMQ's own: expected one that the publisher sets` : undefined;
}

/** For people. */
export function placeOf(from: UserFrom): string {
  if (from.in === 'user_id') return 'the property user_id';
  return from.in === 'body' ? `the key "${from.name}" of the body` : `the header "${from.name}"`;
}

/** Of a configuration that has passed {@link whyNotUserFrom}. */
export function userFrom({ user_from, user_field }: Keys): UserFrom {
  if (user_from === '') return { in: 'body', name: user_field || DEFAULT_FIELD };
  const [, place, name = ''] = NAMED.exec(user_from) ?? [];
  return place === 'body' || place === 'header' ? { in: place, name } : { in: 'user_id' };
}
