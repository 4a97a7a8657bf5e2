import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { adoptConnection, ConfigError, KpxError, type PacketConnection } from '@kpx/protocol';
import { openAudit, type Peer } from './audit.js';
import { type Config, readConfig } from './config.js';
import { type Services, serveBroker } from './dispatch.js';
import { MSGQ_BYTES_MAX } from './environment.js';
import { DirectLauncher } from './launchers/direct.js';
import { SystemdLauncher } from './launchers/systemd.js';
import { openTrustedDirectory } from './system/directory.js';
import { lookUpAccount, lookUpId } from './system/name-service.js';
import { checkProgram, targetOfDescriptor } from './system/process.js';
import { openListeningSocket } from './system/socket.js';
import { showUnits } from './system/systemctl.js';
import { readTrustedFile } from './system/trusted-file.js';

const USAGE = `kpx-privhelper: makes users' directories and starts their executors, for kpx-broker. Runs as root.

Usage: kpx-privhelper --config FILE (--listen PATH | --connection-fd N | --check)

  --config FILE         configuration, owned by root and writable by nobody else
  --connection-fd N     serve the one connection that this process was started with, then exit (systemd: Accept=yes, 3)
  --peer INSTANCE       with --connection-fd: what systemd says of the peer (%i of the unit); one of another account is refused
  --peer-user NAME      the account that may connect (default: kpx-broker)
  --listen PATH         make a socket at PATH, 0660 root:GROUP, and serve it until SIGTERM
  --socket-group GROUP  group that may connect to PATH (default: kpx-broker)
  --max-connections N   connections served at once at PATH, 1 to 16 (default: 1)
  --check               judge the configuration and everything it names, say what is wrong, exit
  --help                this text

Exit codes: 0 done, 64 wrong usage, 74 audit log not writable, 77 not root, 78 wrong configuration.
`;

/** sysexits.h */
const EXIT = { usage: 64, noPermission: 77, config: 78 } as const;

/** How long executors of the direct launcher may take to end after SIGTERM before they are ended by force, in milliseconds. */
const STOP_GRACE_MS = 5_000;
const CONNECTIONS_MAX = 16;
/** How long the look-ups of --check may take in all, in milliseconds. */
const CHECK_DEADLINE_MS = 10_000;

/** The external commands, each described where it is used in src/system and src/launchers. */
const COMMANDS = ['getent', 'id', 'setfacl', 'getfacl', 'setpriv', 'cp'];

class UsageError extends Error {}

async function main(args: string[]): Promise<void> {
  const options = parseOptions(args);
  if (options.help) {
    process.stdout.write(USAGE);
    return;
  }
  if (process.getuid?.() !== 0)
    return fail(EXIT.noPermission, 'kpx-privhelper must be started as root: it changes owners and starts processes of other accounts.');
  process.umask(0o077);
  const config = await readConfig(options.config);
  await checkSurroundings(options.config, config);
  if (options.check) {
    if (config.executor.launcher === 'systemd') await checkUnits(options.config, config.executor);
    process.stdout.write(`${options.config}: everything is as it must be.\n`);
    return;
  }
  const audit = openAudit();
  const launcher = config.executor.launcher === 'systemd' ? new SystemdLauncher(config) : new DirectLauncher(config, audit);
  const services: Services = { config, launcher, audit };
  const stop = await (options.listen === undefined ? serveDescriptor(services, options) : serveSocket(services, options));
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      audit.info(`${signal}: ending`);
      stop();
      void launcher.stopAll(STOP_GRACE_MS).then(() => process.exit(0));
    });
  }
}

type Options = ReturnType<typeof parseOptions>;

