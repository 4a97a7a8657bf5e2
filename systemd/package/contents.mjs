// What each package of kpx brings, .deb and .rpm: from where in the checkout, to where, with which mode and group. What only one of them has is in
// systemd/debian/contents.mjs and systemd/rpm/contents.mjs.

import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { EXIT_UNAVAILABLE, PrepareError } from '../../scripts/prepare.mjs';
import { list, read, readBundle, readText } from './checkout.mjs';

/** Each program, and where it is called from. */
const CALLED_FROM = new Map([
  ['kpx-broker', 'usr/sbin'],
  ['kpx-privhelper', 'usr/sbin'],
  ['kpxctl', 'usr/bin'],
]);
export const PROGRAMS = [...CALLED_FROM.keys()];
const LIBRARY = 'usr/lib/kpx';
const UNITS = 'usr/lib/systemd/system';
export const DOCUMENTS = 'usr/share/doc/kpx';

/** What must be in systemd/; any further unit in there is packed as well. */
const REQUIRED_UNITS = [
  'kpx-broker.service',
  'kpx-privhelper.socket',
  'kpx-privhelper@.service',
  'kpx-executor@.service',
  'kpx-home@.service',
  'kpx-account@.service',
  'kpx-ticket@.service',
  'kpx-drive@.service',
  'kpx-executors.slice',
];

/** Copied as they are: from, to. What is in etc/ is the administrator's: an upgrade does not replace what they have changed. */
const COPIES = [
  ['systemd/node-flags.cjs', `${LIBRARY}/node-flags.cjs`],
  ...['s', '', '-delegation'].map((part) => [`systemd/kpx-ticket${part}.cjs`, `${LIBRARY}/kpx-ticket${part}.cjs`]),
  ['systemd/kpx-drive.cjs', `${LIBRARY}/kpx-drive.cjs`],
  ['systemd/kpx.sysusers', 'usr/lib/sysusers.d/kpx.conf'],
  ['systemd/kpx.tmpfiles', 'usr/lib/tmpfiles.d/kpx.conf'],
  ['systemd/kpx-temp.tmpfiles', 'usr/lib/tmpfiles.d/kpx-temp.conf'],
  ['systemd/kpx.logrotate', 'etc/logrotate.d/kpx'],
  ['systemd/broker.toml', 'etc/kpx/broker.toml'],
  ['systemd/privhelper.toml', 'etc/kpx/privhelper.toml'],
  ['systemd/broker.schema.json', 'usr/share/kpx/broker.schema.json'],
  ['systemd/privhelper.schema.json', 'usr/share/kpx/privhelper.schema.json'],
  ['systemd/prometheus/kpx.rules.yml', 'usr/share/kpx/prometheus/kpx.rules.yml'],
  ['systemd/grafana/kpx.json', 'usr/share/kpx/grafana/kpx.json'],
  ['systemd/completion/kpxctl.bash', 'usr/share/bash-completion/completions/kpxctl'],
  ['systemd/completion/kpxctl.fish', 'usr/share/fish/vendor_completions.d/kpxctl.fish'],
  ['README.md', `${DOCUMENTS}/README.md`],
  ['SECURITY.md', `${DOCUMENTS}/SECURITY.md`],
  ['CHANGELOG.md', `${DOCUMENTS}/CHANGELOG.md`],
];

/** The configurations name who may have an executor, and are none of the other users' business. The broker reads its own by its group. */
const NOT_FOR_EVERYBODY = new Map([
  ['etc/kpx/broker.toml', { mode: 0o640, group: 'kpx-broker' }],
  ['etc/kpx/privhelper.toml', { mode: 0o600 }],
]);

const MAN_PAGES = ['kpx-broker.8', 'kpx-privhelper.8', 'kpxctl.8', 'kpx-broker.toml.5', 'kpx-privhelper.toml.5'];

/**
 * One file of a package: where, how, and what; `link` instead of mode and content for a symbolic link. Everything belongs to root; `group`: to this
 * group, which the package itself makes, where it is not root's.
 * @typedef {{ to: string, mode: number, group?: string, content: Buffer } | { to: string, link: string }} Entry
 */

