import { expect, it } from 'vitest';
import { whyConsumerEnded } from './consumer-ended.js';

const seen = (version: string, type: string) => ({ version, type, limit: undefined, danger: undefined, fix: undefined });

it.each([
  ['4.3.6', 'quorum', /a job was held longer than its consumer timeout .*; or the queue was deleted, or has no leader$/],
  ['5.0.0', 'quorum', /a job was held longer than its consumer timeout/],
  ['4.0.5', 'quorum', /^RabbitMQ ended the consumer of "jobs"; probably the queue was deleted, or has no leader$/],
  ['4.3.6', 'classic', /^RabbitMQ ended the consumer of "jobs"; probably the queue was deleted, or its node is away$/],
])('RabbitMQ %s, a %s queue', (version, type, why) => {
  expect(whyConsumerEnded('jobs', seen(version, type))).toMatch(why);
});

it('says no more than it knows', () => {
  expect(whyConsumerEnded('jobs', undefined)).toBe('RabbitMQ ended the consumer of "jobs"');
});
