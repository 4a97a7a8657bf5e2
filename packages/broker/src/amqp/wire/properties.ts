import type { PassedOn } from './cut-through.js';
import { CannotTravel, decoded, keyOf, scalarAt, walk } from './table.js';

/** In the order in which they are on the wire; the first has the highest bit. Source: AMQP 0-9-1, class basic. */
const FIELDS = [
  ...['contentType', 'contentEncoding', 'headers', 'deliveryMode', 'priority', 'correlationId', 'replyTo'],
  ...['expiration', 'messageId', 'timestamp', 'type', 'userId', 'appId', 'clusterId'],
] as const;
type TextField =
  | 'contentType'
  | 'contentEncoding'
  | 'correlationId'
  | 'replyTo'
  | 'expiration'
  | 'messageId'
  | 'type'
  | 'userId'
  | 'appId'
  | 'clusterId';

const HEADERS = FIELDS.indexOf('headers');
const DELIVERY_MODE = FIELDS.indexOf('deliveryMode');
const PRIORITY = FIELDS.indexOf('priority');
const REPLY_TO = FIELDS.indexOf('replyTo');
const EXPIRATION = FIELDS.indexOf('expiration');
const TIMESTAMP = FIELDS.indexOf('timestamp');
const USER_ID = FIELDS.indexOf('userId');
const FLAG_BYTES = 2;
const LENGTH_BYTES = 4;
const HIGHEST_FLAG = 0x8000;
/** Flags that no property has: another word of flags would follow, or nothing that is known. */
const UNKNOWN_FLAGS = 0x0003;
const PERSISTENT = 2;
const flagOf = (field: number) => HIGHEST_FLAG >> field;

/** How the properties change on their way. All else stays byte for byte. */
export interface Changes {
  /** Is the header with this name to be left out? */
  readonly drops: (name: string) => boolean;
  /** Encoded entries that are put behind the headers that stay. */
  readonly adds: readonly Buffer[];
  /** Replaces the time to live; undefined: without one. */
  readonly expiration?: string | undefined;
  /** Replaces the queue that is answered to; empty: without one; not set: it stays. */
  readonly replyTo?: string;
}

/** Of a body that is not in the message. */
interface Passage {
  readonly bytes: number;
  /** Tells what has become of it; undefined: it was not passed on. */
  readonly passedOn: PassedOn | undefined;
}

/** Headers that kpx has written, by name. */
export type OwnHeaders = Readonly<Record<string, string | number | boolean>>;

