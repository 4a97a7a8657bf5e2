import { basename, dirname } from 'node:path';
import { KpxError } from '@kpx/protocol';
import type { Account } from './accounts.js';
import type { Config } from './config.js';
import type { Launcher } from './launcher.js';
import { haveAcl, replaceAcl } from './system/acl.js';
import { openTrustedDirectory, openUserDirectory, ownerOfDirectory } from './system/directory.js';
import { lookUpIds } from './system/name-service.js';

type Directories = Config['directories'];
export type Created = ('home' | 'workspace' | 'temp')[];

/** Absolute paths of the user's directories, for the executor's environment and arguments. */
export const userPaths = ({ osUser }: Account, { workspace_parent, temp_parent }: Directories) => ({
  workspace: `${workspace_parent}/${osUser}`,
  temp: `${temp_parent}/${osUser}`,
});

/**
 * Home, workspace and temp directory of a judged account: made where missing, refused where they are not what they must be. Workspace and temp
 * are 0700 plus the configured extra ACL entries, and so is everything that will be made in them. `created` gets what did not exist before, as
 * it is made: the audit log tells it also when a later step fails.
 */
export async function prepareDirectories(account: Account, config: Directories, launcher: Launcher, created: Created, signal: AbortSignal) {
  if (await prepareHome(account, config, launcher, signal)) created.push('home');
  const entries = await aclEntries(config, signal);
  const paths = userPaths(account, config);
  await using workspaces = await openTrustedDirectory(config.workspace_parent);
  await using temps = await openTrustedDirectory(config.temp_parent);
  await using workspace = await openUserDirectory(workspaces, paths.workspace, account.uid, account.gid);
  await using temp = await openUserDirectory(temps, paths.temp, account.uid, account.gid);
  const descriptors = [workspace.handle.fd, temp.handle.fd];
  // A look is enough for those that nobody has changed, and for new ones whose parents pass it on (kpx.tmpfiles).
  if (!(await haveAcl(descriptors, entries, signal))) await replaceAcl(descriptors, entries, signal);
  if (await workspace.publish()) created.push('workspace');
  if (await temp.publish()) created.push('temp');
}

/** Owner everything, group and others nothing, then the configured entries by id, with the mask that lets them have what they say. */
async function aclEntries(config: Directories, signal: AbortSignal): Promise<string[]> {
  const extra: string[] = [];
  for (const entry of config.extra_acl) {
    const [type, name, permissions] = entry.split(':') as [string, string, string];
    const id = /^\d+$/.test(name) ? Number(name) : (await lookUpIds(type === 'user' ? 'passwd' : 'group', [name], signal)).get(name);
    if (id === undefined) throw new KpxError('DIRECTORY_FAILED', `extra_acl: there is no ${type} "${name}" of exactly this name`);
    extra.push(`${type}:${id}:${permissions}`);
  }
  const union = ['r', 'w', 'x'].map((bit) => (extra.some((entry) => entry.slice(-3).includes(bit)) ? bit : '-')).join('');
  return ['user::rwx', 'group::---', 'other::---', ...extra, ...(extra.length > 0 ? [`mask::${union}`] : [])];
}

/** Answers whether the home is there. Throws where it is not what it must be, or may not be made. */
export async function hasHome({ home, osUser, uid }: Account, config: Directories): Promise<boolean> {
  const unusable = (why: string) => new KpxError('HOME_UNUSABLE', `the home ${home} ${why}`);
  if (!config.home_parents.some((parent) => home.startsWith(`${parent}/`)))
    throw unusable(`of "${osUser}" is not below any of home_parents`);
  await using parent = await openTrustedDirectory(dirname(home));
  const owner = await ownerOfDirectory(parent, home);
  if (owner === uid) return true;
  if (owner !== undefined) throw unusable(`exists and belongs to uid ${owner}, expected ${uid}`);
  if (!config.create_home) throw unusable('does not exist and create_home is off');
  if (basename(home).startsWith('.')) throw unusable('starts with a dot and is not made');
  return false;
}

/** Answers whether the home was made. One that exists is looked at and not touched. */
async function prepareHome(account: Account, config: Directories, launcher: Launcher, signal: AbortSignal) {
  if (await hasHome(account, config)) return false;
  await using parent = await openTrustedDirectory(dirname(account.home));
  await using _skeleton = await openTrustedDirectory(config.skeleton); // judged again: since the start it may have changed
  await using made = await openUserDirectory(parent, account.home, account.uid, account.gid);
  // Not into one that somebody else, a first login for example, has made meanwhile.
  if (made.staged) await launcher.fill(account, config.skeleton, made, signal).then(() => made.handle.chmod(0o700));
  return await made.publish();
}
