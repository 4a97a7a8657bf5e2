import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytes, type Field, int64, propertyBytes, provenProperties, table, text, uint64 } from '../../test-fixtures/wire.js';
import { BODY_BYTES_MAX, decodeJob, sentAt } from './jobs.js';
import { WireProperties } from './wire/properties.js';

const FROM_BODY = { in: 'body', name: 'user' } as const;
const withHeaders = (...headers: Field[]) => new WireProperties(propertyBytes({ headers: table(...headers) }));
const decode = (body: string | Buffer, ...headers: Field[]) => decodeJob(Buffer.from(body), withHeaders(...headers), FROM_BODY);

describe('decodeJob', () => {
  it('reads the user and how often kpx has sent the job on', () => {
    const body = Buffer.from('{"user":"alice","more":[1]}');
    expect(decodeJob(body, provenProperties({ 'x-kpx-hops': 3 }, body), FROM_BODY)).toEqual({
      user: 'alice',
      hops: 3,
      waited: false,
      replayed: false,
    });
    expect(decode('{"user":"alice"}', ['x-death', 'A', bytes()])).toMatchObject({ waited: true });
  });

  it.each([
    ['not JSON', '{', 'BODY_NOT_JSON'],
    ['empty', '', 'BODY_NOT_JSON'],
    ['an array', '[]', 'BODY_NOT_JSON'],
    ['null', 'null', 'BODY_NOT_JSON'],
    ['a string', '"alice"', 'BODY_NOT_JSON'],
    ['not UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 'BODY_NOT_JSON'],
    ['without a user', '{"users":"alice"}', 'USER_MISSING'],
    ['with a user only on the prototype', '{"__proto__":{"user":"alice"}}', 'USER_MISSING'],
    ['with a number as user', '{"user":1}', 'USER_NOT_A_STRING'],
    ['with null as user', '{"user":null}', 'USER_NOT_A_STRING'],
    ['with an empty user', '{"user":""}', 'USER_NAME_INVALID'],
    ['with user "0"', '{"user":"0"}', 'USER_NAME_INVALID'],
    ['with user "../x"', '{"user":"../x"}', 'USER_NAME_INVALID'],
    ['with a user in quotes', '{"user":"\'alice\'"}', 'USER_NAME_INVALID'],
    ['with a wildcard as user', '{"user":"a*"}', 'USER_NAME_INVALID'],
    ['with a user who is not in normal form C', '{"user":"Mu\u0308ller"}', 'USER_NAME_INVALID'],
    ['with a user of 65 characters', `{"user":"${'ü'.repeat(65)}"}`, 'USER_NAME_INVALID'],
  ])('refuses a body that is %s', (_, body, reason) => {
    expect(decode(body)).toMatchObject({ reason });
  });

  it.each(['Anna Müller', 'a+b', 'ü'.repeat(64), 'аlice'])('takes the user %s: the helper’s map says whose account that is', (user) => {
    expect(decode(JSON.stringify({ user }))).toMatchObject({ user });
  });

  it('says of a user who is not in normal form C what is wrong', () => {
    expect(decode('{"user":"Mu\u0308ller"}')).toEqual({
      reason: 'USER_NAME_INVALID',
      detail: '"Mu\u0308ller": expected Unicode in normal form C (NFC): a letter and its accent as one character',
    });
  });

  it('takes a body of exactly the limit and refuses one byte more', () => {
    const body = `{"user":"alice","pad":"${'x'.repeat(BODY_BYTES_MAX - 25)}"}`;
    expect(Buffer.byteLength(body)).toBe(BODY_BYTES_MAX);
    expect(decode(body)).toMatchObject({ user: 'alice' });
    expect(decode(`${body} `)).toMatchObject({ reason: 'BODY_TOO_LARGE' });
  });

  it('counts hops, and knows a replay, only by what a broker has written', () => {
    const body = Buffer.from('{"user":"alice"}');
    const decoded = (properties: WireProperties) => decodeJob(body, properties, FROM_BODY);
    expect(decoded(provenProperties({ 'x-kpx-hops': 3 }, body))).toMatchObject({ hops: 3, replayed: false });
    expect(decoded(provenProperties({ 'x-kpx-replayed-at': 'now' }, body))).toMatchObject({ hops: 0, replayed: true });
    for (const odd of [-1, 'many', true]) expect(decoded(provenProperties({ 'x-kpx-hops': odd }, body))).toMatchObject({ hops: 0 });
    expect(decode('{"user":"alice"}')).toMatchObject({ hops: 0 });
    const forged: Field[] = [
      ['x-kpx-hops', 'b', bytes(7)],
      ['x-kpx-replayed-at', 'S', text('now')],
      ['x-kpx-mac', 'S', text('A'.repeat(44))],
    ];
    expect(decode('{"user":"alice"}', ...forged)).toMatchObject({ hops: 0, replayed: false });
  });

  it('says of properties that cannot be read that they are what is wrong, and nothing of the body', () => {
    const unreadable = new WireProperties(propertyBytes({ headers: bytes(1, 0x61, 0x3f) }));
    expect(decodeJob(Buffer.from('{'), unreadable, FROM_BODY)).toEqual({
      reason: 'HEADERS_UNUSABLE',
      detail: 'the header table has a value of the unknown type 0x3f',
    });
  });

  it('repeats no more than a piece of a hostile name', () => {
    const answer = decode(JSON.stringify({ user: '\n'.repeat(10_000) }));
    expect('detail' in answer && answer.detail.length).toBeLessThan(400);
  });

  it('answers any bytes with a job or a reason', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.json().map(Buffer.from)), (bytes) => {
        const answer = decode(Buffer.from(bytes as Uint8Array));
        expect('user' in answer || 'reason' in answer).toBe(true);
      }),
    );
  });
});

describe('sentAt', () => {
  it('is the timestamp of the sender, or when kpx first saw the job', () => {
    const seen = { 'x-kpx-seen-at': 1_700_000_000_123 };
    expect(sentAt(provenProperties(seen, '', { timestamp: uint64(1_600_000_000n) }))).toBe(1_600_000_000_000);
    expect(sentAt(provenProperties(seen))).toBe(1_700_000_000_123);
    expect(sentAt(withHeaders(['x-kpx-seen-at', 'l', int64(1_700_000_000_123n)]))).toBeUndefined();
  });
});
