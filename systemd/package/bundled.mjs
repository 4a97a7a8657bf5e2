// The npm packages that are in the bundles: other people's programs, whose licences ask to be passed on.

import { EXIT_UNAVAILABLE, PrepareError } from '../../scripts/prepare.mjs';
import { list, readBundle, readText } from './checkout.mjs';

/** Where bundles say what is in them: a comment of esbuild above the code of each file. */
const BUNDLED_PACKAGE = /^\s*\/\/ ((?:node_modules\/(?:@[^/\n]+\/)?[^/\n]+\/)+)/gm;
/** A line with a name, not one of the licence's own words, and not a template that nobody has filled in. */
const COPYRIGHT_LINE = /^Copyright (?!notice)[^[<\n]*(?:<[^>]*[@:][^>]*>.*)?$/gm;
const LICENCE_FILE = /^licen[cs]e/i;

/**
 * `license`: as SPDX has it, `text`: of its file or files, `holders`: of the copyright, one or more.
 * @typedef {{ directory: string, name: string, version: string, license: string, holders: string[], text: string }} Bundled
 */

/**
 * @param {string[]} programs
 * @returns {Bundled[]} in the order of their directories
 */
export function bundledPackages(programs) {
  const bundled = new Set(
    programs.flatMap((program) => [...readBundle(program).matchAll(BUNDLED_PACKAGE)].map(([, found = '']) => found.slice(0, -1))),
  );
  return [...bundled].sort().map(describe);
}

/**
 * @param {string} directory of an npm package
 * @returns {Bundled}
 */
function describe(directory) {
  const { name, version, license, author } = JSON.parse(readText(`${directory}/package.json`));
  const text = list(directory, LICENCE_FILE)
    .map((file) => readText(`${directory}/${file}`).trim())
    .join('\n\n');
  if (text === '') throw new PrepareError(`${directory}: there is no licence to pass on`, EXIT_UNAVAILABLE);
  const holders = [...text.matchAll(COPYRIGHT_LINE)].map(([line]) => line.replace(/^Copyright (\([cC]\) )?/, '').trim());
  if (holders.length === 0) holders.push(typeof author === 'string' ? author : author.name);
  return { directory, name, version, license, holders, text };
}
