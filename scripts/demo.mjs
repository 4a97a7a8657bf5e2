// `npm run demo`: the main job on a private RabbitMQ, from nothing, leaving nothing behind.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runInPrivateMachine } from '../test/fixtures/private-machine.mjs';
import { endingWithItsExitCode, prepare } from './prepare.mjs';
import { argumentsOr } from './usage.mjs';

const USAGE = `npm run demo [-- --keep]

Shows kpx at work on real parts, as root, in private namespaces: RabbitMQ, the root helper, the unprivileged broker, real accounts, and a
stand-in for the KNIME Executor. Publishes the jobs of four users, shows what happens, tries to break the isolation, and ends with a
summary; exit code 0 only if everything held. Installs missing Debian and npm packages first; nothing else is left on the machine.

  --keep  afterwards, keep it running: type the name of a KNIME user to publish one more job
  --help  this text
`;

const { values } = argumentsOr(USAGE, (args) => parseArgs({ args, options: { keep: { type: 'boolean', default: false } } }));
process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(prepare);
await import('./build.mjs');
const keep = values.keep ? ['--keep'] : [];
process.exitCode = await runInPrivateMachine([process.execPath, '--import', 'tsx', 'test/demo/demo.ts', ...keep]);
