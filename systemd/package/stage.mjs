// A package's files as they will be installed, below a directory that is gone afterwards.

import { chmodSync, lutimesSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** @typedef {import('./contents.mjs').Entry} Entry */

/**
 * @template Result
 * @param {Entry[]} entries
 * @param {number} epoch seconds, the time of everything
 * @param {(stage: string, work: string) => Result} use gets the directory with the entries, and an empty one beside it
 */
export function withStage(entries, epoch, use) {
  const directory = mkdtempSync(path.join(tmpdir(), 'kpx-package-'));
  const [stage, work] = [path.join(directory, 'stage'), path.join(directory, 'work')];
  try {
    for (const made of [stage, work]) mkdirSync(made);
    layOut(stage, entries, epoch);
    return use(stage, work);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/**
 * Modes and times are set, whatever the umask and the clock are.
 * @param {string} stage
 * @param {Entry[]} entries
 * @param {number} epoch
 */
function layOut(stage, entries, epoch) {
  const directories = directoriesOf(entries);
  for (const directory of directories) mkdirSync(path.join(stage, directory));
  for (const entry of entries) {
    const file = path.join(stage, entry.to);
    if ('link' in entry) symlinkSync(entry.link, file);
    else {
      writeFileSync(file, entry.content, { flag: 'wx' });
      chmodSync(file, entry.mode);
    }
    lutimesSync(file, epoch, epoch);
  }
  for (const directory of ['.', ...directories].reverse()) {
    chmodSync(path.join(stage, directory), 0o755);
    lutimesSync(path.join(stage, directory), epoch, epoch);
  }
}

/**
 * @param {Entry[]} entries
 * @returns {string[]} all directories that they are in, outer ones first
 */
export function directoriesOf(entries) {
  return [...new Set(entries.flatMap(({ to }) => ancestors(to)))].sort();
}

/**
 * @param {string} file relative to the root of the package
 * @returns {string[]} its directories, outermost first
 */
function ancestors(file) {
  return path
    .dirname(file)
    .split('/')
    .map((_, index, parts) => parts.slice(0, index + 1).join('/'));
}
