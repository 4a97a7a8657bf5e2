/* Field tables and properties of AMQP 0-9-1, written as bytes: what a test publishes, and what it expects to come back. */
import { JobMac, MAC_KEY_BYTES } from '../src/amqp/mac.js';
import type { WireMessage } from '../src/amqp/wire/amqplib.js';
import { type OwnHeaders, WireProperties } from '../src/amqp/wire/properties.js';
import { entry } from '../src/amqp/wire/table.js';

/** One entry: its key, the tag of its type, the bytes of its value without a length. */
export type Field = readonly [key: string | Buffer, tag: string, value: Buffer];

const withLength = (value: Buffer) => Buffer.concat([uint32(value.length), value]);
/** Text, bytes, tables and arrays have their length before them. */
const tagged = (tag: string, value: Buffer) =>
  Buffer.concat([Buffer.from(tag, 'latin1'), 'SxFA'.includes(tag) ? withLength(value) : value]);

/** The entries of a table, without its length. */
export const table = (...fields: Field[]): Buffer =>
  Buffer.concat(fields.map(([key, tag, value]) => Buffer.concat([shortText(key), tagged(tag, value)])));
/** The elements of an array, without its length. */
export const array = (...elements: [tag: string, value: Buffer][]): Buffer => Buffer.concat(elements.map((element) => tagged(...element)));

export const bytes = (...octets: number[]) => Buffer.from(octets);
export const text = (value: string): Field[2] => Buffer.from(value);
export const int64 = (value: bigint) => written(8, (to) => to.writeBigInt64BE(value));
export const uint64 = (value: bigint) => written(8, (to) => to.writeBigUInt64BE(value));
export const uint32 = (value: number) => written(4, (to) => to.writeUInt32BE(value));
export const double = (value: number) => written(8, (to) => to.writeDoubleBE(value));
export const float = (value: number) => written(4, (to) => to.writeFloatBE(value));

function written(size: number, write: (to: Buffer) => void): Buffer {
  const to = Buffer.alloc(size);
  write(to);
  return to;
}

function shortText(value: string | Buffer): Buffer {
  const content = Buffer.from(value as string);
  return Buffer.concat([Buffer.from([content.length]), content]);
}

/** Every property, in the order of the wire, and how it is written. */
const PROPERTIES = {
  contentType: shortText,
  contentEncoding: shortText,
  headers: withLength,
  deliveryMode: (value: Buffer) => value,
  priority: (value: Buffer) => value,
  correlationId: shortText,
  replyTo: shortText,
  expiration: shortText,
  messageId: shortText,
  timestamp: (value: Buffer) => value,
  type: shortText,
  userId: shortText,
  appId: shortText,
  clusterId: shortText,
} as const;
export type Properties = { readonly [Name in keyof typeof PROPERTIES]?: Buffer | string };

/** The properties as a content header has them: flags, then each that is there. */
export function propertyBytes(properties: Properties): Buffer {
  let flags = 0;
  const fields: Buffer[] = [];
  for (const [index, [name, write]] of Object.entries(PROPERTIES).entries()) {
    const value = properties[name as keyof Properties];
    if (value === undefined) continue;
    flags |= 0x8000 >> index;
    fields.push(write(Buffer.from(value as string)));
  }
  return Buffer.concat([written(2, (to) => to.writeUInt16BE(flags)), ...fields]);
}

/** With a key of tests. */
export const MAC = new JobMac(Buffer.alloc(MAC_KEY_BYTES, 'test'));

/** Properties whose headers a broker has written for this body, and that are known to be its own. */
export function provenProperties(own: OwnHeaders, body: string | Buffer = '', properties: Properties = {}): WireProperties {
  const entries = Object.entries(MAC.sealed(own, Buffer.from(body as string))).map(([name, value]) => entry(name, value));
  const proven = new WireProperties(propertyBytes({ ...properties, headers: Buffer.concat(entries) }));
  MAC.judge(proven, Buffer.from(body as string));
  return proven;
}

/** A message as the broker has it in hand. */
export const wireMessageOf = (body: string | Buffer, properties: Properties = {}): WireMessage => ({
  content: Buffer.from(body as string),
  properties: new WireProperties(propertyBytes(properties)),
  fields: { deliveryTag: 1, redelivered: false },
});

/** A table with an entry of every type that AMQP 0-9-1 has with RabbitMQ, and of every kind of odd value. */
export const EVERY_TYPE: Field[] = [
  ['bool', 't', bytes(1)],
  ['bool false', 't', bytes(0)],
  ['int8', 'b', bytes(0x80)],
  ['uint8', 'B', bytes(0xff)],
  ['int16', 's', bytes(0x80, 0)],
  ['uint16', 'u', bytes(0xff, 0xff)],
  ['int32', 'I', bytes(0x80, 0, 0, 0)],
  ['uint32', 'i', bytes(0xff, 0xff, 0xff, 0xff)],
  ['int64', 'l', int64(2n ** 53n + 1n)],
  ['int64 least', 'l', int64(-(2n ** 63n))],
  ['float', 'f', float(0.1)],
  ['double', 'd', double(2)],
  ['decimal', 'D', bytes(2, 0, 0, 1, 0x2c)],
  ['timestamp', 'T', uint64(2n ** 64n - 1n)],
  ['text', 'S', text('grüße')],
  ['text in Latin-1', 'S', bytes(0x67, 0x72, 0xfc, 0xdf, 0x65)],
  ['empty text', 'S', bytes()],
  ['bytes', 'x', bytes(0, 0xff, 0xfe)],
  ['nothing', 'V', bytes()],
  ['array', 'A', array(['I', bytes(0, 0, 0, 1)], ['d', double(1)], ['S', text('x')])],
  ['table', 'F', table(['inner', 'l', int64(2n ** 62n)], ['inner', 'd', double(3)])],
  ['empty table', 'F', bytes()],
  ['__proto__', 'S', text('a key like any other')],
  ['twice', 'S', text('first')],
  ['twice', 'I', bytes(0, 0, 0, 2)],
  [bytes(0xff, 0xfe, 0x41), 'S', text('a key in no UTF-8')],
  ['k'.repeat(255), 't', bytes(1)],
  ['', 'S', text('a key without a name')],
];
