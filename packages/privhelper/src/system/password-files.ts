import type { KpxError, OsUser } from '@kpx/protocol';
import { removePrivateFile, writePrivateFile } from './private-file.js';
import { readTrustedFile } from './trusted-file.js';

const PASSWORD_FILE_BYTES_MAX = 64;

/**
 * Passwords of accounts in `directory`, which is root's alone and on a tmpfs: a file for each, 0600, from PrepareUser to SpawnExecutor, also when
 * another helper serves that. A link in place of one is replaced when written, and refused when read.
 */
export function passwordFiles(directory: string) {
  const nameOf = (osUser: OsUser) => `${osUser}.password`;
  const missing = (error: KpxError) => (error.code === 'DIRECTORY_FAILED' ? undefined : Promise.reject(error));
  return {
    get: (osUser: OsUser) => readTrustedFile(`${directory}/${nameOf(osUser)}`, 'secret', PASSWORD_FILE_BYTES_MAX).catch(missing),
    set: (osUser: OsUser, password: string) => writePrivateFile(directory, nameOf(osUser), password),
    delete: (osUser: OsUser) => removePrivateFile(directory, nameOf(osUser)),
  };
}
