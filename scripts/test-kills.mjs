// `npm run test:kills`: brokers are killed 1,000 times over 10,000 jobs; prints how many were lost and how many done again. About five minutes.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runInPrivateMachine } from '../test/fixtures/private-machine.mjs';
import { endingWithItsExitCode, prepare } from './prepare.mjs';
import { argumentsOr } from './usage.mjs';

const USAGE = `npm run test:kills [-- --sealed]

Kills the broker 1,000 times while 10,000 jobs pass, and prints how many were lost and how many done twice. KPX_TEST_KILLS=N in the environment
sets another number of kills. Runs as root in a private machine that is gone afterwards. About five minutes.

  --sealed  instead: 300 kills of broker, helper, executors, the server's RabbitMQ and the accounts' RabbitMQ over 3,000 jobs of ten accounts,
            whose executors are sealed; prints how many jobs and answers were lost, and how many are there twice. KPX_TEST_SEALED_KILLS=N sets
            another number of kills. Some six minutes
`;
const options = /** @type {const} */ ({ sealed: { type: 'boolean', default: false } });
const { sealed } = argumentsOr(USAGE, (args) => parseArgs({ args, options })).values;

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(prepare);
await import('./build.mjs');
const file = sealed ? 'test/integration/sealed-random-kills.test.ts' : 'test/integration/nothing-lost.test.ts';
const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--project=integration', file];
if (!sealed) vitest.push('--testNamePattern=times at random');
process.exitCode = await runInPrivateMachine([process.execPath, ...vitest], {
  env: { KPX_TEST_KILLS: '1000', KPX_TEST_SEALED_KILLS: '300', ...process.env },
});
