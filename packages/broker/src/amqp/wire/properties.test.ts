import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytes, EVERY_TYPE, type Field, type Properties, propertyBytes, table, text, uint64 } from '../../../test-fixtures/wire.js';
import { WireProperties } from './properties.js';
import { CannotTravel, entry, scalarAt, walk } from './table.js';

const of = (properties: Properties) => new WireProperties(propertyBytes(properties));
const unchanged = { drops: () => false, adds: [] };

const ALL: Properties = {
  contentType: 'application/json',
  contentEncoding: 'utf-8',
  headers: table(...EVERY_TYPE),
  deliveryMode: bytes(2),
  priority: bytes(9),
  correlationId: bytes(0xff, 0xfe),
  replyTo: 'r'.repeat(255),
  messageId: '',
  timestamp: uint64(2n ** 64n - 1n),
  type: 't',
  appId: 'a',
  clusterId: 'c',
};

describe('properties that travel', () => {
  it('are the same bytes, whatever is in them', () => {
    expect(of(ALL).unreadable).toBeUndefined();
    expect(of(ALL).with(unchanged)).toEqual(propertyBytes(ALL));
  });

  it('are the same bytes but for what is dropped, added or replaced', () => {
    const drops = (name: string) => name === 'twice' || name === 'bool';
    const composed = of({ ...ALL, expiration: '1', userId: 'u' }).with({ drops, adds: [entry('ours', true)], expiration: '60000' });
    const left = EVERY_TYPE.filter(([key]) => key !== 'twice' && key !== 'bool');
    expect(composed).toEqual(propertyBytes({ ...ALL, headers: table(...left, ['ours', 't', bytes(1)]), expiration: '60000' }));
  });

  it.each([
    ['another', 'kpx.reply.YWJj', 'kpx.reply.YWJj'],
    ['one of 255 bytes', 'q'.repeat(255), 'q'.repeat(255)],
    ['none', '', undefined],
  ])('have %s to be answered to, where that is asked for', (_, replyTo, expected) => {
    const { replyTo: old, ...others } = ALL;
    const answered = (changed: Properties) => propertyBytes({ ...changed, ...(expected && { replyTo: expected }) });
    expect(of(ALL).with({ ...unchanged, replyTo })).toEqual(answered(others));
    expect(of(others).with({ ...unchanged, replyTo })).toEqual(answered(others));
    expect(of(others).with(unchanged)).toEqual(propertyBytes(others));
    expect(of({ ...ALL, replyTo: old ?? '' }).with(unchanged)).toEqual(propertyBytes(ALL));
  });

  it('are the same for any choice of properties, types and bytes', () => {
    const octets = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));
    const exactly = (length: number) => fc.uint8Array({ minLength: length, maxLength: length }).map((array) => Buffer.from(array));
    const sized: fc.Arbitrary<Field> = fc.tuple(octets(255), fc.constantFrom('S', 'x', 'F', 'A'), octets(300));
    const fixed: fc.Arbitrary<Field> = fc
      .constantFrom(...Object.entries({ t: 1, b: 1, B: 1, s: 2, u: 2, I: 4, i: 4, l: 8, L: 8, f: 4, d: 8, T: 8, D: 5, V: 0 }))
      .chain(([tag, size]) => fc.tuple(octets(255), fc.constant(tag), exactly(size)));
    const headers = fc.array(fc.oneof(sized, fixed), { maxLength: 12 }).map((fields) => table(...fields));
    const short = octets(255);
    const one = exactly(1);
    const names = { contentType: short, contentEncoding: short, correlationId: short, replyTo: short, messageId: short, type: short };
    const properties = fc.record(
      { headers, deliveryMode: one, priority: one, timestamp: exactly(8), appId: short, ...names },
      { requiredKeys: ['headers'] },
    );
    fc.assert(
      fc.property(properties, (some) => {
        expect(of(some).with(unchanged)).toEqual(propertyBytes(some));
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('properties that cannot be read', () => {
  it.each([
    ['a flag that AMQP does not know', bytes(0, 1), 'flags that AMQP 0-9-1 does not know'],
    ['nothing at all', bytes(), 'cut off'],
    ['a text that is longer than the rest', bytes(0x80, 0, 200, 0x61), 'not as long as they say'],
    ['something behind the last one', bytes(0, 0, 7), 'not as long as they say'],
    ['a table that is longer than the rest', bytes(0x20, 0, 0xff, 0xff, 0xff, 0xff), 'not as long as they say'],
    ['a key without a value', propertyBytes({ headers: bytes(1, 0x61) }), 'has no value'],
    ['a value that is cut off', propertyBytes({ headers: bytes(1, 0x61, 0x6c, 0, 0) }), 'a value in the header table is cut off'],
    ['a length that is cut off', propertyBytes({ headers: bytes(1, 0x61, 0x53, 0, 0) }), 'a length in the header table is cut off'],
    ['a text longer than the table', propertyBytes({ headers: bytes(1, 0x61, 0x53, 0xff, 0, 0, 0) }), 'cut off'],
    ['an unknown type', propertyBytes({ headers: bytes(1, 0x61, 0x3f) }), 'the unknown type 0x3f'],
  ])('say why, and have no header: %s', (_, raw, why) => {
    const properties = new WireProperties(raw);
    expect(properties.unreadable).toContain(why);
    expect(properties.header('a')).toBeUndefined();
    expect(() => properties.with(unchanged)).toThrow(CannotTravel);
    expect(properties.shown().headers).toBeUndefined();
  });

  it('may be those of a table within the table: nothing of it is shown, and it travels', () => {
    const nested = of({ headers: table(['in', 'F', bytes(1, 0x61, 0x3f)]), messageId: 'm' });
    expect(nested.shown()).toEqual({ messageId: 'm' });
    expect(nested.with(unchanged)).toEqual(nested.bytes);
  });

  it('end no reading, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (raw) => {
        const properties = new WireProperties(Buffer.from(raw));
        for (const name of ['messageId', 'userId', 'expiration'] as const) properties.text(name);
        expect([typeof properties.timestamp, typeof properties.header('x')].every((type) => type !== 'function')).toBe(true);
        if (properties.unreadable === undefined) expect(new WireProperties(properties.with(unchanged)).unreadable).toBeUndefined();
        properties.shown();
      }),
      { numRuns: 2_000, examples: [[bytes(0x01, 0, 5, 0, 0, 0, 0, 0)]] },
    );
  });
});

describe('reading', () => {
  it('finds properties and headers, of several headers with one name the last', () => {
    const properties = of(ALL);
    expect([properties.text('contentType'), properties.text('userId'), properties.timestamp]).toEqual([
      'application/json',
      undefined,
      2 ** 64,
    ]);
    expect([properties.header('twice'), properties.header('uint32'), properties.header('text')]).toEqual([2, 2 ** 32 - 1, 'grüße']);
    expect([properties.header('array'), properties.hasHeader('array'), properties.hasHeader('none')]).toEqual([undefined, true, false]);
    expect(properties.header('int64')).toBe(2n ** 53n + 1n);
  });

  it('shows people every type, and a key like any other by that name', () => {
    const headers = of(ALL).shown().headers as Record<string, unknown>;
    expect(Object.keys(headers)).toContain('__proto__');
    expect(headers).toMatchObject({ decimal: 3, bytes: bytes(0, 0xff, 0xfe), nothing: null, array: [1, 1, 'x'], table: { inner: 3 } });
  });

  it('shows tables within tables to a bound, and deeper ones as bytes', () => {
    let nested = table(['bottom', 't', bytes(1)]);
    for (let depth = 0; depth < 5_000; depth++) nested = table(['in', 'F', nested]);
    let inner: unknown = of({ headers: nested }).shown().headers;
    let levels = 0;
    for (; !Buffer.isBuffer(inner); levels++) inner = (inner as { in: unknown }).in;
    expect(levels).toBeLessThan(20);
  });
});

it("kpx's own entries are read as they were written", () => {
  const own = { text: 'grüße', number: -1, large: Number.MAX_SAFE_INTEGER, yes: true, no: false };
  const read: unknown[] = [];
  const all = Buffer.concat(Object.entries(own).map(([name, value]) => entry(name, value)));
  walk(all, (_, tagAt) => read.push(scalarAt(all, tagAt)));
  expect(read).toEqual(Object.values(own));
  expect(entry('t', 'x')).toEqual(table(['t', 'S', text('x')]));
});
