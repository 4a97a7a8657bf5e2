import { chmod, type FileHandle, lstat, mkdir, mkdtemp, readdir, rename, rmdir, unlink, writeFile } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import type { ImportedFile } from './conversion.js';
import { at, isTrusted, openIn, openTrustedParent } from './trusted-parent.js';

/** By it a directory that an import has made is known: no other is ever replaced. */
export const REPORT_FILE = 'import-report.txt';

const DIRECTORY_MODE = 0o755;

/**
 * Writes all files or none: into a directory beside, which only its owner may enter, and which then takes its place. `replace`: instead of an
 * earlier import; killed between the two renames, both are there beside the place, complete. Every directory is opened and judged before something
 * is written in it, and written in through its descriptor. Throws {@link CommandError}.
 */
export async function writeImport(place: string, files: readonly ImportedFile[], replace: boolean): Promise<void> {
  const directory = resolve(place);
  try {
    await using parent = await openTrustedParent(dirname(directory));
    const before = await contentOf(parent, directory);
    if (before !== undefined) checkReplaceable(place, before, files, replace);
    const unfinished = basename(await mkdtemp(at(parent, `${basename(directory)}.`)));
    try {
      await writeAll(parent, unfinished, files);
      await putInPlace(parent, unfinished, basename(directory), before !== undefined);
    } catch (error) {
      await remove(parent, unfinished, files).catch(() => {}); // why it was not written is what counts
      throw error;
    }
    if (before !== undefined) await removeEarlier(parent, oldName(unfinished), files);
  } catch (error) {
    if (error instanceof CommandError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    throw new CommandError(EXIT.cannotCreate, `${place} cannot be made: ${code ?? message}. Nothing was written.`, { cause: error });
  }
}

/** Every file in a directory and in those of it; undefined: nothing is there; throws {@link CommandError} for anything but a directory of ours. */
async function contentOf(parent: FileHandle, path: string): Promise<string[] | undefined> {
  const status = await lstat(at(parent, basename(path))).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (status === undefined) return undefined;
  if (!status.isDirectory()) throw new CommandError(EXIT.cannotCreate, `${path} is there and no directory. Nothing was written.`);
  if (!isTrusted(status.uid))
    throw new CommandError(EXIT.cannotCreate, `${path} is there and belongs to uid ${status.uid}. Nothing was written.`);
  await using directory = await openIn(parent, basename(path));
  const found: string[] = [];
  for (const entry of await readdir(at(directory, '.'), { withFileTypes: true })) {
    if (!entry.isDirectory()) found.push(entry.name);
    else for (const name of await readdir(at(directory, entry.name))) found.push(`${entry.name}/${name}`);
  }
  return found;
}

function checkReplaceable(place: string, before: readonly string[], files: readonly ImportedFile[], replace: boolean): void {
  if (!replace)
    throw new CommandError(EXIT.cannotCreate, `${place} is there already. Name another, or replace an earlier import with --force.`);
  const others = before.filter((path) => !files.some((file) => file.path === path));
  if (others.length > 0 || !before.includes(REPORT_FILE)) {
    throw new CommandError(EXIT.cannotCreate, `${place} is not only what an earlier import has made: it is not replaced. Name another.`);
  }
}

/** Into a directory that has just been made, and that only its owner may enter. */
async function writeAll(parent: FileHandle, name: string, files: readonly ImportedFile[]): Promise<void> {
  await using directory = await openIn(parent, name);
  for (const folder of foldersOf(files)) {
    await mkdir(at(directory, folder));
    await chmod(at(directory, folder), DIRECTORY_MODE);
  }
  for (const { path, mode, content } of files) {
    await writeFile(at(directory, path), content, { flag: 'wx', mode });
    await chmod(at(directory, path), mode); // whatever the umask is
  }
}

const foldersOf = (files: readonly ImportedFile[]) =>
  [...new Set(files.map(({ path }) => dirname(path)))].filter((folder) => folder !== '.');

async function putInPlace(parent: FileHandle, unfinished: string, name: string, replace: boolean): Promise<void> {
  const place = at(parent, name);
  if (!replace) return await rename(at(parent, unfinished), place); // fails where something has come in meanwhile
  const old = oldName(unfinished);
  await rename(place, at(parent, old));
  try {
    await rename(at(parent, unfinished), place);
  } catch (error) {
    await rename(at(parent, old), place);
    throw error;
  }
}

/** The import is in place by then, whatever becomes of the earlier one. */
async function removeEarlier(parent: FileHandle, old: string, files: readonly ImportedFile[]): Promise<void> {
  await remove(parent, old, files).catch(({ code, message }: NodeJS.ErrnoException) => {
    throw new CommandError(EXIT.cannotCreate, `The import is written. The earlier one is left over as ${old}: ${code ?? message}.`);
  });
}

/** Of an earlier import, while another one takes its place. */
const oldName = (unfinished: string) => `${unfinished}.old`;

/** An import, or a part of one: these files and nothing else. */
async function remove(parent: FileHandle, name: string, files: readonly ImportedFile[]): Promise<void> {
  await using directory = await openIn(parent, name);
  const orGone = (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  };
  for (const { path } of files) await unlink(at(directory, path)).catch(orGone);
  for (const folder of foldersOf(files)) await rmdir(at(directory, folder)).catch(orGone);
  await rmdir(at(parent, name));
}
