import { describe, expect, it } from 'vitest';
import type { QueueFacts } from '../rabbitmq/management.js';
import { isNearLimit, judged, refutes } from './job-queue.js';

const PLAIN: QueueFacts = { arguments: { 'x-queue-type': 'quorum' }, policy: undefined, operatorPolicy: undefined, definition: {} };
const queueOf = (version: string, facts: Partial<QueueFacts> | undefined) =>
  judged({ version, vhost: 'knime', queue: 'knime.jobs', facts: facts && { ...PLAIN, ...facts }, unknown: 'nobody was asked' });

const argument = (limit: number) => ({ arguments: { 'x-delivery-limit': limit } });
const policy = (limit: number) => ({ policy: 'ours', definition: { 'delivery-limit': limit } });

describe('the delivery limit of a quorum queue', () => {
  it.each([
    ['4.0.5', 'unknown', undefined, 20],
    ['3.10.8', 'unknown', undefined, undefined],
    ['4.3.6', 'the default', {}, 20],
    ['3.13.7', 'no default', {}, undefined],
    ['4.0.5', 'lifted by a policy', policy(-1), undefined],
    ['4.0.5', 'lifted by an argument', argument(-1), undefined],
    ['4.0.5', 'an argument, which a policy does not lift', { ...argument(5), ...policy(-1) }, 5],
    ['4.0.5', 'the smaller of both', { ...argument(50), ...policy(7) }, 7],
    ['3.10.8', 'an argument of -1, which removes at the first return', argument(-1), 0],
    ['3.10.8', 'a policy', policy(30), 30],
  ] as const)('of RabbitMQ %s, %s', (version, _, facts, limit) => {
    const queue = queueOf(version, facts);
    expect(queue).toMatchObject({ version, type: 'quorum', limit });
    expect(queue.danger === undefined).toBe(limit === undefined);
  });

  it('is lifted by a command that keeps what the policy in force says, and names the queue literally', () => {
    expect(queueOf('4.0.5', { policy: 'ours', definition: { 'max-length': 9 } }).fix).toBe(
      `on the RabbitMQ machine: rabbitmqctl set_policy -p knime --priority 100 --apply-to quorum_queues kpx-job-queue '^knime\\.jobs$' '{"max-length":9,"delivery-limit":-1}'`,
    );
  });

  it.each([
    ['4.0.5', argument(5), 'delete_queue'],
    ['3.10.8', argument(-1), 'delete_queue'],
    ['3.10.8', policy(9), ': rabbitmqctl clear_policy -p knime ours'],
    [
      '3.10.8',
      { policy: 'ours', definition: { 'delivery-limit': -1, 'max-length': 9 } },
      'list_policies -p knime, and take delivery-limit out of "ours"',
    ],
    ['4.3.6', { operatorPolicy: 'theirs', definition: { 'delivery-limit': 9 } }, ': rabbitmqctl clear_operator_policy -p knime theirs'],
    ['4.3.6', { ...policy(9), operatorPolicy: 'theirs' }, 'list_operator_policies -p knime, and take delivery-limit out of "theirs"'],
  ] as const)('of RabbitMQ %s that no policy of kpx lifts has another fix (%#)', (version, facts, fix) => {
    expect(queueOf(version, facts).fix).toContain(fix);
  });

  it('says where RabbitMQ moves what it removes', () => {
    expect(queueOf('4.0.5', {}).danger).toContain('removes it without a word');
    const definition = { 'dead-letter-exchange': '', 'dead-letter-routing-key': 'lost' };
    expect(queueOf('4.0.5', { definition }).danger).toContain('moves it to the dead-letter exchange "" with routing key "lost"');
  });
});

describe('a job near the limit', () => {
  it.each([
    [20, 17, false],
    [20, 18, true],
    [20, 21, true],
    [3, 2, false],
    [3, 3, true],
    [1, 1, true],
    [0, 0, false],
    [undefined, 1_000, false],
    [20, '19', false],
    [20, undefined, false],
  ])('of %s, given back %s times: %s', (limit, deliveries, near) => {
    expect(isNearLimit(limit, deliveries)).toBe(near);
  });
});

describe('a job that was given back more often than the limit allows', () => {
  it.each([
    ['the default, which was assumed', undefined, 21, true],
    ['the default, which was assumed', undefined, 20, false],
    ['the default, which was assumed', undefined, undefined, false],
    ['the default, as RabbitMQ says', {}, 21, false],
    ['none, as RabbitMQ says', policy(-1), 21, false],
  ] as const)('shows of a limit that is %s (%#) that it is not there', (_, facts, deliveries, shown) => {
    expect(refutes(queueOf('4.0.5', facts), deliveries)).toBe(shown);
  });
});
