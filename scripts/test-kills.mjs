// `npm run test:kills`: brokers are killed 1,000 times over 10,000 jobs; prints how many were lost and how many done again. About five minutes.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runInPrivateMachine } from '../test/fixtures/private-machine.mjs';
import { endingWithItsExitCode, prepare } from './prepare.mjs';
import { argumentsOr, noArguments } from './usage.mjs';

const USAGE = `npm run test:kills

Kills the broker 1,000 times while 10,000 jobs pass, and prints how many were lost and how many done twice. KPX_TEST_KILLS=N in the environment
sets another number of kills. Runs as root in a private machine that is gone afterwards. About five minutes.
`;
argumentsOr(USAGE, noArguments);

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(prepare);
await import('./build.mjs');
const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--project=integration', 'test/integration/nothing-lost.test.ts'];
process.exitCode = await runInPrivateMachine([process.execPath, ...vitest, '--testNamePattern=times at random'], {
  env: { KPX_TEST_KILLS: '1000', ...process.env },
});
