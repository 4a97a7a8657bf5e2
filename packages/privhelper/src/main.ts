import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { PacketConnection, Serving } from '@kpx/protocol';
import { adoptConnection, ConfigError, KpxError, neededTemplatesOf, peerOf, VERSION } from '@kpx/protocol';
import { openAudit, type Peer } from './audit.js';
import { type Config, readConfig } from './config.js';
import { type Services, serveBroker } from './dispatch.js';
import { MSGQ_BYTES_MAX, readMsgq } from './environment.js';
import { listen } from './launchers/direct/listen.js';
import { DirectLauncher } from './launchers/direct.js';
import { SystemdLauncher } from './launchers/systemd.js';
import { judgeSkeleton, openTrustedDirectory } from './system/directory.js';
import { lookUpAccount, lookUpIds, type PasswdEntry } from './system/name-service.js';
import { checkProgram, isSocket } from './system/process.js';
import { showUnits } from './system/systemctl.js';
import { readTrustedFile } from './system/trusted-file.js';

const USAGE = `kpx-privhelper: makes users' directories and starts their executors, for kpx-broker. Runs as root.

Usage: kpx-privhelper --config FILE (--connection-fd N | --listen PATH | --check)

  --config FILE       configuration, owned by root and writable by nobody else
  --connection-fd N   serve the one connection that this process was started with, then exit (systemd: Accept=yes, 3)
  --peer INSTANCE     with --connection-fd: what systemd says of the peer (%i of the unit); one of another account is refused
  --listen PATH       make a socket at PATH, 0660 root:GROUP of the account that may connect, and serve it until SIGTERM
  --broker NAME       the account that may connect (default: kpx-broker)
  --check             judge the configuration and everything it names, say what is wrong, exit
  --version           the version of kpx
  --help              this text

Exit codes: 0 done, 64 wrong usage, 74 audit log not writable, 77 not root or not the broker, 78 wrong configuration.
`;

/** sysexits.h */
const EXIT = { usage: 64, noPermission: 77, config: 78 } as const;
/** How long each look-up and each look at a file before the first request may take, in milliseconds. */
const START_DEADLINE_MS = 10_000;

async function main(args: string[]): Promise<void> {
  const options = parseOptions(args);
  if (options.told) return void process.stdout.write(options.told);
  if (process.getuid?.() !== 0)
    end(EXIT.noPermission, 'kpx-privhelper must be started as root: it changes owners and starts processes of other accounts.');
  process.umask(0o077);
  const config = await readConfig(options.config);
  await checkSurroundings(options, config);
  if (options.check) return void process.stdout.write(`${options.config}: no errors; kpxctl doctor looks at the rest.\n`);
  const heads = process.env.RUNTIME_DIRECTORY?.split(':').find((path) => path.endsWith('/audit'));
  const audit = await openAudit(process.env.LOGS_DIRECTORY?.split(':', 1)[0], heads);
  const launcher = config.executor.launcher === 'systemd' ? new SystemdLauncher(config) : new DirectLauncher(config, audit);
  const broker = await lookUpAccount(options.broker, AbortSignal.timeout(START_DEADLINE_MS));
  if (!broker) return usage(`--broker: there is no account "${options.broker}" on this machine`);
  const services = { config, launcher, audit };
  const served = options.listen === undefined ? serveDescriptor(services, options, broker) : await listen(services, options.listen, broker);
  const signal = new Promise<string>((resolve) => process.once('SIGTERM', resolve).once('SIGINT', resolve));
  audit.info(`${await Promise.race([signal, served.ended])}: ending`);
  served.end();
  await Promise.all([served.ended, launcher.stopAll()]);
  end(0);
}

type Options = ReturnType<typeof parseOptions>;

function parseOptions(args: string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const broker = { ...text, default: 'kpx-broker' };
  const options = { config: text, 'connection-fd': text, peer: text, broker, listen: text, check: flag, version: flag, help: flag };
  const { values } = parseArgs({ args, options });
  const { config = '', listen, 'connection-fd': descriptor, peer, check } = values;
  const told = values.help ? USAGE : values.version ? `kpx-privhelper ${VERSION}\n` : undefined;
  const modes = [listen, descriptor, check || undefined].filter((mode) => mode !== undefined);
  if (!told && config === '') usage('--config FILE is missing');
  if (!told && modes.length !== 1) usage('give exactly one of --connection-fd N, --listen PATH and --check');
  if (!/^([3-9]|[1-9]\d{1,3})$/.test(descriptor ?? '3')) usage('--connection-fd: expected a number from 3');
  if (peer !== undefined && descriptor === undefined) usage('--peer: only with --connection-fd');
  return { ...values, told, config: resolve(config), listen: listen && resolve(listen) };
}

/**
 * All that everybody needs of the places that the configuration names, judged once before the first request; with --check the others, too. Each is judged
 * again when it is used: a home parent that hangs or is not mounted is in the way of its own users alone.
 */
