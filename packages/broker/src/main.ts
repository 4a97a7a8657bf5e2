import { parseArgs } from 'node:util';
import { ConfigError } from '@kpx/protocol';
import { destination, pino } from 'pino';
import { Broker } from './broker.js';
import { readConfig } from './config.js';

const USAGE = `kpx-broker: consumes KNIME's job queue and asks kpx-privhelper for executors. Runs unprivileged.

Usage: kpx-broker --config FILE [--check]

  --config FILE  configuration
  --check        judge the configuration, say what is wrong, exit
  --help         this text

SIGTERM and SIGINT: held jobs go back to the queue, jobs under way are confirmed, executors live on.
Exit codes: 0 done, 64 wrong usage, 77 started as root, 78 wrong configuration.
`;

/** sysexits.h */
const EXIT = { usage: 64, noPermission: 77, config: 78 } as const;

async function main(args: string[]): Promise<void> {
  const options = {
    config: { type: 'string' },
    check: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  } as const;
  const { values } = parseArgs({ args, options });
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  if (values.config === undefined) return fail(EXIT.usage, '--config FILE is missing\nTry --help.');
  const config = await readConfig(values.config);
  if (values.check) {
    process.stdout.write(`${values.config}: everything is as it must be.\n`);
    return;
  }
  if (process.getuid?.() === 0) {
    return fail(
      EXIT.noPermission,
      'kpx-broker must not be started as root: it reads what the network sends. Use an account of its own, such as kpx-broker.',
    );
  }
  const log = pino(
    { level: config.log.level, base: { program: 'kpx-broker' }, timestamp: pino.stdTimeFunctions.isoTime },
    destination({ fd: 1, sync: true }),
  );
  const broker = new Broker(config, log);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void broker.stop());
  await broker.run();
}

function fail(exitCode: number, message: string): void {
  process.stderr.write(`${message}\n`);
  process.exitCode = exitCode;
}

main(process.argv.slice(2)).catch((error: Error & { code?: unknown }) => {
  if (String(error.code).startsWith('ERR_PARSE_ARGS')) fail(EXIT.usage, `${error.message}\nTry --help.`);
  else if (error instanceof ConfigError) fail(EXIT.config, error.message);
  else throw error;
});
