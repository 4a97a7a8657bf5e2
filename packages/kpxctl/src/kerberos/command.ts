import { constants } from 'node:fs';
import { chmod, chown, lstat, mkdir, readdir, readFile } from 'node:fs/promises';
import { shellWord } from '@kpx/broker/output/format';
import type { Command } from 'commander';
import { HELPER_CONFIG_FILE } from '../broker-options.js';
import { type SetUpOptions, setUpDropIns } from '../executor-units/set-up.js';
import { isThere, type Step } from '../sealed/steps.js';
import { delegationPlace, delegationRemoval, delegationSteps } from './delegation.js';
import { DROP_IN, DROP_IN_TEXT } from './drop-in.js';

const KEYTABS = '/etc/kpx/keytabs';
/** For everybody to open what they know the name of, and for root alone to list: a user's own unit looks whose the keytab is. */
const KEYTABS_MODE = 0o711;
const PROGRAMS = ['/usr/bin/kinit', '/usr/bin/klist', '/usr/bin/kvno'];
const KRB5_CONF = '/etc/krb5.conf';
const NEXT = { keytabs: 'the keytab of each account, then kpxctl doctor', delegation: 'kpxctl doctor --user NAME' };

interface Options extends SetUpOptions {
  readonly delegateTo?: string[];
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
    .option(
      '--delegate-to <SERVICE>',
      'no keytabs of users: this machine gets their tickets for this service, such as cifs/files.corp.example, as far as the domain lets it (repeatable)',
      (text: string, before: string[] = []) => [...before, text],
    )
    .option('--remove', 'take the drop-ins away again; keytabs stay')
    .option('--helper-config <FILE>', 'configuration of kpx-privhelper', HELPER_CONFIG_FILE)
    .addHelpText(
      'after',
      '\nExit codes: 0 all is as it has to be, or was said; 69 systemd gives no answer; 77 not permitted; 78 something has to be done first.',
    )
    .action(setUp);
}

async function setUp({ delegateTo, ...options }: Options): Promise<void> {
  const place = await delegationPlace();
  const byDelegation = delegateTo !== undefined || place !== 'none';
  // Where some users alone have tickets by delegation, the others have keytabs.
  const byKeytabs = !byDelegation || place === 'some';
  await setUpDropIns(options, {
    command: 'kerberos setup',
    what: 'Tickets take',
    dropIn: {
      name: DROP_IN,
      text: DROP_IN_TEXT,
      why: 'an executor starts when kpx-ticket@.service has a ticket of its user, and finds it in KRB5CCNAME',
      without: 'executors start without a ticket, and those that run lose theirs',
    },
    next: byDelegation ? NEXT.delegation : NEXT.keytabs,
    before: async () => [
      await programs(),
      await realm(),
      ...(byDelegation ? await delegationSteps(delegateTo) : []),
      ...(byKeytabs ? [await directory()] : []),
    ],
    after: async () => (byKeytabs ? await keytabs() : []),
    // Also where there is none: PID 1 may not know yet that it is gone.
    removed: delegationRemoval,
  });
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

/** One step for each keytab that kpx-ticket@.service would refuse by its owner or mode. */
async function keytabs(): Promise<Step[]> {
  const names = (await readdir(KEYTABS).catch(() => [])).sort();
  const steps = names.map(async (name): Promise<Step[]> => {
    const path = `${KEYTABS}/${name}`;
    const { uid, mode, ...file } = await lstat(path);
    const isFile = (mode & constants.S_IFMT) === constants.S_IFREG;
    if (isFile && file.size > 0 && uid === 0 && (mode & 0o177) === 0) return [];
    const why = 'it has to be a file of root with mode 0600 that is not empty: its account is refused a ticket';
    return [{ name: path, state: 'by hand', why, lines: [`chown root:root ${shellWord(path)}`, `chmod 0600 ${shellWord(path)}`] }];
  });
  return (await Promise.all(steps)).flat();
}
