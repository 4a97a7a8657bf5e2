// `npm run chaos`: random faults for some minutes, and books that must balance afterwards.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runInPrivateMachine } from '../test/fixtures/private-machine.mjs';
import { endingWithItsExitCode, prepare } from './prepare.mjs';
import { argumentsOr, minutesAndSeed, SEED_MAX } from './usage.mjs';

const MINUTES_DEFAULT = 10;
const MINUTES_MAX = 4 * 60;
const USAGE = `npm run chaos [-- --minutes N] [-- --seed S]

Publishes jobs, ordinary and odd ones, and meanwhile kills, stops, cuts off and reconfigures broker, helper, executors, RabbitMQ and the network
between them, as the seed has it. Logs are lost, RabbitMQ falls silent, the helper answers late or with errors, executors lose RabbitMQ. An operator
cancels jobs, drains the host, starts and stops executors, and rotates the audit log.

Then every job must be done or parked as the publisher's and the executors' own lists say: none lost, none in two places without a fault that may
cause it, none done that was cancelled. Stories of jobs must say where these went. kpxctl audit verify must find a cut for each helper that was
killed, and nothing else. Runs as root in private namespaces; nothing is left of it.

  --minutes N  of faults, above 0 and up to ${MINUTES_MAX} (default: ${MINUTES_DEFAULT}); a minute or two come on top
  --seed S     0 to ${SEED_MAX}; the same seed has the same faults, and jobs as far as the machine keeps up (default: one that is printed)
  --help       this text

Exit codes: 0 the books balance, 1 they do not or a part did not come back, 64 wrong usage, 69 and 77 the private machine cannot be made.
`;

const { minutes, seed } = argumentsOr(USAGE, minutesAndSeed(MINUTES_DEFAULT, MINUTES_MAX));
process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(prepare);
await import('./build.mjs');
process.exitCode = await runInPrivateMachine([process.execPath, '--import', 'tsx', 'test/chaos/chaos.ts', String(minutes), String(seed)]);
