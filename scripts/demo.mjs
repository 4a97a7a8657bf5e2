// `npm run demo`: the main job on a private RabbitMQ, from nothing, leaving nothing behind.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runInPrivateMachine } from '../test/fixtures/private-machine.mjs';
import { CELERY_PACKAGE, endingWithItsExitCode, prepare } from './prepare.mjs';
import { argumentsOr } from './usage.mjs';

const USAGE = `npm run demo [-- --keep] [-- --worker 'COMMAND']

Shows kpx at work on real parts, as root, in private namespaces: RabbitMQ, the root helper, the unprivileged broker, real accounts, and a
stand-in for the KNIME Executor. Publishes the jobs of four users, shows what happens, tries to break the isolation, and ends with a
summary; exit code 0 only if everything held. Then it does the same with sealed executors, and compares what a user's code can do in both.
At last Celery is the executor of one account.
Installs missing Debian and npm packages first; nothing else is left on the machine.

  --keep              afterwards, keep it running: type the name of a KNIME user to publish one more job
  --worker 'COMMAND'  instead: your own worker as the sealed executor of two accounts, which get three jobs each; exit code 0 only if it
                      acknowledges all of them within a minute. No shell reads COMMAND: it is split at blanks, and quotes mean nothing. The
                      first word is an absolute path, and every account has to be able to read what it names. {workspace}, {temp} and {user}
                      are replaced, as in executor.command of privhelper.toml
  --help              this text
`;

function read(/** @type {string[]} */ args) {
  const options = /** @type {const} */ ({ keep: { type: 'boolean', default: false }, worker: { type: 'string' } });
  const { values } = parseArgs({ args, options });
  const worker = values.worker?.split(/\s+/).filter((word) => word !== '');
  if (worker !== undefined && !worker[0]?.startsWith('/'))
    throw new RangeError(`--worker ${values.worker}: expected an absolute path first`);
  return { keep: values.keep, worker: worker ?? [] };
}
const { keep: isKept, worker } = argumentsOr(USAGE, read);
process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(() => prepare([CELERY_PACKAGE]));
await import('./build.mjs');
const keep = isKept ? ['--keep'] : [];
process.exitCode = await runInPrivateMachine([process.execPath, '--import', 'tsx', 'test/demo/demo.ts', JSON.stringify(worker), ...keep]);
