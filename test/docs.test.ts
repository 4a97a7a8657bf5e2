import { readFileSync } from 'node:fs';
import { ERRORS, privhelperConfigSchema as helperSchema, parseConfig } from '@kpx/protocol';
import { parse } from 'smol-toml';
import { describe, expect, it } from 'vitest';
import { configSchema as brokerSchema } from '../packages/broker/src/config.js';
import { REASONS } from '../packages/broker/src/reasons.js';
import { keysOf } from './fixtures/config-keys.js';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

function valueAt(config: unknown, key: string): unknown {
  return key.split('.').reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], config);
}

describe.each([
  ['systemd/privhelper.toml', helperSchema, {}],
  ['systemd/broker.toml', brokerSchema, { amqp: { urls: ['amqp://kpx-broker@127.0.0.1:5672/knime'] } }],
])('the example %s', (file, schema, required) => {
  const text = read(file);

  it('has every key, with its default', () => {
    for (const key of keysOf(schema)) expect(valueAt(parse(text), key), key).toBeDefined();
    expect(parseConfig(file, text, schema)).toEqual(schema.parse(required));
  });
});

it('systemd/broker.toml names every key of a rule', () => {
  const amqp = { urls: ['amqp://kpx-broker@127.0.0.1:5672/knime'] };
  const rule = { users: ['*'], max_executors: 1, idle_stop: '1m' };
  const [parsed = {}] = brokerSchema.parse({ amqp, policy: { rule: [rule] } }).policy.rule;
  expect(Object.keys(parsed).length).toBe(8);
  for (const key of Object.keys(parsed)) expect(read('systemd/broker.toml')).toContain(`\n# ${key} = `);
});

it('docs/tune.md has examples that are configurations', () => {
  const examples = [...read('docs/tune.md').matchAll(/^```toml\n([^`]+)```$/gm)].map(([, text = '']) => text);
  expect(examples.length).toBeGreaterThanOrEqual(4);
  for (const example of examples) parseConfig('tune.md', `[amqp]\nurls = ["amqp://user@host"]\n${example}`, brokerSchema);
});

it('names every reason that a job can be parked for', () => {
  const refusals = Object.entries(ERRORS).flatMap(([code, { retry }]) => (retry === 'never' ? [code] : []));
  for (const reason of [...Object.keys(REASONS), ...refusals]) expect(read('docs/operate.md')).toContain(`\`${reason}\``);
});