async function checkSurroundings({ config: file, check: thorough }: Options, { accounts, directories, executor }: Config): Promise<void> {
  const problems: string[] = [];
  const late = () => new Promise((_, reject) => setTimeout(reject, START_DEADLINE_MS, new Error('no answer within 10 s')).unref());
  const check = (key: string, judged: Promise<unknown>) =>
    Promise.race([judged, late()]).catch((error: Error) => problems.push(`${key}: ${error.message}`));
  const trusted = async (path: string) => await (await openTrustedDirectory(path)).close();
  for (const key of ['workspace_parent', 'temp_parent', ...(thorough ? (['home_parents'] as const) : [])] as const)
    for (const parent of [directories[key]].flat()) await check(`directories.${key}`, trusted(parent));
  if (thorough && directories.create_home) await check('directories.skeleton', judgeSkeleton(directories.skeleton));
  await check('executor.msgq_file', thorough ? readMsgq(executor) : readTrustedFile(executor.msgq_file, 'secret', MSGQ_BYTES_MAX));
  for (const list of thorough ? (['denied_groups', 'allowed_groups'] as const) : [])
    for (const group of accounts[list]) await check(`accounts.${list}`, groupExists(group, list === 'allowed_groups'));
  const systemd = executor.launcher === 'systemd';
  // The external commands, each described where it is used in src/system and src/launchers.
  for (const command of ['getent', 'id', 'setfacl', 'getfacl', 'find', ...(systemd ? ['systemctl'] : ['setpriv', 'prlimit', 'cp'])])
    await check('external commands', checkProgram(`/usr/bin/${command}`));
  if (!systemd) await check('executor.command', checkProgram(executor.command[0] ?? ''));
  if (systemd && thorough && problems.length === 0) await check('executor.unit', checkUnits(executor));
  if (problems.length > 0) throw new ConfigError(file, problems);
}

/** A group that does not exist keeps nobody out, and lets nobody in. By another name than its own, such as DOM\group, it keeps out and does not let in. */
async function groupExists(group: string, byItsName: boolean): Promise<void> {
  const [name] = (await lookUpIds('group', [group], AbortSignal.timeout(START_DEADLINE_MS))).keys();
  if (!name || (byItsName && name !== group)) throw new Error(`there is no group "${group}" on this host${name ? `, but "${name}"` : ''}`);
}

/** Whether systemd can load an instance of each template unit. */
async function checkUnits(executor: Config['executor']): Promise<void> {
  const units = neededTemplatesOf(executor).map((template) => `${template}kpx-check.service`);
  const bad = (await showUnits(units, AbortSignal.timeout(START_DEADLINE_MS))).filter(({ LoadState }) => LoadState !== 'loaded');
  if (bad.length > 0) throw new Error(`systemd says of ${bad.map(({ Id, LoadState }) => `${Id}: ${LoadState}`).join(', of ')}`);
}

function serveDescriptor(services: Services, { 'connection-fd': number, peer: instance }: Options, broker: PasswdEntry): Serving {
  const descriptor = Number(number);
  // Node has descriptors of its own, and taking over one of those goes unnoticed.
  if (!isSocket(descriptor)) usage(`--connection-fd: descriptor ${descriptor} is not a socket`);
  const who = instance === undefined ? {} : (peerOf(instance) ?? usage(`--peer: "${instance}" does not say who the peer is`));
  const peer: Peer = { via: `fd ${descriptor}`, connection: 1, ...who };
  // The socket's mode keeps others out already; this holds also where somebody has changed it.
  if (peer.uid !== undefined && peer.uid !== broker.uid) {
    services.audit.line({ peer, event: 'refused connection', decision: 'refused', reason: `expected uid ${broker.uid}, "${broker.name}"` });
    process.exit(EXIT.noPermission);
  }
  // Some 3 MB were needed until here alone: from Node 22 on they go back to the kernel. Node has this function under --expose-gc.
  globalThis.gc?.({ type: 'major', flavor: 'last-resort' });
  services.audit.info('serving one connection', { peer });
  const session = serveBroker(services, peer, () => connection);
  const connection: PacketConnection = adoptConnection(descriptor, session);
  return session;
}

const usage = (message: string): never => end(EXIT.usage, `${message}\nTry --help.`);

function end(exitCode: number, message?: string): never {
  if (message !== undefined) process.stderr.write(`${message}\n`);
  // A thread that waits for a file system that hangs would keep exit(3) waiting, and with it the next broker.
  if (process.getActiveResourcesInfo().includes('FSReqPromise')) process.kill(process.pid, 'SIGKILL');
  process.exit(exitCode);
}

main(process.argv.slice(2)).catch((error: Error & { code?: unknown }) => {
  if (String(error.code).startsWith('ERR_PARSE_ARGS')) usage(error.message);
  if (!(error instanceof ConfigError || error instanceof KpxError)) throw error;
  // Not at once: a look at a file that has just failed would count as one that hangs.
  setImmediate(end, EXIT.config, error.message);
});
