import { chmod, lchown, lstat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { connectTo, KpxError, listenAt } from '@kpx/protocol';
import { openTrustedDirectory, orMissing } from '../../../system/directory.js';

/** Owner root, the group may connect, others may not. */
const SOCKET_MODE = 0o660;

/**
 * Makes the stand-alone form's listening socket: in a directory that only root can change, root's alone from the first moment by our umask, then
 * 0660 for the group `gid`. The leftover of a helper that was killed is replaced; anything else at `path`, which is from the command line, is
 * refused. Throws DIRECTORY_UNSAFE or DIRECTORY_FAILED.
 */
export async function openListeningSocket(path: string, gid: number, accept: Parameters<typeof listenAt>[1]): Promise<{ close(): void }> {
  await using _parent = await openTrustedDirectory(dirname(path));
  const status = await lstat(path).catch(orMissing(path));
  if (status && !status.isSocket()) throw new KpxError('DIRECTORY_UNSAFE', `${path} exists and is not a socket`);
  const other = status && (await connectTo(path, { packet: () => {}, closed: () => {} }).catch(() => undefined));
  other?.close('only asked whether somebody listens');
  if (other) throw new KpxError('DIRECTORY_FAILED', `another helper listens at ${path}`);
  if (status) await unlink(path);
  const server = listenAt(path, accept);
  await lchown(path, 0, gid);
  await chmod(path, SOCKET_MODE);
  return server;
}
