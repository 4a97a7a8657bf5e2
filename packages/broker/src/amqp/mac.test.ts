import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { bytes, double, type Field, int64, propertyBytes, table, text } from '../../test-fixtures/wire.js';
import { BODY_BYTES_MAX } from './jobs.js';
import { JobMac, MAC_KEY_BYTES, OWN_HEADERS_MAX } from './mac.js';
import { type OwnHeaders, WireProperties } from './wire/properties.js';

const KEY = Buffer.alloc(MAC_KEY_BYTES, 'k');
const OTHER_KEY = Buffer.alloc(MAC_KEY_BYTES, 'o');
const MAC = new JobMac(KEY);
const BODY = Buffer.from('{"user":"alice"}');
const OWN = { 'x-kpx-hops': 3, 'x-kpx-seen-at': 1_700_000_000_123, 'x-kpx-failed-on': 'höst one', 'x-kpx-odd': true };
const macOf = (own: OwnHeaders, body: Buffer | number = BODY, mac = MAC) => String(mac.sealed(own, body)['x-kpx-mac']);

/** OWN as RabbitMQ, or another client, may write it. */
const FIELDS: Field[] = [
  ['x-kpx-odd', 't', bytes(7)],
  ['theirs', 'A', bytes()],
  ['x-kpx-failed-on', 'S', text('höst one')],
  ['x-kpx-hops', 'b', bytes(3)],
  ['x-kpx-seen-at', 'l', int64(1_700_000_000_123n)],
];
const macField = (mac: string): Field => ['x-kpx-mac', 'S', text(mac)];

/** What counts as kpx's own in a message with these headers. */
function own(fields: readonly Field[], body: Buffer | number = BODY, mac = MAC): OwnHeaders {
  const properties = new WireProperties(propertyBytes({ headers: table(...fields) }));
  const isForged = mac.judge(properties, body);
  expect(isForged).toBe(Object.keys(properties.own).length === 0 && fields.some(([name]) => String(name).startsWith('x-kpx-')));
  return properties.own;
}

describe('x-kpx-mac', () => {
  it('is an HMAC-SHA-256 over the headers in the order of their names, and the body', () => {
    const exact = 'kpx job headers 1,2,10:x-kpx-hopsi1:310:x-kpx-words2:äc16:{"user":"alice"}';
    const expected = createHmac('sha256', KEY).update(exact).digest('base64');
    expect(macOf({ 'x-kpx-word': 'ä', canHandle: true, 'x-kpx-hops': 3, 'x-kpx-ref': 9 })).toBe(expected);
  });

  it('is the same whatever order the headers come in, for any number of them', () => {
    for (let count = 1; count < OWN_HEADERS_MAX - 1; count++) {
      const entries = Array.from({ length: count }, (_, index) => [`x-kpx-${(index * 37) % 101}`, index] as const);
      const values = new Map(entries);
      const all = [...values.keys()].sort().map((name) => `${name.length}:${name}i${String(values.get(name)).length}:${values.get(name)}`);
      const exact = `kpx job headers 1,${count},${all.join('')}c${BODY.length}:${BODY}`;
      expect(macOf(Object.fromEntries(entries))).toBe(createHmac('sha256', KEY).update(exact).digest('base64'));
      expect(macOf(Object.fromEntries(entries.toReversed()))).toBe(macOf(Object.fromEntries(entries)));
      const fields = entries.map(([name, value]): Field => [name, 'b', bytes(value)]);
      expect(own([...fields, macField(macOf(Object.fromEntries(entries)))])).toEqual(Object.fromEntries(entries));
    }
  });

  it.each<[string, Field[]]>([
    ['the proof', [macField(macOf(OWN))]],
    [
      'the reference',
      [
        ['x-kpx-ref', 'b', bytes(1)],
        ['x-kpx-ref', 'b', bytes(1)],
      ],
    ],
  ])('does not hold with %s twice', (_, more) => {
    expect(own([...FIELDS, macField(macOf(OWN)), ...more])).toEqual({});
  });

  it('is not looked for because of a header whose name only begins like one of kpx', () => {
    expect(own([['x-kpx', 'b', bytes(1)], ['x-kpy-hops', 'b', bytes(1)], ...FIELDS, macField(macOf(OWN))])).toEqual(OWN);
    expect(
      own([
        ['x-kpx', 'b', bytes(1)],
        ['', 'b', bytes(1)],
      ]),
    ).toEqual({});
  });

  it('holds for the same headers in another order and of other types', () => {
    expect(own([...FIELDS, macField(macOf(OWN))])).toEqual(OWN);
    const others: Field[] = [macField(macOf(OWN)), ['x-kpx-hops', 'd', double(3)], ...FIELDS.filter(([name]) => name !== 'x-kpx-hops')];
    expect(own(others)).toEqual(OWN);
  });

  it.each<[string, Field[], (Buffer | number)?]>([
    ['another value', [...FIELDS.slice(0, -1), ['x-kpx-seen-at', 'l', int64(1n)]]],
    ['a value of another kind', [...FIELDS.filter(([name]) => name !== 'x-kpx-hops'), ['x-kpx-hops', 'S', text('3')]]],
    ['a header more', [...FIELDS, ['x-kpx-replayed-at', 'S', text('now')]]],
    ['a header less', FIELDS.slice(1)],
    ['a header twice', [...FIELDS, ['x-kpx-hops', 'b', bytes(3)]]],
    ['a header that is no text, number or boolean', [...FIELDS, ['x-kpx-list', 'A', bytes()]]],
    ['another body', FIELDS, Buffer.from('{"user":"mallory"}')],
    ['the length of the body alone', FIELDS, BODY_BYTES_MAX + 1],
  ])('does not hold with %s: then nothing is kpx’s own', (_, fields, body) => {
    expect(own([...fields, macField(macOf(OWN))], body)).toEqual({});
  });

  it.each(['', 'x', 'A'.repeat(43), 'A'.repeat(44), 'ä'.repeat(44), 'A'.repeat(100_000)])('is not anything: "%.50s"', (mac) => {
    expect(own([...FIELDS, macField(mac)])).toEqual({});
  });

  it('is needed where there is any header of kpx, and not looked for where there is none', () => {
    expect(own(FIELDS)).toEqual({});
    expect(own([['theirs', 'A', bytes()]])).toEqual({});
    const many: Field[] = Array.from({ length: OWN_HEADERS_MAX }, (_, index) => [`x-kpx-${index}`, 'b', bytes(1)]);
    const all = Object.fromEntries(many.map(([name]) => [String(name), 1]));
    expect(own([...many, macField(macOf(all))])).toEqual({});
  });

  it('binds a body that is not kept by its length', () => {
    const large = BODY_BYTES_MAX + 1;
    expect(own([...FIELDS, macField(macOf(OWN, large))], Buffer.alloc(large))).toEqual(OWN);
    expect(own([...FIELDS, macField(macOf(OWN, large))], large + 1)).toEqual({});
    expect(own([...FIELDS, macField(macOf(OWN, large))], Buffer.alloc(BODY_BYTES_MAX))).toEqual({});
  });

  it('holds by the second key of a file as well, and is written with the first', () => {
    const exchanging = new JobMac(Buffer.concat([KEY, OTHER_KEY]));
    const other = new JobMac(OTHER_KEY);
    expect(own([...FIELDS, macField(macOf(OWN, BODY, other))])).toEqual({});
    expect(own([...FIELDS, macField(macOf(OWN, BODY, other))], BODY, exchanging)).toEqual(OWN);
    expect(macOf(OWN, BODY, exchanging)).toBe(macOf(OWN));
  });
});
