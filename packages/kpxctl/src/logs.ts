import { once } from 'node:events';
import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { askBroker, BrokerRefused, BrokerUnreachable } from '@kpx/broker/control/client';
import { runCommand, startCommand } from '@kpx/broker/host/command';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { shellWord } from '@kpx/broker/output/format';
import { complain, passOn, say } from '@kpx/broker/output/terminal';
import type { UserDetail } from '@kpx/broker/record/status';
import { readConfig } from '@kpx/privhelper/config';
import { accountNameOf, type KnimeUser, KpxError, osUserOf } from '@kpx/protocol';
import { type Command, InvalidArgumentError } from 'commander';
import { unitsOf } from './account.js';
import { asksAt, type BrokerOptions, HELPER_CONFIG_FILE } from './broker-options.js';
import { controlSocket } from './control-socket.js';
import { knimeUser } from './explain.js';

const JOURNALCTL = '/usr/bin/journalctl';
const ID = '/usr/bin/id';
const LOOK_UP_TIMEOUT_MS = 5_000;
/** Without --lines and --since. */
const LINES = 100;
const LINES_MAX = 1_000_000;
/** Where journald keeps its files, each in a directory that is named as the machine. Source: systemd-journald.service(8), FILES. */
const JOURNALS = ['/var/log/journal', '/run/log/journal'];
/** Longest text that is turned, in bytes: of more, the newest lines are shown. */
const TURNED_BYTES_MAX = 64 * 1024 * 1024;
/** The exit code of journalctl where --grep finds nothing. */
const NOT_FOUND = 1;
const MACHINE_ID = '/etc/machine-id';

interface Options extends BrokerOptions {
  readonly follow?: boolean;
  readonly lines?: number;
  readonly since?: string;
  readonly kpx?: boolean;
  readonly helperConfig: string;
}

/** The account whose executor's log is meant. */
type Account = NonNullable<UserDetail['account']>;

export function addLogs(program: Command): void {
  const command = program
    .command('logs')
    .summary("the log of a KNIME user's executor")
    .description(
      "Prints the log of this KNIME user's executor, by journalctl(1). The running broker says which account that is. Where it does not, [accounts.map] of privhelper.toml does for root, and for others it is the user's own name.",
    )
    .argument('<USER>', 'name of a KNIME user', knimeUser)
    .option('--follow', 'print new lines as they come')
    .option('--lines <N>', `only the last N lines; default: ${LINES}, or all with --since`, lines)
    .option('--since <TIME>', 'only lines since then, as journalctl takes it: "10 min ago", "2026-11-23 12:00"')
    .option('--kpx', 'the lines of broker and helper about this user instead')
    .option(
      '--helper-config <FILE>',
      'configuration of kpx-privhelper, which tells root the account and the units of profiles',
      HELPER_CONFIG_FILE,
    );
  asksAt(command).action(logs);
}

function lines(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && count <= LINES_MAX) return count;
  throw new InvalidArgumentError(`Expected 1 to ${LINES_MAX}.`);
}

async function logs(user: KnimeUser, options: Options): Promise<void> {
  const account = await accountOf(user, options);
  await checkJournal();
  if (options.kpx) return await kpxLogs(user, typeof account === 'string' ? account : account.os_user, options);
  const found = typeof account === 'string' ? await accountNamed(account, user) : account;
  ended(await journalctl([...wanted(options), ...byExecutor(found, await unitsOf(found.os_user, options.helperConfig))]));
}

/** journalctl that looks for a pattern, and for the last lines, begins with the newest: they are turned here. */
async function kpxLogs(user: string, osUser: string, options: Options): Promise<void> {
  const isTurned = !options.follow && lastOf(options) !== undefined;
  const args = [...wanted(options), ...(isTurned ? ['--reverse'] : []), ...aboutUser(user, osUser)];
  const code = await journalctl(args, isTurned ? oldestFirst : passOn);
  if (code === NOT_FOUND) throw new CommandError(EXIT.noInput, `journalctl has found nothing about "${user}".`);
  ended(code);
}

function ended(code: number): void {
  if (code !== 0) throw new CommandError(EXIT.unavailable, `journalctl has ended with exit code ${code}.`);
}

/** How many lines at most. */
const lastOf = ({ lines, since }: Options) => lines ?? (since === undefined ? LINES : undefined);

function wanted(options: Options): string[] {
  const { follow, since } = options;
  const last = lastOf(options);
  return [
    '--no-pager',
    ...(follow ? ['--follow'] : []),
    ...(last === undefined ? [] : [`--lines=${last}`]),
    ...(since === undefined ? [] : [`--since=${since}`]),
  ];
}

/**
 * The unit gives each line the field (systemd/kpx-executor@.service); any process may write such a field, but not another's uid. Then come
 * the lines of the unit's processes before they are the user's, those of PID 1 about the unit, and the count of lines that journald dropped. Fields that begin
 * with "_" are journald's own, and so are messages of the transport "driver". Source: systemd.journal-fields(7).
 */
const byExecutor = ({ os_user, uid }: Account, units: readonly string[]) => [
  ...[`KPX_OS_USER=${os_user}`, `_UID=${uid}`],
  ...units.flatMap((unit) => [
    ...['+', `_SYSTEMD_UNIT=${unit}`],
    ...['+', `UNIT=${unit}`, '_PID=1'],
    ...['+', `OBJECT_SYSTEMD_UNIT=${unit}`, '_TRANSPORT=driver'],
  ]),
];

