import { KpxError } from '@kpx/protocol';
import { runCommand } from './command.js';

/** One line of the passwd database, as the name service gave it; nothing is judged yet. The shell is passwd(5)'s /bin/sh where the field is empty. */
export type PasswdEntry = Readonly<{ name: string; uid: number; gid: number; home: string; shell: string }>;

/** getent(1): 2 is "one or more supplied key could not be found in the database". */
const GETENT_NOT_FOUND = 2;

/** The ids that an account may have, 4294967295 being -1, "no id". */
const ID_MAX = 0xffff_fffe;

/**
 * `/usr/bin/getent passwd -- KEY`. Node has no getpwnam; getent asks every source of nsswitch.conf, SSSD included. KEY is a uid or a name of the
 * wire's syntax: no leading dash, not all digits (which is how getent tells the two apart). Undefined when there is no such account; throws
 * ACCOUNT_LOOKUP_FAILED when the name service cannot say, or answers with something that is not one well-formed line.
 */
export async function lookUpAccount(key: string | number, signal: AbortSignal): Promise<PasswdEntry | undefined> {
  const { exitCode, stdout } = await runCommand('/usr/bin/getent', ['passwd', '--', `${key}`], signal);
  if (exitCode === GETENT_NOT_FOUND) return undefined;
  const fields = /^([^:\n]+):[^:\n]*:(\d{1,10}):(\d{1,10}):[^:\n]*:([^:\n]*):([^:\n]*)\n$/.exec(stdout) ?? [];
  const [, name = '', uid, gid, home = '', shell] = fields;
  const unusable = `the name service gave no usable answer for the account "${key}" (getent exit ${exitCode})`;
  if (exitCode !== 0 || !(Number(uid) <= ID_MAX && Number(gid) <= ID_MAX)) throw new KpxError('ACCOUNT_LOOKUP_FAILED', unusable);
  return { name, uid: Number(uid), gid: Number(gid), home, shell: shell || '/bin/sh' };
}

/** A group of an account. One without a name is called by its number, as id(1) does. */
export type Group = Readonly<{ gid: number; name: string }>;

/**
 * `/usr/bin/id -G -z -- NAME` and `/usr/bin/id -G -n -z -- NAME`: all groups of an account, separated by NUL because names from a directory may hold
 * blanks. The first one tells all or fails. A group without a name makes the second one fail, and it tells the number in its place: what counts is
 * that both have as many.
 */
export async function lookUpGroups(name: string, signal: AbortSignal): Promise<Group[]> {
  const answers = await Promise.all([['-G'], ['-G', '-n']].map((flags) => runCommand('/usr/bin/id', [...flags, '-z', '--', name], signal)));
  const [gids = [], names = []] = answers.map(({ stdout }) => stdout.split('\0').filter((group) => group !== ''));
  if (answers[0]?.exitCode !== 0 || gids.length !== names.length)
    throw new KpxError('ACCOUNT_LOOKUP_FAILED', `the groups of the account "${name}" could not be looked up`);
  return gids.map((gid, index) => ({ gid: Number(gid), name: names[index] ?? gid }));
}

/** The rest of a line of passwd(5) or group(5) after the id. A large group has megabytes of members there. */
const AFTER_ID = /(?<=^[^:\n]*:[^:\n]*:\d*:)[^\n]+/gm;

/**
 * `/usr/bin/getent passwd|group -- NAME…` for names in the configuration: the ids of those that there are, by the name that comes back. An id may
 * have several names, so that a list has to be compared with ids, too. Throws ACCOUNT_LOOKUP_FAILED when the name service does not say.
 */
export async function lookUpIds(database: 'passwd' | 'group', names: readonly string[], signal: AbortSignal): Promise<Map<string, number>> {
  if (names.length === 0) return new Map();
  const { exitCode, stdout } = await runCommand('/usr/bin/getent', [database, '--', ...names], signal, [], AFTER_ID);
  const unusable = `the name service gave no usable answer for names of the configuration (getent ${database}, exit ${exitCode})`;
  if (![0, GETENT_NOT_FOUND].includes(exitCode)) throw new KpxError('ACCOUNT_LOOKUP_FAILED', unusable);
  return new Map([...stdout.matchAll(/^([^:\n]+):[^:\n]*:(\d{1,10}):/gm)].map(([, name = '', id]) => [name, Number(id)]));
}