function parseOptions(args: string[]) {
  const { values } = parseArgs({
    args,
    options: {
      config: { type: 'string' },
      listen: { type: 'string' },
      'connection-fd': { type: 'string' },
      peer: { type: 'string' },
      'peer-user': { type: 'string', default: 'kpx-broker' },
      'socket-group': { type: 'string', default: 'kpx-broker' },
      'max-connections': { type: 'string', default: '1' },
      check: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const { config = '', listen, 'connection-fd': descriptor, peer, check, help } = values;
  if (!help && config === '') throw new UsageError('--config FILE is missing');
  if (!help && [listen !== undefined, descriptor !== undefined, check].filter(Boolean).length !== 1) {
    throw new UsageError('give exactly one of --listen PATH, --connection-fd N and --check');
  }
  if (descriptor !== undefined && !/^([3-9]|[1-9]\d{1,3})$/.test(descriptor))
    throw new UsageError('--connection-fd: expected a number from 3');
  if (peer !== undefined && descriptor === undefined) throw new UsageError('--peer: only with --connection-fd');
  const connections = Number(values['max-connections']);
  if (!(Number.isInteger(connections) && connections >= 1 && connections <= CONNECTIONS_MAX)) {
    throw new UsageError(`--max-connections: expected 1 to ${CONNECTIONS_MAX}`);
  }
  return { ...values, config: resolve(config), listen: listen && resolve(listen), connections };
}

/** Everything that the configuration names, judged once before the first request; each is judged again when it is used. */
async function checkSurroundings(file: string, { directories, executor }: Config): Promise<void> {
  const problems: string[] = [];
  const check = async (key: string, judgement: Promise<unknown>) => {
    await judgement.catch((error: Error) => problems.push(`${key}: ${error.message}`));
  };
  const trusted = async (path: string) => await (await openTrustedDirectory(path)).close();
  await check('directories.workspace_parent', trusted(directories.workspace_parent));
  await check('directories.temp_parent', trusted(directories.temp_parent));
  for (const parent of directories.home_parents) await check('directories.home_parents', trusted(parent));
  if (directories.create_home) await check('directories.skeleton', trusted(directories.skeleton));
  await check('executor.msgq_file', readTrustedFile(executor.msgq_file, 'secret', MSGQ_BYTES_MAX));
  const commands = executor.launcher === 'systemd' ? [...COMMANDS, 'systemctl'] : COMMANDS;
  for (const command of commands) await check('external commands', checkProgram(`/usr/bin/${command}`));
  if (executor.launcher === 'direct') await check('executor.command', checkProgram(executor.command[0] ?? ''));
  if (problems.length > 0) throw new ConfigError(file, problems);
}

/** Whether systemd can load an instance of each template unit. */
async function checkUnits(file: string, { unit, profiles }: Config['executor']): Promise<void> {
  const units = [unit, ...Object.values(profiles)].map((template) => `${template}kpx-check.service`);
  const states = await showUnits(units, AbortSignal.timeout(CHECK_DEADLINE_MS));
  const bad = states.filter(({ LoadState }) => LoadState !== 'loaded');
  if (bad.length > 0)
    throw new ConfigError(
      file,
      bad.map(({ Id, LoadState }) => `executor.unit: systemd says of ${Id}: ${LoadState}`),
    );
}

async function serveDescriptor(services: Services, options: Options): Promise<() => void> {
  const descriptor = Number(options['connection-fd']);
  const target = targetOfDescriptor(descriptor);
  // Node has descriptors of its own, and taking over one of those goes unnoticed.
  if (!target.startsWith('socket:')) throw new UsageError(`--connection-fd: descriptor ${descriptor} is not a socket but ${target}`);
  const peer = { via: `fd ${descriptor}`, connection: 1, ...(options.peer === undefined ? {} : peerOf(options.peer)) };
  if ('uid' in peer) await refuseStrangers(peer, options['peer-user'], services);
  services.audit.info('serving one connection', { peer });
  let connection: PacketConnection;
  const end = () => process.kill(process.pid, 'SIGTERM');
  connection = adoptConnection(
    descriptor,
    serveBroker(services, peer, () => connection, end),
  );
  return () => connection.close('the helper ends');
}

/**
 * The peer in the instance name that systemd gives to a connection on a Unix socket: NUMBER-PID-UID (systemd 252), and in newer ones
 * NUMBER-COOKIE-PID-UID or NUMBER-COOKIE-PID_PIDFD-UID. Source: instance_from_socket in systemd's src/core/socket.c.
 */
function peerOf(instance: string): { pid: number; uid: number } {
  const [, pid, uid] = /^\d+(?:-\d+)?-(\d+)(?:_\d+)?-(\d+)$/.exec(instance) ?? [];
  if (pid === undefined) throw new UsageError(`--peer: "${instance}" does not say who the peer is`);
  return { pid: Number(pid), uid: Number(uid) };
}

/** The socket's mode keeps others out already; this holds also where somebody has changed it. */
async function refuseStrangers(peer: Peer, account: string, { audit }: Services): Promise<void> {
  const owner = await lookUpAccount(account, AbortSignal.timeout(CHECK_DEADLINE_MS));
  if (owner !== undefined && owner.uid === peer.uid) return;
  const reason = owner ? `expected uid ${owner.uid}, "${account}"` : `there is no account "${account}"`;
  audit.line({ peer, event: 'refused connection', decision: 'refused', reason });
  process.exit(EXIT.noPermission);
}

async function serveSocket(services: Services, options: Options): Promise<() => void> {
  const { listen = '', 'socket-group': group, connections } = options;
  const gid = await lookUpId('group', group, AbortSignal.timeout(CHECK_DEADLINE_MS));
  if (gid === undefined) throw new UsageError(`--socket-group: there is no group "${group}" on this machine`);
  let accepted = 0;
  let open = 0;
  const server = await openListeningSocket(listen, gid, (connection) => {
    const peer = { via: listen, connection: ++accepted };
    if (open >= connections) {
      const reason = `${open} of ${connections} connections are open`;
      services.audit.line({ peer, event: 'refused connection', decision: 'refused', reason });
      setImmediate(() => connection().close('too many connections'));
      return { packet: () => {}, closed: () => {} };
    }
    open += 1;
    return serveBroker(services, peer, connection, () => {
      open -= 1;
    });
  });
  services.audit.info('listening', { socket: listen, group });
  return () => server.close();
}

function fail(exitCode: number, message: string): void {
  process.stderr.write(`${message}\n`);
  process.exitCode = exitCode;
}

main(process.argv.slice(2)).catch((error: Error & { code?: unknown }) => {
  const usage = error instanceof UsageError || String(error.code).startsWith('ERR_PARSE_ARGS');
  if (usage) fail(EXIT.usage, `${error.message}\nTry --help.`);
  else if (error instanceof ConfigError || error instanceof KpxError) fail(EXIT.config, error.message);
  else throw error;
});