/** Lines of JSON, by their fields; of the units and of root alone, as any process may write what it likes. */
function aboutUser(user: string, osUser: string): string[] {
  const names = [...new Set([user, osUser])].map((name) => JSON.stringify(name).replace(/[\\^$.|?*+()[\]{}]/g, '\\$&'));
  return [
    '--output=cat',
    '--case-sensitive=yes',
    `--grep="(user|knime_user|os_user)":(${names.join('|')})`,
    ...['_SYSTEMD_UNIT=kpx-broker.service', '+', 'SYSLOG_IDENTIFIER=kpx-privhelper', '_UID=0'],
  ];
}

/** As the broker knows it. Where it knows none, or does not answer, the name of one, and how that was found is said. */
async function accountOf(user: KnimeUser, { config, helperConfig }: Options): Promise<Account | string> {
  let why = `The broker knows no account of "${user}" yet`;
  let isAnswered = true;
  try {
    const { account } = (await askBroker(await controlSocket(config), `/user?${new URLSearchParams({ user })}`)) as UserDetail;
    if (account) return account;
  } catch (error) {
    if (!(error instanceof BrokerUnreachable || error instanceof BrokerRefused)) throw error;
    why = `The broker does not say which account it is (${error.message})`;
    isAnswered = false;
  }
  const mapped = await mappedName(user, helperConfig);
  const name = mapped ?? user.toLowerCase();
  const own = mapped === undefined ? ", the user's own name, whatever accounts.map of privhelper.toml says" : '';
  if (mapped === undefined || !isAnswered) complain(`${why}: taking "${name}"${own}.\n`);
  return name;
}

/** As the helper finds it, whether the account may have an executor or not. Undefined: its configuration cannot be read, as by others than root. */
async function mappedName(user: KnimeUser, helperConfig: string): Promise<string | undefined> {
  const config = await readConfig(helperConfig).catch(() => undefined);
  if (config === undefined) return undefined;
  try {
    return osUserOf(user, config.accounts);
  } catch (error) {
    if (error instanceof KpxError) return user.toLowerCase(); // which no account can have
    throw error;
  }
}

async function accountNamed(os_user: string, user: string): Promise<Account> {
  const asked = accountNameOf(os_user) && (await runCommand(ID, ['-u', '--', os_user], LOOK_UP_TIMEOUT_MS));
  if (asked?.exitCode === 0) return { os_user, uid: Number(asked.stdout) };
  const why = `No executor of "${user}" is known, and there is no account "${os_user}".`;
  throw new CommandError(EXIT.noInput, `${why} kpxctl logs --kpx ${shellWord(user)} shows what kpx itself says of this user.`);
}

/** journalctl takes a journal that it may not read for an empty one, and says so among other things. */
async function checkJournal(): Promise<void> {
  const machine = (await readFile(MACHINE_ID, 'utf8').catch(() => '')).trim();
  const codes = await Promise.all(
    JOURNALS.map((directory) =>
      access(`${directory}/${machine}/system.journal`, constants.R_OK).then(
        () => 'readable',
        ({ code }: NodeJS.ErrnoException) => code,
      ),
    ),
  );
  if (codes.includes('readable') || !codes.includes('EACCES')) return;
  throw new CommandError(EXIT.noPermission, 'The journal may not be read: run this as root, or as a member of the group systemd-journal.');
}

/** Times in the zone of whoever asks; letters beyond ASCII as they are. */
const environment = () => ({ LC_ALL: 'C.UTF-8', ...(process.env.TZ !== undefined && { TZ: process.env.TZ }) });

/** Resolves with its exit code, 0 also where a signal has ended it. Ctrl-C reaches this process alone, which passes it on. */
async function journalctl(args: readonly string[], show: (said: Readable, to: 'stdout') => Promise<void> = passOn): Promise<number> {
  const child = startCommand(JOURNALCTL, args, environment());
  const passed = Promise.all([show(child.stdout, 'stdout'), passOn(child.stderr, 'stderr')]);
  passed.catch(() => {}); // where the command cannot be started, which is said below
  const end = () => child.kill('SIGTERM');
  process.on('SIGINT', end).on('SIGTERM', end).on('SIGHUP', end);
  const [code, signal] = await once(child, 'exit').catch((error: NodeJS.ErrnoException) => {
    throw new CommandError(EXIT.unavailable, `${JOURNALCTL} cannot be run (${error.code}): the logs are where this system keeps them.`);
  });
  await passed;
  process.off('SIGINT', end).off('SIGTERM', end).off('SIGHUP', end);
  return signal === null ? code : 0;
}

/** Shows lines that come newest first. */
async function oldestFirst(newestFirst: Readable): Promise<void> {
  let text = '';
  for await (const chunk of newestFirst.setEncoding('utf8')) {
    if (text.length < TURNED_BYTES_MAX) text += String(chunk);
  }
  if (text.length >= TURNED_BYTES_MAX) complain('There is more: these are the newest lines. Say --since for others.\n');
  say(
    text
      .split('\n')
      .slice(0, -1)
      .reverse()
      .map((line) => `${line}\n`)
      .join(''),
  );
}
