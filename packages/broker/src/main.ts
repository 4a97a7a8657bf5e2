import { hostname } from 'node:os';
import { parseArgs } from 'node:util';
import { ConfigError, EXIT_LOG, openLog, VERSION } from '@kpx/protocol';
import type { Logger } from 'pino';
import type { JobMac } from './amqp/mac.js';
import { macKeyFile, readMac } from './amqp/mac-key.js';
import { Broker } from './broker.js';
import { type Config, readConfig } from './config/config.js';
import { placeOf, userFrom } from './config/user-from.js';
import { checkText } from './control/check.js';
import { asJson, differences } from './control/difference.js';
import { ControlServer, type Operations, type Reloaded } from './control/server.js';
import { serveDeadLetters } from './dead-letters/serve.js';
import { Draining } from './draining.js';
import { KeptDrain } from './host/kept-drain.js';
import { ServiceManager } from './host/service-manager.js';
import { MonitorServer } from './http/monitor.js';
import { EXIT, exitCodes } from './output/exit.js';
import { printableLines } from './output/format.js';
import { complain, say } from './output/terminal.js';

const USAGE = `kpx-broker: consumes KNIME's job queue and asks kpx-privhelper for executors. Runs unprivileged.

Usage: kpx-broker --config FILE [--check]

  --config FILE  configuration
  --check        judge the configuration; say what is wrong, which groups and profiles of rules do not exist, and what differs from the
                 configuration of the running broker; exit
  --version      print the version of kpx; exit
  --help         this text

For operators there is kpxctl.
SIGTERM and SIGINT: held jobs go back to the queue, jobs under way are confirmed, executors live on.
SIGHUP: the configuration is read again; one that is wrong is refused, and the old one stays in force.
SIGUSR2: no executor is started any more, so that this host can be emptied; a second one ends that, a restart does not.
${exitCodes('kpx-broker')}
`;

async function main(args: string[]): Promise<void> {
  const options = {
    config: { type: 'string' },
    check: { type: 'boolean', default: false },
    version: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  } as const;
  const { values } = parseArgs({ args, options });
  if (values.help) {
    say(USAGE);
    return;
  }
  if (values.version) {
    say(`kpx-broker ${VERSION}\n`);
    return;
  }
  if (values.config === undefined) return fail(EXIT.usage, '--config FILE is missing\nTry --help.');
  const config = await readConfig(values.config);
  if (values.check) {
    say(await checkText(values.config, config));
    return;
  }
  if (process.getuid?.() === 0) {
    return fail(
      EXIT.noPermission,
      'kpx-broker must not be started as root: it reads what the network sends. Use an account of its own, such as kpx-broker.',
    );
  }
  await serve(values.config, config, await readMac(macKeyFile(config.jobs)));
}

async function serve(file: string, config: Config, mac: JobMac): Promise<void> {
  let end: () => void = () => process.exit(EXIT_LOG);
  const log = openLog({ program: 'kpx-broker', host: hostname() }, config.log.level, {
    lost: (error) => lost(error, end),
    streamWrite: printableLines, // for whoever reads it with journalctl
  });
  const broker = new Broker(config, file, mac, log);
  const manager = new ServiceManager(process.env, (reason) =>
    log.warn({ reason }, 'systemd cannot be notified: systemctl status may show an old state'),
  );
  const monitor = new MonitorServer(broker, log);
  await monitor.listen(config.http.listen);
  let reloading: Promise<unknown> = Promise.resolve();
  const reloadInTurn = () => {
    const reloaded = reloading.then(() => reload(file, broker, monitor, log));
    reloading = reloaded.catch(() => {});
    return reloaded;
  };
  const draining = new Draining(broker.operator, new KeptDrain(process.env, config.control.socket), log);
  draining.restore();
  broker.orders.restore();
  const control = await openControl(broker, { reload: reloadInTurn, drain: draining.set }, log);
  end = () => {
    manager.stopping();
    control?.close();
    monitor.close();
    broker.stop().catch((error: Error) => log.error({ reason: error.message }, 'the broker could not end in order'));
  };
  broker.onDefect(() => endWith(EXIT.defect, end));
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, end);
  process.on('SIGHUP', () => {
    reloadInTurn().catch((error: Error) => {
      if (!(error instanceof ConfigError))
        log.error({ reason: error.message, stack: error.stack }, 'the configuration could not be read again');
    });
  });
  process.on('SIGUSR2', () => draining.set(broker.operator.draining ? undefined : {}));
  manager.lives(() => broker.record.line());
  broker.onHelper(() => manager.ready());
  await broker.run();
  manager.close();
}

