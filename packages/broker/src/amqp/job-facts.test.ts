import { describe, expect, it } from 'vitest';
import { bytes, type Field, table, text, wireMessageOf } from '../../test-fixtures/wire.js';
import { type JobFacts, jobFactsOf } from './job-facts.js';

const ID = '0123456789-1z';

function factsOf(own: Record<string, string | number>, ...headers: Field[]): JobFacts {
  const message = wireMessageOf('{}', { headers: table(...headers), messageId: 'm-1', correlationId: 'c-1' });
  message.properties.own = own;
  return jobFactsOf(message);
}

describe('the facts of a job', () => {
  it.each([
    ['queue', {}, []],
    ['back', { 'x-kpx-hops': 1, 'x-kpx-replayed-at': 'before that' }, []],
    ['delay', { 'x-kpx-hops': 1 }, [['x-death', 'A', bytes()]]],
    ['replay', { 'x-kpx-replayed-at': 'now' }, []],
  ] as [JobFacts['from'], Record<string, string | number>, Field[]][])('have that it comes from: %s', (from, own, headers) => {
    expect(factsOf(own, ...headers)).toMatchObject({ from, messageId: 'm-1', correlationId: 'c-1' });
  });

  it('have the id that a broker has written, and none that only looks like one', () => {
    const seen = { 'x-kpx-id': ID, 'x-kpx-seen-at': 1_700_000_000_123 };
    expect(factsOf(seen)).toMatchObject({ id: ID, firstSeen: 1_700_000_000_123 });
    for (const id of ['', 'x', `${ID} `, 'x'.repeat(64 * 1024)]) expect(factsOf({ 'x-kpx-id': id }).id).toBeUndefined();
    expect(factsOf({}, ['x-kpx-id', 'S', text(ID)]).id).toBeUndefined();
  });

  it('have the trace context as far as it is shown, where it is text', () => {
    expect(factsOf({}, ['traceparent', 'S', text('00-1-2-01')]).traceparent).toBe('00-1-2-01');
    expect(factsOf({}, ['traceparent', 'S', text('x'.repeat(64 * 1024))]).traceparent).toBe('x'.repeat(128));
    expect(factsOf({}, ['traceparent', 't', bytes(1)]).traceparent).toBeUndefined();
    expect(factsOf({}).traceparent).toBeUndefined();
  });
});
