import { KpxError } from '@kpx/protocol';
import { runCommand } from './command.js';

/**
 * The directories' names for setfacl and getfacl: their own descriptors 3, 4, …. The `/.` matters: without it setfacl stops at the link and
 * changes nothing, without saying so.
 */
const slots = (directories: readonly number[]) => directories.map((_, index) => `/proc/self/fd/${index + 3}/.`);

/**
 * `/usr/bin/setfacl --set ENTRIES -- …`, then `/usr/bin/getfacl` to read back and compare: replaces the whole ACL, access and default, of open
 * directories. `entries` are numeric access entries in setfacl's long form, complete with mask where one is needed; the default entries are
 * made from them. Needs CAP_FOWNER. Throws DIRECTORY_FAILED, also when the file system took the command and did something else.
 */
export async function replaceAcl(directories: readonly number[], entries: readonly string[], signal: AbortSignal): Promise<void> {
  const wanted = [...entries, ...entries.map((entry) => `default:${entry}`)];
  const set = await runCommand('/usr/bin/setfacl', ['--set', wanted.join(','), '--', ...slots(directories)], signal, directories);
  if (set.exitCode !== 0) throw new KpxError('DIRECTORY_FAILED', `the ACL could not be set: ${set.stderr.trim()}`);
  const options = ['--omit-header', '--absolute-names', '--numeric', '--no-effective'];
  const get = await runCommand('/usr/bin/getfacl', [...options, '--', ...slots(directories)], signal, directories);
  const found = get.stdout.trim().split('\n\n');
  const same = (text: string) => text.split('\n').sort().join() === [...wanted].sort().join();
  if (get.exitCode !== 0 || found.length !== directories.length || !found.every(same)) {
    throw new KpxError('DIRECTORY_FAILED', 'the ACL read back is not the one that was set: does the file system support ACLs?');
  }
}
