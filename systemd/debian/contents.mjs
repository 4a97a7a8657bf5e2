// What the .deb brings beside what both packages do.

import { contents, copyOf, DOCUMENTS, fileOf, gzip, PROGRAMS } from '../package/contents.mjs';
import { changelog } from './control.mjs';
import { copyright } from './copyright.mjs';

/** @typedef {import('../package/contents.mjs').Entry} Entry */

/**
 * Everything but dpkg's own files.
 * @param {import('../package/contents.mjs').Made} made
 * @returns {Entry[]}
 */
export function debianContents(made) {
  return [
    ...contents(made),
    copyOf('systemd/debian/lintian-overrides', 'usr/share/lintian/overrides/kpx'),
    copyOf('systemd/debian/kpx-account.pam', 'etc/pam.d/kpx-account'),
    copyOf('systemd/completion/_kpxctl', 'usr/share/zsh/vendor-completions/_kpxctl'),
    fileOf(`${DOCUMENTS}/copyright`, copyright(PROGRAMS)),
    fileOf(`${DOCUMENTS}/changelog.gz`, gzip(changelog(made.version, made.epoch))),
  ];
}
