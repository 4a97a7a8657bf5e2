// What `npm test` and `npm run test:system` take beside vitest's own arguments. Plain Node: it is read before anything is installed.

import { WHOLE } from './fixtures/debian/trees.mjs';

export const REPETITIONS_MAX = 1_000;

/**
 * @typedef {object} TestArguments
 * @property {number} repetitions
 * @property {string | undefined} on another Debian, a key of WHOLE
 * @property {string[]} vitest the other arguments
 */

/**
 * @param {string[]} args
 * @returns {TestArguments}
 * @throws {RangeError} what is wrong with them
 */
export function parseTestArguments(args) {
  /** @type {TestArguments} */
  const parsed = { repetitions: 1, on: undefined, vitest: [] };
  const rest = [...args];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === '--repeat') parsed.repetitions = repetitionsOf(rest.shift());
    else if (arg.startsWith('--repeat=')) parsed.repetitions = repetitionsOf(arg.slice('--repeat='.length));
    else if (arg === '--on') parsed.on = treeOf(rest.shift());
    else if (arg.startsWith('--on=')) parsed.on = treeOf(arg.slice('--on='.length));
    else parsed.vitest.push(arg);
  }
  return parsed;
}

/** @param {string | undefined} value */
export function treeOf(value = '') {
  if (Object.hasOwn(WHOLE, value)) return value;
  throw new RangeError(`--on ${value}: one of ${Object.keys(WHOLE).join(', ')}`);
}

/** @param {string | undefined} value */
function repetitionsOf(value = '') {
  const repetitions = /^\d+$/.test(value) ? Number(value) : 0;
  if (repetitions >= 1 && repetitions <= REPETITIONS_MAX) return repetitions;
  throw new RangeError(`--repeat ${value}: a whole number from 1 to ${REPETITIONS_MAX}, for example --repeat 5`);
}

/**
 * @param {number} repetitions
 * @param {string[]} args
 * @returns {string[]} argv of vitest; repeated in one process, so in one machine with one RabbitMQ
 */
export function vitestCommand(repetitions, args) {
  const program = repetitions > 1 ? ['test/repeat.mjs', String(repetitions)] : ['node_modules/vitest/vitest.mjs', 'run'];
  return [process.execPath, ...program, ...args];
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {string | undefined} tree of the Debian that tests run on, if it is another than this machine's
 * @returns {NodeJS.ProcessEnv} for reporter.ts, which names it
 */
export const onDebian = (env, tree) => (tree === undefined ? env : { ...env, KPX_TEST_DEBIAN: tree });
