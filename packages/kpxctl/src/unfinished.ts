import { lstat, readdir } from 'node:fs/promises';

/** Names under which the helper makes directories of users: `openUserDirectory()` in packages/privhelper/src/system/directory.ts. */
const UNFINISHED = '.kpx-new-';
/** One that was changed since then may still be made, in milliseconds: much longer than a request of the helper lasts. */
const IDLE_MS = 60_000;

interface Unfinished {
  readonly path: Buffer;
  readonly uid: number;
}

/** Directories in `parent` that the helper was making when it ended, or could not remove. It never uses them again. One that cannot be read has none. */
export async function unfinishedIn(parent: string): Promise<Unfinished[]> {
  const names = await readdir(parent, { encoding: 'buffer' }).catch(() => []);
  const found: Unfinished[] = [];
  for (const name of names.filter((each) => each.toString('latin1').startsWith(UNFINISHED))) {
    const path = Buffer.concat([Buffer.from(`${parent}/`), name]);
    const status = await lstat(path).catch(() => undefined); // finished since
    if (status?.isDirectory() && Date.now() - status.mtimeMs > IDLE_MS) found.push({ path, uid: status.uid });
  }
  return found;
}
