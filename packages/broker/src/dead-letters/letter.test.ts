import type { GetMessage } from 'amqplib';
import { describe, expect, it } from 'vitest';
import { readLetter, replayOptions } from './letter.js';

const PARKED = { 'x-kpx-reason': 'USER_DENIED', 'x-kpx-detail': 'd', 'x-kpx-parked-at': '2026-01-02T03:04:05.678Z', 'x-kpx-host': 'h' };

function message(body: string, properties: Record<string, unknown> = {}): GetMessage {
  return {
    content: Buffer.from(body),
    properties: { headers: PARKED, messageId: 'm1', ...properties },
    fields: {},
  } as unknown as GetMessage;
}
const keyOf = (...args: Parameters<typeof message>) => readLetter(message(...args), 'user').key;

describe('readLetter', () => {
  it('reads whose job it is, why and when it was parked', () => {
    expect(readLetter(message('{"user":"alice"}'), 'user')).toMatchObject({
      ...{ user: 'alice', job: 'm1', reason: 'USER_DENIED', detail: 'd', parkedAt: '2026-01-02T03:04:05.678Z', host: 'h', bytes: 16 },
      id: expect.stringMatching(/^[0-9a-f]{12}$/),
    });
  });

  it('takes anything: a message that kpx has not parked has less to say', () => {
    const foreign = { headers: { 'x-kpx-reason': 7 }, messageId: undefined };
    expect(readLetter(message('{', foreign), 'user')).toMatchObject({ user: '', job: '', reason: '', detail: '', parkedAt: '', bytes: 1 });
    expect(readLetter(message('', { headers: undefined }), 'user')).toMatchObject({ user: '', reason: '' });
  });

  it('keeps no more of a header than its bound', () => {
    const long = { headers: { 'x-kpx-detail': 'x'.repeat(100_000) } };
    expect(readLetter(message('', long), 'user').detail.length).toBe(4_096);
  });

  it('gives the same id at each look, and another one to any other job or parking', () => {
    const looked = { headers: { ...PARKED, 'x-delivery-count': 3, 'x-kpx-ref': 9 } };
    const again = { headers: { ...PARKED, 'x-kpx-parked-at': '2026-01-02T03:04:05.679Z' } };
    expect(keyOf('a', looked)).toBe(keyOf('a'));
    expect(new Set([keyOf('a'), keyOf('b'), keyOf('a', again), keyOf('a', { messageId: 'm2' })]).size).toBe(4);
  });
});

describe('replayOptions', () => {
  const headersOf = (headers: Record<string, unknown>, properties = {}) =>
    replayOptions(message('', { headers, ...properties }).properties, 'canHandle').headers;

  it('leaves out what kpx and RabbitMQ have added, and nothing else', () => {
    const theirs = { theirs: 1, 'x-kpxx': 2, 'x-kpx-user-id': 'knime-server' };
    const others = { 'x-delivery-count': 2, 'x-acquired-count': 2, 'x-death': [], 'x-first-death-queue': 'q', CC: ['q'], BCC: ['q'] };
    expect(headersOf({ ...PARKED, ...others, ...theirs, 'x-kpx-hops': 7, 'x-kpx-expiration': '1', canHandle: true })).toEqual(theirs);
    expect(headersOf({ canHandle: false })).toEqual({ canHandle: false });
  });

  it('keeps the properties but the time to live', () => {
    expect(replayOptions(message('', { expiration: '100', type: 't', correlationId: undefined }).properties, 'canHandle')).toEqual({
      messageId: 'm1',
      type: 't',
      headers: {},
    });
  });

  it('says the user of RabbitMQ who has sent it in a header: nobody may publish in another’s name', () => {
    const options = replayOptions(message('', { userId: 'knime-server' }).properties, 'canHandle');
    expect(options).toEqual({ messageId: 'm1', headers: { 'x-kpx-user-id': 'knime-server' } });
  });
});
