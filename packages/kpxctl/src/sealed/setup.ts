import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, chown, mkdir, readFile } from 'node:fs/promises';
import { type Config, readConfig } from '@kpx/broker/config/config';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { printableLines } from '@kpx/broker/output/format';
import { say } from '@kpx/broker/output/terminal';
import { readConfig as readHelperConfig } from '@kpx/privhelper/config';
import { runCommand } from '@kpx/privhelper/system/command';
import { lookUpAccount } from '@kpx/privhelper/system/name-service';
import type { Command } from 'commander';
import {
  ACCOUNTS_UNIT,
  accountsPorts,
  accountsUrl,
  definitionsText,
  enablesManagement,
  inTheWay,
  isAccountsHost,
  NFT,
  OWN_SETTINGS_DIRECTORY,
  PLUGINS_TEXT,
  PORTS_FILE,
  portsRules,
  RABBITMQ_ACCOUNT,
  RABBITMQ_SERVER,
  SETTINGS_DIRECTORY,
  UNIT_FILE,
  unitText,
} from '../accounts-rabbitmq.js';
import { CONFIG_FILE, HELPER_CONFIG_FILE } from '../broker-options.js';
import { showUnit } from '../doctor/systemd.js';
import { takenOver } from '../leave-root.js';
import { HASHING, isHashOf, passwordHash } from '../setup-rabbitmq/password-hash.js';
import { type AskedOfServer, askServer } from './declared.js';
import { settingsStep } from './settings-step.js';
import { configurationSteps } from './setup-configuration.js';
import { fileStep, isThere, type Step, tell, type Wanted } from './steps.js';

const USER = 'kpx-broker';
const PASSWORD_FILE = '/etc/kpx/sealed-password';
const PASSWORD_BYTES = 24;
const LOOK_UP_TIMEOUT_MS = 10_000;
/** RabbitMQ is ready some ten seconds after its start; a machine may be slow. */
const START_TIMEOUT_MS = 200_000;
const NEXT = 'systemctl restart kpx-broker, and kpxctl doctor';
const SECRET_MODE = 0o640;
const PLAIN_MODE = 0o644;

interface Options {
  readonly apply?: boolean;
  readonly config: string;
  readonly helperConfig: string;
}

export function addSetup(group: Command): void {
  group
    .command('setup')
    .summary("make the accounts' RabbitMQ on this machine")
    .description(
      "Says what sealed executors lack on this machine, each thing with its reason: a RabbitMQ of the accounts' own on loopback, with the broker as its administrator, and the lines of both configurations. Changes nothing without --apply, and never the configurations. Run it as root.",
    )
    .option('--apply', 'make the changes')
    .option('--config <FILE>', 'configuration of kpx-broker', CONFIG_FILE)
    .option('--helper-config <FILE>', 'configuration of kpx-privhelper', HELPER_CONFIG_FILE)
    .addHelpText('after', '\nExit codes: 0 all is as it has to be, or was said; 77 not permitted; 78 something has to be done first.')
    .action(setUp);
}

async function setUp({ apply = false, config: file, helperConfig }: Options): Promise<void> {
  const handedOver = (await takenOver()) as AskedOfServer | undefined;
  if (handedOver !== undefined) return say(JSON.stringify(await askServer(handedOver)));
  if (process.getuid?.() !== 0)
    throw new CommandError(EXIT.noPermission, 'kpxctl sealed setup has to be run as root: it looks at secrets.');
  const [config, { accounts, executor }] = [await readConfig(file), await readHelperConfig(helperConfig)];
  const wanted = wantedOf(config);
  const missing = await prerequisites(wanted);
  if (missing.some(({ state }) => state === 'fails')) {
    tell(missing, new Set(), apply, NEXT);
    process.exitCode = EXIT.config;
    return;
  }
  const steps = [
    ...missing,
    ...(await rabbitmqSteps(wanted, accounts.min_uid)),
    ...(await configurationSteps(config, executor, wanted, file, helperConfig)),
  ];
  const done = new Set<Step>();
  for (const step of apply ? steps : []) {
    if (step.state !== 'to do') continue;
    await step.apply?.();
    done.add(step);
  }
  tell(steps, done, apply, NEXT);
}

function wantedOf({ sealed }: Config): Wanted {
  const url = new URL(accountsUrl(sealed.urls));
  return {
    user: decodeURIComponent(url.username),
    ports: accountsPorts(sealed),
    passwordFile: sealed.management_password_file || PASSWORD_FILE,
    isHere: isAccountsHost(url.hostname),
  };
}

async function prerequisites({ isHere }: Wanted): Promise<Step[]> {
  if (!isHere) {
    const why =
      'it is elsewhere: this command makes one on this machine, which listens on 127.0.0.1 alone. See sealed.md, "On another machine, by TLS"';
    return [{ name: 'sealed.urls', state: 'fails', why }];
  }
  const account = await lookUpAccount(RABBITMQ_ACCOUNT, AbortSignal.timeout(LOOK_UP_TIMEOUT_MS));
  if (account === undefined || !(await isThere(RABBITMQ_SERVER, constants.X_OK))) {
    const why = `there is no ${RABBITMQ_SERVER}, or no account ${RABBITMQ_ACCOUNT}. The second command is for a machine that needs no other RabbitMQ`;
    const lines = ['apt install rabbitmq-server', 'systemctl disable --now rabbitmq-server'];
    return [{ name: 'RabbitMQ', state: 'fails', why, lines }];
  }
  const obstacle = (await isThere(NFT, constants.X_OK)) ? await inTheWay() : undefined;
  if (obstacle) return [{ name: 'SYN cookies', state: 'fails', why: obstacle.why, lines: [obstacle.fix] }];
  return [{ name: 'RabbitMQ', state: 'ok', why: `its programs are installed: ${RABBITMQ_SERVER}` }];
}

