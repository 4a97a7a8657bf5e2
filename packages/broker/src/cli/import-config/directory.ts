import { chmod, lstat, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { CommandError, EXIT } from '../../exit.js';
import type { ImportedFile } from './conversion.js';

/** By it a directory that an import has made is known: no other is ever replaced. */
export const REPORT_FILE = 'import-report.txt';

const DIRECTORY_MODE = 0o755;

/**
 * Writes all files or none: into a directory beside, which only its owner may enter, and which then takes its place. `replace`: instead of an
 * earlier import; killed between the two renames, both are there beside the place, complete. Throws {@link CommandError}.
 */
export async function writeImport(place: string, files: readonly ImportedFile[], replace: boolean): Promise<void> {
  const directory = resolve(place);
  const before = await contentOf(directory);
  if (before !== undefined) checkReplaceable(place, before, files, replace);
  try {
    const unfinished = await mkdtemp(`${directory}.`);
    try {
      for (const file of files) await writeOne(unfinished, file);
      await putInPlace(unfinished, directory, before !== undefined);
    } catch (error) {
      await rm(unfinished, { recursive: true, force: true });
      throw error;
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new CommandError(EXIT.cannotCreate, `${place} cannot be made: ${code ?? message}. Nothing was written.`, { cause: error });
  }
}

/** Every file below a directory; undefined: nothing is there; throws {@link CommandError} for anything but a directory. */
async function contentOf(directory: string): Promise<string[] | undefined> {
  const status = await lstat(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new CommandError(EXIT.cannotCreate, `${directory} cannot be made: ${error.code}. Nothing was written.`);
  });
  if (status === undefined) return undefined;
  if (!status.isDirectory()) throw new CommandError(EXIT.cannotCreate, `${directory} is there and no directory. Nothing was written.`);
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1));
}

function checkReplaceable(place: string, before: readonly string[], files: readonly ImportedFile[], replace: boolean): void {
  if (!replace)
    throw new CommandError(EXIT.cannotCreate, `${place} is there already. Name another, or replace an earlier import with --force.`);
  const others = before.filter((path) => !files.some((file) => file.path === path));
  if (others.length > 0 || !before.includes(REPORT_FILE)) {
    throw new CommandError(EXIT.cannotCreate, `${place} is not only what an earlier import has made: it is not replaced. Name another.`);
  }
}

async function writeOne(directory: string, { path, mode, content }: ImportedFile): Promise<void> {
  const file = join(directory, path);
  if (dirname(path) !== '.') {
    await mkdir(dirname(file), { recursive: true });
    await chmod(dirname(file), DIRECTORY_MODE);
  }
  await writeFile(file, content, { flag: 'wx', mode });
  await chmod(file, mode); // whatever the umask is
}

async function putInPlace(unfinished: string, directory: string, replace: boolean): Promise<void> {
  if (!replace) return await rename(unfinished, directory); // fails where something has come in meanwhile
  const old = `${unfinished}.old`;
  await rename(directory, old);
  try {
    await rename(unfinished, directory);
  } catch (error) {
    await rename(old, directory);
    throw error;
  }
  await rm(old, { recursive: true });
}
