// `npm run bench:start`: how long users' first jobs take to become executors under systemd.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { endingWithItsExitCode, prepare } from './prepare.mjs';
import { preparePackage, runBesidePackage, SYSTEM_TEST_PACKAGES } from './test-system.mjs';
import { argumentsOr } from './usage.mjs';

const USERS_MIN = 100;
const USERS_MAX = 500;

const USAGE = `npm run bench:start [-- --users N [--helper]]

Measures in a booted container that is gone afterwards how long it takes from a user's first job to the executor under systemd, beside
\`systemctl start\` alone. Prints a table. Runs as root.

  --users N  instead: first jobs of N users at once, ${USERS_MIN} to ${USERS_MAX}: whether all executors start, at which rate, and the processor time of PID 1
  --helper   of these N starts alone what the helper and PID 1 take, one after the other, without broker and RabbitMQ
`;
const program = argumentsOr(USAGE, (args) => {
  const { values } = parseArgs({ args, options: { users: { type: 'string' }, helper: { type: 'boolean', default: false } } });
  if (values.users === undefined) return ['test/bench/start.ts'];
  const count = Number(values.users);
  const file = values.helper ? 'start-many-helper' : 'start-many';
  if (Number.isInteger(count) && count >= USERS_MIN && count <= USERS_MAX) return [`test/bench/${file}.ts`, '--users', values.users];
  throw new RangeError(`--users ${values.users}: a whole number from ${USERS_MIN} to ${USERS_MAX}`);
});

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(() => {
  prepare(SYSTEM_TEST_PACKAGES);
  preparePackage();
});
process.exitCode = await runBesidePackage([process.execPath, '--import', 'tsx', ...program]);
