import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BODY_BYTES_MAX, decodeJob } from './jobs.js';

const decode = (body: string | Buffer, headers = {}) => decodeJob(Buffer.from(body), headers, 'user');

describe('decodeJob', () => {
  it('reads the user and how often kpx has sent the job on', () => {
    expect(decode('{"user":"alice","more":[1]}', { 'x-kpx-hops': 3 })).toEqual({
      user: 'alice',
      hops: 3,
      waited: false,
      replay: undefined,
    });
    expect(decode('{"user":"alice"}', { 'x-death': [{ queue: 'kpx.delay.knime-jobs.200ms' }] })).toMatchObject({ waited: true });
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
    ['with user "a;rm -rf"', '{"user":"a;rm -rf"}', 'USER_NAME_INVALID'],
    ['with a look-alike user', '{"user":"аlice"}', 'USER_NAME_INVALID'],
  ])('refuses a body that is %s', (_, body, reason) => {
    expect(decode(body)).toMatchObject({ reason });
  });

  it('takes a body of exactly the limit and refuses one byte more', () => {
    const body = `{"user":"alice","pad":"${'x'.repeat(BODY_BYTES_MAX - 25)}"}`;
    expect(Buffer.byteLength(body)).toBe(BODY_BYTES_MAX);
    expect(decode(body)).toMatchObject({ user: 'alice' });
    expect(decode(`${body} `)).toMatchObject({ reason: 'BODY_TOO_LARGE' });
  });

  it('counts hops from zero when the header is missing or nonsense', () => {
    for (const hops of [undefined, -1, 'many', 1.5, Number.NaN])
      expect(decode('{"user":"alice"}', { 'x-kpx-hops': hops })).toMatchObject({ hops: 0 });
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
