import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytes, EVERY_TYPE, type Field, MAC, propertyBytes, provenProperties, table, text } from '../../test-fixtures/wire.js';
import { type UserFrom, userFrom, whyNotUserFrom } from '../config/user-from.js';
import { carriedUp, replaced, replayed, travelling } from './headers.js';
import { recorded, userOf } from './submitter.js';
import { WireProperties } from './wire/properties.js';

const FROM_HEADER = userFrom({ user_from: 'header:submitter', user_field: '' });
const FROM_USER_ID = userFrom({ user_from: 'property:user_id', user_field: '' });
const BODY = Buffer.from([0xff, 0x00, 0x80]);
const ROOM = 4_096;
const SEAL = (own: Parameters<typeof MAC.sealed>[0]) => MAC.sealed(own, BODY);

const withHeaders = (...headers: Field[]) => new WireProperties(propertyBytes({ headers: table(...headers) }));
const inHeader = (...headers: Field[]) => userOf(BODY, withHeaders(...headers), FROM_HEADER);
const submitter = (value: string): Field => ['submitter', 'S', text(value)];
/** As another broker, or this one, gets it. */
const arrived = (composed: Buffer) => {
  const properties = new WireProperties(composed);
  MAC.judge(properties, BODY);
  return properties;
};

describe('jobs.user_from', () => {
  it.each<[text: string, from: UserFrom]>([
    ['body:user', { in: 'body', name: 'user' }],
    ['body:a:b', { in: 'body', name: 'a:b' }],
    ['header:x-user', { in: 'header', name: 'x-user' }],
    ['property:user_id', { in: 'user_id' }],
  ])('is %s', (text, from) => {
    expect([whyNotUserFrom(text), userFrom({ user_from: text, user_field: '' })]).toEqual([undefined, from]);
  });

  it.each([
    ...['user', 'body', 'body:', 'header:', 'property:', 'property:app_id', 'Header:user', ' body:user'],
    ...['header:x-kpx-user', 'header:x-death', 'header:CC', `header:${'ü'.repeat(128)}`],
  ])('is not %j', (text) => {
    expect(whyNotUserFrom(text)).toMatch(/expected/);
  });

  it('is the key "user" of the body where nothing is set, and user_field is short for a key of the body', () => {
    const from = (user_from: string, user_field: string) => userFrom({ user_from, user_field });
    expect(from('', '')).toEqual({ in: 'body', name: 'user' });
    expect(from('', 'submitter')).toEqual(from('body:submitter', ''));
    expect(whyNotUserFrom('')).toBeUndefined();
  });
});

describe('the user in a header', () => {
  it('is text, whatever the body is', () => {
    expect(inHeader(['other', 'b', bytes(1)], submitter('Anna Müller'))).toBe('Anna Müller');
    expect(userOf(Buffer.alloc(0), withHeaders(submitter('alice')), FROM_HEADER)).toBe('alice');
    expect(userOf(Buffer.from('{"submitter":"bob"}'), withHeaders(submitter('alice')), FROM_HEADER)).toBe('alice');
    const name = 'prüfer';
    expect(userOf(BODY, withHeaders([name, 'S', text('alice')]), { in: 'header', name })).toBe('alice');
  });

  it.each<[what: string, headers: Field[], reason: string]>([
    ['is not there', [['Submitter', 'S', text('alice')]], 'USER_MISSING'],
    ['is there twice', [submitter('alice'), submitter('bob')], 'USER_AMBIGUOUS'],
    ['is there twice with the same name', [submitter('alice'), submitter('alice')], 'USER_AMBIGUOUS'],
    ['is there as text and as a number', [submitter('alice'), ['submitter', 'b', bytes(1)]], 'USER_AMBIGUOUS'],
    ['is empty', [submitter('')], 'USER_NAME_INVALID'],
    ['is a path', [submitter('../x')], 'USER_NAME_INVALID'],
    ['is not UTF-8', [['submitter', 'S', bytes(0x61, 0xff)]], 'USER_NAME_INVALID'],
    ['is not in normal form C', [submitter('Mu\u0308ller')], 'USER_NAME_INVALID'],
    ['is 100 KB of text', [submitter('a'.repeat(100_000))], 'USER_NAME_INVALID'],
  ])('that %s is refused', (_, headers, reason) => {
    expect(inHeader(...headers)).toMatchObject({ reason });
  });

  it.each(EVERY_TYPE.filter(([, tag]) => tag !== 'S'))('of type %s is refused', (_, tag, value) => {
    expect(inHeader(['submitter', tag, value])).toEqual({ reason: 'USER_NOT_A_STRING', detail: 'the header "submitter" is not text' });
  });

  it('is repeated in a detail only in part', () => {
    const answer = inHeader(submitter('\n'.repeat(10_000)));
    expect(typeof answer === 'object' && answer.detail.length).toBeLessThan(400);
  });
});

