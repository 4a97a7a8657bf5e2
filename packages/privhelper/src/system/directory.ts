import { constants } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, rename } from 'node:fs/promises';
import { KpxError } from '@kpx/protocol';
import { runCommand } from './command.js';

/*
 * Node has no openat(2). Its substitute: open the directory, then name what is inside as /proc/self/fd/N/NAME, with NAME a single component.
 * O_NOFOLLOW refuses a symbolic link there; ownership and mode are read and changed on the descriptor.
 */
const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

const at = (parent: FileHandle, name: string) => `/proc/self/fd/${parent.fd}/${name}`;

/** Others than root may not change a directory that kpx relies on: owned by root, not writable by group or others. */
const GROUP_OR_OTHER_WRITE = 0o022;

/**
 * Opens a directory after judging it and every ancestor from `/` down. `path` is absolute and comes from the configuration or the name service.
 * The caller closes the handle. Throws DIRECTORY_UNSAFE, or DIRECTORY_FAILED when a component is missing.
 */
export async function openTrustedDirectory(path: string): Promise<FileHandle> {
  let handle = await open('/', DIRECTORY);
  try {
    await judgeTrusted(handle, '/');
    let walked = '';
    for (const component of path.split('/').filter((part) => part !== '')) {
      walked += `/${component}`;
      const next = await openDirectory(handle, component, walked);
      if (!next) throw new KpxError('DIRECTORY_FAILED', `${walked} does not exist`);
      await handle.close();
      handle = next;
      await judgeTrusted(handle, walked);
    }
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function judgeTrusted(handle: FileHandle, path: string): Promise<void> {
  const status = await handle.stat();
  if (status.uid !== 0) throw new KpxError('DIRECTORY_UNSAFE', `${path} belongs to uid ${status.uid}, expected root`);
  if (status.mode & GROUP_OR_OTHER_WRITE) throw new KpxError('DIRECTORY_UNSAFE', `${path} is writable by others than root`);
}

/** Undefined when there is nothing of that name. */
async function openDirectory(parent: FileHandle, name: string, path: string): Promise<FileHandle | undefined> {
  try {
    return await open(at(parent, name), DIRECTORY);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw explain(error, path);
  }
}

const isMissing = (error: unknown) => (error as NodeJS.ErrnoException).code === 'ENOENT';

/** Turns an error of the file system into one of ours: which path, what is wrong. */
function explain(error: unknown, path: string): KpxError {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  if (code === 'ELOOP' || code === 'ENOTDIR') return new KpxError('DIRECTORY_UNSAFE', `${path} is a symbolic link or not a directory`);
  return new KpxError('DIRECTORY_FAILED', `${path}: ${code}`);
}

/** A directory that belongs to a user, open, and where it is: under its final name, or still under the one it is made under. */
export interface UserDirectory {
  readonly handle: FileHandle;
  /** True until {@link publishDirectory}: nobody has seen it under its name yet. */
  readonly staged: boolean;
}

/** No account is called like this: names do not start with a dot. Fixed, so that what a crash left behind is taken up again. */
const stagingName = (name: string) => `.kpx-new-${name}`;

/**
 * Opens `parent/name`, or makes it under another name: mode 0700 from the first moment, owned by the user, invisible until
 * {@link publishDirectory}. `parent` is from {@link openTrustedDirectory}, so nobody but root can put anything there. Whatever exists with
 * another owner or type is refused with DIRECTORY_UNSAFE. Needs CAP_CHOWN, CAP_DAC_OVERRIDE.
 */
export async function openUserDirectory(parent: FileHandle, name: string, uid: number, gid: number, path: string): Promise<UserDirectory> {
  const existing = await openDirectory(parent, name, path);
  if (existing) return { handle: await judgeOwner(existing, [uid], path), staged: false };
  const staging = stagingName(name);
  await mkdir(at(parent, staging), { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw explain(error, path);
  });
  const made = await openDirectory(parent, staging, path);
  if (!made) throw new KpxError('DIRECTORY_FAILED', `${path} disappeared while it was made`);
  const handle = await judgeOwner(made, [0, uid], path);
  try {
    await handle.chmod(0o700);
    await handle.chown(uid, gid);
    return { handle, staged: true };
  } catch (error) {
    await handle.close();
    throw explain(error, path);
  }
}

async function judgeOwner(handle: FileHandle, owners: readonly number[], path: string): Promise<FileHandle> {
  const { uid } = await handle.stat();
  if (owners.includes(uid)) return handle;
  await handle.close();
  throw new KpxError('DIRECTORY_UNSAFE', `${path} exists and belongs to uid ${uid}, expected ${owners.at(-1)}`);
}

/** Gives a staged directory its name. Atomic: it is there complete or not at all. */
export async function publishDirectory(parent: FileHandle, name: string, path: string): Promise<void> {
  await rename(at(parent, stagingName(name)), at(parent, name)).catch((error) => {
    throw explain(error, path);
  });
}

/** Owner of `parent/name`, which is not opened: a home may lie on a network file system that root may not read. Undefined when missing. */
export async function ownerOfDirectory(parent: FileHandle, name: string, path: string): Promise<number | undefined> {
  const status = await lstat(at(parent, name)).catch((error) => {
    if (isMissing(error)) return undefined;
    throw explain(error, path);
  });
  if (status && !status.isDirectory()) throw new KpxError('DIRECTORY_UNSAFE', `${path} is a symbolic link or not a directory`);
  return status?.uid;
}

/**
 * `/usr/bin/setpriv … -- /usr/bin/cp --recursive --no-dereference -- SKELETON/. /proc/self/fd/3/.`: fills a new home. The copy runs with the
 * user's own rights, so that nothing a user could put in its way is done by root. Needs CAP_SETUID, CAP_SETGID; not CAP_SETPCAP for an empty
 * bounding set, which with no_new_privs and without a set-uid program has no meaning. Throws DIRECTORY_FAILED.
 */
export async function copySkeleton(skeleton: string, home: FileHandle, uid: number, gid: number, signal: AbortSignal): Promise<void> {
  const drop = ['--reuid', `${uid}`, '--regid', `${gid}`, '--clear-groups', '--no-new-privs', '--inh-caps=-all'];
  const copy = ['/usr/bin/cp', '--recursive', '--no-dereference', '--', `${skeleton}/.`, '/proc/self/fd/3/.'];
  const result = await runCommand('/usr/bin/setpriv', [...drop, '--', ...copy], signal, [home.fd]);
  if (result.exitCode !== 0)
    throw new KpxError('DIRECTORY_FAILED', `the home could not be filled from ${skeleton}: ${result.stderr.trim()}`);
}
