import { chmod, lchown, lstat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { connectTo, KpxError, listenAt, type PacketConnection, type PacketHandlers } from '@kpx/protocol';
import { openTrustedDirectory } from './directory.js';

/** Owner root, the group may connect, others may not. */
const SOCKET_MODE = 0o660;

/**
 * Makes the stand-alone form's listening socket: in a directory that only root can change, 0600 from the first moment, then 0660 for the group
 * `gid`. What a helper that was killed left behind is replaced; anything else at `path` is refused. `path` is from the command line.
 */
export async function openListeningSocket(
  path: string,
  gid: number,
  accept: (connection: () => PacketConnection) => PacketHandlers,
): Promise<{ close(): void }> {
  await (await openTrustedDirectory(dirname(path))).close();
  await removeStaleSocket(path);
  const server = listenPrivately(path, accept);
  await lchown(path, 0, gid);
  await chmod(path, SOCKET_MODE);
  return server;
}

function listenPrivately(path: string, accept: Parameters<typeof listenAt>[1]): { close(): void } {
  const umask = process.umask(0o177);
  try {
    return listenAt(path, accept);
  } catch (error) {
    throw new KpxError('DIRECTORY_FAILED', (error as Error).message, { cause: error });
  } finally {
    process.umask(umask);
  }
}

async function removeStaleSocket(path: string): Promise<void> {
  const status = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new KpxError('DIRECTORY_FAILED', `${path}: ${error.code}`);
  });
  if (!status) return;
  if (!status.isSocket()) throw new KpxError('DIRECTORY_UNSAFE', `${path} exists and is not a socket`);
  const other = await connectTo(path, { packet: () => {}, closed: () => {} }).catch(() => undefined);
  other?.close('only asked whether somebody listens');
  if (other) throw new KpxError('DIRECTORY_FAILED', `another helper listens at ${path}`);
  await unlink(path);
}
