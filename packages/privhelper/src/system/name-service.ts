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

/**
 * `/usr/bin/id -G -n -z -- NAME`: the names of all groups of an account, separated by NUL because names from a directory may hold blanks. A group
 * without a name makes id fail, and with it the caller: what cannot be named cannot be compared with a list.
 */
export async function lookUpGroups(name: string, signal: AbortSignal): Promise<string[]> {
  const result = await runCommand('/usr/bin/id', ['-G', '-n', '-z', '--', name], signal);
  if (result.exitCode !== 0) throw new KpxError('ACCOUNT_LOOKUP_FAILED', `the groups of the account "${name}" could not be looked up`);
  return result.stdout.split('\0').filter((group) => group !== '');
}

/**
 * `/usr/bin/getent passwd|group -- NAME` for the names in the configuration's extra ACL entries: their id, or undefined. Throws
 * ACCOUNT_LOOKUP_FAILED when the entry that comes back has another name: it may be another's.
 */
export async function lookUpId(database: 'passwd' | 'group', name: string, signal: AbortSignal): Promise<number | undefined> {
  const result = await runCommand('/usr/bin/getent', [database, '--', name], signal);
  const [, found = name, id] = /^([^:\n]+):[^:\n]*:(\d{1,10}):/.exec(result.stdout) ?? [];
  if (found !== name) throw new KpxError('ACCOUNT_LOOKUP_FAILED', `extra_acl: the name service calls "${name}" "${found}": write it so`);
  return result.exitCode === 0 && id !== undefined && Number(id) <= ID_MAX ? Number(id) : undefined;
}
