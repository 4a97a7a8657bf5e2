// What the Debian package brings: from where in the checkout, to where, with which mode.

import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { EXIT_UNAVAILABLE, PrepareError } from '../../scripts/prepare.mjs';
import { list, read, readBundle, readText } from './checkout.mjs';
import { copyright } from './copyright.mjs';

/** Each program, and where it is called from. */
const PROGRAMS = new Map([
  ['kpx-broker', 'usr/sbin'],
  ['kpx-privhelper', 'usr/sbin'],
  ['kpxctl', 'usr/bin'],
]);
const LIBRARY = 'usr/lib/kpx';
const UNITS = 'usr/lib/systemd/system';
const DOCUMENTS = 'usr/share/doc/kpx';

/** What must be in systemd/; any further unit in there is packed as well. */
const REQUIRED_UNITS = [
  'kpx-broker.service',
  'kpx-privhelper.socket',
  'kpx-privhelper@.service',
  'kpx-executor@.service',
  'kpx-home@.service',
  'kpx-executors.slice',
];

/** Copied as they are: from, to, mode. What is in etc/ becomes a conffile: dpkg asks before it replaces what an admin has changed. */
const COPIES = /** @type {const} */ ([
  ['systemd/node-flags.cjs', `${LIBRARY}/node-flags.cjs`, 0o644],
  ['systemd/kpx.sysusers', 'usr/lib/sysusers.d/kpx.conf', 0o644],
  ['systemd/kpx.tmpfiles', 'usr/lib/tmpfiles.d/kpx.conf', 0o644],
  ['systemd/kpx-temp.tmpfiles', 'usr/lib/tmpfiles.d/kpx-temp.conf', 0o644],
  ['systemd/kpx.logrotate', 'etc/logrotate.d/kpx', 0o644],
  ['systemd/broker.toml', 'etc/kpx/broker.toml', 0o640], // postinst gives it to the group kpx-broker
  ['systemd/privhelper.toml', 'etc/kpx/privhelper.toml', 0o600],
  ['systemd/broker.schema.json', 'usr/share/kpx/broker.schema.json', 0o644],
  ['systemd/privhelper.schema.json', 'usr/share/kpx/privhelper.schema.json', 0o644],
  ['systemd/prometheus/kpx.rules.yml', 'usr/share/kpx/prometheus/kpx.rules.yml', 0o644],
  ['systemd/grafana/kpx.json', 'usr/share/kpx/grafana/kpx.json', 0o644],
  ['systemd/debian/lintian-overrides', 'usr/share/lintian/overrides/kpx', 0o644],
  ['systemd/completion/kpxctl.bash', 'usr/share/bash-completion/completions/kpxctl', 0o644],
  ['systemd/completion/_kpxctl', 'usr/share/zsh/vendor-completions/_kpxctl', 0o644],
  ['systemd/completion/kpxctl.fish', 'usr/share/fish/vendor_completions.d/kpxctl.fish', 0o644],
  ['README.md', `${DOCUMENTS}/README.md`, 0o644],
  ['SECURITY.md', `${DOCUMENTS}/SECURITY.md`, 0o644],
]);

const MAN_PAGES = ['kpx-broker.8', 'kpx-privhelper.8', 'kpxctl.8', 'kpx-broker.toml.5', 'kpx-privhelper.toml.5'];

/** Debian's name of an architecture → Node's, for those that node-unix-socket has a native part for. */
const NODE_ARCHITECTURES = new Map([
  ['amd64', 'x64'],
  ['arm64', 'arm64'],
  ['armhf', 'arm'],
]);

/**
 * One file of the package: where, how, and what; `link` instead of mode and content for a symbolic link.
 * @typedef {{ to: string, mode: number, content: Buffer } | { to: string, link: string }} Entry
 */

/**
 * Everything but dpkg's own files.
 * @param {{ architecture: string, changelog: string, sbom: string }} made
 * @returns {Entry[]}
 */
