// `npm test`: everything, from nothing. Arguments go to vitest: `npm test -- packages/broker`.
import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runInPrivateMachine } from '../test/fixtures/private-machine.mjs';
import { endingWithItsExitCode, prepare } from './prepare.mjs';

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(prepare);

/** What must hold before a test is worth running: each is a binary of node_modules with its arguments. */
const CHECKS = [
  { what: 'types', argv: ['typescript/bin/tsc', '--build'] },
  { what: 'style', argv: ['@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.'] },
];
for (const {
  what,
  argv: [program, ...args],
} of CHECKS) {
  const { status } = spawnSync(process.execPath, [`node_modules/${program}`, ...args], { stdio: 'inherit' });
  if (status !== 0) {
    console.error(`The check of ${what} failed.`);
    process.exit(1);
  }
  console.log(`${what}: as they should be`);
}
await import('./build.mjs');
console.log('Running the tests in a private machine: accounts, servers and files made in there are gone afterwards.');
process.exitCode = await runInPrivateMachine([process.execPath, 'node_modules/vitest/vitest.mjs', 'run', ...process.argv.slice(2)]);
