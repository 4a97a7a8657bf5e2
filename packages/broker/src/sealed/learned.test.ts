import { parseConfig } from '@kpx/protocol';
import { describe, expect, it } from 'vitest';
import { configSchema } from '../config/config-schema.js';
import { proposed, wanted } from './learned.js';

const config = (text = '') => parseConfig('broker.toml', `[amqp]\nurls = ["amqp://kpx@127.0.0.1/knime"]\n${text}`, configSchema);
const queue = (name: string, changes: object = {}) => ({ name, durable: false, auto_delete: false, exclusive: false, ...changes });
const exchange = (name: string, type: string) => ({ name, type, durable: true, auto_delete: false });
const UUIDS = ['3f2b8f6e-0c1d-4e5f-8a9b-0c1d2e3f4a5b', '00000000-0000-4000-8000-000000000000'];

describe('the queues that are mirrored', () => {
  const rules = [
    { queue: 'gateway-*', max: 2 },
    { queue: 'status', max: 1 },
  ];

  it('are those that a rule names, by name, and no more than it allows', () => {
    expect(wanted(rules, ['gateway-c', 'other', 'gateway-b', 'status', 'gateway-a', 'gateway'], new Set())).toEqual({
      mirrors: ['gateway-a', 'gateway-b', 'status'],
      left: ['gateway-c'],
    });
  });

  it('stay, whatever else is declared', () => {
    const many = Array.from({ length: 100 }, (_, each) => `gateway-0${each}`);
    expect(wanted(rules, [...many, 'gateway-z'], new Set(['gateway-z'])).mirrors).toEqual(['gateway-z', 'gateway-00']);
  });
});

describe('the blocks for what an executor has declared', () => {
  it('name queues by what their names have in common, and broker.toml takes them', () => {
    const text = proposed(
      UUIDS.map((id) => queue(`gateway-${id}`)),
      [],
      new Set(),
      config(),
    );
    expect(text).toContain(`# The executor has declared "gateway-${UUIDS[0]}", "gateway-${UUIDS[1]}": no call of the server reaches it.`);
    expect(config(text).sealed.learn).toEqual([{ queue: 'gateway-*', max: 50 }]);
    expect(
      proposed(
        UUIDS.map((id) => queue(`gateway-${id}`)),
        [],
        new Set(),
        config(text),
      ),
    ).toBe('');
  });

  it('have no rule for names without a beginning in common', () => {
    const text = proposed([queue(UUIDS[0] ?? '')], [], new Set(), config());
    expect(text).toContain('so there is no rule for them');
    expect(config(text).sealed.learn).toEqual([]);
  });

  it('leave out queues that a client makes for itself alone, and those that kpx knows', () => {
    const own = [
      queue('celery@x.pidbox', { auto_delete: true }),
      queue('mine', { exclusive: true }),
      queue('amq.gen-1'),
      queue('knime-jobs'),
    ];
    expect(proposed(own, [exchange('knime-server2executorknime-jobs', 'direct')], new Set(), config())).toBe('');
  });

  it('let an exchange up to which something was refused, and have others as comments', () => {
    const text = proposed(
      [],
      [exchange('celeryev', 'topic'), exchange('celery.pidbox', 'fanout'), exchange('d', 'direct')],
      new Set(['celeryev']),
      config(),
    );
    expect(config(text).sealed).toMatchObject({ up: [{ exchange: 'celeryev', type: 'topic' }], down: [] });
    expect(text).toContain('# [[sealed.down]]\n# exchange = "celery.pidbox"\n# type = "fanout"');
    expect(text).toContain('# keys = []');
  });

  it.each(['gateway-"\\\n\u0000\u007f]]\n[sealed]', 'gateway-\u202e', 'gateway-ä 😀'])(
    'are one line of TOML each, whatever the name is: %j',
    (name) => {
      const text = proposed([queue(name)], [exchange(name, 'topic')], new Set([name]), config());
      const { learn, up } = config(text).sealed;
      expect([learn, up]).toMatchObject([[{ queue: name }], [{ exchange: name }]]);
    },
  );
});
