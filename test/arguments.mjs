// What `npm test` and `npm run test:system` take beside vitest's own arguments. Plain Node: it is read before anything is installed.

export const REPETITIONS_MAX = 1_000;

/**
 * @typedef {object} TestArguments
 * @property {number} repetitions
 * @property {string[]} vitest the other arguments
 */

/**
 * @param {string[]} args
 * @returns {TestArguments}
 * @throws {RangeError} what is wrong with them
 */
export function parseTestArguments(args) {
  /** @type {TestArguments} */
  const parsed = { repetitions: 1, vitest: [] };
  const rest = [...args];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === '--repeat') parsed.repetitions = repetitionsOf(rest.shift());
    else if (arg.startsWith('--repeat=')) parsed.repetitions = repetitionsOf(arg.slice('--repeat='.length));
    else parsed.vitest.push(arg);
  }
  return parsed;
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