async function gidOf(account: string): Promise<number> {
  const found = await lookUpAccount(account, AbortSignal.timeout(LOOK_UP_TIMEOUT_MS));
  if (found) return found.gid;
  throw new CommandError(EXIT.config, `There is no account ${account}: systemd-sysusers kpx.conf makes it.`);
}

async function rabbitmqSteps({ user, ports, passwordFile }: Wanted, minUid: number): Promise<Step[]> {
  const [broker, rabbitmq, hasNft] = [await gidOf(USER), await gidOf(RABBITMQ_ACCOUNT), await isThere(NFT, constants.X_OK)];
  const kept = (await readFile(passwordFile, 'utf8').catch(() => '')).trim();
  const password = kept === '' ? randomBytes(PASSWORD_BYTES).toString('hex') : kept;
  const isHash = (text: string) => {
    const [, hash] = /"password_hash": "([^"]+)"/.exec(text) ?? [];
    return text.includes(`"name": ${JSON.stringify(user)}`) && isHashOf(hash, HASHING, password);
  };
  const inSettings = (name: string) => `${SETTINGS_DIRECTORY}/${name}`;
  const plain = { mode: PLAIN_MODE, gid: 0 };
  const files = [
    await directoryStep(SETTINGS_DIRECTORY, 'the settings of that RabbitMQ'),
    await directoryStep(OWN_SETTINGS_DIRECTORY, 'settings of your own for that RabbitMQ, in files whose names end in .conf'),
    await fileStep({
      ...{ path: passwordFile, content: `${password}\n`, mode: SECRET_MODE, gid: broker, isSame: (text) => text.trim() === password },
      why: `the password of "${user}", by which the broker makes virtual hosts and users; the broker reads it`,
    }),
    await fileStep({
      ...{ path: inSettings('definitions.json'), content: definitionsText(user, passwordHash(password), HASHING), mode: SECRET_MODE },
      ...{ gid: rabbitmq, isSame: isHash },
      why: `makes "${user}" the only user, an administrator, with a hash of that password: no guest`,
    }),
    await settingsStep(ports),
    await fileStep({
      ...{ path: inSettings('enabled_plugins'), content: PLUGINS_TEXT, ...plain, isSame: enablesManagement },
      why: 'the management API, by which the broker makes them',
    }),
    hasNft
      ? await fileStep({
          ...{ path: PORTS_FILE, content: portsRules(ports, minUid).text, ...plain },
          why: "the management port is the broker's alone, and the AMQP port the executors' and the broker's",
        })
      : noFirewall(),
    await fileStep({
      ...{ path: UNIT_FILE, content: unitText(ports, hasNft), ...plain },
      why: 'settings, data, cookie, epmd and ports of its own, as no other RabbitMQ of this machine has them',
    }),
  ];
  return [...files, await unitStep(files.some(({ state }) => state === 'to do'))];
}

async function directoryStep(path: string, why: string): Promise<Step> {
  if (await isThere(path)) return { name: path, state: 'ok', why };
  const apply = async () => {
    await mkdir(path);
    await chown(path, 0, 0);
    await chmod(path, 0o755);
  };
  return { name: path, state: 'to do', why, apply };
}

const noFirewall = (): Step => ({
  name: 'nftables',
  state: 'by hand',
  why: `there is no ${NFT}: every account of this machine can connect to the management port, and try passwords. Then run this again`,
  lines: ['apt install nftables'],
});

async function unitStep(isChanged: boolean): Promise<Step> {
  const { ActiveState, UnitFileState, NeedDaemonReload } = await showUnit(ACCOUNTS_UNIT, AbortSignal.timeout(LOOK_UP_TIMEOUT_MS)).catch(
    (error: Error) => {
      throw new CommandError(EXIT.unavailable, `${error.message}. The accounts' RabbitMQ is a unit of systemd.`);
    },
  );
  const why = 'it runs, and starts with the machine, before the broker';
  // An earlier run may have ended before PID 1 has read the unit.
  const isRead = !isChanged && NeedDaemonReload === 'no';
  if (isRead && ActiveState === 'active' && UnitFileState === 'enabled') return { name: ACCOUNTS_UNIT, state: 'ok', why };
  const commands = [['daemon-reload'], ['enable', ACCOUNTS_UNIT], ['restart', ACCOUNTS_UNIT]];
  const apply = async () => {
    for (const args of commands) await systemctl(args);
  };
  return { name: ACCOUNTS_UNIT, state: 'to do', why, lines: commands.map((args) => `systemctl ${args.join(' ')}`), apply };
}

async function systemctl(args: readonly string[]): Promise<void> {
  const { exitCode, stderr } = await runCommand(
    '/usr/bin/systemctl',
    ['--no-ask-password', ...args],
    AbortSignal.timeout(START_TIMEOUT_MS),
  );
  if (exitCode === 0) return;
  const what = `systemctl ${args.join(' ')} has failed`;
  throw new CommandError(
    EXIT.unavailable,
    `${what}: ${printableLines(stderr.trim())}\nSee: journalctl -u ${ACCOUNTS_UNIT} -n 50. Then run this again.`,
  );
}
