import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
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

    it('in fish offers them', () => {
      const lines = read('systemd/completion/kpxctl.fish').split('\n');
      const place = words.length === 0 ? '-n __fish_use_subcommand -a' : `-n "$at ${words.join(' ')}; and not $at $letters" -a`;
      for (const verb of verbs) expect(lines.filter((line) => line.includes(`${place} ${verb} -d `))).toHaveLength(1);
      for (const option of words.length === 0 ? options : [])
        expect(lines.filter((line) => line.startsWith(`complete -c kpxctl -n __fish_use_subcommand -l ${option.slice(2)} `))).toHaveLength(
          1,
        );
      for (const option of words.length === 0 ? [] : options) {
        const condition = words.length > 1 ? '^"\\$at dead-letters; and \\$at( [^" ]+)*' : '^"\\$at( [^"; ]+)*';
        const offering = lines.filter(
          (line) =>
            line.includes(` -l ${option.slice(2)} `) && new RegExp(`${condition} ${words.at(-1)}[ ;"]`).test(line.split(' -n ')[1] ?? ''),
        );
        expect([option, offering.length]).toEqual([option, 1]);
      }
    });

    it('in zsh offers them', () => {
      const text = read('systemd/completion/_kpxctl');
      const [first = '', letters = ''] = text.split(/^ *dead-letters\)$/m);
      for (const verb of verbs) expect(text).toContain(`${verb}\\:`);
      const last = words.at(-1) ?? '';
      const own = words.length === 0 ? /^_arguments -C (.*) \\$/m : new RegExp(`^ *${last}\\) (.*) ;;$`, 'm');
      const [, its = ''] = own.exec(words.length > 1 ? letters : first) ?? [];
      const groups = [...its.matchAll(/\$(\w+)/g)].map(([, name]) => new RegExp(`^${name}=\\((.*)\\)$`, 'm').exec(text)?.[1] ?? '');
      for (const option of options) expect(`${its} ${groups.join(' ')}`).toMatch(new RegExp(`['"*]${option}\\[`));
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