/** The properties of a message as the bytes that they are on the wire. Reading never throws: what cannot be read is not there. */
export class WireProperties {
  readonly bytes: Buffer;
  /** Set where the body was not kept: what has become of it. */
  passage: Passage | undefined;
  /** The headers that a broker has written: none, until that is proven. */
  own: OwnHeaders = {};
  /** Where each field begins, and behind the last one where that ends; undefined until it is asked for. */
  #offsets: readonly number[] | undefined;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** Why these are no properties that could travel; undefined: they are in order. Looks at every entry of the headers. */
  get unreadable(): string | undefined {
    try {
      walk(this.#table(), () => {});
      return undefined;
    } catch (error) {
      if (error instanceof CannotTravel) return error.message;
      throw error;
    }
  }

  text(field: TextField): string | undefined {
    const span = this.#span(FIELDS.indexOf(field));
    return span && this.bytes.toString('utf8', span.from + 1, span.to);
  }

  /** In seconds since the epoch, as the sender has set it. */
  get timestamp(): number | undefined {
    const span = this.#span(TIMESTAMP);
    return span && Number(this.bytes.readBigUInt64BE(span.from));
  }

  /** The last header with this name; undefined also where it is no text, number, boolean or null. */
  header(name: string): ReturnType<typeof scalarAt> {
    const found = this.#find(name);
    return found && scalarAt(found.table, found.tagAt);
  }

  /** Every header with this name, as {@link header} reads it. */
  headers(name: string): ReturnType<typeof scalarAt>[] {
    const found: ReturnType<typeof scalarAt>[] = [];
    readable(() => {
      const table = this.#table();
      walk(table, (from, tagAt) => {
        if (keyOf(table, from, tagAt) === name) found.push(scalarAt(table, tagAt));
      });
    });
    return found;
  }

  hasHeader(name: string): boolean {
    return this.#find(name) !== undefined;
  }

  /** Every header whose name begins so, in the order on the wire; none where they cannot be read. */
  beginningWith(prefix: string): (readonly [name: string, value: ReturnType<typeof scalarAt>])[] {
    return (
      readable(() => {
        const table = this.#table();
        const found: (readonly [string, ReturnType<typeof scalarAt>])[] = [];
        walk(table, (from, tagAt) => {
          if (!beginsWith(table, from + 1, tagAt, prefix)) return;
          found.push([keyOf(table, from, tagAt), scalarAt(table, tagAt)]);
        });
        return found;
      }) ?? []
    );
  }

  /** All of them for people; headers are left out where they cannot be read. */
  shown(): Record<string, unknown> {
    const properties: Record<string, unknown> = {};
    for (const [index, name] of FIELDS.entries()) {
      const span = this.#span(index);
      if (!span) continue;
      if (index === HEADERS) {
        const headers = readable(() => decoded(this.#table()));
        if (headers) properties[name] = headers;
      } else if (index === DELIVERY_MODE || index === PRIORITY) properties[name] = this.bytes[span.from];
      else properties[name] = index === TIMESTAMP ? this.timestamp : this.text(name as TextField);
    }
    return properties;
  }

  /** Their content, to be compared: each field but the headers, then each header that is not dropped, in an order of their bytes. */
  parts(drops: (name: string) => boolean): Buffer[] {
    return (
      readable(() => {
        const table = this.#table();
        const entries: Buffer[] = [];
        walk(table, (from, tagAt, _, to) => {
          if (!drops(keyOf(table, from, tagAt))) entries.push(table.subarray(from, to));
        });
        const fields = [this.bytes.subarray(FLAG_BYTES, this.#start(HEADERS)), this.bytes.subarray(this.#start(HEADERS + 1))];
        return [...fields, ...entries.sort(Buffer.compare)];
      }) ?? [this.bytes]
    );
  }

  /**
   * The properties as they travel on, without the user id and with these changes. Throws {@link CannotTravel}. In plain loops, as this is done for
   * every job.
   */
  with({ drops, adds, expiration, replyTo }: Changes): Buffer {
    const table = this.#table();
    const kept = keptRanges(table, drops);
    let headersBytes = 0;
    for (const { from, to } of kept) headersBytes += to - from;
    for (const { length } of adds) headersBytes += length;
    const ttlBytes = textBytes(expiration);
    const replyBytes = replyTo === undefined ? this.#size(REPLY_TO) : textBytes(replyTo);
    const replaced = this.#size(HEADERS) + this.#size(EXPIRATION) + this.#size(USER_ID) + this.#size(REPLY_TO);
    const bytes = Buffer.allocUnsafe(this.bytes.length - replaced + LENGTH_BYTES + headersBytes + ttlBytes + replyBytes);
    let flags = flagOf(HEADERS);
    let at = FLAG_BYTES;
    for (let field = 0; field < FIELDS.length; field++) {
      if (field === HEADERS) {
        at = bytes.writeUInt32BE(headersBytes, at);
        for (const { from, to } of kept) at += table.copy(bytes, at, from, to);
        for (const added of adds) at += added.copy(bytes, at);
      } else if (field === EXPIRATION || (field === REPLY_TO && replyTo !== undefined)) {
        const text = field === EXPIRATION ? expiration : replyTo;
        if (!text) continue;
        flags |= flagOf(field);
        at = bytes.writeUInt8(Buffer.byteLength(text), at);
        at += bytes.write(text, at);
      } else if (field !== USER_ID && this.#size(field) > 0) {
        flags |= flagOf(field);
        at += this.bytes.copy(bytes, at, this.#start(field), this.#start(field + 1));
      }
    }
    bytes.writeUInt16BE(flags);
    return bytes;
  }

  #table(): Buffer {
    const from = this.#start(HEADERS);
    const to = this.#start(HEADERS + 1);
    return from === to ? this.bytes.subarray(0, 0) : this.bytes.subarray(from + LENGTH_BYTES, to);
  }

  #find(name: string): { table: Buffer; tagAt: number } | undefined {
    const keyBytes = Buffer.byteLength(name);
    return readable(() => {
      const table = this.#table();
      let found = -1;
      walk(table, (from, tagAt) => {
        if (table[from] === keyBytes && keyOf(table, from, tagAt) === name) found = tagAt;
      });
      return found < 0 ? undefined : { table, tagAt: found };
    });
  }

  #span(field: number): { from: number; to: number } | undefined {
    return readable(() => {
      const [from, to] = [this.#start(field), this.#start(field + 1)];
      return from === to ? undefined : { from, to };
    });
  }

  #size(field: number): number {
    return this.#start(field + 1) - this.#start(field);
  }

  #start(field: number): number {
    this.#offsets ??= offsetsOf(this.bytes);
    return this.#offsets[field] ?? this.bytes.length;
  }
}

/** New properties of a message that stays on disk, with these headers alone. */
export function newProperties(headers: readonly Buffer[]): Buffer {
  const size = Buffer.allocUnsafe(FLAG_BYTES + LENGTH_BYTES);
  size.writeUInt16BE(flagOf(HEADERS) | flagOf(DELIVERY_MODE));
  size.writeUInt32BE(sum(headers.map(({ length }) => length)), FLAG_BYTES);
  return Buffer.concat([size, ...headers, Buffer.from([PERSISTENT])]);
}

function offsetsOf(bytes: Buffer): number[] {
  if (bytes.length < FLAG_BYTES) throw new CannotTravel('the properties are cut off');
  const flags = bytes.readUInt16BE();
  if ((flags & UNKNOWN_FLAGS) !== 0) throw new CannotTravel('the properties have flags that AMQP 0-9-1 does not know');
  const offsets: number[] = [];
  let at = FLAG_BYTES;
  for (let field = 0; field < FIELDS.length; field++) {
    offsets.push(at);
    if ((flags & flagOf(field)) !== 0) at += sizeAt(bytes, field, at);
  }
  offsets.push(at);
  if (at !== bytes.length) throw new CannotTravel('the properties are not as long as they say');
  return offsets;
}

function sizeAt(bytes: Buffer, field: number, at: number): number {
  if (field === HEADERS) {
    if (at + LENGTH_BYTES > bytes.length) throw new CannotTravel('the properties are cut off');
    return LENGTH_BYTES + bytes.readUInt32BE(at);
  }
  if (field === DELIVERY_MODE || field === PRIORITY) return 1;
  return field === TIMESTAMP ? 8 : 1 + (bytes[at] ?? 0);
}

/** Of a text with its length before it; one that is empty is left out. */
const textBytes = (text: string | undefined) => (text ? 1 + Buffer.byteLength(text) : 0);

/** Does what is between `from` and `to` begin with this ASCII text? Makes no string: it is asked for every header of every job. */
function beginsWith(bytes: Buffer, from: number, to: number, prefix: string): boolean {
  if (to - from < prefix.length) return false;
  for (let index = 0; index < prefix.length; index++) if (bytes[from + index] !== prefix.charCodeAt(index)) return false;
  return true;
}

/** The rest of a table when these entries are dropped, neighbours together. */
function keptRanges(table: Buffer, drops: (name: string) => boolean): { from: number; to: number }[] {
  const kept: { from: number; to: number }[] = [];
  let begin = 0;
  walk(table, (from, tagAt, _, to) => {
    if (!drops(keyOf(table, from, tagAt))) return;
    if (from > begin) kept.push({ from: begin, to: from });
    begin = to;
  });
  if (table.length > begin) kept.push({ from: begin, to: table.length });
  return kept;
}

function sum(numbers: readonly number[]): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}

function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof CannotTravel) return undefined;
    throw error;
  }
}
