import { runCommand } from '@kpx/privhelper/system/command';
import { type Status, statusOf } from './file-system.js';

/*
 * Decides by mode and ACL, as root sees them, what an account may do with a file. Nothing runs as the account: it could change such a process.
 */

/** An account as the kernel knows it: its groups by number, the main one included. */
export interface Identity {
  readonly uid: number;
  readonly gids: readonly number[];
}

export interface Judged {
  readonly path: string;
  readonly status: Status;
  /** Entries of its access ACL, such as `group:27:r-x`. */
  readonly acl: readonly string[];
}

/** `/usr/bin/id -G -- NAME`. Throws an Error when the name service does not say. */
export async function identityOf(name: string, uid: number, signal: AbortSignal): Promise<Identity> {
  const { exitCode, stdout, stderr } = await runCommand('/usr/bin/id', ['-G', '--', name], signal);
  if (exitCode !== 0) throw new Error(`the groups of ${name} are not known: ${stderr}`);
  return { uid, gids: stdout.trim().split(' ').map(Number) };
}

/** `/usr/bin/getfacl --numeric --absolute-names -- PATH…`: those of the paths that exist, in their order. Throws an Error when it cannot read one of them. */
export async function aclsOf(paths: readonly string[], signal: AbortSignal): Promise<Judged[]> {
  const found = await statusOf(paths, signal);
  const there = paths.flatMap((path) => {
    const status = found.get(path);
    return status === undefined ? [] : [{ path, status }];
  });
  if (there.length === 0) return [];
  const args = ['--numeric', '--absolute-names', '--', ...there.map(({ path }) => path)];
  const { exitCode, stdout, stderr } = await runCommand('/usr/bin/getfacl', args, signal);
  // Of a path that cannot be read there is no block, and the others would count for their neighbours.
  if (exitCode !== 0) throw new Error(stderr);
  const acls = stdout.split('\n\n').map((block) => block.split('\n').filter((line) => /^(user|group|mask|other):/.test(line)));
  return there.map((each, at) => ({ ...each, acl: acls[at] ?? [] }));
}

const BITS = { x: 0o1, w: 0o2 } as const;
const OWNER_SHIFT = 6;
const GROUP_SHIFT = 3;

/** As acl(5), "Access check algorithm", has it. Without an ACL its entries are the bits of the mode. */
export function may(what: keyof typeof BITS, { status: { uid, gid, mode }, acl }: Omit<Judged, 'path'>, who: Identity): boolean {
  const bit = (shift: number) => ((mode >> shift) & BITS[what]) !== 0;
  if (who.uid === uid) return bit(OWNER_SHIFT);
  const entries = acl.map((line) => line.split(/[:\t]/)).map(([tag = '', id = '', bits = '']) => ({ tag, id, has: bits.includes(what) }));
  const mask = entries.find(({ tag }) => tag === 'mask')?.has ?? true;
  const named = entries.find(({ tag, id }) => tag === 'user' && id === `${who.uid}`);
  if (named) return named.has && mask;
  const groups = entries.filter(({ tag, id }) => tag === 'group' && who.gids.includes(id === '' ? gid : Number(id)));
  if (groups.length > 0) return groups.some(({ has }) => has) && mask;
  if (acl.length === 0 && who.gids.includes(gid)) return bit(GROUP_SHIFT);
  return bit(0);
}
