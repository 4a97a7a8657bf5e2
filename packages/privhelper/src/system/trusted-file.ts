import { constants, type Stats } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { KpxError } from '@kpx/protocol';
import { at, closedOnError, explained, openTrustedDirectory } from './directory.js';

/** The readers of the file beside root: nobody for a secret, anybody for a configuration. Nobody else may ever write it. */
const FORBIDDEN_BITS = { secret: 0o077, public: 0o022 } as const;
type Secrecy = keyof typeof FORBIDDEN_BITS;

/**
 * Reads a regular file that only root can have written: every ancestor judged as by {@link openTrustedDirectory}, no symbolic link, owner root,
 * mode without the bits that `secrecy` forbids, at most `bytesMax` bytes. `path` is absolute and comes from the command line or the
 * configuration. Throws DIRECTORY_UNSAFE or DIRECTORY_FAILED with the reason.
 */
export async function readTrustedFile(path: string, secrecy: Secrecy, bytesMax: number): Promise<string> {
  await using parent = await openTrustedDirectory(dirname(path));
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await open(at(parent, basename(path)), flags).catch(explained(path));
  await using judged = await closedOnError(file, (status) => judge(status, path, secrecy, bytesMax));
  return await judged.readFile('utf8');
}

function judge(status: Stats, path: string, secrecy: Secrecy, bytesMax: number): void {
  const mode = status.mode & 0o7777;
  if (!status.isFile()) throw new KpxError('DIRECTORY_UNSAFE', `${path} is not a regular file`);
  if (status.uid !== 0) throw new KpxError('DIRECTORY_UNSAFE', `${path} belongs to uid ${status.uid}, expected root`);
  const modes = secrecy === 'secret' ? '600' : '600 or 644';
  if (mode & FORBIDDEN_BITS[secrecy]) throw new KpxError('DIRECTORY_UNSAFE', `${path} has mode ${mode.toString(8)}, expected ${modes}`);
  if (status.size > bytesMax) throw new KpxError('DIRECTORY_FAILED', `${path} has ${status.size} bytes, at most ${bytesMax} are read`);
}
