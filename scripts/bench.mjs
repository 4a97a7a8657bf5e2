// `npm run bench`: how fast, beside how fast it could be on this machine.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runInPrivateMachine } from '../test/fixtures/private-machine.mjs';
import { endingWithItsExitCode, prepare } from './prepare.mjs';
import { argumentsOr } from './usage.mjs';

const PARTS = ['relay', 'latency', 'offers', 'busy', 'burst', 'warm', 'steady', 'held', 'large', 'scrape', 'status', 'page', 'sealed'];
const ROUNDS_DEFAULT = 5;
const ROUNDS_MAX = 100;
const USAGE = `npm run bench [-- --rounds N] [-- --only PART] [-- --json]

Measures on this machine, as root in a private one that is gone afterwards: jobs a second through the relay, bursts of first jobs, the status
page, memory, sealed executors beside shared ones; each beside what is possible without kpx. Prints a table. It takes some minutes, and the figures need a machine without other work.

  --rounds N   of the relay and of bursts of up to 20 users, 1 to ${ROUNDS_MAX} (default: ${ROUNDS_DEFAULT}); medians are printed
  --only PART  ${PARTS.join(', ')} (repeatable; default: all)
  --json       one line for programs
`;

function read(/** @type {string[]} */ args) {
  const options = /** @type {const} */ ({
    rounds: { type: 'string', default: String(ROUNDS_DEFAULT) },
    only: { type: 'string', multiple: true, default: PARTS },
    json: { type: 'boolean', default: false },
  });
  const { values } = parseArgs({ args, options });
  const rounds = Number(values.rounds);
  if (!(Number.isInteger(rounds) && rounds >= 1 && rounds <= ROUNDS_MAX))
    throw new RangeError(`--rounds ${values.rounds}: a whole number from 1 to ${ROUNDS_MAX}`);
  for (const part of values.only) if (!PARTS.includes(part)) throw new RangeError(`--only ${part}: one of ${PARTS.join(', ')}`);
  return { rounds, only: values.only, json: values.json };
}
const asked = argumentsOr(USAGE, read);

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(prepare);
await import('./build.mjs');
process.exitCode = await runInPrivateMachine([process.execPath, '--import', 'tsx', 'test/bench/bench.ts', JSON.stringify(asked)]);
