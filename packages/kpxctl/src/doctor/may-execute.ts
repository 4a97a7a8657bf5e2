import { runCommand } from '@kpx/privhelper/system/command';
import { aclsOf, type Identity, may } from './access.js';
import { stepsTo } from './file-system.js';

/** Where a server decides who may do what, and mode and ACL say nothing for sure: by the names of stat(1). */
const DECIDED_ELSEWHERE = /^(nfs|smb|cifs|afs|ceph|fuse|lustre|gpfs|9p|v9fs|ocfs2|panfs|k-afs|coda)/;

/**
 * Why this account may not execute a program, by mode and ACL of it and of every directory above, as root sees them: nothing is run as the
 * account. Undefined: it may. 'elsewhere': the program lies on a network file system, whose server decides.
 */
export async function whyNotExecutable(program: string, who: Identity, signal: AbortSignal): Promise<string | undefined> {
  const path = await realPath(program, signal);
  if (DECIDED_ELSEWHERE.test(await fileSystemOf(path, signal))) return 'elsewhere';
  for (const step of await aclsOf(stepsTo(path), signal))
    if (!may('x', step, who)) return step.path === path ? 'its mode or ACL denies it' : `${step.path} may not be entered`;
  // Nobody may execute what root may not: no bit is set, or the file system is mounted with "noexec".
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
