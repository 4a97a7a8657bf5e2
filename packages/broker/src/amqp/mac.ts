import { createHmac, createSecretKey, type Hmac, type KeyObject, timingSafeEqual } from 'node:crypto';
import { BODY_BYTES_MAX } from './jobs.js';
import type { OwnHeaders, WireProperties } from './wire/properties.js';

/*
 * Everybody who may publish a job may write any header, kpx's own as well. The header x-kpx-mac shows that a broker has written them, for this body.
 *
 * It is the HMAC-SHA-256, in base64, over these bytes, all lengths in bytes and in decimal digits:
 * - `kpx job headers 1,`, then how many headers follow, and a comma. They are all whose name begins with x-kpx-, but x-kpx-mac itself and x-kpx-ref;
 * - for each, in the order of their names: length of the name, a colon, the name; `s` for text, `i` for a whole number, `b` for a boolean; length of the
 *   value, a colon, the value in UTF-8, a number in decimal digits, a boolean as `true` or `false`;
 * - `c`, the length of the body, a colon, the body. Of one above {@link BODY_BYTES_MAX} `l`, the length and a colon: it goes on while it comes in, and what it
 *   says is not known before its headers are sent. Such a body is parked in any case, and nothing is decided by its headers.
 *
 * Values count as they are read, not as they are encoded. RabbitMQ sorts a table and changes types when it moves a message out of a delay queue. So does the
 * client of an executor that gives a job back by publishing it anew. The body is hashed once, by the HMAC itself: half of what a hash of its own costs.
 */

const MAC_HEADER = 'x-kpx-mac';
/** Tells a returned message from its neighbours; RabbitMQ returns it before it confirms it. Nothing else is decided by it. */
export const REFERENCE_HEADER = 'x-kpx-ref';
/** Of every header that is kpx's own. */
export const OWN_PREFIX = 'x-kpx-';
/** kpx never writes as many; those of a message with more are not looked at. */
export const OWN_HEADERS_MAX = 32;
export const MAC_KEY_BYTES = 32;

export const isKeyLength = (bytes: number) => bytes === MAC_KEY_BYTES || bytes === 2 * MAC_KEY_BYTES;

const MAC_CHARS = 44;
const NONE: OwnHeaders = Object.freeze({});

/** A body, or its length where it is not kept. */
export type Body = Buffer | number;

/** Writes and checks the header x-kpx-mac with the key that all brokers share. */
export class JobMac {
  /** The first one signs; all of them are accepted. */
  readonly #keys: readonly KeyObject[];

  /** One key, or a second one behind it. */
  constructor(keys: Buffer) {
    if (!isKeyLength(keys.length)) throw new RangeError('a key of another length');
    this.#keys = Array.from({ length: keys.length / MAC_KEY_BYTES }, (_, index) =>
      createSecretKey(keys.subarray(index * MAC_KEY_BYTES, (index + 1) * MAC_KEY_BYTES)),
    );
  }

  /** Finds out which headers of a message are kpx's own: from now on `properties.own` has them. Answers whether it says to have any that are not. */
  judge(properties: WireProperties, body: Body): boolean {
    const entries = properties.beginningWith(OWN_PREFIX);
    if (entries.length === 0) return false;
    properties.own = this.#proven(entries, body) ?? NONE;
    return properties.own === NONE;
  }

  /** Headers with the one that proves them, if there are any of kpx's own. */
  sealed<O extends OwnHeaders>(own: O, body: Body): O {
    const [key] = this.#keys;
    if (!key) throw new Error('there is no key');
    return Object.assign({}, own, { [MAC_HEADER]: hmacOf(key, canonical(own, body), body).digest('base64') });
  }

  /** Undefined: it is not proven that a broker has written all of them. */
  #proven(entries: readonly (readonly [string, unknown])[], body: Body): OwnHeaders | undefined {
    if (entries.length > OWN_HEADERS_MAX) return undefined;
    const own: Record<string, string | number | boolean> = {};
    let mac: unknown;
    let reference: unknown;
    for (const [name, value] of entries) {
      const earlier = name === MAC_HEADER ? mac : name === REFERENCE_HEADER ? reference : own[name];
      if (earlier !== undefined || !isPlain(value)) return undefined;
      if (name === MAC_HEADER) mac = value;
      else if (name === REFERENCE_HEADER) reference = value;
      else own[name] = value;
    }
    if (typeof mac !== 'string' || mac.length !== MAC_CHARS) return undefined;
    const given = Buffer.from(mac, 'base64');
    const text = canonical(own, body);
    const isOurs = this.#keys.some((key) => {
      const expected = hmacOf(key, text, body).digest();
      return given.length === expected.length && timingSafeEqual(given, expected);
    });
    return isOurs ? own : undefined;
  }
}

/** Of the types that kpx writes. */
const isPlain = (value: unknown): value is string | number | boolean =>
  typeof value === 'string' || typeof value === 'boolean' || Number.isSafeInteger(value);

function hmacOf(key: KeyObject, text: string, body: Body): Hmac {
  const hmac = createHmac('sha256', key).update(text);
  return isHashed(body) ? hmac.update(body) : hmac;
}

const lengthOf = (body: Body) => (typeof body === 'number' ? body : body.length);
const isHashed = (body: Body): body is Buffer => lengthOf(body) <= BODY_BYTES_MAX;

/** All that is hashed before the body. In plain loops, as this is done for every job. */
function canonical(own: OwnHeaders, body: Body): string {
  const names: string[] = [];
  for (const name in own) {
    if (!name.startsWith(OWN_PREFIX) || name === REFERENCE_HEADER || name === MAC_HEADER) continue;
    let at = names.length;
    for (let before = names[at - 1]; before !== undefined && before > name; before = names[at - 1]) names[at--] = before;
    names[at] = name;
  }
  let text = `kpx job headers 1,${names.length},`;
  for (const name of names) text += withLength(name) + kindOf(own[name]) + withLength(String(own[name]));
  return `${text}${isHashed(body) ? 'c' : 'l'}${lengthOf(body)}:`;
}

const kindOf = (value: unknown) => (typeof value === 'string' ? 's' : typeof value === 'number' ? 'i' : 'b');
const withLength = (text: string) => `${Buffer.byteLength(text)}:${text}`;
