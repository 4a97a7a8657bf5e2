import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { ERRORS, privhelperConfigSchema as helperSchema, parseConfig } from '@kpx/protocol';
import { parse } from 'smol-toml';
import { describe, expect, it, onTestFinished } from 'vitest';
import { configSchema as brokerSchema } from '../packages/broker/src/config/config.js';
import { REASONS } from '../packages/broker/src/policy/reasons.js';
import { keysOf } from './fixtures/config-keys.js';
import { blocksOf, PAGES, readPage } from './fixtures/page.js';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

/** Tests that may run what a page says. */
const RUNS = ['integration', 'system'].flatMap((folder) =>
  readdirSync(new URL(folder, import.meta.url), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => read(`test/${folder}/${name}`)),
);

/** Lists of tables: a line for an empty one would be in the way of the first table. */
const LISTS: ReadonlySet<string> = new Set(['policy.rule', 'sealed.up', 'sealed.down', 'sealed.learn']);

function valueAt(config: unknown, key: string): unknown {
  return key.split('.').reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], config);
}

describe.each([
  ['systemd/privhelper.toml', helperSchema, {}],
  ['systemd/broker.toml', brokerSchema, { amqp: { urls: ['amqp://kpx-broker@127.0.0.1:5672/knime'] } }],
])('the example %s', (file, schema, required) => {
  const text = read(file);

  it('has every key, with its default', () => {
    for (const key of keysOf(schema).filter((key) => !LISTS.has(key))) expect(valueAt(parse(text), key), key).toBeDefined();
    expect(parseConfig(file, text, schema)).toEqual(schema.parse(required));
  });
});

it('systemd/broker.toml names every key of a rule', () => {
  const amqp = { urls: ['amqp://kpx-broker@127.0.0.1:5672/knime'] };
  const rule = { users: ['*'], max_executors: 1, jobs_max: 1, idle_stop: '1m' };
  const [parsed = {}] = brokerSchema.parse({ amqp, policy: { rule: [rule] } }).policy.rule;
  expect(Object.keys(parsed).length).toBe(14);
  for (const key of Object.keys(parsed)) expect(read('systemd/broker.toml')).toContain(`\n# ${key} = `);
});

