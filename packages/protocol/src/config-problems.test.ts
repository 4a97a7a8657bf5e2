import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { hints } from './config-hints.js';
import { parseConfig } from './toml-config.js';

/* What an operator reads of a configuration that is TOML, and not one of kpx. */

const duration = z.string().regex(/^\d+s$/, 'expected a duration such as "30s"');
const schema = z.strictObject({
  amqp: z
    .strictObject({
      urls: z
        .array(z.string())
        .min(1)
        .max(16)
        .register(hints, { example: ['amqp://kpx@host/knime'] }),
      queue: z.string().min(1).max(10).default('knime-jobs'),
      tag: z.string().min(3).optional(),
      mode: z.literal('topic').optional(),
    })
    .optional(),
  policy: z
    .strictObject({
      max_executors: z.int().min(1).max(5000).default(40).register(hints, { tooSmall: 'to start none: kpxctl drain' }),
      share: z.number().min(0).max(1).default(0.5),
      when_full: z.enum(['wait', 'evict-idle']).default('wait'),
      is_fair: z.boolean().default(true),
      idle_stop: z
        .union([duration, z.literal('')])
        .default('')
        .register(hints, { expected: 'expected a duration, or ""', example: '30m' }),
      pause: duration.transform(Number).default(0),
      rule: z.array(z.strictObject({ name: z.string(), users: z.array(z.string()).min(2).max(3) })).default([]),
    })
    .prefault({}),
  environment: z.record(z.string(), z.string()).optional().register(hints, { secret: true }),
});

const wrong = (text: string) => {
  try {
    parseConfig('kpx.toml', text, schema);
  } catch (error) {
    return (error as Error).message.replaceAll('kpx.toml: ', '').split('\n');
  }
  throw new Error('nothing was refused');
};

