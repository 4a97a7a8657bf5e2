import { readFile } from 'node:fs/promises';
import { shellWord } from '@kpx/broker/output/format';
import { runCommand } from '@kpx/privhelper/system/command';
import { isService, MACHINE_KEYTAB, SERVICES, servicesIn } from '../delegated-services.js';
import { fail, ok, type Verdict } from './check.js';
import { chain, trustIn } from './file-system.js';

const KLIST = '/usr/bin/klist';
/** Bits of a file's mode that others could use. */
const OTHERS = 0o177;
const JOIN = `Have this machine join the domain: adcli join, or realm join. Then: kpxctl kerberos setup.`;
export const ASK_DOMAIN =
  'See what the domain lets this machine and the account do (kerberos.md), journalctl -u kpx-ticket@ACCOUNT, /etc/krb5.conf and the clock: timedatectl.';

/** Why a file of root's must not be used by kpx-ticket@.service. Throws where there is none. @param mode what the directory should have */
export async function wrongIn(path: string, mode: number, signal: AbortSignal): Promise<Verdict | undefined> {
  const steps = await chain(path, signal);
  const file = steps.at(-1)?.found;
  if (file === undefined) throw new Error(`there is no ${path}`);
  if (!file.type.startsWith('regular')) throw new Error(`${path} is a ${file.type}, and has to be a regular file`);
  if (file.uid !== 0 || file.mode & OTHERS)
    return fail(
      `${path} has uid ${file.uid} and mode ${octal(file.mode)}, expected root and 600`,
      `chown root:root ${shellWord(path)}; chmod 0600 ${shellWord(path)}`,
    );
  const unsafe = trustIn(steps.slice(0, -1));
  const directory = path.slice(0, path.lastIndexOf('/'));
  return unsafe === undefined ? undefined : fail(unsafe, `chown root:root ${directory}; chmod 0${octal(mode)} ${directory}`);
}

const octal = (mode: number) => mode.toString(8);

/** Messages of the programs of Kerberos about a krb5.conf that is not as it has to be. */
const BAD_CONFIGURATION = /while initializing|configuration file/i;
/** Nothing can be said of keytabs. */
export class BadConfiguration extends Error {}

/** Throws {@link BadConfiguration}, and another Error for what is no keytab. */
export async function principalsIn(path: string, signal: AbortSignal): Promise<string[]> {
  const { exitCode, stdout, stderr } = await runCommand(KLIST, ['-k', path], signal);
  if (exitCode !== 0 && BAD_CONFIGURATION.test(stderr)) throw new BadConfiguration(stderr.trim());
  if (exitCode !== 0) throw new Error(`${path} is no keytab: ${stderr}`);
  return [...new Set([...stdout.matchAll(/^ *\d+ (\S+@\S+)$/gm)].map(([, name = '']) => name))];
}

/** Looks at all by which this machine gets tickets of users without their keytabs. */
export async function judgedDelegation(signal: AbortSignal): Promise<Verdict> {
  for (const path of [MACHINE_KEYTAB, SERVICES]) {
    const wrong = await wrongIn(path, 0o755, signal);
    if (wrong !== undefined) return wrong;
  }
  const held = await principalsIn(MACHINE_KEYTAB, signal);
  const machine = held.find((name) => /^[^/@]+\$@/.test(name));
  if (machine === undefined) return fail(`${MACHINE_KEYTAB} is of ${held.join(', ') || 'nobody'}, and of no machine of a domain`, JOIN);
  const services = servicesIn(await readFile(SERVICES, 'utf8'));
  const wrong = services.find((one) => !isService(one));
  if (wrong !== undefined || services.length === 0)
    return fail(
      `${SERVICES}: "${wrong ?? ''}" is no service`,
      'Name them anew: kpxctl kerberos setup --delegate-to cifs/files.corp.example --apply',
    );
  return ok(`by delegation: ${MACHINE_KEYTAB} is of ${machine}, and ${SERVICES} names ${services.join(', ')}`);
}