it('systemd/broker.toml names every key of an exchange that executors may publish to, and takes what is written out in it', () => {
  const example = read('systemd/broker.toml');
  const written = example.replace(/^# \[\[sealed\.up\]\]\n(# \w+ = .*\n)+/m, (block) => block.replaceAll(/^# (\S+(?: = \S+)?).*$/gm, '$1'));
  const { up } = parseConfig('broker.toml', written, brokerSchema).sealed;
  expect(up).toEqual([{ exchange: 'celeryev', type: 'topic', durable: true, auto_delete: false, keys: [] }]);
});

it('systemd/broker.toml takes rules that are appended to it, and those that are written out in it', () => {
  const example = read('systemd/broker.toml');
  const rules = (text: string) => parseConfig('broker.toml', text, brokerSchema).policy.rule;
  expect(rules(`${example}\n[[policy.rule]]\nusers = ["*"]\n[[policy.rule]]\nusers = ["a"]\n`)).toHaveLength(2);
  const written = example.replace(/^# (\[\[policy\.rule\]\])$/m, '$1').replace(/^# (users = \["svc-\*"\]) .*$/m, '$1');
  expect(rules(written)).toEqual([expect.objectContaining({ users: ['svc-*'] })]);
});

describe.each(PAGES)('%s', (page) => {
  const blocks = blocksOf(page);
  const checked = (language: string) =>
    blocks.flatMap((block) => (block.language === language && block.illustration === undefined ? [block.text] : []));

  it('says of each block what it is, in a word that something goes by', () => {
    for (const { language, text } of blocks)
      expect([text, ['', 'sh', 'bash', 'python', 'toml', 'ini', 'yaml'].includes(language)]).toEqual([text, true]);
    for (const { text, illustration } of blocks)
      if (illustration !== undefined) expect([text, illustration.length > 20]).toEqual([text, true]);
    // Commands that nobody would run.
    const output = blocks.filter(({ language }) => language === '').map(({ text }) => text);
    expect(output.filter((text) => /^(\$|#)? *(kpxctl|systemctl|rabbitmqctl|journalctl|apt|sudo|npm) [a-z-]/m.test(text))).toEqual([]);
  });

  it('has no commands but those that a test runs, and those that are marked as an illustration', () => {
    if (checked('sh').length === 0) return;
    expect(RUNS.filter((text) => text.includes(`commandsOf('${page}'`))).toHaveLength(1);
  });

  it('has programs that a test runs', () => {
    if ([...checked('bash'), ...checked('python')].length === 0) return;
    expect(RUNS.filter((text) => text.includes(`blocksOf('${page}')`))).toHaveLength(1);
  });

  it('has units and drop-ins that a test has systemd judge', () => {
    if (checked('ini').length === 0) return;
    expect(RUNS.filter((text) => text.includes('PAGES') && text.includes("'ini'"))).toHaveLength(1);
  });

  it('has configurations that the programs take', () => {
    for (const text of checked('toml')) {
      const tables = Object.keys(parse(text));
      if (tables.every((table) => table in helperSchema.shape)) parseConfig(page, text, helperSchema);
      else parseConfig(page, text.includes('[amqp]') ? text : `[amqp]\nurls = ["amqp://user@host"]\n${text}`, brokerSchema);
    }
  });

  it('has configurations of Prometheus that it takes', () => {
    for (const text of checked('yaml')) {
      const file = join(tmpdir(), `kpx-page-${process.pid}.yml`);
      writeFileSync(file, text);
      onTestFinished(() => rmSync(file));
      const said = execFileSync('dist/tools/promtool', ['check', 'config', '--syntax-only', file], { encoding: 'utf8' });
      expect(said).toContain('is valid prometheus config file syntax');
    }
  });

  it('has links that lead somewhere', () => {
    for (const [link, file = '', anchor] of readPage(page).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)) {
      const path = file === '' ? page : relative(process.cwd(), resolve(dirname(page), file));
      expect([link, existsSync(path)]).toEqual([link, true]);
      if (anchor !== undefined) expect([link, anchorsOf(path)]).toEqual([link, expect.arrayContaining([anchor])]);
    }
  });

  it('is named in the index of README.md', () => {
    if (page !== 'README.md') expect(read('README.md')).toContain(`(${page})`);
  });
});

/** As GitHub makes them of headings. */
function anchorsOf(path: string): string[] {
  return [...readPage(path).matchAll(/^#{1,6} (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

it('names every reason that a job can be parked for', () => {
  const refusals = Object.entries(ERRORS).flatMap(([code, { retry }]) => (retry === 'never' && code !== 'NOT_RUNNING' ? [code] : []));
  for (const reason of [...Object.keys(REASONS), ...refusals]) expect(read('docs/operate.md')).toContain(`\`${reason}\``);
});

describe('docs/troubleshooting.md', () => {
  const sections = readPage('docs/troubleshooting.md').split(/^#{2,3} /m);
  const seen = sections.flatMap((section) =>
    [...section.matchAll(/^<!-- seen: (\S+) "(.*)" -->$/gm)].map(([, test = '', words = '']) => ({
      section,
      test,
      words: words.replaceAll('\\"', '"'),
    })),
  );

  it('shows nothing but what a test has seen: these words are in it, and in the page beside the comment that says so', () => {
    expect(seen.length).toBeGreaterThan(40);
    for (const { section, test, words } of seen) {
      const shown = section.replaceAll(/^<!--.*-->$/gm, '').replaceAll('`', '');
      expect([test, words, read(test).includes(words)]).toEqual([test, words, true]);
      expect([words, comparable(shown).includes(comparable(words))]).toEqual([words, true]);
    }
  });

  it('has for each log line and each table of symptoms a test that has seen it', () => {
    const shows = sections
      .slice(1)
      .filter((section) => section.includes('\n```\n') || /^\| (what you see|reason|in the detail)/m.test(section));
    expect(shows.length).toBeGreaterThan(12);
    expect(shows.filter((section) => !section.includes('<!-- seen: ')).map((section) => section.split('\n')[0])).toEqual([]);
  });
});

/** Numbers differ. */
function comparable(text: string): string {
  return text.replaceAll(/\d+/g, '0');
}
