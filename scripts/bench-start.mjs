// `npm run bench:start`: how long a user's first job takes to become an executor under systemd, beside `systemctl start` alone.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { endingWithItsExitCode, prepare } from './prepare.mjs';
import { preparePackage, runBesidePackage, SYSTEM_TEST_PACKAGES } from './test-system.mjs';
import { argumentsOr, noArguments } from './usage.mjs';

const USAGE = `npm run bench:start

Measures in a booted container that is gone afterwards how long it takes from a user's first job to the executor under systemd, beside
\`systemctl start\` alone. Prints a table. Runs as root.
`;
argumentsOr(USAGE, noArguments);

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(() => {
  prepare(SYSTEM_TEST_PACKAGES);
  preparePackage();
});
process.exitCode = await runBesidePackage([process.execPath, '--import', 'tsx', 'test/bench/start.ts']);
