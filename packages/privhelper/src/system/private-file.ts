import { appendFileSync, constants, openSync, readFileSync, writeSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { at, explained, openTrustedDirectory } from './directory.js';

/**
 * Writes `directory/name`, 0600 root:root, whatever was there before: complete or not at all. `directory` is judged as by
 * {@link openTrustedDirectory}, so that no link can wait there; `name` is a single component, not starting with a dot. One writer at a time for
 * one name. Throws DIRECTORY_UNSAFE or DIRECTORY_FAILED.
 */
export async function writePrivateFile(directory: string, name: string, content: string): Promise<void> {
  await using parent = await openTrustedDirectory(directory);
  const unfinished = at(parent, `.new-${name}`);
  const failed = explained(`${directory}/${name}`);
  await rm(unfinished, { force: true }).catch(failed); // what a crash left behind
  await writeFile(unfinished, content, { flag: 'wx', mode: 0o600 }).catch(failed); // O_EXCL, which follows no link
  await rename(unfinished, at(parent, name)).catch(failed);
}

/** Removes `directory/name`, if it is there: a link itself, not what it names. `directory` is judged. Throws DIRECTORY_UNSAFE or DIRECTORY_FAILED. */
export async function removePrivateFile(directory: string, name: string): Promise<void> {
  await using parent = await openTrustedDirectory(directory);
  await rm(at(parent, name), { force: true }).catch(explained(`${directory}/${name}`));
}

/**
 * Adds a line at the end of a file of root's in one write, 0600 if it has to be made. Opened for each line, so that logrotate(8) may rename it at any
 * time. Its directory was judged at the start; LimitFSIZE= of the unit bounds it. Throws what write(2) says.
 */
export const appendLine = (path: string, line: string) => appendFileSync(path, line, { mode: 0o600 });

/**
 * A small file of root's that is written anew often: its text, and the writing of another. Opened once, 0600 if it has to be made. A text is never
 * shorter than the one before, which one write replaces: an end at any moment leaves the one or the other. Its directory was judged at the start.
 */
export function openSmallFile(path: string) {
  const descriptor = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  return { text: readFileSync(descriptor, 'utf8'), write: (text: string) => writeSync(descriptor, text, 0) };
}
