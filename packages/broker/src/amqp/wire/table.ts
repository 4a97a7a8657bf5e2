/*
 * AMQP's field tables as bytes. Nothing is decoded and encoded anew on its way: types, order, duplicates and bytes that are no UTF-8 stay as they
 * came. Source of the types: rabbitmq.com, "AMQP 0-9-1 Errata", section 3; sizes as RabbitMQ 3.10 reads them.
 */

/** These properties cannot travel on: they cannot be read, or what kpx adds has no room. The message says why. */
export class CannotTravel extends Error {}

/** Bytes of a value, by the type's tag. */
const FIXED: Readonly<Record<string, number>> = { t: 1, b: 1, B: 1, s: 2, u: 2, I: 4, i: 4, l: 8, L: 8, f: 4, d: 8, T: 8, D: 5, V: 0 };
/** Types with a length of 32 bits before the value: text, bytes, table, array. */
const SIZED = 'SxFA';
const LENGTH_BYTES = 4;
const KEY_BYTES_MAX = 255;
/** Tables within tables that are shown decoded; deeper ones are shown as bytes. */
const SHOWN_DEPTH_MAX = 16;

/** One entry: its key is `table[from + 1 … tagAt)`, its tag is at `tagAt`, its value `table[valueAt … to)`. */
export type Visit = (from: number, tagAt: number, valueAt: number, to: number) => void;

/** Calls `visit` for each entry of the top level. Throws {@link CannotTravel} where the bytes are no table. */
export function walk(table: Buffer, visit: Visit): void {
  let at = 0;
  while (at < table.length) {
    const from = at;
    at += 1 + (table[at] ?? 0);
    if (at >= table.length) throw new CannotTravel('a key of the header table has no value');
    const tagAt = at;
    at = valueEnd(table, tagAt);
    visit(from, tagAt, tagAt + 1, at);
  }
}

/** Where the value ends whose tag is at `tagAt`. */
function valueEnd(table: Buffer, tagAt: number): number {
  const tag = String.fromCharCode(table[tagAt] ?? 0);
  let end = tagAt + 1;
  const size = FIXED[tag];
  if (size !== undefined) end += size;
  else if (SIZED.includes(tag)) {
    if (end + LENGTH_BYTES > table.length) throw new CannotTravel('a length in the header table is cut off');
    end += LENGTH_BYTES + table.readUInt32BE(end);
  } else throw new CannotTravel(`the header table has a value of the unknown type 0x${(table[tagAt] ?? 0).toString(16).padStart(2, '0')}`);
  if (end > table.length) throw new CannotTravel('a value in the header table is cut off');
  return end;
}

export const keyOf = (table: Buffer, from: number, tagAt: number): string => table.toString('utf8', from + 1, tagAt);

/** A value that kpx decides by. undefined: of a type that kpx never asks for. */
export function scalarAt(table: Buffer, tagAt: number): boolean | number | bigint | string | null | undefined {
  const at = tagAt + 1;
  switch (String.fromCharCode(table[tagAt] ?? 0)) {
    case 't':
      return table[at] !== 0;
    case 'b':
      return table.readInt8(at);
    case 'B':
      return table.readUInt8(at);
    case 's':
      return table.readInt16BE(at);
    case 'u':
      return table.readUInt16BE(at);
    case 'I':
      return table.readInt32BE(at);
    case 'i':
      return table.readUInt32BE(at);
    case 'l':
    case 'L':
      return safe(table.readBigInt64BE(at));
    case 'T':
      return safe(table.readBigUInt64BE(at));
    case 'f':
      return table.readFloatBE(at);
    case 'd':
      return table.readDoubleBE(at);
    case 'S':
      return table.toString('utf8', at + LENGTH_BYTES, valueEnd(table, tagAt));
    case 'V':
      return null;
    default:
      return undefined;
  }
}

const safe = (value: bigint) => (Number.isSafeInteger(Number(value)) ? Number(value) : value);

/** One of kpx's own entries, encoded: text, whole number or boolean. */
export function entry(name: string, value: string | number | boolean): Buffer {
  const keyBytes = Buffer.byteLength(name);
  if (keyBytes > KEY_BYTES_MAX) throw new RangeError(`the header name "${name}" has more than ${KEY_BYTES_MAX} bytes`);
  const textBytes = typeof value === 'string' ? Buffer.byteLength(value) : 0;
  const size = typeof value === 'string' ? LENGTH_BYTES + textBytes : typeof value === 'number' ? 8 : 1;
  const bytes = Buffer.allocUnsafe(1 + keyBytes + 1 + size);
  let at = bytes.writeUInt8(keyBytes);
  at += bytes.write(name, at);
  if (typeof value === 'string') {
    at = bytes.writeUInt8('S'.charCodeAt(0), at);
    bytes.write(value, bytes.writeUInt32BE(textBytes, at));
  } else if (typeof value === 'number') {
    bytes.writeBigInt64BE(BigInt(value), bytes.writeUInt8('l'.charCodeAt(0), at));
  } else bytes.writeUInt8(Number(value), bytes.writeUInt8('t'.charCodeAt(0), at));
  return bytes;
}

/** A table for people: the last of several entries with one key; bytes, and what is nested too deeply, as a Buffer. */
export function decoded(table: Buffer, depth = 0): Record<string, unknown> {
  const result: Record<string, unknown> = Object.create(null);
  walk(table, (from, tagAt) => {
    result[keyOf(table, from, tagAt)] = shown(table, tagAt, depth);
  });
  return result;
}

function shown(table: Buffer, tagAt: number, depth: number): unknown {
  const at = tagAt + 1;
  const value = table.subarray(at + LENGTH_BYTES, valueEnd(table, tagAt));
  switch (String.fromCharCode(table[tagAt] ?? 0)) {
    case 'x':
      return value;
    case 'F':
      return depth < SHOWN_DEPTH_MAX ? decoded(value, depth + 1) : value;
    case 'A':
      return depth < SHOWN_DEPTH_MAX ? elements(value, depth + 1) : value;
    case 'D':
      return table.readInt32BE(at + 1) / 10 ** table.readUInt8(at);
    default:
      return scalarAt(table, tagAt);
  }
}

function elements(array: Buffer, depth: number): unknown[] {
  const values: unknown[] = [];
  for (let at = 0; at < array.length; at = valueEnd(array, at)) values.push(shown(array, at, depth));
  return values;
}
