// `npm run bench:start`: how long a user's first job takes to become an executor under systemd, beside `systemctl start` alone.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { endingWithItsExitCode, prepare } from './prepare.mjs';
import { runBesidePackage, SYSTEM_TEST_PACKAGES } from './test-system.mjs';

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(() => prepare(SYSTEM_TEST_PACKAGES));
process.exitCode = await runBesidePackage([process.execPath, '--import', 'tsx', 'test/bench/start.ts', ...process.argv.slice(2)]);
