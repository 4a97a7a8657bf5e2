// /usr/share/doc/kpx/copyright: the machine-readable format of Debian, version 1.0.

import { bundledPackages } from '../package/bundled.mjs';
import { readText } from '../package/checkout.mjs';

/** @typedef {import('../package/bundled.mjs').Bundled} Bundled */

/**
 * kpx's own part, then each npm package that is in a bundle.
 * @param {string[]} programs
 */
export function copyright(programs) {
  const [head, ...rest] = readText('systemd/debian/copyright').trimEnd().split('\n\n');
  return `${[head, ...rest, ...bundledPackages(programs).map(paragraph)].join('\n\n')}\n`;
}

/** @param {Bundled} bundled */
function paragraph({ directory, name, version, license, holders, text }) {
  // Apache-2.0 is in a paragraph of its own: Debian has its text.
  const indented = text.split('\n').map((line) => (line.trim() === '' ? ' .' : ` ${line.trimEnd()}`));
  return [
    `Files: ${directory}/*`,
    `Comment: ${name} ${version}`,
    `Copyright: ${holders.join('\n ')}`,
    `License: ${license}`,
    ...(license === 'Apache-2.0' ? [] : indented),
  ].join('\n');
}