/**
 * @param {string} from relative to the checkout
 * @param {string} to
 * @returns {Entry} for everybody to read
 */
export function copyOf(from, to) {
  return fileOf(to, read(from));
}

/**
 * @param {string} to
 * @param {Buffer | string} content
 * @returns {Entry} for everybody to read
 */
export function fileOf(to, content) {
  return { to, mode: 0o644, content: Buffer.from(content) };
}

/**
 * What is made anew for each package: `epoch` is the time of all files, in seconds; `sbom` the bill of materials.
 * @typedef {{ version: string, epoch: number, sbom: string }} Made
 */

/**
 * @param {Made} made
 * @returns {Entry[]}
 */
export function contents({ sbom }) {
  return [...programs(), ...unitsAndConfiguration(), ...documents(sbom)];
}

/** @returns {string} the name of the npm package with the native part of node-unix-socket for this architecture */
function nativePackage() {
  const candidates = list('node_modules', /^node-unix-socket-linux-/).filter((name) => {
    const manifest = JSON.parse(readText(`node_modules/${name}/package.json`));
    return manifest.cpu.includes(process.arch) && manifest.libc?.includes('musl') !== true;
  });
  const [found, ...others] = candidates;
  if (found === undefined || others.length > 0) {
    throw new PrepareError(
      `node_modules: expected one native part of node-unix-socket for ${process.arch}, found ${candidates.join(', ') || 'none'}`,
      EXIT_UNAVAILABLE,
    );
  }
  return found;
}

/**
 * The programs, with the native part that esbuild leaves outside, where Node looks for it.
 * @returns {Entry[]}
 */
function programs() {
  const native = nativePackage();
  const { main } = JSON.parse(readText(`node_modules/${native}/package.json`));
  const directory = `${LIBRARY}/node_modules/${native}`;
  return [
    ...[...CALLED_FROM].flatMap(([program, called]) => [
      { to: `${LIBRARY}/${program}.cjs`, mode: 0o755, content: Buffer.from(withPackagedNode(readBundle(program))) },
      { to: `${called}/${program}`, link: `../lib/kpx/${program}.cjs` },
    ]),
    copyOf(`node_modules/${native}/package.json`, `${directory}/package.json`),
    copyOf(`node_modules/${native}/${main}`, `${directory}/${main}`),
    copyOf('node_modules/node-unix-socket/LICENSE', `${directory}/LICENSE`),
  ];
}

/**
 * The packages depend on the distribution's node: as with the units, no other that happens to be earlier in somebody's PATH runs these programs.
 * @param {string} bundle
 */
function withPackagedNode(bundle) {
  return bundle
    .replace(/^#!\/usr\/bin\/env node\n/, '#!/usr/bin/node\n')
    .replace(/^#!\/usr\/bin\/env -S node /, '#!/usr/bin/env -S /usr/bin/node ');
}

/** @returns {Entry[]} */
function unitsAndConfiguration() {
  const units = list('systemd', /\.(service|socket|slice|timer|target)$/);
  return [
    ...[...new Set([...REQUIRED_UNITS, ...units])].map((unit) => copyOf(`systemd/${unit}`, `${UNITS}/${unit}`)),
    ...COPIES.map(([from = '', to = '']) => ({ ...copyOf(from, to), ...NOT_FOR_EVERYBODY.get(to) })),
  ];
}

/**
 * @param {string} sbom
 * @returns {Entry[]}
 */
function documents(sbom) {
  return [
    ...MAN_PAGES.map((page) => fileOf(`usr/share/man/man${path.extname(page).slice(1)}/${page}.gz`, gzip(read(`systemd/man/${page}`)))),
    ...list('docs', /\.md$/).map((name) => copyOf(`docs/${name}`, `${DOCUMENTS}/docs/${name}`)),
    fileOf(`${DOCUMENTS}/sbom.cdx.json`, sbom),
  ];
}

/**
 * zlib writes neither a name nor a time: what `gzip -9n` does.
 * @param {Buffer | string} content
 */
export function gzip(content) {
  return gzipSync(content, { level: 9 });
}
