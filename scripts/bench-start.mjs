// `npm run bench:start`: how long users' first jobs take to become executors under systemd.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { onDebian, treeOf } from '../test/arguments.mjs';
import { WHOLE } from '../test/fixtures/debian/trees.mjs';
import { prepareDebianTrees } from './debian-trees.mjs';
import { endingWithItsExitCode, prepare } from './prepare.mjs';
import { preparePackage, runBesidePackage, SYSTEM_TEST_PACKAGES } from './test-system.mjs';
import { argumentsOr } from './usage.mjs';

const USERS_MIN = 100;
const USERS_MAX = 500;

const USAGE = `npm run bench:start [-- [--on DEBIAN] [--users N [--sealed] [--sleep] | --users N --helper]]

Measures in a booted container that is gone afterwards how long it takes from a user's first job to the executor under systemd, beside
\`systemctl start\` alone. Prints a table. Runs as root.

  --on DEBIAN  of another Debian, with its systemd and its RabbitMQ: ${Object.keys(WHOLE).join(', ')}
  --users N  instead: first jobs of N users at once, ${USERS_MIN} to ${USERS_MAX}: whether all executors start, at which rate, and the processor time of PID 1
  --sealed   the same with a virtual host of its own for each of them
  --sleep    the same with a program that sleeps, and takes no job
  --helper   of these N starts alone what the helper and PID 1 take, one after the other, without broker and RabbitMQ
`;
const { program, on } = argumentsOr(USAGE, (args) => {
  const flag = { type: 'boolean', default: false };
  const text = { type: 'string' };
  const { users, on, sealed, sleep, helper } = parseArgs({
    args,
    options: { users: text, on: text, sealed: flag, sleep: flag, helper: flag },
  }).values;
  if (on !== undefined) treeOf(on);
  if ((sealed || sleep) && helper) throw new RangeError('--helper is a measurement without --sealed and --sleep');
  if (users === undefined) {
    if (sealed || sleep || helper) throw new RangeError('--sealed, --sleep and --helper are for --users N');
    return { program: ['test/bench/start.ts'], on };
  }
  const count = Number(users);
  if (!Number.isInteger(count) || count < USERS_MIN || count > USERS_MAX)
    throw new RangeError(`--users ${users}: a whole number from ${USERS_MIN} to ${USERS_MAX}`);
  const options = [...(sealed ? ['--sealed'] : []), ...(sleep ? ['--sleep'] : [])];
  return { program: [`test/bench/${helper ? 'start-many-helper' : 'start-many'}.ts`, '--users', users, ...options], on };
});

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
const tree = on && WHOLE[on];
endingWithItsExitCode(() => {
  prepare(SYSTEM_TEST_PACKAGES);
  if (tree) prepareDebianTrees([tree]);
  preparePackage();
});
const command = [process.execPath, '--import', 'tsx', ...program];
process.exitCode = await runBesidePackage(command, { env: onDebian(process.env, tree), tree });
