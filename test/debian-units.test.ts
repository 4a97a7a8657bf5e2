import { copyFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ignoredLines } from '../packages/kpxctl/src/doctor/units.js';
import { openTree } from './fixtures/debian/open-tree.js';
import { treesToTest } from './fixtures/debian/trees.mjs';

const SYSTEMD = new URL('../systemd/', import.meta.url).pathname;
const UNITS = readdirSync(SYSTEMD).filter((name) => /^kpx-.*\.(service|socket|slice)$/.test(name));
/** A template can be judged as one of its instances only. */
const instanceOf = (unit: string) => unit.replace('@.', '@alice.');

describe.each(treesToTest())('the systemd of %s', (name) => {
  const tree = openTree(name);
  afterAll(() => tree.close());
  const units = join(tree.root, 'usr/lib/systemd/system');
  for (const unit of UNITS) copyFileSync(join(SYSTEMD, unit), join(units, unit));
  // What the units start, so that a missing program is not what is told of them.
  for (const directory of ['usr/lib/kpx', 'opt/knime']) mkdirSync(join(tree.root, directory), { recursive: true });
  writeFileSync(join(tree.root, 'opt/knime/knime'), '#!/bin/sh\n', { mode: 0o755 });
  const [version = ''] = tree.run('/usr/bin/systemctl', '--version').split('\n');

  it.each(UNITS)('knows every key of %s', (unit) => {
    const said = tree.run('/usr/bin/systemd-analyze', 'verify', '--man=no', '--recursive-errors=no', instanceOf(unit));
    expect(ignoredLines(said), version).toEqual([]);
  });

  it('makes doctor tell of a key that it does not know', () => {
    const dropIn = join(tree.root, 'etc/systemd/system/kpx-broker.service.d');
    mkdirSync(dropIn);
    writeFileSync(join(dropIn, '10-test.conf'), '[Service]\nMemoryMx=8G\n');
    const said = tree.run('/usr/bin/systemd-analyze', 'verify', '--man=no', '--recursive-errors=no', 'kpx-broker.service');
    rmSync(dropIn, { recursive: true });
    expect(ignoredLines(said), version).toEqual([expect.stringContaining('MemoryMx')]);
  });

  it.each([
    ['kpx-privhelper@.service', 1.8],
    ['kpx-broker.service', 1.2],
    ['kpx-executor@.service', 2],
    ['kpx-home@.service', 1.3],
    ['kpx-account@.service', 1.3],
    ['kpx-ticket@.service', 1.8],
    ['kpx-drive@.service', 7.2],
  ])('gives %s an exposure of at most %d', (unit, max) => {
    const said = tree.run('/usr/bin/systemd-analyze', 'security', '--offline=yes', '--no-pager', instanceOf(unit));
    const exposure = Number(/Overall exposure level for \S+: ([\d.]+)/.exec(said)?.[1]);
    console.log(`${version}: ${unit}: exposure ${exposure}, at most ${max}`);
    expect(exposure, said).toBeLessThanOrEqual(max);
  });
});