describe('a wrong value of a configuration', () => {
  it.each([
    [
      '[policy]\nmax_executors = 0',
      'line 2, policy.max_executors = 0: expected a whole number from 1 to 5000; for example max_executors = 40; to start none: kpxctl drain',
    ],
    [
      '[policy]\nmax_executors = "4"',
      'line 2, policy.max_executors = "4": expected a whole number from 1 to 5000, without quotes; for example max_executors = 40',
    ],
    ['[policy]\nshare = 2', 'line 2, policy.share = 2: expected a number from 0 to 1; for example share = 0.5'],
    ['[policy]\nwhen_full = "evict"', 'line 2, policy.when_full = "evict": expected "wait" or "evict-idle"; did you mean "evict-idle"?'],
    ['[policy]\nwhen_full = "sideways"', 'line 2, policy.when_full = "sideways": expected "wait" or "evict-idle"'],
    ['[policy]\nwhen_full = 3', 'line 2, policy.when_full = 3: expected "wait" or "evict-idle"'],
    ['[policy]\nis_fair = "yes"', 'line 2, policy.is_fair = "yes": expected true or false, without quotes'],
    ['[policy]\nidle_stop = 30', 'line 2, policy.idle_stop = 30: expected a duration, or ""; for example idle_stop = "30m"'],
    ['[policy]\npause = "soon"', 'line 2, policy.pause = "soon": expected a duration such as "30s"; for example pause = 0'],
    [
      '[amqp]\nurls = ["a"]\nqueue = ""',
      'line 3, amqp.queue = "": expected at least one of its characters; for example queue = "knime-jobs"',
    ],
    [
      '[amqp]\nurls = ["a"]\nqueue = "a longer one"',
      'line 3, amqp.queue = "a longer one": expected at most 10 characters; for example queue = "knime-jobs"',
    ],
    ['[amqp]\nurls = ["a"]\ntag = "ab"', 'line 3, amqp.tag = "ab": expected at least 3 characters'],
    ['[amqp]\nurls = ["a"]\nmode = "fanout"', 'line 3, amqp.mode = "fanout": Invalid input: expected "topic"'],
    ['[amqp]\nurls = ["a"]\nqueue = 1979-05-27', 'line 3, amqp.queue: expected text in quotes; for example queue = "knime-jobs"'],
    ['[amqp]\nurls = []', 'line 2, amqp.urls = []: expected at least one of its entries; for example urls = ["amqp://kpx@host/knime"]'],
    [
      '[amqp]\nurls = "a text of more than 16 characters"',
      'line 2, amqp.urls = "a text of more than 16 characters": expected a list: urls = ["a text of more than 16 characters"]',
    ],
    ['[amqp]\nurls = 5', 'line 2, amqp.urls = 5: expected a list; for example urls = ["amqp://kpx@host/knime"]'],
    ['amqp = 5', 'line 1, amqp = 5: expected a table, with a heading in brackets or in braces'],
    ['[amqp]', 'line 1, amqp.urls is missing, and has no default; for example urls = ["amqp://kpx@host/knime"]'],
    ['[[policy.rule]]\nname = "x"', 'line 1, rule 1 "x": users is missing, and has no default'],
    ['[[policy.rule]]\nname = "x"\nusers = ["a"]', 'line 3, rule 1 "x": users = ["a"]: expected at least 2 entries'],
    [
      '[[policy.rule]]\nname = "x"\nusers = ["a", "b"]\n[[policy.rule]]\nname = ""\nusers = ["a", "b", "c", "d"]',
      'line 6, rule 2: users = ["a", "b", "c", "d"]: expected at most 3 entries',
    ],
    ['[policy]\nrule = ["x"]', 'line 2, policy.rule, entry 1 = "x": expected a table, with a heading in brackets or in braces'],
  ])('is named with its line, what is expected and what to write: %j', (text, line) => {
    expect(wrong(text)).toEqual([line]);
  });

  it.each([
    [
      'of an address',
      '[amqp]\nurls = "amqp://u:hunter2@host/v"',
      'line 2, amqp.urls: expected a list; for example urls = ["amqp://kpx@host/knime"]',
    ],
    ['below a table that may hold secrets', '[environment]\nTOKEN = 4711', 'line 2, environment.TOKEN: expected text in quotes'],
    [
      'that is long',
      `[amqp]\nurls = ["a"]\nqueue = "${'x'.repeat(60)}"`,
      'line 3, amqp.queue: expected at most 10 characters; for example queue = "knime-jobs"',
    ],
    [
      'that is a table',
      '[policy]\nmax_executors = { a = 1 }',
      'line 2, policy.max_executors: expected a whole number from 1 to 5000, without quotes; for example max_executors = 40',
    ],
  ])('%s is not repeated', (_, text, line) => {
    expect(wrong(text)).toEqual([line]);
  });
});

describe('problems of a configuration', () => {
  it('say which keys a table needs that is not there', () => {
    const needy = z.strictObject({ http: z.strictObject({ listen: z.string(), port: z.int().default(1) }) });
    expect(() => parseConfig('kpx.toml', '', needy)).toThrow(/^kpx\.toml: http\.listen is missing, and has no default$/);
  });

  it('say which table a key belongs into', () => {
    expect(wrong('when_full = "wait"')).toEqual(['line 1, when_full: unknown key; move it below [policy]']);
  });

  it('of a whole rule name the rule', () => {
    const rule = z.strictObject({ name: z.string() }).refine(() => false, 'expected users or groups');
    expect(() => parseConfig('kpx.toml', '[[rule]]\nname = "x"', z.strictObject({ rule: z.array(rule) }))).toThrow(
      /^kpx\.toml: line 1, rule 1 "x": expected users or groups$/,
    );
  });

  it('show the beginning of a long key', () => {
    expect(wrong(`${'k'.repeat(70)} = 1`)).toEqual([
      expect.stringMatching(/^line 1, k{60}…: unknown key; known keys here: amqp, policy, environment$/),
    ]);
  });

  it('are listed up to 20, with the number of the others', () => {
    const lines = wrong(Array.from({ length: 23 }, (_, index) => `unknown${index} = 1`).join('\n'));
    expect(lines).toHaveLength(21);
    expect(lines.at(-1)).toBe('3 more problems are not listed: correct these first');
  });
});
