import { describe, expect, it } from 'vitest';
import { bytes, type Field, type Properties, provenProperties, table, text, wireMessageOf } from '../../test-fixtures/wire.js';
import { readLetter } from './letter.js';

const FROM_BODY = { in: 'body', name: 'user' } as const;
const PARKED: Field[] = [
  ['x-kpx-reason', 'S', text('USER_DENIED')],
  ['x-kpx-detail', 'S', text('d')],
  ['x-kpx-parked-at', 'S', text('2026-01-02T03:04:05.678Z')],
  ['x-kpx-host', 'S', text('h')],
];

const message = (body: string, properties: Properties = {}) =>
  wireMessageOf(body, { headers: table(...PARKED), messageId: 'm1', ...properties });
const keyOf = (...args: Parameters<typeof message>) => readLetter(message(...args), FROM_BODY).key;

describe('readLetter', () => {
  it('reads whose job it is, why and when it was parked', () => {
    expect(readLetter(message('{"user":"alice"}'), FROM_BODY)).toMatchObject({
      ...{ user: 'alice', job: 'm1', reason: 'USER_DENIED', detail: 'd', parkedAt: '2026-01-02T03:04:05.678Z', host: 'h', bytes: 16 },
      id: expect.stringMatching(/^[0-9a-f]{12}$/),
    });
  });

  it('takes anything: a message that kpx has not parked has less to say', () => {
    const foreign = { headers: table(['x-kpx-reason', 'b', bytes(7)]) };
    expect(readLetter(wireMessageOf('{', foreign), FROM_BODY)).toMatchObject({
      user: '',
      job: '',
      reason: '',
      detail: '',
      parkedAt: '',
      bytes: 1,
    });
    expect(readLetter(wireMessageOf(''), FROM_BODY)).toMatchObject({ user: '', reason: '' });
  });

  it('says where the user was read, and whether that is the body', () => {
    const read = (from: Parameters<typeof readLetter>[1], letter = message('{"user":"alice"}')) => {
      const { user, readFrom, opaque } = readLetter(letter, from);
      return [user, readFrom, opaque];
    };
    const recorded = { ...wireMessageOf(''), properties: provenProperties({ 'x-kpx-user-id': 'bob' }, '') };
    const published = { ...wireMessageOf(''), properties: provenProperties({ 'x-kpx-account': 'carol' }, '') };
    expect(read(FROM_BODY)).toEqual(['alice', 'the key "user" of the body', false]);
    expect(read({ in: 'header', name: 'x-kpx-detail' })).toEqual(['d', 'the header "x-kpx-detail"', true]);
    expect(read({ in: 'user_id' }, recorded)).toEqual(['bob', 'x-kpx-user-id, where a broker has recorded the property user_id', true]);
    expect(read({ in: 'user_id' }, published)).toEqual(['carol', 'x-kpx-account: the code of this account has published it', true]);
    expect(read({ in: 'user_id' })).toEqual(['', '', true]);
  });

  it('says whether a broker has parked it', () => {
    const own = { 'x-kpx-reason': 'USER_DENIED', 'x-kpx-parked-at': '2026-01-02T03:04:05.678Z' };
    const parked = { ...wireMessageOf('{}'), properties: provenProperties(own, '{}') };
    expect(readLetter(parked, FROM_BODY)).toMatchObject({ reason: 'USER_DENIED', verified: true });
    expect(readLetter(message('{}'), FROM_BODY)).toMatchObject({ reason: 'USER_DENIED', verified: false });
  });

  it('is what can be read of one whose headers cannot', () => {
    const unreadable = wireMessageOf('{"user":"alice"}', { headers: bytes(1, 0x61, 0x3f), messageId: 'm' });
    expect(readLetter(unreadable, FROM_BODY)).toMatchObject({ user: 'alice', job: 'm', reason: '', parkedAt: '' });
  });

  it('keeps no more of a header than its bound', () => {
    const long = { headers: table(['x-kpx-detail', 'S', text('x'.repeat(100_000))]) };
    expect(readLetter(message('', long), FROM_BODY).detail.length).toBe(4_096);
  });

  it('gives the same id at each look, and another one to any other job or parking', () => {
    const looked = { headers: table(...PARKED, ['x-delivery-count', 'b', bytes(3)], ['x-kpx-ref', 'b', bytes(9)]) };
    const again = { headers: table(...PARKED, ['x-kpx-parked-at', 'S', text('2026-01-02T03:04:05.679Z')]) };
    expect(keyOf('a', looked)).toBe(keyOf('a'));
    expect(new Set([keyOf('a'), keyOf('b'), keyOf('a', again), keyOf('a', { messageId: 'm2' })]).size).toBe(4);
  });
});
