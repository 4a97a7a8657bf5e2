import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { afterAll, describe, expect, it } from 'vitest';
import { kpxctl } from '../packages/kpxctl/src/program.js';

const ROOT = new URL('..', import.meta.url).pathname;
const read = (path: string) => readFileSync(`${ROOT}${path}`, 'utf8');

interface Verb {
  /** The words that lead to it, such as `dead-letters list`; none for the program itself. */
  readonly words: readonly string[];
  readonly verbs: readonly string[];
  /** With their dashes, `--help` left out. */
  readonly options: readonly string[];
}

function verbsOf(command: Command, words: readonly string[] = []): Verb[] {
  const own = { words, verbs: command.commands.map((verb) => verb.name()), options: command.options.map(({ long }) => long ?? '') };
  return [own, ...command.commands.flatMap((verb) => verbsOf(verb, [...words, verb.name()]))];
}

const all = verbsOf(kpxctl());

/** Without a file that could be offered. */
const empty = mkdtempSync(join(tmpdir(), 'kpx-completion-test-'));
afterAll(() => rmSync(empty, { recursive: true }));

/** What bash offers after these words. */
function offered(words: readonly string[]): string[] {
  const typed = ['kpxctl', ...words, ''];
  const script = `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _kpxctl; printf "%s\\n" "$\{COMPREPLY[@]}"`;
  const completion = join(ROOT, 'systemd/completion/kpxctl.bash');
  return execFileSync('/bin/bash', ['-c', script, 'bash', completion, ...typed], { cwd: empty, encoding: 'utf8' })
    .split('\n')
    .filter(Boolean);
}

it('completion in bash offers what an option takes, and nothing after one that takes a text', () => {
  expect(offered(['list', '--sort'])).toEqual(['trouble', 'user', 'state', 'since', 'held', 'idle', 'cpu', 'memory']);
  expect(offered(['explain', 'ada', '--group'])).toContain('root');
  expect(offered(['doctor', '--user'])).toEqual([]);
});

it('has the verbs that these tests are about', () => {
  expect(all.map(({ words }) => words.join(' '))).toEqual(
    expect.arrayContaining(['', 'status', 'explain', 'import-config', 'dead-letters', 'dead-letters list', 'dead-letters drop']),
  );
});

describe.each(all.map((verb) => [verb.words.join(' ') || 'kpxctl alone', verb] as const))(
  'completion of %s',
  (_, { words, verbs, options }) => {
    it('in bash offers its verbs and options, and no others', () => {
      expect(offered(words).sort()).toEqual([...verbs, ...options, '--help'].sort());
    });

    it('in fish offers the same', () => {
      const place = `'__kpxctl_${verbs.length > 0 ? 'is' : 'at'} ${words.join(' ')}`.trimEnd();
      const lines = read('systemd/completion/kpxctl.fish').split('\n');
      const own = lines.filter((line) => line.includes(` ${place}' `));
      const found = own.flatMap((line) => [...line.matchAll(/' (?:-a (\S+)|-l (\S+)) /g)].map(([, verb, option]) => verb ?? `--${option}`));
      expect(found.sort()).toEqual([...verbs, ...options, '--help'].sort());
    });
  },
);

describe('the manual page', () => {
  const page = read('systemd/man/kpxctl.8');

  it('has every verb and option', () => {
    for (const { words, options } of all.filter(({ words }) => words.length > 0)) {
      expect(page).toContain(`\n.It Cm ${words.join(' ')}`);
      for (const option of options) expect(page).toContain(`Fl Fl ${option.slice(2)}`);
    }
  });

  it('has the exit codes of the program, and no others', () => {
    const said: string[] = [];
    kpxctl()
      .configureOutput({ writeOut: (text) => void said.push(text) })
      .outputHelp();
    const [, codes = ''] = /Exit codes: ([\s\S]*)\./.exec(said.join('')) ?? [];
    const numbers = [...codes.matchAll(/\b\d+\b/g)].map(([code]) => code);
    expect([...page.matchAll(/^\.It (\d+)$/gm)].map(([, code]) => code)).toEqual(numbers);
  });
});

const FROM_SOURCE = ['--import', 'tsx'];
const PASSES_ON = `import { Readable } from 'node:stream';
import { passOn } from '@kpx/broker/output/terminal';
await passOn(Readable.from(['a line\\n']), 'stdout');`;

it.each([
  ['kpxctl dead-letters reasons', ['packages/kpxctl/src/main.ts', 'dead-letters', 'reasons']],
  ['kpxctl --help', ['packages/kpxctl/src/main.ts', '--help']],
  ['a command that passes on the output of another one', ['--input-type=module', '--eval', PASSES_ON]],
])('%s says that standard output cannot be written, and ends with 74', (_, args) => {
  const full = openSync('/dev/full', 'w');
  const { status, stderr } = spawnSync(process.execPath, [...FROM_SOURCE, ...args], {
    ...{ cwd: ROOT, encoding: 'utf8', stdio: ['ignore', full, 'pipe'] },
  });
  closeSync(full);
  expect([stderr, status]).toEqual(['standard output: ENOSPC: no space left on device, write\n', 74]);
});

it('ends with 0 and says nothing where a reader has read enough', () => {
  const script = '"$@" | true; echo "$' + '{PIPESTATUS[0]}"';
  const command = [process.execPath, ...FROM_SOURCE, 'packages/kpxctl/src/main.ts', 'dead-letters', 'reasons'];
  const { stdout, stderr } = spawnSync('/bin/bash', ['-c', script, 'bash', ...command], { cwd: ROOT, encoding: 'utf8' });
  expect([stdout, stderr]).toEqual(['0\n', '']);
});
