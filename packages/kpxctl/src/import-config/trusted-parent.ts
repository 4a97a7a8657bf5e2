import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readlink } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { CommandError, EXIT } from '@kpx/broker/output/exit';

/** Of Linux; Node does not name it. A directory opened so need not be readable. */
const O_PATH = 0o10000000;
const DIRECTORY = O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const GROUP_OR_OTHER_WRITE = 0o022;
const STICKY = 0o1000;
/** As many links as the kernel follows in one path. */
const LINKS_MAX = 40;

/** How to name what is in an open directory. `name` is a single component. */
export const at = (directory: FileHandle, name: string) => `/proc/self/fd/${directory.fd}/${name}`;

/** Opens a directory in an open one. A symbolic link is refused. */
export const openIn = (directory: FileHandle, name: string) => open(at(directory, name), DIRECTORY);

/** Whether an owner could be root, or who runs this: they may change what they like. */
export const isTrusted = (uid: number) => uid === 0 || uid === process.getuid?.();

/**
 * Opens a directory in which nobody but root and who runs this can change names, nor in any directory above: secrets are written there. One with the
 * sticky bit (/tmp) is such a one for names of our own. Links of theirs are followed. The caller closes it. Throws {@link CommandError}.
 */
export async function openTrustedParent(path: string, linksLeft = LINKS_MAX): Promise<FileHandle> {
  if (path === '/') return await judged(await open('/', DIRECTORY), path);
  await using parent = await openTrustedParent(dirname(path), linksLeft);
  const name = basename(path);
  const found = await lstat(at(parent, name));
  if (!found.isSymbolicLink()) return await judged(await openIn(parent, name), path);
  if (!isTrusted(found.uid)) throw untrusted(path, `is a symbolic link of uid ${found.uid}`);
  if (linksLeft === 0) throw untrusted(path, 'leads through too many symbolic links');
  const target = await readlink(at(parent, name));
  return await openTrustedParent(resolve(dirname(path), target), linksLeft - 1);
}

async function judged(directory: FileHandle, path: string): Promise<FileHandle> {
  const { uid, mode } = await directory.stat();
  const isOpen = (mode & GROUP_OR_OTHER_WRITE) !== 0 && (mode & STICKY) === 0;
  if (isTrusted(uid) && !isOpen) return directory;
  await directory.close();
  throw untrusted(path, isTrusted(uid) ? 'can be changed by its group or by everybody' : `belongs to uid ${uid}`);
}

const untrusted = (path: string, why: string) =>
  new CommandError(
    EXIT.cannotCreate,
    `${path} ${why}, who could exchange what is written there. Name a directory with --output-dir that only you and root can change. Nothing was written.`,
  );