export function contents({ architecture, changelog, sbom }) {
  return [...programs(architecture), ...unitsAndConfiguration(), ...documents(changelog, sbom)];
}

/** @returns {string} the name of the npm package with the native part of node-unix-socket for `architecture` */
function nativePackage(architecture) {
  const cpu = NODE_ARCHITECTURES.get(architecture);
  const candidates = list('node_modules', /^node-unix-socket-linux-/).filter((name) => {
    const manifest = JSON.parse(readText(`node_modules/${name}/package.json`));
    return manifest.cpu.includes(cpu) && manifest.libc?.includes('musl') !== true;
  });
  const [found, ...others] = candidates;
  if (found === undefined || others.length > 0) {
    throw new PrepareError(
      `node_modules: expected one native part of node-unix-socket for ${architecture}, found ${candidates.join(', ') || 'none'}`,
      EXIT_UNAVAILABLE,
    );
  }
  return found;
}

/**
 * The programs, with the native part that esbuild leaves outside, where Node looks for it.
 * @param {string} architecture
 * @returns {Entry[]}
 */
function programs(architecture) {
  const native = nativePackage(architecture);
  const { main } = JSON.parse(readText(`node_modules/${native}/package.json`));
  const directory = `${LIBRARY}/node_modules/${native}`;
  return [
    ...[...PROGRAMS].flatMap(([program, called]) => [
      { to: `${LIBRARY}/${program}.cjs`, mode: 0o755, content: Buffer.from(withDebianNode(readBundle(program))) },
      { to: `${called}/${program}`, link: `../lib/kpx/${program}.cjs` },
    ]),
    { to: `${directory}/package.json`, mode: 0o644, content: read(`node_modules/${native}/package.json`) },
    { to: `${directory}/${main}`, mode: 0o644, content: read(`node_modules/${native}/${main}`) },
    { to: `${directory}/LICENSE`, mode: 0o644, content: read('node_modules/node-unix-socket/LICENSE') },
  ];
}

/**
 * The package depends on Debian's node: as with the units, no other that happens to be earlier in somebody's PATH runs these programs.
 * @param {string} bundle
 */
function withDebianNode(bundle) {
  return bundle
    .replace(/^#!\/usr\/bin\/env node\n/, '#!/usr/bin/node\n')
    .replace(/^#!\/usr\/bin\/env -S node /, '#!/usr/bin/env -S /usr/bin/node ');
}

/** @returns {Entry[]} */
function unitsAndConfiguration() {
  const units = list('systemd', /\.(service|socket|slice|timer|target)$/);
  return [
    ...[...new Set([...REQUIRED_UNITS, ...units])].map((unit) => ({
      to: `${UNITS}/${unit}`,
      mode: 0o644,
      content: read(`systemd/${unit}`),
    })),
    ...COPIES.map(([from, to, mode]) => ({ to, mode, content: read(from) })),
  ];
}

/**
 * @param {string} changelog
 * @param {string} sbom
 * @returns {Entry[]}
 */
function documents(changelog, sbom) {
  return [
    ...MAN_PAGES.map((page) => ({
      to: `usr/share/man/man${path.extname(page).slice(1)}/${page}.gz`,
      mode: 0o644,
      content: gzip(read(`systemd/man/${page}`)),
    })),
    ...list('docs', /\.md$/).map((name) => ({ to: `${DOCUMENTS}/docs/${name}`, mode: 0o644, content: read(`docs/${name}`) })),
    { to: `${DOCUMENTS}/copyright`, mode: 0o644, content: Buffer.from(copyright([...PROGRAMS.keys()])) },
    { to: `${DOCUMENTS}/sbom.cdx.json`, mode: 0o644, content: Buffer.from(sbom) },
    { to: `${DOCUMENTS}/changelog.gz`, mode: 0o644, content: gzip(changelog) },
  ];
}

/**
 * zlib writes neither a name nor a time: what `gzip -9n` does.
 * @param {Buffer | string} content
 */
function gzip(content) {
  return gzipSync(content, { level: 9 });
}
