import { expect, it } from 'vitest';
import { RefusedRecord, ROWS_MAX } from './refused.js';

const AT = Date.parse('2026-03-01T10:00:00Z');
const of = (exchange: string, routingKey = 'k') => ({ exchange, routingKey, reason: 'exchange' }) as const;

it('counts what each account was refused by exchange, key and reason, the most frequent first, with the time of the last', () => {
  const record = new RefusedRecord();
  record.note('bob', of('x'), AT);
  record.note('alice', of('x'), AT);
  record.note('alice', { exchange: '', routingKey: 'kpx.up', reason: 'by_name' }, AT);
  record.note('alice', { exchange: '', routingKey: 'kpx.up', reason: 'by_name' }, AT + 1_000);
  expect(record.rows()).toEqual([
    { account: 'alice', exchange: '', key: 'kpx.up', reason: 'by_name', count: 2, last: '2026-03-01T10:00:01.000Z' },
    { account: 'alice', exchange: 'x', key: 'k', reason: 'exchange', count: 1, last: '2026-03-01T10:00:00.000Z' },
    { account: 'bob', exchange: 'x', key: 'k', reason: 'exchange', count: 1, last: '2026-03-01T10:00:00.000Z' },
  ]);
  expect(record.rows('bob')).toHaveLength(1);
  expect(record.countsOf('alice')).toMatchObject({ by_name: 2, exchange: 1, key: 0 });
  expect(record.counts).toMatchObject({ by_name: 2, exchange: 2 });
});

it('counts further exchanges and keys of one account together, and loses none', () => {
  const record = new RefusedRecord();
  for (let each = 0; each < ROWS_MAX + 5; each += 1) record.note('alice', of('x', `key-${each}`), AT);
  record.note('alice', of('x', 'key-0'), AT);
  const rows = record.rows('alice');
  expect(rows).toHaveLength(ROWS_MAX + 1);
  expect(rows.find(({ exchange }) => exchange === null)).toMatchObject({ key: null, reason: 'exchange', count: 5 });
  expect(rows.reduce((sum, { count }) => sum + count, 0)).toBe(ROWS_MAX + 6);
});

it('forgets the account that was refused nothing for longest where there are too many, and counts it in the sum', () => {
  const record = new RefusedRecord();
  for (let each = 0; each < 1_000; each += 1) record.note(`user${each}`, of('x'), AT);
  record.note('user0', of('x'), AT);
  record.note('one-more', of('x'), AT);
  expect(record.rows('user1')).toEqual([]);
  expect(record.rows('user0')).toHaveLength(1);
  expect(record.counts.exchange).toBe(1_002);
  record.forget('user0');
  expect(record.countsOf('user0').exchange).toBe(0);
});
