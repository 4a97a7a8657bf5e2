import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const root = new URL('..', import.meta.url).pathname;
const files = execFileSync('git', ['-c', `safe.directory=*`, 'ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => /^packages\/.*\.ts$/.test(file) && !file.includes('/generated/'));
const code = files.filter((file) => !/\.test\.ts$|test-fixtures|^packages\/[^/]+\/test/.test(file));
const read = (file: string) => readFileSync(`${root}${file}`, 'utf8');

describe('packages keep apart', () => {
  it.each([
    ['protocol', /@kpx\/|\/(broker|privhelper)\//],
    ['privhelper', /@kpx\/broker|\/broker\//],
    ['broker', /@kpx\/privhelper|\/privhelper\//],
  ])('%s imports nothing that it must not', (name, forbidden) => {
    const own = files.filter((file) => file.startsWith(`packages/${name}/`));
    expect(own.length).toBeGreaterThan(5);
    for (const file of own) {
      for (const [, from = ''] of read(file).matchAll(/(?:from|import)\s*\(?'([^']+)'/g))
        expect([file, from]).not.toEqual([file, expect.stringMatching(forbidden)]);
    }
  });
});

describe('code that must not be there', () => {
  it.each([
    ['a shell', /shell: *true|\bexec(Sync)?\(/],
    ['code from strings', /\beval\(|new Function\(/],
    ['protobuf reflection', /protobufjs(\/light)?'/],
    ['a lint rule switched off', /biome-ignore|@ts-(ignore|nocheck|expect-error)/],
  ])('%s', (_, forbidden) => {
    const found = code.filter((file) => forbidden.test(read(file).replaceAll('.exec(', '')));
    expect(found).toEqual([]);
  });

  it('in the helper, processes started anywhere but where SECURITY.md says', () => {
    const starting = code.filter((file) => file.startsWith('packages/privhelper/') && read(file).includes('node:child_process'));
    expect(starting).toEqual(['packages/privhelper/src/launchers/direct.ts', 'packages/privhelper/src/system/command.ts']);
  });
});
