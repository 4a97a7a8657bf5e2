import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ERRORS } from '@kpx/protocol';
import { describe, expect, it } from 'vitest';

const root = new URL('..', import.meta.url).pathname;
const tracked = execFileSync('git', ['-c', `safe.directory=*`, 'ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && existsSync(`${root}${file}`));
const files = tracked.filter((file) => /^packages\/.*\.ts$/.test(file) && !file.includes('/generated/'));
const code = files.filter((file) => !/\.test\.ts$|test-fixtures|^packages\/[^/]+\/test/.test(file));
const read = (file: string) => readFileSync(`${root}${file}`, 'utf8');

/** What the files of each package may import of the others. Nobody imports kpxctl. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  privhelper: ['protocol'],
  broker: ['protocol'],
  kpxctl: ['protocol', 'privhelper', 'broker'],
};

/** The package that an import reaches; undefined: one of npm, or of Node. */
function packageOf(file: string, from: string): string | undefined {
  if (from.startsWith('@kpx/')) return from.split('/')[1];
  return from.startsWith('.') ? join(dirname(file), from).split('/')[1] : undefined;
}

const importsOf = (file: string) => [...read(file).matchAll(/(?:from|import)\s*\(?'([^']+)'/g)].map(([, from = '']) => from);

describe('packages keep apart', () => {
  it.each(Object.entries(MAY_IMPORT))('%s imports nothing that it must not', (name, allowed) => {
    const own = files.filter((file) => file.startsWith(`packages/${name}/`));
    expect(own.length).toBeGreaterThan(5);
    const reached = own.flatMap((file) => importsOf(file).map((from) => ({ file, to: packageOf(file, from) })));
    const wrong = reached.filter(({ to }) => to !== undefined && to !== name && !allowed.includes(to));
    expect(wrong.map(({ file, to }) => `${file}: imports ${to}, and may import ${allowed.join(', ') || 'no other package'}`)).toEqual([]);
  });

  it('no other package is there', () => {
    const names = new Set(files.map((file) => file.split('/')[1]));
    expect([...names].sort()).toEqual(Object.keys(MAY_IMPORT).sort());
  });
});

/** The nodes that can be reached from each other in both directions, if there are any. */
function cycleIn(edges: readonly { readonly from: string; readonly to: string }[]): string[] {
  const reachedFrom = (start: string) => {
    const reached = new Set<string>();
    for (let added = [start]; added.length > 0; ) {
      added = edges.filter(({ from, to }) => added.includes(from) && !reached.has(to)).map(({ to }) => to);
      for (const node of added) reached.add(node);
    }
    return reached;
  };
  return [...new Set(edges.map(({ from }) => from))].filter((node) => reachedFrom(node).has(node)).sort();
}

describe('folders of a package do not import each other in a circle', () => {
  /** What puts a program together is above all folders. */
  const WIRING = ['packages/kpxctl/src/main.ts', 'packages/kpxctl/src/program.ts', 'packages/privhelper/src/main.ts'];
  const folderOf = (file: string) => (WIRING.includes(file) ? 'the wiring' : dirname(file));

  it.each(Object.keys(MAY_IMPORT))('%s', (name) => {
    const imports = code
      .filter((file) => file.startsWith(`packages/${name}/src/`))
      .flatMap((file) => importsOf(file).map((from) => ({ file, to: join(dirname(file), from).replace(/\.js$/, '.ts') })))
      .filter(({ to }) => files.includes(to));
    expect(imports.length).toBeGreaterThan(5);
    const crossing = imports
      .map(({ file, to }) => ({ file, import: to, from: folderOf(file), to: folderOf(to) }))
      .filter(({ from, to }) => from !== to);
    const circle = cycleIn(crossing);
    const within = crossing.filter(({ from, to }) => circle.includes(from) && circle.includes(to));
    expect(
      within.map((each) => `${each.file}: imports ${each.import}, which is in a circle of folders: move what both need below them`),
    ).toEqual([]);
  });
});

it('exports nothing that nobody imports', () => {
  const IMPORT = /\b(?:import|export)\s+(?:type\s+)?(?:\w+\s*,\s*)?\{([^}]*)\}\s*from\b|\bimport\('[^']*'\)\.(\w+)/g;
  const EXPORT = /^export (?:(?:async|abstract|declare) )*(?:function\*?|const|let|class|interface|type|enum) (\w+)/gm;
  const sources = tracked.filter((file) => /\.m?[jt]s$/.test(file) && !file.includes('/generated/'));
  const importers = new Map<string, Set<string>>();
  for (const file of sources) {
    const lists = [...read(file).matchAll(IMPORT)].flatMap(([, list, name = '']) => list?.split(',') ?? [name]);
    for (const name of lists.map(
      (entry) =>
        entry
          .trim()
          .replace(/^type /, '')
          .split(' ')[0] ?? '',
    ))
      importers.set(name, (importers.get(name) ?? new Set()).add(file));
  }
  const unused = code.flatMap((file) => {
    const text = read(file);
    const isUnused = (name: string) => [...(importers.get(name) ?? [])].every((importer) => importer === file);
    return [...text.matchAll(EXPORT)]
      .filter(([, name = '']) => isUnused(name))
      .map(({ index, 1: name }) => `${file}:${text.slice(0, index).split('\n').length}: nobody imports ${name}, take "export" away`);
  });
  expect(importers.size).toBeGreaterThan(500);
  expect(unused).toEqual([]);
});

/** Lines that are neither blank nor only comment. */
function codeLines(file: string): number {
  const withoutComments = read(file).replace(/^\s*\/\*[\s\S]*?\*\/\s*$/gm, '');
  return withoutComments.split('\n').filter((line) => !/^\s*(\/\/|$)/.test(line)).length;
}

it('has one subject a file: 300 lines of product code at most', () => {
  const FILE_LINES_MAX = 300;
  const long = code.map((file) => ({ file, lines: read(file).trimEnd().split('\n').length })).filter(({ lines }) => lines > FILE_LINES_MAX);
  expect(long.map(({ file, lines }) => `${file}: ${lines} lines, move one of its subjects into a file of its own`)).toEqual([]);
});

describe('what runs as root stays small', () => {
  /**
   * Sealed executors: credentials.ts (the password is made, answered as a hash, used once) and system/password-files.ts (where it waits) take 40 of
   * them. The others are the two verbs and both launchers, which say what runs now, and the template.
   */
  const SEALED_LINES_MAX = 60;
  /** Accounts that a directory disables, and groups that it does not know: PAM is asked by a unit, and --check looks groups up. */
  const DIRECTORY_LINES_MAX = 9;
  /** The chain of the audit log: a number and a hash in each line, and the head in a file. */
  const CHAIN_LINES_MAX = 18;
  const CODE_LINES_MAX = 680 + SEALED_LINES_MAX + DIRECTORY_LINES_MAX + CHAIN_LINES_MAX;
  /** The direct launcher, with what it needs where there is no PID 1: a socket to listen at, a look at its children. */
  const isDirect = (file: string) => file.startsWith('packages/privhelper/src/launchers/direct');

  it(`has at most ${CODE_LINES_MAX} lines of code without the direct launcher`, () => {
    const own = code.filter((file) => file.startsWith('packages/privhelper/src/') && !isDirect(file));
    expect(own).toContain('packages/privhelper/src/dispatch.ts');
    const lines = own.map((file) => codeLines(file)).reduce((sum, count) => sum + count, 0);
    expect(lines).toBeGreaterThan(CODE_LINES_MAX / 2); // counted at all
    expect(lines).toBeLessThanOrEqual(CODE_LINES_MAX);
  });

  it.each([
    ['protocol', ['node-unix-socket', 'pino', 'protobufjs', 'smol-toml', 'zod']],
    ['privhelper', ['@kpx/protocol']],
    ['broker', ['@kpx/protocol', 'amqplib', 'node-unix-socket', 'pino', 'prom-client', 'zod']],
    ['kpxctl', ['@kpx/broker', '@kpx/privhelper', '@kpx/protocol', 'amqplib', 'commander', 'pino', 'smol-toml', 'zod']],
  ])('%s depends on what it is known to depend on, and imports each of it', (name, dependencies) => {
    expect(Object.keys(JSON.parse(read(`packages/${name}/package.json`)).dependencies).sort()).toEqual(dependencies);
    const own = code.filter((file) => file.startsWith(`packages/${name}/src/`)).map(read);
    for (const dependency of dependencies) expect(own.some((text) => text.includes(`from '${dependency}`))).toBe(true);
  });
});

it('says of every function that touches the operating system what it does', () => {
  const system = code.filter((file) => /^packages\/privhelper\/src\/(.*\/)?system\//.test(file));
  const exported = system.flatMap((file) => [...read(file).matchAll(/(.*)\n^export (?:async function|function|const) (\w+)/gm)]);
  expect(exported.length).toBeGreaterThan(20);
  expect(exported.filter(([, before = '']) => !before.trimEnd().endsWith('*/')).map(([, , name]) => name)).toEqual([]);
});

it.each([
  ['session', '// Runs in: the helper, as root.'],
  ['client', '// Runs in: the broker, and kpxctl doctor: never as root.'],
])('says in its first line where the side of the wire in %s.ts runs', (side, line) => {
  expect(read(`packages/protocol/src/${side}.ts`).split('\n', 1)).toEqual([line]);
});

it('has a test for every error that the helper answers with', () => {
  const tests = tracked.filter((file) => /\.test\.ts$/.test(file) && !/\/errors\.test\.ts$/.test(file)).map(read);
  const codes = Object.keys(ERRORS);
  expect(codes.length).toBeGreaterThan(10);
  expect(codes.filter((code) => !tests.some((text) => text.includes(`'${code}'`)))).toEqual([]);
});

it('kpxctl knows of the helper by what it judges and looks things up, and no more', () => {
  const ofTheHelper = files.filter((file) => file.startsWith('packages/kpxctl/')).flatMap(importsOf);
  expect([...new Set(ofTheHelper.filter((from) => from.startsWith('@kpx/privhelper')))].sort()).toEqual([
    '@kpx/privhelper/accounts',
    '@kpx/privhelper/config',
    '@kpx/privhelper/directories',
    '@kpx/privhelper/environment',
    ...['acl', 'command', 'directory', 'name-service', 'trusted-file'].map((name) => `@kpx/privhelper/system/${name}`),
  ]);
});

/**
 * Words that have to be read twice, and what to write instead: the one list. In backticks they are quoted, which is not use. Where a sentence is
 * broken into lines, its words stand apart by the beginning of a comment.
 */
const DROPPED_WORDS = {
  'of late': 'recently, or the time',
  'mend(?:s|ed|ing)?': 'fix',
  elsewise: 'fallback, or otherwise',
  'whose it is': 'name the user, the account or the owner',
  'what is what': 'name both things',
  '(?:is|are|be) said so': 'name who says it',
  'see there': 'say here what is there',
} as const;

it('has no word that was dropped, in comments, documents and messages', () => {
  const texts = tracked.filter((file) => /\.([mc]?[jt]s|html|md|toml|sh|proto|service|socket|5|8|bash|fish)$/.test(file));
  expect(texts.length).toBeGreaterThan(400);
  const found = texts
    .filter((file) => file !== 'test/tidy.test.ts')
    .flatMap((file) => {
      const text = read(file);
      return Object.entries(DROPPED_WORDS).flatMap(([words, instead]) => {
        const pattern = new RegExp(`(?<![\\w\`])${words.replaceAll(' ', '\\s+(?:(?:\\*|//|#)\\s+)?')}(?![\\w\`])`, 'gi');
        return [...text.matchAll(pattern)].map(
          ({ index, 0: said }) => `${file}:${text.slice(0, index).split('\n').length}: "${said}", write: ${instead}`,
        );
      });
    });
  expect(found).toEqual([]);
});

describe('sentences can be read once', () => {
  const SENTENCE_WORDS_MAX = 30;
  const END = /(?<=[.:;!?])\s/;
  /** Comments, and texts that begin and end on one line. */
  const TEXT = /\/\*([\s\S]*?)\*\/|\/\/ (.*)|'((?:[^'\\\n]|\\.)* (?:[^'\\\n]|\\.)*)'|"([^"\n]* [^"\n]*)"|`([^`\n]* [^`\n]*)`/g;
  /** In a page: blocks of code, remarks and headings, which have no sentences; the beginnings of items and rows; the borders of a row's cells. */
  const [CODE, ITEM, CELL] = [/^( *)```[\s\S]*?^\1```|<!--[\s\S]*?-->|^#.*/gm, /\n\s*\n|\n(?= *(?:- |\d+\. |\||#))/, / \| |^\| ?| ?\|$/];

  const lineOf = (text: string, index: number) => text.slice(0, index).split('\n').length;

  function* textsOfCode(source: string): Generator<readonly [line: number, text: string]> {
    for (const { index, 0: all, 1: comment } of source.matchAll(TEXT)) {
      const text = comment === undefined ? all.replace(/^(['"`]|\/\/ )|['"`]$/g, '') : comment.replace(/^\*|\n\s*\*/g, ' ');
      yield [lineOf(source, index), text];
    }
  }

  function* textsOfPage(source: string): Generator<readonly [line: number, text: string]> {
    const page = source.replaceAll(CODE, (block) => block.replaceAll(/[^\n]+/g, ''));
    let at = 0;
    for (const item of page.split(ITEM)) {
      at = page.indexOf(item, at);
      for (const text of item.split(CELL)) yield [lineOf(page, at), text];
    }
  }

  const isPage = (file: string) => /^(docs\/.*|README|SECURITY|CONTRIBUTING)(\.md)?$/.test(file) && file.endsWith('.md');
  const sentences = tracked
    .filter((file) => code.includes(file) || isPage(file) || /^docs\/reference\/.*\.ts$/.test(file))
    .flatMap((file) =>
      [...(isPage(file) ? textsOfPage : textsOfCode)(read(file))].flatMap(([line, text]) =>
        text.split(END).map((sentence) => ({ at: `${file}:${line}`, words: sentence.split(/\s+/).filter((word) => /\w/.test(word)) })),
      ),
    );

  it(`has at most ${SENTENCE_WORDS_MAX} words in each`, () => {
    expect(sentences.length).toBeGreaterThan(10_000);
    // A list of names alone is no sentence.
    const isList = (words: readonly string[]) => words.every((word) => /^`.*`$/.test(word));
    const long = sentences.filter(({ words }) => words.length > SENTENCE_WORDS_MAX && !isList(words));
    expect(long.map(({ at, words }) => `${at}: ${words.length} words, write two sentences: ${words.join(' ')}`)).toEqual([]);
  });

  it('has none with a clause as its subject', () => {
    const clauses = sentences.filter(
      ({ words }) => /^(\*\*)?(Who|What|Whoever|Whatever)$/.test(words[0] ?? '') && !/\?\W*$/.test(words.at(-1) ?? ''),
    );
    expect(clauses.map(({ at, words }) => `${at}: "${words[0]} …", name the thing: ${words.join(' ')}`)).toEqual([]);
  });
});

describe('code that must not be there', () => {
  it.each([
    ['a shell', /\bshell: *(true\b|['"`])|\bexec(Sync)?\(/],
    ['code that is loaded at run time', /\bimport\(|\brequire\(/],
    ['a message rejected for good', /\bnack(All)?\((?!.*true\))|hannel\.reject\(/],
    ['code from strings', /\beval\(|new Function\(/],
    ['a file from inside of another package', /(from|import) '(@[\w.-]+\/)?[\w-]+\/(lib|src|dist|build)\//],
    ['protobuf reflection', /protobufjs(\/light)?'/],
    ['a lint rule switched off', /biome-ignore|@ts-(ignore|nocheck|expect-error)/],
  ])('%s', (_, forbidden) => {
    const found = code.filter((file) => forbidden.test(read(file).replaceAll('.exec(', '')));
    expect(found).toEqual([]);
  });

  it('anything written for people by the broker and kpxctl but in one place, which makes it safe for a terminal', () => {
    const writes = /process\.std(out|err)\.write|process\[.*\]\.write|console\.|writeSync\(|\.pipe\(process/;
    const writing = code.filter((file) => /^packages\/(broker|kpxctl)\/src\//.test(file) && writes.test(read(file)));
    expect(writing).toEqual(['packages/broker/src/output/terminal.ts']);
  });

  it('processes started anywhere but in four places, which give each a session of its own', () => {
    const starting = code.filter((file) => read(file).includes('node:child_process'));
    expect(starting.sort()).toEqual([
      'packages/broker/src/host/command.ts',
      'packages/privhelper/src/launchers/direct.ts',
      'packages/privhelper/src/launchers/direct/copy.ts',
      'packages/privhelper/src/system/command.ts',
    ]);
    for (const file of starting) expect(read(file)).toMatch(/\bdetached: true\b/);
  });
});

/*
 * The linter knows types: noFloatingPromises of biome finds a promise that nobody awaits. It takes `void` for an answer, and does not see what Node
 * calls back. That is what these look for.
 */
describe('a promise without a handler, which ends the process when it is rejected', () => {
  /** In the helper a failure that nobody handles has to end the process: it must not go on without its audit, or half closed. */
  const ENDS_THE_HELPER = [
    'packages/privhelper/src/dispatch.ts',
    'packages/privhelper/src/launchers/direct/listen.ts',
    'packages/protocol/src/session.ts',
  ];

  it('is nowhere hidden by void', () => {
    const hiding = code.filter((file) => /\bvoid (?!process\.stdout\.write)[\w#]/.test(read(file)));
    expect(hiding.sort()).toEqual(ENDS_THE_HELPER);
  });

  it('is not handed to a timer or an event', () => {
    const asynchronous = /(\bset(Timeout|Interval|Immediate)|\.(on|once|forEach))\([^;{]*\basync\b/;
    expect(code.filter((file) => asynchronous.test(read(file)))).toEqual([]);
  });

  it('does not come back from a method that a timer or an event calls', () => {
    const found = code.flatMap((file) => {
      const text = read(file);
      const methods = new Set([...text.matchAll(/\basync (#?\w+)\(/g)].map(([, name]) => name));
      const called = text.matchAll(
        /(?:\bset(?:Timeout|Interval|Immediate)|\.(?:on|once))\((?:'\w+', )?\([^()]*\) => (?:this\.)?(#?\w+)\([^()]*\)(?!\.)/g,
      );
      return [...called].filter(([, name]) => methods.has(name)).map(([call]) => `${file}: ${call}`);
    });
    expect(found).toEqual([]);
  });
});