/** How long the broker may take to end because of a failure of its own, in milliseconds; then it ends at once. */
const FORCED_END_MS = 10_000;

/** A broker without a log ends, as after SIGTERM: the service manager starts one whose log is read. `end` is called once. */
function lost({ code, message }: NodeJS.ErrnoException, end: () => void): void {
  if (process.exitCode === EXIT_LOG) return;
  process.stderr.once('error', () => {}); // which leads to the same place, often
  complain(`the log cannot be written: ${code ?? message}; the broker ends\n`);
  endWith(EXIT_LOG, end);
}

/** Ends as after SIGTERM, and in time, with this exit code; `end` begins that. */
function endWith(exitCode: number, end: () => void): void {
  process.exitCode = exitCode;
  setTimeout(() => process.exit(), FORCED_END_MS).unref();
  end();
}

/** Without it the broker works all the same. */
async function openControl(
  broker: Broker,
  { drain, reload }: Pick<Operations, 'drain' | 'reload'>,
  log: Logger,
): Promise<ControlServer | undefined> {
  const { socket } = broker.config.control;
  if (socket === '') return undefined;
  const operations: Operations = {
    explain: async (user, groups) => {
      const forged = broker.sealed?.forgedFor(user);
      const explanation = await broker.operator.explain(user, groups);
      return { ...explanation, user_from: placeOf(userFrom(broker.config.jobs)), ...(forged && { forged }) };
    },
    status: () => broker.record.status(),
    user: (user) => broker.operator.user(user),
    job: (id) => broker.operator.jobs.stories(id),
    cancel: (id) => broker.operator.jobs.cancel(id),
    configuration: () => broker.config,
    profiles: () => broker.ruleNames.known,
    drain,
    reload,
    start: (user) => broker.operator.startFor(user),
    planStart: (user, atMs) => broker.orders.plan(user, atMs),
    cancelStart: (user) => broker.orders.cancel(user),
    stop: (user, mode) => broker.orders.stopOf(user, mode),
    stopWhenIdle: (user) => broker.orders.stopWhenIdle(user),
    sealed: broker.sealed,
    deadLetters: serveDeadLetters({ config: () => broker.config, mac: () => broker.mac }, log),
  };
  try {
    return await ControlServer.open(socket, operations, log);
  } catch (error) {
    log.warn(
      { socket, reason: (error as Error).message },
      'control socket unavailable: kpxctl will not work until this is corrected and the broker is restarted',
    );
    return undefined;
  }
}

/** Throws {@link ConfigError}: said in the log, and the old configuration stays in force. */
async function reload(file: string, broker: Broker, monitor: MonitorServer, log: Logger): Promise<Reloaded> {
  try {
    const config = await readConfig(file);
    const mac = await readMac(macKeyFile(config.jobs));
    const changed = differences(asJson(broker.config), asJson(config));
    const { restart, reasons } = await broker.reload(config, mac);
    await monitor.listen(config.http.listen);
    log.info({ changed }, changed.length === 0 ? 'configuration read again: nothing has changed' : 'another configuration is in force');
    if (restart.length > 0) log.warn({ sections: restart, ...(reasons.length > 0 && { reasons }) }, 'these take effect with a restart');
    return { changed, restart, reasons };
  } catch (error) {
    if (error instanceof ConfigError) log.error({ reason: error.message }, 'the configuration is refused; the old one stays in force');
    throw error;
  }
}

function fail(exitCode: number, message: string): void {
  complain(`${message}\n`);
  process.exitCode = exitCode;
}

main(process.argv.slice(2)).catch((error: Error & { code?: unknown }) => {
  if (String(error.code).startsWith('ERR_PARSE_ARGS')) fail(EXIT.usage, `${error.message}\nTry --help.`);
  else if (error instanceof ConfigError) fail(EXIT.config, error.message);
  else throw error;
});
