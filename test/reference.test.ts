import { readFileSync } from 'node:fs';
import { ERRORS, privhelperConfigSchema as helperSchema } from '@kpx/protocol';
import { parse } from 'smol-toml';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { BROKER_TEXTS } from '../docs/reference/broker.js';
import { outputs } from '../docs/reference/outputs.js';
import { PRIVHELPER_TEXTS } from '../docs/reference/privhelper.js';
import { tablesOf } from '../docs/reference/tables.js';
import { configSchema as brokerSchema } from '../packages/broker/src/config/config.js';
import { EXITS_OF } from '../packages/broker/src/output/exit.js';
import { REASONS, SEALED_UNAVAILABLE } from '../packages/broker/src/policy/reasons.js';

/** The helper imports nothing from the broker: its `--help` is its own. */
const HELPERS = 'packages/privhelper/src/main.ts';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

it.each(Object.entries(outputs()))('%s is what `npm run reference` makes of the schemas', (file, made) => {
  expect(read(file)).toBe(made);
});

/** `64 wrong usage`, from the `--help` of the helper. */
const exitsOfHelper = () => {
  const [, list = ''] = /^Exit codes: 0 done, (.*)\.$/m.exec(read(HELPERS)) ?? [];
  return list.split(', ').map((exit) => ({ code: Number.parseInt(exit, 10), meaning: exit.replace(/^\d+ /, '') }));
};

it.each(Object.entries({ ...EXITS_OF, 'kpx-privhelper': exitsOfHelper() }))(
  'EXIT STATUS of %s(8) has the codes of --help, in its words',
  (name, exits) => {
    const [, section = ''] = /^\.Sh EXIT STATUS\n([\s\S]*?)^\.El$/m.exec(read(`systemd/man/${name}.8`)) ?? [];
    const listed = [...section.matchAll(/^\.It (\d+)\n(.*)$/gm)].map(([, code, first]) => `${code} ${first}`);
    const sentence = (text: string) => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`;
    expect(exits.length).toBeGreaterThan(3);
    expect(listed).toEqual(['0 Done.', ...exits.map(({ code, meaning }) => `${code} ${sentence(meaning)}`)]);
  },
);

it('names codes in troubleshooting.md that kpx, RabbitMQ or the operating system has, and no others', () => {
  const ofRabbitmq = ['ACCESS_REFUSED', 'NOT_ALLOWED', 'NOT_FOUND', 'PRECONDITION_FAILED'];
  const ofSystem = ['EAI_AGAIN'];
  const known = new Set<string>([...Object.keys(ERRORS), ...Object.keys(REASONS), SEALED_UNAVAILABLE, ...ofRabbitmq, ...ofSystem]);
  const named = [...read('docs/troubleshooting.md').matchAll(/\b[A-Z]{3,}(?:_[A-Z]+)+\b/g)].map(([code]) => code);
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter((code) => !known.has(code))).toEqual([]);
});

it('wants a text for every key, and no other', () => {
  const schema = z.strictObject({ log: z.strictObject({ level: z.string().default('x') }) });
  const log = { text: 'The log.', effect: 'at once' };
  expect(tablesOf(schema, { log, 'log.level': 'How much.' })).toHaveLength(1);
  expect(() => tablesOf(schema, { log })).toThrow('"log.level" has no text');
  expect(() => tablesOf(schema, { log, 'log.level': 'How much.', 'log.file': 'Where.' })).toThrow('no key for the text of log.file');
});

describe.each([
  ['broker', brokerSchema, BROKER_TEXTS],
  ['privhelper', helperSchema, PRIVHELPER_TEXTS],
] as const)('%s.schema.json', (name, schema, texts) => {
  const example = parse(read(`systemd/${name}.toml`));
  const editor = z.fromJSONSchema(JSON.parse(read(`systemd/${name}.schema.json`)));

  it('is what the example names in its first line, for editors, and accepts it', () => {
    expect(read(`systemd/${name}.toml`).split('\n')[0]).toBe(`#:schema /usr/share/kpx/${name}.schema.json`);
    expect(editor.safeParse(example).error).toBeUndefined();
  });

  it('refuses what is of another type, out of bounds, or misspelt, as the program does', () => {
    const wrong: Record<string, unknown>[] = [{ ...example, misspelt: {} }];
    for (const { heading, keys } of tablesOf(schema, texts).filter(({ heading }) => /^\[\w+\]$/.test(heading))) {
      const table = heading.slice(1, -1);
      const values = example[table] as Record<string, unknown>;
      wrong.push({ ...example, [table]: { ...values, misspelt: 1 } });
      for (const key of keys) wrong.push({ ...example, [table]: { ...values, [key.name]: { of: 'another type' } } });
      for (const key of keys.filter(({ takes }) => /^(integer|number), /.test(takes)))
        wrong.push({ ...example, [table]: { ...values, [key.name]: -1 } });
    }
    for (const config of wrong) {
      expect([config, schema.safeParse(config).success]).toEqual([config, false]);
      expect([config, editor.safeParse(config).success]).toEqual([config, false]);
    }
    expect(wrong.length).toBeGreaterThan(20);
  });
});

