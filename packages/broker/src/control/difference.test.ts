import { expect, it } from 'vitest';
import * as z from 'zod';
import { configSchema } from '../config/config.js';
import { DURATIONS, differences, MEMORIES } from './difference.js';

const rule = { name: 'analysts', users: [], groups: ['analyst'], idle_stop: 60_000 };

it('tells values as the file has them', () => {
  const before = { amqp: { held_bytes_max: 256 * 1024 ** 2, prefetch: 256 }, policy: { start_window: 90_000, executor_memory: 0 } };
  const after = {
    amqp: { held_bytes_max: 1024 ** 3, prefetch: 8 },
    policy: { start_window: 500, executor_memory: 0, idle_stop: 1_800_000 },
  };
  expect(differences(before, after)).toEqual([
    'amqp.held_bytes_max: "256MiB" -> "1GiB"',
    'amqp.prefetch: 256 -> 8',
    'policy.start_window: "90s" -> "500ms"',
    'policy.idle_stop: not set -> "30m"',
  ]);
});

it('tells of a rule by its number and its name', () => {
  const told = (before: object[], after: object[]) => differences({ policy: { rule: before } }, { policy: { rule: after } });
  expect(told([rule], [{ ...rule, groups: ['analysts'], idle_stop: 120_000 }])).toEqual([
    'rule 1 "analysts".groups: ["analyst"] -> ["analysts"]',
    'rule 1 "analysts".idle_stop: "1m" -> "2m"',
  ]);
  expect(told([rule], [rule, { ...rule, name: 'x' }])).toEqual(['rule 2 "x": new']);
  expect(told([rule], [])).toEqual(['rule 1 "analysts": gone']);
});

it('knows every key of the schema that is a time or an amount of memory, and no other', () => {
  const found = { durations: new Set<string>(), memories: new Set<string>() };
  const walk = (node: unknown, key: string) => {
    if (typeof node !== 'object' || node === null) return;
    const { pattern, properties = {}, ...others } = node as { pattern?: string; properties?: object };
    if (pattern?.includes('(ms|s|m|h)')) found.durations.add(key);
    if (pattern?.includes('(KiB|')) found.memories.add(key);
    for (const [name, value] of Object.entries(properties)) walk(value, name);
    for (const value of Object.values(others)) walk(value, key);
  };
  walk(z.toJSONSchema(configSchema, { io: 'input', target: 'draft-7' }), '');
  expect(found).toEqual({ durations: DURATIONS, memories: MEMORIES });
});
