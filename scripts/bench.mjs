// `npm run bench`: how fast, beside how fast it could be on this machine.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runInPrivateMachine } from '../test/fixtures/private-machine.mjs';
import { endingWithItsExitCode, prepare } from './prepare.mjs';

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(prepare);
await import('./build.mjs');
process.exitCode = await runInPrivateMachine([process.execPath, '--import', 'tsx', 'test/bench/bench.ts', ...process.argv.slice(2)]);
