import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, rename } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { KpxError } from '@kpx/protocol';
import { runCommand } from './command.js';

/*
 * Node has no openat(2). Its substitute: open the directory, then name what is inside as /proc/self/fd/N/NAME, with NAME a single component.
 * O_NOFOLLOW refuses a symbolic link there; ownership and mode are read and changed on the descriptor. A handle is closed by `await using`.
 */
const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/** How to name what is in an open directory. `name` is a single component. */
export const at = (parent: FileHandle, name: string) => `/proc/self/fd/${parent.fd}/${name}`;

/** Others than root may not change a directory that kpx relies on: owned by root, not writable by group or others. */
const GROUP_OR_OTHER_WRITE = 0o022;

/**
 * Opens a directory after judging it and every ancestor from `/` down. `path` is absolute and comes from the configuration or the name service.
 * The caller closes the handle. Throws DIRECTORY_UNSAFE, or DIRECTORY_FAILED when a component is missing.
 */
export async function openTrustedDirectory(path: string): Promise<FileHandle> {
  await using parent = dirname(path) === path ? undefined : await openTrustedDirectory(dirname(path));
  const opened = await open(parent ? at(parent, basename(path)) : '/', DIRECTORY).catch(explained(path));
  return await closedOnError(opened, (status) => judgeTrusted(status, path));
}

/** The handle, once it has been judged; closed again when that throws. */
export async function closedOnError(handle: FileHandle, judge: (status: Stats) => void | Promise<void>): Promise<FileHandle> {
  try {
    await judge(await handle.stat());
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Throws DIRECTORY_UNSAFE for a directory that others than root can change. */
export function judgeTrusted({ uid, mode }: Pick<Stats, 'uid' | 'mode'>, path: string): void {
  if (uid !== 0) throw new KpxError('DIRECTORY_UNSAFE', `${path} belongs to uid ${uid}, expected root`);
  if (mode & GROUP_OR_OTHER_WRITE) throw new KpxError('DIRECTORY_UNSAFE', `${path} is writable by others than root`);
}

/** For what a call of the file system rejects with: throws one of our errors, which path and what is wrong. */
export const explained = (path: string) => (error: NodeJS.ErrnoException) => {
  if (error instanceof KpxError) throw error;
  if (error.code === 'ENOENT') throw new KpxError('DIRECTORY_FAILED', `${path} does not exist`);
  if (error.code === 'ELOOP') throw new KpxError('DIRECTORY_UNSAFE', `${path} is a symbolic link`);
  if (error.code === 'ENOTDIR') throw notADirectory(path);
  throw new KpxError('DIRECTORY_FAILED', `${path}: ${error.code ?? error.message}`);
};

/** The same, but for what is not there: undefined. */
export const orMissing = (path: string) => (error: NodeJS.ErrnoException) => (error.code === 'ENOENT' ? undefined : explained(path)(error));

const notADirectory = (path: string) => new KpxError('DIRECTORY_UNSAFE', `${path} is a symbolic link or not a directory`);

/** No account is called like this: names do not start with a dot. Fixed, so that what a crash left behind is taken up again. */
const stagingName = (path: string) => `.kpx-new-${basename(path)}`;

/**
 * A directory that belongs to a user, open. `staged`: it is still under the name that it is made under, and nobody has seen it yet. `publish` gives
 * it its own: atomic, it is there complete or not at all. Answers whether there was anything to do.
 */
type UserDirectory = AsyncDisposable & Readonly<{ handle: FileHandle; staged: boolean; publish: () => Promise<boolean> }>;

/**
 * Opens `path`, or makes it under another name beside: mode 0700 from the first moment, owned by the user, invisible until it is published.
 * `parent` is the directory of `path`, from {@link openTrustedDirectory}, so nobody but root can put anything there. Whatever exists with another
 * owner or type is refused with DIRECTORY_UNSAFE. Needs CAP_CHOWN.
 */
export async function openUserDirectory(parent: FileHandle, path: string, uid: number, gid: number): Promise<UserDirectory> {
  const existing = await open(at(parent, basename(path)), DIRECTORY).catch(orMissing(path));
  if (existing) await closedOnError(existing, (status) => judgeOwner(status, [uid], path));
  const handle = existing ?? (await stage(parent, path, uid, gid).catch(explained(path)));
  const publish = async () => {
    if (!existing) await rename(at(parent, stagingName(path)), at(parent, basename(path))).catch(explained(path));
    return !existing;
  };
  return { handle, staged: !existing, publish, [Symbol.asyncDispose]: () => handle.close() };
}

async function stage(parent: FileHandle, path: string, uid: number, gid: number): Promise<FileHandle> {
  const name = at(parent, stagingName(path));
  await mkdir(name, { mode: 0o700 }).catch((error) => error.code === 'EEXIST' || Promise.reject(error));
  const made = await open(name, DIRECTORY);
  return await closedOnError(made, async (status) => {
    judgeOwner(status, [0, uid], path);
    await made.chmod(0o700);
    await made.chown(uid, gid);
  });
}

function judgeOwner({ uid }: Stats, owners: readonly number[], path: string): void {
  if (owners.includes(uid)) return;
  throw new KpxError('DIRECTORY_UNSAFE', `${path} exists and belongs to uid ${uid}, expected ${owners.at(-1)}`);
}

/** Owner of `path`, which is not opened: a home may lie on a network file system that root may not read. Undefined when missing. */
export async function ownerOfDirectory(parent: FileHandle, path: string): Promise<number | undefined> {
  const status = await lstat(at(parent, basename(path))).catch(orMissing(path));
  if (status && !status.isDirectory()) throw notADirectory(path);
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
  const { exitCode, stderr } = await runCommand('/usr/bin/setpriv', [...drop, '--', ...copy], signal, [home.fd]);
  if (exitCode !== 0) throw new KpxError('DIRECTORY_FAILED', `the home could not be filled from ${skeleton}: ${stderr}`);
}
