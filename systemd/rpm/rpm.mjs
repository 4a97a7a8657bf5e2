// Makes the .rpm. Needs rpmbuild, which Debian has, too, and no privilege: the spec says who owns what.

import { copyFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { readText } from '../package/checkout.mjs';
import { run } from '../package/command.mjs';
import { withStage } from '../package/stage.mjs';
import { bundledProvides, filesOf, licence } from './contents.mjs';

/** Node's name of an architecture → rpm's, for those that node-unix-socket has a native part for and RHEL is there for. */
export const RPM_ARCHITECTURES = new Map([
  ['x64', 'x86_64'],
  ['arm64', 'aarch64'],
]);
/** Of the package itself; it changes when the same version of kpx is packed anew. */
export const RELEASE = '1';

/** @typedef {import('../package/contents.mjs').Entry} Entry */

/**
 * @param {{ version: string, epoch: number, architecture: string, entries: Entry[] }} what `epoch`: seconds, the time of all files
 * @param {string} file replaced when it is there
 */
export function makeRpm({ version, epoch, architecture, entries }, file) {
  withStage(entries, epoch, (stage, work) => {
    const spec = path.join(work, 'kpx.spec');
    writeFileSync(spec, specOf(version, epoch, entries));
    const settings = { _topdir: path.join(work, 'rpmbuild'), _rpmfilename: 'kpx.rpm', kpx_stage: stage };
    const defines = Object.entries(settings).flatMap(([name, value]) => ['--define', `${name} ${value}`]);
    run('rpmbuild', ['-bb', '--quiet', `--target=${architecture}-linux`, ...defines, spec], { SOURCE_DATE_EPOCH: String(epoch) });
    copyFileSync(path.join(work, 'rpmbuild/RPMS/kpx.rpm'), file);
  });
}

/**
 * @param {string} version
 * @param {number} epoch
 * @param {Entry[]} entries
 */
function specOf(version, epoch, entries) {
  const [weekday = '', day = '', month = '', year = ''] = new Date(epoch * 1000).toUTCString().split(/[ ,]+/);
  const values = new Map([
    ['VERSION', version],
    ['RELEASE', RELEASE],
    ['DATE', `${weekday} ${month} ${day} ${year}`],
    ['LICENSE', licence()],
    ['BUNDLED', bundledProvides()],
    ['SYSUSERS', readText('systemd/kpx.sysusers').trimEnd()],
    ['FILES', filesOf(entries)],
  ]);
  return readText('systemd/rpm/kpx.spec').replace(/@([A-Z]+)@/g, (placeholder, name) => values.get(name) ?? placeholder);
}
