import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = new URL('..', import.meta.url).pathname;
const read = (path: string) => readFileSync(join(root, path), 'utf8');

const AUDIT = 'docs/audit.md';
const DOCUMENTS = ['SECURITY.md', AUDIT];

/** GitHub's anchor of a heading. */
const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
const anchorsOf = (path: string) => [...read(path).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => anchorOf(heading));

/** The cells of the rows of the table that has this line as its head. */
function rowsBelow(head: string): string[][] {
  const [, below] = read(AUDIT).split(`\n${head}\n`);
  if (below === undefined) throw new Error(`${AUDIT} has no table ${head}`);
  const lines = below.slice(0, below.search(/\n(?!\|)/)).split('\n');
  return lines.slice(1).map((line) => line.slice(2, -2).split(' | '));
}

describe.each(DOCUMENTS)('%s', (document) => {
  const text = read(document);

  it('has links that lead somewhere', () => {
    const links = [...text.matchAll(/\]\(([^)]+)\)/g)].map(([, link = '']) => link);
    expect(links.length).toBeGreaterThan(2);
    for (const link of links) {
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? document : normalize(join(dirname(document), path));
      expect([link, existsSync(join(root, target))]).toEqual([link, true]);
      if (anchor !== undefined) expect(anchorsOf(target)).toContain(anchor);
    }
  });

  it('names files that exist', () => {
    const paths = [...text.matchAll(/`((?:docs|packages|scripts|systemd|test)\/[^`\s]+)`/g)].map(([, path = '']) => path);
    expect(paths.length).toBeGreaterThan(2);
    // Bundles are made, not kept.
    for (const path of paths.filter((path) => !path.includes('/dist/'))) expect([path, existsSync(join(root, path))]).toEqual([path, true]);
  });
});

it('names tests that exist, for every attack, every CVE and each place of a password', () => {
  const tests = (cell: string) =>
    cell.split('<br>').map((test) => {
      const [, file = '', title = ''] = /^`([^`]+\.ts)`: (.+)$/.exec(test) ?? [];
      expect([test, file !== '']).toEqual([test, true]);
      return { file, title };
    });
  const attacks = rowsBelow('| attack or defect | test |');
  const cves = rowsBelow('| CVE | what it was | why it cannot happen here | test |');
  const passwords = rowsBelow('| moment | where the password is | who can read it | when it dies there | test |');
  expect(passwords.length).toBeGreaterThan(5);
  expect(attacks.length).toBeGreaterThan(30);
  expect(cves.length).toBeGreaterThanOrEqual(8);
  for (const row of [...attacks, ...cves, ...passwords])
    for (const { file, title } of tests(row.at(-1) ?? '')) expect(read(file), file).toContain(title);
});

it('has every file of the helper in its reading order, in an hour', () => {
  const sources = readdirSync(join(root, 'packages/privhelper/src'), { recursive: true, encoding: 'utf8' });
  const code = sources.filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'));
  const text = read(AUDIT);
  expect(code.filter((file) => !text.includes(`(../packages/privhelper/src/${file})`))).toEqual([]);
  const minutes = rowsBelow('| minutes | file | look for |').map(([minutes]) => Number(minutes));
  expect(minutes.reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(60);
});

it('describes every external command, and no other', () => {
  const sources = readdirSync(join(root, 'packages/privhelper/src'), { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  const started = sources.flatMap((file) => [...read(`packages/privhelper/src/${file}`).matchAll(/'\/usr\/bin\/(\w+)'/g)]);
  const described = rowsBelow('| command | why it is safe |').flatMap(([commands = '']) => [
    ...commands.matchAll(/`(\w+) | -- (cp|setpriv) /g),
  ]);
  const names = (matches: RegExpMatchArray[]) => [...new Set(matches.map(([, first, second]) => first ?? second))].sort();
  const continued = ['start', 'stop', 'kill']; // verbs of systemctl
  expect(names(described).filter((name) => !continued.includes(name ?? ''))).toEqual(names(started));
});

describe('of the packages in the helper’s bundle', () => {
  const SIZE_TOLERANCE = 0.2;
  const BYTES_PER_KB = 1_000;
  /** By package: esbuild begins each file with its path in a comment. */
  const sizes = new Map<string, number>();
  const parts = read('packages/privhelper/dist/kpx-privhelper.cjs').split(/^\/\/ (?=(?:node_modules|packages)\/)/m);
  for (const part of parts.slice(1)) {
    const [, npm, own] = /^(?:node_modules\/((?:@[^/]+\/)?[^/]+)|packages\/([^/]+))\//.exec(part) ?? [];
    const name = npm ?? `@kpx/${own}`;
    sizes.set(name, (sizes.get(name) ?? 0) + Buffer.byteLength(part) / BYTES_PER_KB);
  }
  const rows = rowsBelow('| package | kB | trusted for | why not without |').map(
    ([name = '', kB]) => [name.slice(1, -1), Number(kB)] as const,
  );

  it('it says all and no others', () => {
    expect(rows.map(([name]) => name).sort()).toEqual([...sizes.keys()].sort());
  });

  it.each(rows)('it says how large %s is: about %i kB', (name, kB) => {
    const size = sizes.get(name) ?? 0;
    expect(Math.abs(size - kB)).toBeLessThanOrEqual(Math.max(1, SIZE_TOLERANCE * size));
  });
});
