import { constants } from 'node:fs';
import { open, rename, unlink } from 'node:fs/promises';
import { KpxError } from '@kpx/protocol';
import { openTrustedDirectory } from './directory.js';

/**
 * Writes `directory/name`, 0600 root:root, whatever was there before: complete or not at all. `directory` is judged as by
 * {@link openTrustedDirectory}, so that no link can wait there; `name` is a single component, not starting with a dot. One writer at a time for
 * one name. Throws DIRECTORY_UNSAFE or DIRECTORY_FAILED.
 */
export async function writePrivateFile(directory: string, name: string, content: string): Promise<void> {
  const parent = await openTrustedDirectory(directory);
  const at = (file: string) => `/proc/self/fd/${parent.fd}/${file}`;
  try {
    const unfinished = at(`.new-${name}`);
    await unlink(unfinished).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error; // what a crash left behind
    });
    const file = await open(unfinished, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
    try {
      await file.writeFile(content);
    } finally {
      await file.close();
    }
    await rename(unfinished, at(name));
  } catch (error) {
    throw new KpxError('DIRECTORY_FAILED', `${directory}/${name} could not be written: ${(error as NodeJS.ErrnoException).code ?? error}`);
  } finally {
    await parent.close();
  }
}
