// `npm run test:mutation`: the helper's decisions and what it does to directories are changed in hundreds of ways, one at a time; prints which of
// them no test notices. `npm run test:mutation -- decisions` or `-- directories` for one of the two.
import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { endingWithItsExitCode, prepare } from './prepare.mjs';
import { argumentsOr } from './usage.mjs';

/** By unit tests, some ten minutes; and by those that need root, in private machines, more than an hour. Each has a file in test/mutation. */
const PARTS = ['decisions', 'directories'];
const USAGE = `npm run test:mutation [-- ${PARTS.join(' | ')}]

Changes the decisions of the protocol and of the helper (decisions, ten minutes), and what the helper does to directories (directories, more than
an hour), one change at a time, and prints which changes no test notices. Without an argument both.
`;

const wanted = argumentsOr(USAGE, (args) => {
  const unknown = args.find((part) => !PARTS.includes(part));
  if (unknown !== undefined) throw new RangeError(`${unknown}: one of ${PARTS.join(', ')}`);
  return args;
});
process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(prepare);
for (const part of wanted.length > 0 ? wanted : PARTS) {
  const stryker = ['node_modules/@stryker-mutator/core/bin/stryker.js', 'run', `test/mutation/${part}.json`];
  const { status } = spawnSync(process.execPath, stryker, { stdio: 'inherit' });
  process.exitCode ||= status ?? 1;
}
