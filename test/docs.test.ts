import { readFileSync } from 'node:fs';
import { ERRORS, parseConfig } from '@kpx/protocol';
import { parse } from 'smol-toml';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { configSchema as brokerSchema } from '../packages/broker/src/config.js';
import { REASONS } from '../packages/broker/src/reasons.js';
import { configSchema as helperSchema } from '../packages/privhelper/src/config.js';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const readme = read('README.md');
const [helperToml = '', brokerToml = ''] = [...readme.matchAll(/```toml\n(.*?)```/gs)].map(([, text]) => text);

function unwrap(schema: unknown): unknown {
  return schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional
    ? unwrap(schema.unwrap())
    : schema;
}

/** "section.key" of every key that a configuration knows. */
function keysOf(schema: unknown, prefix = ''): string[] {
  const object = unwrap(schema);
  if (!(object instanceof z.ZodObject)) return [prefix];
  return Object.entries(object.shape).flatMap(([key, inner]) => keysOf(inner, prefix === '' ? key : `${prefix}.${key}`));
}

function valueAt(config: unknown, key: string): unknown {
  return key.split('.').reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], config);
}

describe('the configuration in the README', () => {
  it.each([
    ['helper', helperToml, helperSchema],
    ['broker', brokerToml, brokerSchema],
  ])('of the %s is accepted, shows every key, and shows the defaults', (program, toml, schema) => {
    const shown = parseConfig('README.md', toml, schema);
    for (const key of keysOf(schema)) expect(valueAt(parse(toml), key), key).toBeDefined();
    // Lines that are required, or say that they are an example, have no default to compare with.
    const comparable = toml.split('\n').filter((line) => !/required|example/.test(line));
    const minimal = parseConfig('minimal', minimalOf(program), schema);
    for (const key of keysOf(schema)) {
      const name = key.slice(key.lastIndexOf('.') + 1);
      if (comparable.some((line) => line.startsWith(`${name} = `))) expect(valueAt(shown, key), key).toEqual(valueAt(minimal, key));
    }
  });
});

const minimalOf = (program: string) =>
  program === 'helper' ? '[executor]\nlauncher = "direct"\ncommand = ["/bin/true"]\n' : '[amqp]\nurls = ["amqp://u@h"]\n';

it('names every reason that a job can be parked for', () => {
  const refusals = Object.entries(ERRORS).flatMap(([code, { retry }]) => (retry === 'never' ? [code] : []));
  for (const reason of [...Object.keys(REASONS), ...refusals]) expect(readme).toContain(`\`${reason}\``);
});

it('SECURITY.md names tests that exist', () => {
  const rows = [...read('SECURITY.md').matchAll(/^\| .* \| `([^`]+\.test\.ts)`: (.+?) \|$/gm)];
  expect(rows.length).toBeGreaterThan(10);
  for (const [, file = '', title = ''] of rows) expect(read(file), file).toContain(title);
});
