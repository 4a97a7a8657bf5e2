import { once } from 'node:events';
import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { runCommand, startCommand } from '../command.js';
import { askBroker, BrokerRefused, BrokerUnreachable } from '../control/client.js';
import { CommandError, EXIT } from '../exit.js';
import type { UserDetail } from '../status.js';
import { complain, passOn } from '../terminal.js';
import { asksAt, type BrokerOptions } from './broker-options.js';
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
/** What journalctl ends with where --grep finds nothing. */
const NOT_FOUND = 1;
const MACHINE_ID = '/etc/machine-id';

interface Options extends BrokerOptions {
  readonly follow?: boolean;
  readonly lines?: number;
  readonly since?: string;
  readonly kpx?: boolean;
}

/** The account whose executor's log is meant. */
type Account = NonNullable<UserDetail['account']>;

export function addLogs(program: Command): void {
  const command = program
    .command('logs')
    .summary("the log of a KNIME user's executor")
    .description(
      "What the executor of this KNIME user has written, by journalctl(1). Which account that is, the running broker says; where it cannot, it is the user's own name.",
    )
    .argument('<USER>', 'name of a KNIME user', knimeUser)
    .option('--follow', 'go on with what is written from now on')
    .option('--lines <N>', `the last ones; default: ${LINES}, or with --since all`, lines)
    .option('--since <TIME>', 'those since then, as journalctl takes it: "10 min ago", "2026-11-23 12:00"')
    .option('--kpx', "what kpx's broker and helper say of this user, instead");
  asksAt(command).action(logs);
}

function lines(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && count <= LINES_MAX) return count;
  throw new InvalidArgumentError(`Expected 1 to ${LINES_MAX}.`);
}

async function logs(user: string, options: Options): Promise<void> {
  const account = await accountOf(user, options.config);
  await checkJournal();
  const matches = options.kpx ? aboutUser(user, account) : byExecutor(account ?? (await accountNamed(user)));
  const code = await journalctl([...wanted(options), ...matches]);
  if (code === NOT_FOUND && options.kpx) throw new CommandError(EXIT.noInput, `journalctl has found nothing about "${user}".`);
  if (code !== 0) throw new CommandError(EXIT.unavailable, `journalctl has ended with exit code ${code}.`);
}

function wanted({ follow, lines, since }: Options): string[] {
  const last = lines ?? (since === undefined ? LINES : undefined);
  return [
    '--no-pager',
    ...(follow ? ['--follow'] : []),
    ...(last === undefined ? [] : [`--lines=${last}`]),
    ...(since === undefined ? [] : [`--since=${since}`]),
  ];
}

/** The unit gives each line the field (systemd/kpx-executor@.service); any process may write such a field, but not another's uid. */
const byExecutor = ({ os_user, uid }: Account) => [`KPX_OS_USER=${os_user}`, `_UID=${uid}`];

/** Lines of JSON, by their fields; of the units and of root alone, as any process may write what it likes. */
function aboutUser(user: string, account: Account | undefined): string[] {
  const names = [...new Set([user, account?.os_user ?? user.toLowerCase()])].map((name) => JSON.stringify(name).replace(/[.\\]/g, '\\$&'));
  return [
    '--output=cat',
    '--case-sensitive=yes',
    `--grep="(user|knime_user|os_user)":(${names.join('|')})`,
    ...['_SYSTEMD_UNIT=kpx-broker.service', '+', 'SYSLOG_IDENTIFIER=kpx-privhelper', '_UID=0'],
  ];
}

/** As the broker knows it. Undefined: it does not, or does not answer, which is said. */
async function accountOf(user: string, config: string): Promise<Account | undefined> {
  try {
    const detail = (await askBroker(await controlSocket(config), `/user?${new URLSearchParams({ user })}`)) as UserDetail;
    return detail.account ?? undefined;
  } catch (error) {
    if (!(error instanceof BrokerUnreachable || error instanceof BrokerRefused)) throw error;
    complain(`The broker does not say which account it is (${error.message}): taking "${user.toLowerCase()}".\n`);
    return undefined;
  }
}

async function accountNamed(user: string): Promise<Account> {
  const os_user = user.toLowerCase();
  const { exitCode, stdout } = await runCommand(ID, ['-u', '--', os_user], LOOK_UP_TIMEOUT_MS);
  if (exitCode === 0) return { os_user, uid: Number(stdout) };
  const why = `No executor of "${user}" is known, and there is no account "${os_user}".`;
  throw new CommandError(EXIT.noInput, `${why} What kpx itself says of this user: kpxctl logs --kpx ${user}`);
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
async function journalctl(args: readonly string[]): Promise<number> {
  const child = startCommand(JOURNALCTL, args, environment());
  const passed = Promise.all([passOn(child.stdout, 'stdout'), passOn(child.stderr, 'stderr')]);
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