describe('the user in user_id', () => {
  it('is the one of RabbitMQ that has published the job, and no header', () => {
    const properties = new WireProperties(propertyBytes({ userId: 'alice', headers: table(['x-kpx-user-id', 'S', text('bob')]) }));
    MAC.judge(properties, BODY);
    expect(userOf(BODY, properties, FROM_USER_ID)).toBe('alice');
  });

  it('is missing where the publisher has not set it, also where headers that no broker has written name one', () => {
    const forged = withHeaders(['x-kpx-user-id', 'S', text('bob')], ['x-kpx-mac', 'S', text('A'.repeat(44))]);
    MAC.judge(forged, BODY);
    for (const properties of [withHeaders(), forged])
      expect(userOf(BODY, properties, FROM_USER_ID)).toMatchObject({ reason: 'USER_MISSING' });
  });

  it('stays the one of the first publisher when an executor gives the job back under its own name', () => {
    const sent = new WireProperties(propertyBytes({ userId: 'alice' }));
    const forwarded = arrived(travelling(sent, { 'x-kpx-hops': 1 }, SEAL, true, ROOM));
    expect(forwarded.text('userId')).toBeUndefined();
    const headers = Object.entries(forwarded.shown().headers as Record<string, string | number>);
    const fields = headers.map(
      ([name, value]): Field => (typeof value === 'string' ? [name, 'S', text(value)] : [name, 'b', bytes(value)]),
    );
    const republished = arrived(propertyBytes({ userId: 'kpx-executor', headers: table(...fields) }));
    expect(userOf(BODY, republished, FROM_USER_ID)).toBe('alice');
    const again = arrived(travelling(republished, { 'x-kpx-hops': 2 }, SEAL, true, ROOM));
    expect(userOf(BODY, again, FROM_USER_ID)).toBe('alice');
  });
});

describe('the user that a broker has recorded', () => {
  const sent: [name: string, from: UserFrom, properties: WireProperties][] = [
    ['a header', FROM_HEADER, withHeaders(submitter('alice'))],
    ['user_id', FROM_USER_ID, new WireProperties(propertyBytes({ userId: 'alice' }))],
  ];

  it.each(sent)('is kept with a dead letter that has lost %s, and when that is replayed', (_, from, properties) => {
    const letter = arrived(replaced(properties, { ...recorded(properties, from), 'x-kpx-reason': 'HEADERS_UNUSABLE' }, SEAL, ROOM));
    expect(userOf(BODY, letter, from)).toBe('alice');
    expect(userOf(BODY, arrived(replayed(letter, 'canHandle', {}, SEAL, ROOM)), from)).toBe('alice');
  });

  it.each(sent)('from %s stays with a job that comes back from its account', (_, from, properties) => {
    const given = arrived(travelling(properties, {}, SEAL, true, ROOM));
    expect(userOf(BODY, arrived(carriedUp(given, 'account', '', {}, SEAL, ROOM)), from)).toBe('alice');
  });

  it('is nobody where there was none, or a wrong one', () => {
    for (const properties of [withHeaders(), withHeaders(submitter('../x')), withHeaders(submitter('a'), submitter('b'))])
      expect(recorded(properties, FROM_HEADER)).toEqual({});
    expect(recorded(withHeaders(submitter('alice')), { in: 'body', name: 'user' })).toEqual({});
  });
});

describe('a job that the code of an account has published', () => {
  it.each([FROM_HEADER, FROM_USER_ID])('is of that account where it names nobody (%j)', (from) => {
    expect(userOf(BODY, provenProperties({ 'x-kpx-account': 'alice' }, BODY), from)).toBe('alice');
    expect(userOf(BODY, withHeaders(['x-kpx-account', 'S', text('alice')]), from)).toMatchObject({ reason: 'USER_MISSING' });
  });

  it('is of the user whom its header names, or of nobody: the account is compared with that later', () => {
    const up = (...headers: Field[]) => userOf(BODY, arrived(carriedUp(withHeaders(...headers), 'alice', '', {}, SEAL, ROOM)), FROM_HEADER);
    expect(up(submitter('bob'))).toBe('bob');
    expect(up(['submitter', 'b', bytes(1)])).toMatchObject({ reason: 'USER_NOT_A_STRING' });
  });
});

it('answers any header with a user or a reason', () => {
  const field = fc.tuple(fc.constantFrom('submitter', 'other'), fc.constantFrom('S', 'x', 'A', 'F'), fc.uint8Array().map(Buffer.from));
  fc.assert(
    fc.property(fc.array(field), (fields) => {
      const answer = inHeader(...(fields as Field[]));
      expect(typeof answer === 'string' || answer.reason).toBeTruthy();
    }),
  );
});
