// `npm run bench`: how fast, beside how fast it could be on this machine.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runInPrivateMachine } from '../test/fixtures/private-machine.mjs';
import { endingWithItsExitCode, prepare } from './prepare.mjs';
import { argumentsOr, noArguments } from './usage.mjs';

const USAGE = `npm run bench

Measures on this machine, as root in a private one that is gone afterwards: jobs a second through the relay, bursts of first jobs, the status
page, memory; each beside what is possible without kpx. Prints a table. It takes some minutes, and the figures need a machine without other work.
`;
argumentsOr(USAGE, noArguments);

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(prepare);
await import('./build.mjs');
process.exitCode = await runInPrivateMachine([process.execPath, '--import', 'tsx', 'test/bench/bench.ts']);
