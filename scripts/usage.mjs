// What every entry script does with its arguments before it does anything else.
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';

/** sysexits.h: wrong usage. */
const EXIT_USAGE = 64;
export const SEED_MAX = 2 ** 31 - 1;

/**
 * Prints the usage for --help, or what is wrong with the arguments, and ends; otherwise returns what `read` returns.
 * @template T
 * @param {string} usage
 * @param {(args: string[]) => T} read throws RangeError, or what parseArgs throws
 * @returns {T}
 */
export function argumentsOr(usage, read) {
  const args = process.argv.slice(2);
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(usage);
    process.exit(0);
  }
  try {
    return read(args);
  } catch (error) {
    if (!(error instanceof RangeError) && !String(error.code).startsWith('ERR_PARSE_ARGS')) throw error;
    process.stderr.write(`${error.message}\nTry --help.\n`);
    process.exit(EXIT_USAGE);
  }
}

/** For {@link argumentsOr}: a script that takes --help only. */
export const noArguments = (/** @type {string[]} */ args) => parseArgs({ args, options: {} });

/**
 * --minutes and --seed of a script that does random things.
 * @param {number} minutesDefault
 * @param {number} minutesMax
 */
export function minutesAndSeed(minutesDefault, minutesMax) {
  return (/** @type {string[]} */ args) => {
    const options = {
      minutes: { type: 'string', default: String(minutesDefault) },
      seed: { type: 'string', default: String(randomInt(SEED_MAX)) },
    };
    const { values } = parseArgs({ args, options });
    const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
    if (!(minutes > 0 && minutes <= minutesMax)) throw new RangeError(`--minutes ${values.minutes}: a number above 0, up to ${minutesMax}`);
    if (!(Number.isInteger(seed) && seed >= 0 && seed <= SEED_MAX))
      throw new RangeError(`--seed ${values.seed}: a whole number from 0 to ${SEED_MAX}`);
    return { minutes, seed };
  };
}
