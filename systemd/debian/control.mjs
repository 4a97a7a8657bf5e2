// dpkg's own files: control, conffiles, md5sums, maintainer scripts; and the changelog.

import { createHash } from 'node:crypto';
import { read, readText } from '../package/checkout.mjs';
import { directoriesOf } from '../package/stage.mjs';

const MAINTAINER_SCRIPTS = ['postinst', 'prerm', 'postrm'];
const KIB = 1024;

/** @typedef {import('../package/contents.mjs').Entry} Entry */

/**
 * @param {string} version
 * @param {string} architecture
 * @param {Entry[]} entries
 * @returns {Entry[]}
 */
export function controlFiles(version, architecture, entries) {
  const control = readText('systemd/debian/control')
    .replace('@VERSION@', version)
    .replace('@ARCHITECTURE@', architecture)
    .replace('@INSTALLED_SIZE@', String(installedSizeKib(entries)));
  const conffiles = entries.filter(({ to }) => to.startsWith('etc/')).map(({ to }) => `/${to}\n`);
  return [
    { to: 'DEBIAN/control', mode: 0o644, content: Buffer.from(control) },
    { to: 'DEBIAN/conffiles', mode: 0o644, content: Buffer.from(conffiles.join('')) },
    { to: 'DEBIAN/md5sums', mode: 0o644, content: Buffer.from(md5sums(entries)) },
    ...MAINTAINER_SCRIPTS.map((name) => ({ to: `DEBIAN/${name}`, mode: 0o755, content: read(`systemd/debian/${name}`) })),
  ];
}

/**
 * @param {string} version
 * @param {number} epoch seconds
 */
export function changelog(version, epoch) {
  const [, maintainer] = /^Maintainer: (.*)$/m.exec(readText('systemd/debian/control')) ?? [];
  const date = new Date(epoch * 1000).toUTCString().replace('GMT', '+0000');
  return `kpx (${version}) unstable; urgency=medium\n\n  * Version ${version}.\n\n -- ${maintainer}  ${date}\n`;
}

/**
 * As deb-substvars(5) counts: each file rounded up to a KiB, one KiB for anything else.
 * @param {Entry[]} entries
 */
function installedSizeKib(entries) {
  const directories = directoriesOf(entries).length;
  return entries.reduce((sum, entry) => sum + ('link' in entry ? 1 : Math.ceil(entry.content.length / KIB)), directories);
}

/**
 * For `dpkg --verify`; it knows conffiles by itself.
 * @param {Entry[]} entries
 */
function md5sums(entries) {
  return entries
    .filter(({ to }) => !to.startsWith('etc/'))
    .sort((a, b) => (a.to < b.to ? -1 : 1))
    .map((entry) => ('link' in entry ? '' : `${md5(entry.content)}  ${entry.to}\n`))
    .join('');
}

/** @param {Buffer} content */
function md5(content) {
  return createHash('md5').update(content).digest('hex');
}
