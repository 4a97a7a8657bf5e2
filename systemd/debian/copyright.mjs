// /usr/share/doc/kpx/copyright: bundles hold other people's programs, whose licences ask to be passed on.

import { EXIT_UNAVAILABLE, PrepareError } from '../../scripts/prepare.mjs';
import { list, readBundle, readText } from './checkout.mjs';

/** Where bundles say what is in them: a comment of esbuild above the code of each file. */
const BUNDLED_PACKAGE = /^\s*\/\/ ((?:node_modules\/(?:@[^/\n]+\/)?[^/\n]+\/)+)/gm;
/** A line with a name, not one of the licence's own words, and not a template that nobody has filled in. */
const COPYRIGHT_LINE = /^Copyright (?!notice)[^[<\n]*(?:<[^>]*[@:][^>]*>.*)?$/gm;
const LICENCE_FILE = /^licen[cs]e/i;

/**
 * The machine-readable format, version 1.0: kpx's own part, then each npm package that is in a bundle.
 * @param {string[]} programs
 */
export function copyright(programs) {
  const bundled = new Set(
    programs.flatMap((program) => [...readBundle(program).matchAll(BUNDLED_PACKAGE)].map(([, found = '']) => found.slice(0, -1))),
  );
  const [head, ...rest] = readText('systemd/debian/copyright').trimEnd().split('\n\n');
  return `${[head, ...rest, ...[...bundled].sort().map(copyrightOf)].join('\n\n')}\n`;
}

/** @param {string} directory of an npm package */
function copyrightOf(directory) {
  const { name, version, license, author } = JSON.parse(readText(`${directory}/package.json`));
  const text = list(directory, LICENCE_FILE)
    .map((file) => readText(`${directory}/${file}`).trim())
    .join('\n\n');
  if (text === '') throw new PrepareError(`${directory}: there is no licence to pass on`, EXIT_UNAVAILABLE);
  const holders = [...text.matchAll(COPYRIGHT_LINE)].map(([line]) => line.replace(/^Copyright (\([cC]\) )?/, '').trim());
  if (holders.length === 0) holders.push(typeof author === 'string' ? author : author.name);
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
