// What the .rpm brings beside what both packages do, and how it is listed in the spec.

import { bundledPackages } from '../package/bundled.mjs';
import { contents, copyOf, fileOf, PROGRAMS } from '../package/contents.mjs';
import { directoriesOf } from '../package/stage.mjs';

const LICENCES = 'usr/share/licenses/kpx';
/** Fedora's place for zsh; Debian has another. */
const ZSH_COMPLETION = 'usr/share/zsh/site-functions/_kpxctl';
/** Directories that are this package's: the others belong to packages that every system has. */
const OWN_DIRECTORY = /(^|\/)kpx(\/|$)/;

/** @typedef {import('../package/contents.mjs').Entry} Entry */

/**
 * @param {import('../package/contents.mjs').Made} made
 * @returns {Entry[]}
 */
export function rpmContents(made) {
  return [
    ...contents(made),
    copyOf('systemd/rpm/kpx-account.pam', 'etc/pam.d/kpx-account'),
    copyOf('systemd/completion/_kpxctl', ZSH_COMPLETION),
    copyOf('LICENSE', `${LICENCES}/LICENSE`),
    fileOf(`${LICENCES}/bundled.txt`, bundledLicences()),
  ];
}

/**
 * The lines of %files. rpm puts its own version of a changed configuration beside it (.rpmnew).
 * @param {Entry[]} entries
 */
export function filesOf(entries) {
  const directories = directoriesOf(entries).filter((directory) => OWN_DIRECTORY.test(directory));
  const files = entries.map((entry) => {
    if ('link' in entry) return `%attr(-, root, root) /${entry.to}`;
    const { to, mode, group = 'root' } = entry;
    const kind = to.startsWith('etc/') ? '%config(noreplace) ' : to.startsWith(LICENCES) ? '%license ' : '';
    return `${kind}%attr(${mode.toString(8).padStart(4, '0')}, root, ${group}) /${to}`;
  });
  return [...directories.map((directory) => `%dir %attr(0755, root, root) /${directory}`), ...files].sort().join('\n');
}

/** @returns {string} the licences of kpx and of all that is in the bundles, by SPDX */
export function licence() {
  return [...new Set(['Apache-2.0', ...bundledPackages(PROGRAMS).map(({ license }) => license)])].sort().join(' AND ');
}

/** @returns {string} by Fedora's convention, so that one can ask which packages bring a vulnerable library */
export function bundledProvides() {
  const provided = bundledPackages(PROGRAMS).map(({ name, version }) => `Provides: bundled(npm(${name})) = ${version}`);
  return [...new Set(provided)].join('\n');
}

function bundledLicences() {
  const sections = bundledPackages(PROGRAMS).map(({ name, version, license, holders, text }) => {
    const heading = `${name} ${version} (${license}), ${holders.join('; ')}`;
    // LICENSE beside this file is the text of Apache-2.0.
    return license === 'Apache-2.0' ? heading : `${heading}\n\n${text}`;
  });
  return `The programs in /usr/lib/kpx have these npm packages in them.\n\n${sections.join(`\n\n${'-'.repeat(40)}\n\n`)}\n`;
}
