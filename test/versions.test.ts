import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { TREES_OF_EVERY_RUN, treeDirectory } from './fixtures/debian/trees.mjs';
import { lineOf, rowsOf, versionsOf } from './fixtures/debian/versions.mjs';
import { nodes } from './fixtures/nodes/nodes.mjs';

const page = readFileSync(new URL('../docs/versions.md', import.meta.url), 'utf8');
const rows = rowsOf(page);
/** Debian brings later patches of these within a release, and no later lines. */
const LINES = { systemd: /^\d+/, RabbitMQ: /^\d+\.\d+/, SSSD: /^\d+\.\d+/, 'util-linux': /^\d+\.\d+/, acl: /^\d+\.\d+/ };

/** sid has other versions each day: its row says what a run has seen. */
const RELEASES = ['/', ...TREES_OF_EVERY_RUN.map(treeDirectory)].filter((root) => lineOf(versionsOf(root)) !== 'sid');

describe('docs/versions.md', () => {
  it.each(RELEASES)('names the release lines that are on the Debian at %s', (root) => {
    const there = versionsOf(root);
    const row = rows.find((known) => lineOf(known) === lineOf(there));
    for (const [column, line] of Object.entries(LINES))
      expect([column, line.exec(row?.[column] ?? '')]).toEqual([column, line.exec(there[column] ?? '')]);
  });

  it('names the Node of each Debian that has one, and the lines that are tested', () => {
    for (const name of TREES_OF_EVERY_RUN) {
      const there = versionsOf(treeDirectory(name));
      expect(rows.find((known) => lineOf(known) === lineOf(there))?.Node).toBe(there.Node);
    }
    const lines = nodes().map(({ name }) => name.replace('node-', ''));
    expect(page.replaceAll('\n', ' ')).toContain(
      `under a release of each line of Node, too: ${lines.slice(0, -1).join(', ')} and ${lines.at(-1)}.`,
    );
  });

  it('is told the SSSD of a tree where only its archive is', () => {
    const root = mkdtempSync('/tmp/kpx-versions-');
    onTestFinished(() => rmSync(root, { recursive: true }));
    for (const directory of ['etc', 'var/lib/dpkg', 'var/cache/apt/archives']) mkdirSync(join(root, directory), { recursive: true });
    const files = {
      'etc/debian_version': 'forky/sid\n',
      'var/lib/dpkg/status': '',
      'var/cache/apt/archives/sssd-common_2.13.1-2_amd64.deb': '',
    };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text);
    expect(versionsOf(root)).toMatchObject({ SSSD: '2.13.1', systemd: '-' });
  });
});
