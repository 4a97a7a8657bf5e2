import { PROTOCOL_VERSION } from '@kpx/protocol';

/** The verbs' numbers in privhelper.proto, where they are the fields of a Request. */
export const FIELD = { id: 1, hello: 2, prepareUser: 3, spawnExecutor: 4, stopExecutor: 5, listExecutors: 6 } as const;
export type Verb = Exclude<keyof typeof FIELD, 'id'>;

/** Wire types of protobuf. */
export const WIRE = { varint: 0, fixed64: 1, bytes: 2, groupStart: 3, groupEnd: 4, fixed32: 5 } as const;

type Value = number | bigint | string | Buffer;
export type Field = readonly [number: number, value: Value];

export const tag = (field: number, wireType: number) => varint(field * 8 + wireType);

export function varint(value: number | bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Buffer.from(bytes);
}

/** A message of exactly these fields in this order, whether a proper peer would write them or not. Text goes in as UTF-8, a Buffer as it is. */
export function message(...fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.flatMap(([field, value]) => {
      if (typeof value === 'number' || typeof value === 'bigint') return [tag(field, WIRE.varint), varint(value)];
      const bytes = Buffer.from(value as string);
      return [tag(field, WIRE.bytes), varint(bytes.length), bytes];
    }),
  );
}

/** The packet of one request; `id` is 100 where it does not matter. */
export const request = (verb: Verb, fields: readonly Field[], id = 100) => message([FIELD.id, id], [FIELD[verb], message(...fields)]);

export const hello = request('hello', [[1, PROTOCOL_VERSION]], 1);

/** Every verb that carries a name, with this one in it. */
export const NAMING: readonly (readonly [verb: Verb, packet: (name: string | Buffer) => Buffer])[] = [
  ['prepareUser', (name) => request('prepareUser', [[1, name]])],
  [
    'spawnExecutor',
    (name) =>
      request('spawnExecutor', [
        [1, name],
        [2, 'default'],
      ]),
  ],
  [
    'stopExecutor',
    (name) =>
      request('stopExecutor', [
        [1, name],
        [2, 2],
      ]),
  ],
];
