import { constants } from 'node:fs';
import { chmod, chown, lstat, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { readConfig as readHelperConfig } from '@kpx/privhelper/config';
import { runCommand } from '@kpx/privhelper/system/command';
import { printable, templatesOf } from '@kpx/protocol';
import type { Command } from 'commander';
import { HELPER_CONFIG_FILE } from '../broker-options.js';
import { fileStep, isThere, type Step, tell } from '../sealed/steps.js';
import { DROP_IN, DROP_IN_TEXT } from './drop-in.js';

const UNITS = '/etc/systemd/system';
const KEYTABS = '/etc/kpx/keytabs';
/** For everybody to open what they know the name of, and for root alone to list: a user's own unit looks whose the keytab is. */
const KEYTABS_MODE = 0o711;
const PROGRAMS = ['/usr/bin/kinit', '/usr/bin/klist'];
const KRB5_CONF = '/etc/krb5.conf';
const RELOAD_TIMEOUT_MS = 60_000;
const NEXT = 'the keytab of each account, then kpxctl doctor';

interface Options {
  readonly apply?: boolean;
  readonly remove?: boolean;
  readonly helperConfig: string;
}

/** The verb that has executors start with a Kerberos ticket. */
export function addKerberos(program: Command): void {
  program
    .command('kerberos')
    .helpCommand(false)
    .summary('tickets of Kerberos for executors')
    .description('Has each executor start with a Kerberos ticket of its user.')
    .command('setup')
    .summary('have executors start with a ticket')
    .description(
      'Says what this machine lacks for executors to start with a Kerberos ticket of their user, each thing with its reason. Changes nothing without --apply. Run it as root.',
    )
    .option('--apply', 'make the changes')
    .option('--remove', 'take the drop-ins away again; keytabs stay')
    .option('--helper-config <FILE>', 'configuration of kpx-privhelper', HELPER_CONFIG_FILE)
    .addHelpText('after', '\nExit codes: 0 all is as it has to be, or was said; 77 not permitted; 78 something has to be done first.')
    .action(setUp);
}

async function setUp({ apply = false, remove = false, helperConfig }: Options): Promise<void> {
  if (process.getuid?.() !== 0) throw new CommandError(EXIT.noPermission, 'kpxctl kerberos setup has to be run as root.');
  const { executor } = await readHelperConfig(helperConfig);
  if (executor.launcher !== 'systemd')
    throw new CommandError(EXIT.config, 'Tickets take systemd, and executor.launcher in privhelper.toml is "direct".');
  const files = templatesOf(executor).map((template) => `${UNITS}/${template}.service.d/${DROP_IN}`);
  const steps = remove ? await Promise.all(files.map(removal)) : await preparations(files);
  const fails = steps.some(({ state }) => state === 'fails');
  if (files.length > 0 && steps.some(({ name, state }) => state === 'to do' && files.includes(name))) steps.push(reload);
  const done = new Set<Step>();
  for (const step of apply && !fails ? steps : []) {
    if (step.state !== 'to do') continue;
    await step.apply?.();
    done.add(step);
  }
  tell(steps, done, apply, remove ? 'kpxctl doctor' : NEXT);
  if (fails) process.exitCode = EXIT.config;
}

async function preparations(files: readonly string[]): Promise<Step[]> {
  const steps = [await programs(), await realm(), await directory()];
  for (const path of files) steps.push(await dropIn(path));
  return [...steps, ...(await keytabs())];
}

async function programs(): Promise<Step> {
  const why = 'they ask for tickets and look at keytabs';
  const missing = (await Promise.all(PROGRAMS.map((path) => isThere(path, constants.X_OK)))).includes(false);
  const lines = ['apt install krb5-user', 'dnf install krb5-workstation'];
  return missing
    ? { name: PROGRAMS.join(', '), state: 'fails', why: `${why}, and are not installed`, lines }
    : { name: PROGRAMS.join(', '), state: 'ok', why };
}

async function realm(): Promise<Step> {
  const text = await readFile(KRB5_CONF, 'utf8').catch(() => '');
  const [, name] = /^\s*default_realm\s*=\s*(\S+)/m.exec(text) ?? [];
  if (name !== undefined) return { name: KRB5_CONF, state: 'ok', why: `the realm of accounts without one in their name is ${name}` };
  const lines = ['[libdefaults]', 'default_realm = CORP.EXAMPLE'];
  return { name: KRB5_CONF, state: 'by hand', why: 'it names no default_realm, the realm of accounts without one in their name', lines };
}

async function directory(): Promise<Step> {
  const why = 'ACCOUNT.keytab in there is read by PID 1 alone, for that account alone';
  const there = await lstat(KEYTABS).catch(() => undefined);
  if (there?.isDirectory() && there.uid === 0 && (there.mode & 0o7777) === KEYTABS_MODE) return { name: KEYTABS, state: 'ok', why };
  if (there && !there.isDirectory()) return { name: KEYTABS, state: 'fails', why: 'it is no directory: take it away' };
  const apply = async () => {
    await mkdir(KEYTABS, { recursive: true, mode: KEYTABS_MODE });
    await chown(KEYTABS, 0, 0);
    await chmod(KEYTABS, KEYTABS_MODE);
  };
  return { name: KEYTABS, state: 'to do', why, apply };
}

async function dropIn(path: string): Promise<Step> {
  const why = 'an executor starts when kpx-ticket@.service has a ticket of its user, and finds it in KRB5CCNAME';
  const step = await fileStep({ path, content: DROP_IN_TEXT, mode: 0o644, gid: 0, why });
  if (step.state !== 'to do') return step;
  const apply = async () => {
    await mkdir(path.slice(0, path.lastIndexOf('/')), { recursive: true, mode: 0o755 });
    await step.apply?.();
  };
  return { ...step, apply, lines: DROP_IN_TEXT.trimEnd().split('\n') };
}

/** One step for each keytab that kpx-ticket@.service would refuse by its owner or mode. */
async function keytabs(): Promise<Step[]> {
  const names = (await readdir(KEYTABS).catch(() => [])).sort();
  const steps = names.map(async (name): Promise<Step[]> => {
    const path = `${KEYTABS}/${name}`;
    const { uid, mode, ...file } = await lstat(path);
    const isFile = (mode & constants.S_IFMT) === constants.S_IFREG;
    if (isFile && file.size > 0 && uid === 0 && (mode & 0o177) === 0) return [];
    const why = 'it has to be a file of root with mode 0600 that is not empty: its account is refused a ticket';
    return [{ name: path, state: 'by hand', why, lines: [`chown root:root ${path}`, `chmod 0600 ${path}`] }];
  });
  return (await Promise.all(steps)).flat();
}

async function removal(path: string): Promise<Step> {
  const why = 'executors start without a ticket';
  if (!(await isThere(path))) return { name: path, state: 'ok', why: `it is not there: ${why}` };
  return { name: path, state: 'to do', why: `it goes: ${why}`, apply: () => rm(path) };
}

const reload: Step = {
  name: 'systemctl daemon-reload',
  state: 'to do',
  why: 'PID 1 reads the drop-ins; executors that run go on as they are',
  apply: async () => {
    const { exitCode, stderr } = await runCommand(
      '/usr/bin/systemctl',
      ['--no-ask-password', 'daemon-reload'],
      AbortSignal.timeout(RELOAD_TIMEOUT_MS),
    );
    if (exitCode !== 0) throw new CommandError(EXIT.unavailable, `systemctl daemon-reload has failed: ${printable(stderr.trim())}`);
  },
};
