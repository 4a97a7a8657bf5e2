import { runCommand } from '@kpx/privhelper/system/command';
import { chain, type Status } from './file-system.js';

/** An account as the kernel knows it: its groups by number, the main one included. */
export interface Identity {
  readonly uid: number;
  readonly gids: readonly number[];
}

/** Where a server decides who may do what, and mode and ACL say nothing for sure: by the names of stat(1). */
const DECIDED_ELSEWHERE = /^(nfs|smb|cifs|afs|ceph|fuse|lustre|gpfs|9p|v9fs|ocfs2|panfs|k-afs|coda)/;

const OWNER_EXECUTES = 0o100;
const GROUP_EXECUTES = 0o010;
const OTHERS_EXECUTE = 0o001;

/** `/usr/bin/id -G -- NAME`. Throws an Error when the name service does not say. */
export async function identityOf(name: string, uid: number, signal: AbortSignal): Promise<Identity> {
  const { exitCode, stdout, stderr } = await runCommand('/usr/bin/id', ['-G', '--', name], signal);
  if (exitCode !== 0) throw new Error(`the groups of ${name} are not known: ${stderr}`);
  return { uid, gids: stdout.trim().split(' ').map(Number) };
}

/**
 * Why this account may not execute a program, by mode and ACL of it and of every directory above, as root sees them: nothing is run as the
 * account. Undefined: it may. 'elsewhere': the program lies on a network file system, whose server decides.
 */
export async function whyNotExecutable(program: string, who: Identity, signal: AbortSignal): Promise<string | undefined> {
  const path = await realPath(program, signal);
  if (DECIDED_ELSEWHERE.test(await fileSystemOf(path, signal))) return 'elsewhere';
  const steps = (await chain(path, signal)).flatMap(({ path, found }) => (found === undefined ? [] : [{ path, found }]));
  const acls = await aclsOf(
    steps.map(({ path }) => path),
    signal,
  );
  for (const { path: step, found } of steps)
    if (!mayExecute(acls.get(step) ?? [], found, who)) return step === path ? `its mode or ACL denies it` : `${step} may not be entered`;
  // What root may not execute nobody may: no bit is set, or the file system is mounted with "noexec".
  const { exitCode } = await runCommand('/usr/bin/test', ['-x', path], signal);
  return exitCode === 0 ? undefined : 'it cannot be executed by anybody: see its mode, and findmnt for "noexec"';
}

/** `/usr/bin/realpath -- PATH`: without symbolic links. */
async function realPath(path: string, signal: AbortSignal): Promise<string> {
  const { exitCode, stdout, stderr } = await runCommand('/usr/bin/realpath', ['--', path], signal);
  if (exitCode !== 0) throw new Error(stderr);
  return stdout.replace(/\n$/, '');
}

/** `/usr/bin/stat --file-system --format=%T -- PATH`. */
async function fileSystemOf(path: string, signal: AbortSignal): Promise<string> {
  const { stdout } = await runCommand('/usr/bin/stat', ['--file-system', '--format=%T', '--', path], signal);
  return stdout.trim();
}

/** `/usr/bin/getfacl --numeric --absolute-names -- PATH…`: the entries of each access ACL, such as `group:27:r-x`. Throws an Error when it cannot read one of them. */
async function aclsOf(paths: readonly string[], signal: AbortSignal): Promise<Map<string, string[]>> {
  const { exitCode, stdout, stderr } = await runCommand('/usr/bin/getfacl', ['--numeric', '--absolute-names', '--', ...paths], signal);
  // Of a path that cannot be read there is no block, and the others would count for their neighbours.
  if (exitCode !== 0) throw new Error(stderr);
  const blocks = stdout.split('\n\n').filter((block) => block !== '');
  // In the order of the arguments: getfacl writes unusual characters of a name in another way.
  return new Map(blocks.map((block, at) => [paths[at] ?? '', block.split('\n').filter((line) => /^(user|group|mask|other):/.test(line))]));
}

/** As acl(5), "Access check algorithm", has it. Without an ACL its entries are the bits of the mode. */
export function mayExecute(acl: readonly string[], { uid, gid, mode }: Status, who: Identity): boolean {
  if (who.uid === uid) return (mode & OWNER_EXECUTES) !== 0;
  const entries = acl.map((line) => line.split(/[:\t]/)).map(([tag = '', id = '', bits = '']) => ({ tag, id, x: bits.includes('x') }));
  const mask = entries.find(({ tag }) => tag === 'mask')?.x ?? true;
  const named = entries.find(({ tag, id }) => tag === 'user' && id === `${who.uid}`);
  if (named) return named.x && mask;
  const groups = entries.filter(({ tag, id }) => tag === 'group' && who.gids.includes(id === '' ? gid : Number(id)));
  if (groups.length > 0) return groups.some(({ x }) => x) && mask;
  if (acl.length === 0 && who.gids.includes(gid)) return (mode & GROUP_EXECUTES) !== 0;
  return (mode & OTHERS_EXECUTE) !== 0;
}
