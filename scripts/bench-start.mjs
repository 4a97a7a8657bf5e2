// `npm run bench:start`: how long users' first jobs take to become executors under systemd.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { endingWithItsExitCode, prepare } from './prepare.mjs';
import { preparePackage, runBesidePackage, SYSTEM_TEST_PACKAGES } from './test-system.mjs';
import { argumentsOr } from './usage.mjs';

const USERS_MIN = 100;
const USERS_MAX = 500;

const USAGE = `npm run bench:start [-- --users N]

Measures in a booted container that is gone afterwards how long it takes from a user's first job to the executor under systemd, beside
\`systemctl start\` alone. Prints a table. Runs as root.

  --users N  instead: first jobs of N users at once, ${USERS_MIN} to ${USERS_MAX}: whether all executors start, at which rate, and the processor time of PID 1
`;
const users = argumentsOr(USAGE, (args) => {
  const { values } = parseArgs({ args, options: { users: { type: 'string' } } });
  if (values.users === undefined) return undefined;
  const count = Number(values.users);
  if (Number.isInteger(count) && count >= USERS_MIN && count <= USERS_MAX) return count;
  throw new RangeError(`--users ${values.users}: a whole number from ${USERS_MIN} to ${USERS_MAX}`);
});

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(() => {
  prepare(SYSTEM_TEST_PACKAGES);
  preparePackage();
});
const program = users === undefined ? ['test/bench/start.ts'] : ['test/bench/start-many.ts', '--users', String(users)];
process.exitCode = await runBesidePackage([process.execPath, '--import', 'tsx', ...program]);
