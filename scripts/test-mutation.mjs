// `npm run test:mutation`: the helper's decisions and what it does to directories are changed in hundreds of ways, one at a time; prints which of
// them no test notices. `npm run test:mutation -- decisions` or `-- directories` for one of the two.
import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { endingWithItsExitCode, prepare } from './prepare.mjs';

/** By unit tests, some ten minutes; and by those that need root, in private machines, more than an hour. Each has a file in test/mutation. */
const PARTS = ['decisions', 'directories'];
const EXIT_USAGE = 64;

const wanted = process.argv.slice(2);
if (wanted.some((part) => !PARTS.includes(part))) {
  process.stderr.write(`npm run test:mutation [-- ${PARTS.join(' | ')}]\n`);
  process.exit(EXIT_USAGE);
}
process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(prepare);
for (const part of wanted.length > 0 ? wanted : PARTS) {
  const stryker = ['node_modules/@stryker-mutator/core/bin/stryker.js', 'run', `test/mutation/${part}.json`];
  const { status } = spawnSync(process.execPath, stryker, { stdio: 'inherit' });
  process.exitCode ||= status ?? 1;
}
