import { describe, expect, it } from 'vitest';
import { absence, Link } from './link.js';

describe('a link', () => {
  let now = Date.parse('2026-11-28T03:12:47.250Z');
  const link = new Link(() => now);
  const words = () => absence('RabbitMQ', link.status);

  it('is not there in the beginning, and is being tried', () => {
    expect(words()).toBe('no connection to RabbitMQ since 2026-11-28T03:12:47Z, trying now');
  });

  it('keeps the time of its loss over attempts that fail, and has the reason of the last one', () => {
    link.up();
    expect(link.status).toEqual({ connected: true, since: '2026-11-28T03:12:47Z', reason: null, next_try: null });
    now += 60_000;
    link.down('the channel was closed');
    now += 1_000;
    link.waits(4_000);
    link.tries();
    link.down('ECONNREFUSED');
    link.waits(4_000);
    expect(words()).toBe('no connection to RabbitMQ since 2026-11-28T03:13:47Z (ECONNREFUSED), next try at 2026-11-28T03:13:52Z');
  });
});