describe.each([
  ['broker', brokerSchema, BROKER_TEXTS],
  ['privhelper', helperSchema, PRIVHELPER_TEXTS],
] as const)('the text of each key of %s.toml', (_, schema, texts) => {
  const SENTENCE_WORDS_MAX = 30;
  const WHEN = /\b(Change|Raise|Lower|Set|Leave|Choose)\b/;
  const tables = tablesOf(schema, texts);
  const exampleOf = (text: string) => /Example: `([^`]+)`\.$/.exec(text)?.[1];
  const keys = tables.flatMap(({ heading, keys }) => keys.map((key) => ({ heading, ...key })));
  /** What else the program wants where a key is set. */
  const NEEDED: Readonly<Record<string, string>> = {
    cert_file: 'key_file = "/k"',
    key_file: 'cert_file = "/c"',
    enabled: 'node = "h"\nurls = ["amqp://u@h"]\nmanagement_password_file = "/p"',
    core_tokens: 'tokens_per_executor = 4',
    tokens_per_executor: 'core_tokens = 64',
    command: 'launcher = "direct"',
    working_directory: 'launcher = "direct"\ncommand = ["/x"]',
  };
  const AMQP = 'urls = ["amqp://u@h"]';
  const problemWith = (heading: string, name: string, example: string) => {
    const isRule = heading === '[[policy.rule]]' && !['users', 'groups'].includes(name);
    const [, needed] =
      [
        ['[[policy.rule]]', isRule ? 'users = ["a"]' : undefined],
        ['[hook]', ''],
        ['[[sealed.learn]]', name === 'queue' ? '' : 'queue = "q-*"'],
        ...['[[sealed.up]]', '[[sealed.down]]'].map((table) => [table, name === 'exchange' ? '' : 'exchange = "e"']),
      ].find(([table]) => table === heading) ?? [];
    const table = [heading, needed ?? NEEDED[name] ?? '', example];
    if (heading === '[amqp]' && name !== 'urls') table.push(AMQP);
    const rest = schema === brokerSchema && heading !== '[amqp]' ? ['[amqp]', AMQP] : [];
    return schema.safeParse(parse([...rest, ...table].join('\n'))).error?.message;
  };

  it.each(keys)('$heading $name says when to change it, and ends with an example that the program takes', ({ heading, name, text }) => {
    expect(text).toMatch(WHEN);
    const example = exampleOf(text) ?? '';
    expect(example).toMatch(new RegExp(`^${name} = `));
    expect(problemWith(heading, name, example)).toBeUndefined();
  });

  it('has no sentence that has to be read twice for its length, or that leads elsewhere', () => {
    const all = [...keys, ...tables].map(({ text }) => text);
    const sentences = all.flatMap((text) => text.split(/(?<=[.:;])\s+(?=[A-Z`"])/));
    expect(sentences.filter((sentence) => sentence.split(/\s+/).length > SENTENCE_WORDS_MAX)).toEqual([]);
    expect(all.filter((text) => /\bsee there\b/i.test(text))).toEqual([]);
  });
});
