import { KpxError } from '@kpx/protocol';
import { runCommand } from './command.js';

/**
 * The directories' names for setfacl and getfacl: their own descriptors 3, 4, …. The `/.` matters: without it setfacl stops at the link and
 * changes nothing, without saying so.
 */
const slots = (directories: readonly number[]) => directories.map((_, index) => `/proc/self/fd/${index + 3}/.`);

/** Access and default entries of the whole ACL, from numeric access entries in setfacl's long form, complete with mask where one is needed. */
const wholeAcl = (entries: readonly string[]) => [...entries, ...entries.map((entry) => `default:${entry}`)];

/**
 * `/usr/bin/getfacl … -- …`: whether each of the open directories has exactly the ACL of `entries`, access and default. Also false when getfacl
 * cannot say: then there is an ACL to be set.
 */
export async function haveAcl(directories: readonly number[], entries: readonly string[], signal: AbortSignal): Promise<boolean> {
  const { stdout } = await runCommand('/usr/bin/getfacl', ['--omit-header', '--numeric', '--', ...slots(directories)], signal, directories);
  const found = stdout.trimEnd().split('\n\n');
  const inOrder = (lines: string[]) => lines.sort().join();
  return found.map((text) => inOrder(text.split('\n'))).join() === directories.map(() => inOrder(wholeAcl(entries))).join();
}

/**
 * `/usr/bin/setfacl --set ENTRIES -- …`, then {@link haveAcl} to read back and compare: replaces the whole ACL, access and default, of open
 * directories. Needs CAP_FOWNER. Throws DIRECTORY_FAILED, also when the file system took the command and did something else.
 */
export async function replaceAcl(directories: readonly number[], entries: readonly string[], signal: AbortSignal): Promise<void> {
  const args = ['--set', wholeAcl(entries).join(','), '--', ...slots(directories)];
  const { exitCode, stderr } = await runCommand('/usr/bin/setfacl', args, signal, directories);
  if (exitCode !== 0) throw new KpxError('DIRECTORY_FAILED', `the ACL could not be set: ${stderr}`);
  if (!(await haveAcl(directories, entries, signal)))
    throw new KpxError('DIRECTORY_FAILED', 'the ACL read back is not the one that was set: does the file system support ACLs?');
}
