import { describe, expect, it } from 'vitest';
import { bytes, int64, table, text, wireMessageOf } from '../../test-fixtures/wire.js';
import { SUSPECTS_MAX, Suspects } from './suspects.js';

const one = wireMessageOf('{"user":"alice"}', { messageId: '1', headers: table(['a', 'S', text('x')], ['b', 't', bytes(1)]) });
const other = wireMessageOf('{"user":"alice"}', { messageId: '2' });

describe('a job that was under way when RabbitMQ ended a session', () => {
  it('is sent alone, and with others again once RabbitMQ has it', () => {
    const suspects = new Suspects();
    suspects.note([one, other], 'why');
    expect([suspects.standingOf(one), suspects.standingOf(other)]).toEqual(['alone', 'alone']);
    suspects.clear(one);
    expect([suspects.standingOf(one), suspects.standingOf(other)]).toEqual(['free', 'alone']);
  });

  it('is parked without its properties when it was alone under way twice, and set aside when that has failed too', () => {
    const suspects = new Suspects();
    const standings = [1, 2, 3].map(() => {
      suspects.note([one], 'why');
      return suspects.standingOf(one);
    });
    expect(standings).toEqual(['alone', 'bare', 'aside']);
    expect(suspects.standingOf(other)).toBe('free');
  });

  it('is known again although RabbitMQ has counted the delivery and written the table anew', () => {
    const suspects = new Suspects();
    suspects.note([one], 'why');
    const headers = table(['x-delivery-count', 'l', int64(1n)], ['b', 't', bytes(1)], ['a', 'S', text('x')]);
    expect(suspects.standingOf(wireMessageOf('{"user":"alice"}', { messageId: '1', headers }))).toBe('alone');
    const unlike = table(['b', 't', bytes(0)], ['a', 'S', text('x')]);
    expect(suspects.standingOf(wireMessageOf('{"user":"alice"}', { messageId: '1', headers: unlike }))).toBe('free');
  });

  it('may be one whose properties cannot be read', () => {
    const suspects = new Suspects();
    const unreadable = wireMessageOf('{}', { headers: bytes(1, 0x61, 0x3f) });
    suspects.note([unreadable], 'why');
    expect(suspects.standingOf(unreadable)).toBe('alone');
  });

  it('is one of the newest, where there are more than can be remembered', () => {
    const suspects = new Suspects();
    const crowd = Array.from({ length: SUSPECTS_MAX }, (_, index) => wireMessageOf(`${index}`, {}));
    suspects.note([other], 'why');
    suspects.note(crowd, 'why');
    suspects.note([one], 'why');
    const standings = [other, crowd[0], crowd[1], crowd.at(-1), one].map((message) => message && suspects.standingOf(message));
    expect(standings).toEqual(['free', 'free', 'alone', 'alone', 'alone']);
  });
});
