// Runs families of tests side by side, each in a machine of its own: most of what tests do is waiting for other programs.
// Plain Node: scripts/test.mjs runs it.

import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';

/** A shell's convention: 128 and the number of the signal that ended a command. */
const EXIT_SIGNAL_BASE = 128;
/** Two thirds of a family's time is waiting; with more at once than this, tests run into their own deadlines. */
export const FAMILIES_AT_ONCE = availableParallelism() + 1;

/**
 * @typedef {object} Family
 * @property {string} name stands in front of each line of its output
 * @property {(prefix: string) => Promise<number>} run resolves with an exit code
 */

/**
 * Copies what a child process prints, line by line, with `prefix` in front of each.
 * @param {import('node:child_process').ChildProcess} child with pipes as its stdout and stderr
 * @param {string} prefix
 */
export function printWithPrefix(child, prefix) {
  for (const [from, to] of /** @type {const} */ ([
    [child.stdout, process.stdout],
    [child.stderr, process.stderr],
  ])) {
    if (from) createInterface({ input: from }).on('line', (line) => to.write(`${prefix}${line}\n`));
  }
}

/**
 * Starts them in their order, `atOnce` at most at a time. After one that a signal has ended no other starts.
 * @param {Family[]} families
 * @param {number} [atOnce]
 * @returns {Promise<number>} the exit code of the first that a signal ended, else of the first that failed; 0 if all passed
 */
export async function runSideBySide(families, atOnce = FAMILIES_AT_ONCE) {
  const waiting = [...families];
  /** @type {number[]} */
  const codes = [];
  const interrupted = () => codes.find((code) => code >= EXIT_SIGNAL_BASE);
  const worker = async () => {
    for (let family = waiting.shift(); family !== undefined; family = waiting.shift()) {
      const begin = performance.now();
      const code = await family.run(families.length > 1 ? `${family.name} | ` : '');
      codes.push(code);
      if (families.length > 1) console.log(`${family.name}: ended with ${code} after ${Math.round((performance.now() - begin) / 1000)} s`);
      if (interrupted() !== undefined) return;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return interrupted() ?? codes.find((code) => code !== 0) ?? 0;
}
