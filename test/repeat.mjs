// Runs vitest several times in one process: globalSetup makes accounts and a RabbitMQ once, for all repetitions. With `--sequence.shuffle`
// each repetition has another order. With `--bail` the first repetition that fails is the last.
//
//   node test/repeat.mjs REPETITIONS [VITEST-ARGUMENT…]

import { createVitest, parseCLI, TestsNotFoundError } from 'vitest/node';

/** For reporter.ts, which names the repetition. */
const REPETITIONS_VARIABLE = 'KPX_TEST_REPETITIONS';

/**
 * @param {number} repetitions
 * @param {string[]} args of vitest
 */
async function repeat(repetitions, args) {
  process.env[REPETITIONS_VARIABLE] = String(repetitions);
  const { filter, options } = parseCLI(['vitest', 'run', ...args]);
  const vitest = await createVitest('test', { ...options, watch: false });
  const { sequence, bail } = vitest.config;
  try {
    let last = await vitest.start(filter);
    const specifications = await vitest.getRelevantTestSpecifications(filter);
    for (let repetition = 2; repetition <= repetitions && !(bail && failed(last)); repetition++) {
      sequence.seed += 1;
      last = await vitest.runTestSpecifications(specifications, true);
    }
  } catch (error) {
    if (!(error instanceof TestsNotFoundError)) throw error; // vitest has said so, and --passWithNoTests may allow it
  } finally {
    await vitest.close();
  }
}

/** @param {import('vitest/node').TestRunResult} run */
function failed({ testModules, unhandledErrors }) {
  return unhandledErrors.length > 0 || testModules.some((module) => !module.ok());
}

const [repetitions, ...args] = process.argv.slice(2);
await repeat(Number(repetitions), args);
