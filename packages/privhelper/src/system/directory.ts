import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, mkdtemp, open, rename, rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileProblem, KpxError, REQUEST_DEADLINE_MS } from '@kpx/protocol';
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
export async function closedOnError(handle: FileHandle, judge: (status: Stats, handle: FileHandle) => unknown): Promise<FileHandle> {
  const close = (error: Error) => handle.close().then(() => Promise.reject(error));
  const judged = handle.stat().then((status) => judge(status, handle));
  return await judged.then(() => handle, close);
}

/** Throws DIRECTORY_UNSAFE for a directory that others than root can change. */
export function judgeTrusted({ uid, mode }: Pick<Stats, 'uid' | 'mode'>, path: string): void {
  if (uid !== 0) throw new KpxError('DIRECTORY_UNSAFE', `${path} belongs to uid ${uid}, expected root`);
  if (mode & GROUP_OR_OTHER_WRITE) throw new KpxError('DIRECTORY_UNSAFE', `${path} is writable by others than root`);
}

/** For a rejected call of the file system: throws one of our errors, with the path and the problem. */
export const explained = (path: string) => (error: NodeJS.ErrnoException) => {
  if (error instanceof KpxError) throw error;
  if (error.code === 'ENOENT') throw new KpxError('DIRECTORY_FAILED', `${path} does not exist`);
  if (error.code === 'ELOOP') throw new KpxError('DIRECTORY_UNSAFE', `${path} is a symbolic link`);
  if (error.code === 'ENOTDIR') throw notADirectory(path);
  throw new KpxError('DIRECTORY_FAILED', `${path}: ${fileProblem(error)}`);
};

/** The same, but for what is not there: undefined. */
export const orMissing = (path: string) => (error: NodeJS.ErrnoException) => (error.code === 'ENOENT' ? undefined : explained(path)(error));

const notADirectory = (path: string) => new KpxError('DIRECTORY_UNSAFE', `${path} is a symbolic link or not a directory`);

/**
 * A directory that belongs to a user, open. `staged`: it was not there and is still under the name that it is made under, `path`. `publish` gives it
 * its own: atomic, it is there complete or not at all. Answers whether there was anything to do. One that is not published is removed when empty.
 */
export type UserDirectory = AsyncDisposable & Readonly<{ handle: FileHandle; path: string; staged: boolean; publish(): Promise<boolean> }>;

/**
 * Opens `path`, or makes it under another name beside: mode 0700 from the first moment, then owned by the user. `parent` is the directory of
 * `path`, from {@link openTrustedDirectory}, so nobody but root can put anything there. An existing one with another owner or type is refused
 * with DIRECTORY_UNSAFE. Needs CAP_CHOWN.
 */
export async function openUserDirectory(parent: FileHandle, path: string, uid: number, gid: number): Promise<UserDirectory> {
  const existing = await open(at(parent, basename(path)), DIRECTORY).catch(orMissing(path));
  if (existing) await closedOnError(existing, (status) => judgeOwner(status, uid, path));
  // No account is called like this, with a dot. Another name each time: what a crash has left is neither used nor in anybody's way.
  const now = existing ? at(parent, basename(path)) : await mkdtemp(at(parent, '.kpx-new-')).catch(explained(path));
  const handle = existing ?? (await giveTo(uid, gid, now).catch(explained(path)));
  const publish = async () => !existing && (await rename(now, at(parent, basename(path))).then(() => true, explained(path)));
  // A directory that does not go has something in it, or cannot be changed: `kpxctl orphans` lists it.
  const dispose = () => handle.close().then(async () => void (existing ?? (await rmdir(now).catch(() => {}))));
  return { handle, path: join(dirname(path), basename(now)), staged: !existing, publish, [Symbol.asyncDispose]: dispose };
}

/** Opens a directory that has just been made, and changes its owner. */
async function giveTo(uid: number, gid: number, name: string): Promise<FileHandle> {
  return await closedOnError(await open(name, DIRECTORY), async (status, made) => {
    judgeOwner(status, 0, name);
    await made.chmod(0o700);
    await made.chown(uid, gid).catch((error) => rmdir(name).then(() => Promise.reject(error)));
  });
}

function judgeOwner({ uid }: Stats, expected: number, path: string): void {
  if (uid !== expected) throw new KpxError('DIRECTORY_UNSAFE', `${path} exists and belongs to uid ${uid}, expected ${expected}`);
}

/** Owner of `path`, which is not opened: a home may lie on a network file system that root may not read. Undefined when missing. */
export async function ownerOfDirectory(parent: FileHandle, path: string): Promise<number | undefined> {
  const status = await lstat(at(parent, basename(path))).catch(orMissing(path));
  if (status && !status.isDirectory()) throw notADirectory(path);
  return status?.uid;
}

/** `/usr/bin/find SKELETON …`: throws DIRECTORY_FAILED with the names of what is in it that users may not read, or not have a copy of. */
export async function judgeSkeleton(skeleton: string, signal = AbortSignal.timeout(REQUEST_DEADLINE_MS)): Promise<void> {
  await using _judged = await openTrustedDirectory(skeleton);
  const closed = ['-type', 'f', '!', '-perm', '-o=r', '-o', '-type', 'd', '!', '-perm', '-o=rx', '-o', '-type', 'b', '-o', '-type', 'c'];
  const names = await runCommand('/usr/bin/find', [skeleton, ...closed], signal).then(({ stdout, stderr }) => (stdout + stderr).trim());
  if (names !== '') throw new KpxError('DIRECTORY_FAILED', `users cannot have a copy of ${names.replaceAll('\n', ', ')}: chmod o+rX`);
}
