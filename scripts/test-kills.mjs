// `npm run test:kills`: brokers are killed 1,000 times over 10,000 jobs; prints how many were lost and how many done again. About five minutes.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runInPrivateMachine } from '../test/fixtures/private-machine.mjs';
import { CELERY_PACKAGE, endingWithItsExitCode, prepare } from './prepare.mjs';
import { argumentsOr } from './usage.mjs';

const USAGE = `npm run test:kills [-- --sealed | --celery]

Kills the broker 1,000 times while 10,000 jobs pass, and prints how many were lost and how many done twice. KPX_TEST_KILLS=N in the environment
sets another number of kills. Runs as root in a private machine that is gone afterwards. About five minutes.

  --sealed  instead: 300 kills of broker, helper, executors, the server's RabbitMQ and the accounts' RabbitMQ over 3,000 jobs of ten accounts,
            whose executors are sealed; prints how many jobs and answers were lost, and how many are there twice. KPX_TEST_SEALED_KILLS=N sets
            another number of kills. Some six minutes
  --celery  instead: the same kills over 3,000 Celery tasks, with Debian's Celery as the executors; then the kills of the same seed with ordinary
            Celery workers on one RabbitMQ, without kpx. Prints how many tasks and results either has lost, and fails where kpx has lost more.
            KPX_TEST_CELERY_KILLS=N sets another number of kills, KPX_TEST_SEED=N the seed. Some twenty minutes
`;
const options = /** @type {const} */ ({ sealed: { type: 'boolean', default: false }, celery: { type: 'boolean', default: false } });

function read(/** @type {string[]} */ args) {
  const { sealed, celery } = parseArgs({ args, options }).values;
  if (sealed && celery) throw new RangeError('--sealed and --celery: one of them');
  return celery ? 'celery' : sealed ? 'sealed' : 'broker';
}

const WHICH = {
  broker: { project: 'integration', file: 'test/integration/nothing-lost.test.ts', more: ['--testNamePattern=times at random'] },
  sealed: { project: 'integration', file: 'test/integration/sealed-random-kills.test.ts', more: [] },
  celery: { project: 'kills', file: 'test/kills/celery.test.ts', more: [] },
};
const which = argumentsOr(USAGE, read);
const { project, file, more } = WHICH[which];

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(() => prepare(which === 'celery' ? [CELERY_PACKAGE] : []));
await import('./build.mjs');
const vitest = ['node_modules/vitest/vitest.mjs', 'run', `--project=${project}`, file, ...more];
process.exitCode = await runInPrivateMachine([process.execPath, ...vitest], {
  env: { KPX_TEST_KILLS: '1000', KPX_TEST_SEALED_KILLS: '300', KPX_TEST_CELERY_KILLS: '300', ...process.env },
});
