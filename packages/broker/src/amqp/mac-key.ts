import { readFile } from 'node:fs/promises';
import { ConfigError } from '@kpx/protocol';
import type { Config } from '../config/config.js';
import { isKeyLength, JobMac, MAC_KEY_BYTES } from './mac.js';

/** systemd's name for the credential with the key of x-kpx-mac, and the file that `LoadCredential=` in the broker's unit takes it from. */
export const MAC_CREDENTIAL = 'job-mac-key';
export const MAC_KEY_FILE = '/etc/kpx/job-mac-key';

export const MAC_KEY_FIX = `all brokers need the same one: copy it from another host, or on the first one make it, as root: (umask 077; head -c 32 /dev/urandom >${MAC_KEY_FILE})`;

/** Where the key is: where the configuration says, or the credential that systemd passes; undefined: there is none of both. */
export function macKeyFile({ mac_key_file }: Config['jobs'], credentials = process.env.CREDENTIALS_DIRECTORY): string | undefined {
  if (mac_key_file !== '') return mac_key_file;
  return credentials ? `${credentials}/${MAC_CREDENTIAL}` : undefined;
}

/** Throws {@link ConfigError}, which names the file and never what is in it. */
export const readMac = async (file: string | undefined): Promise<JobMac> => new JobMac(await readMacKey(file));

/** Both keys, where there are two. Throws as {@link readMac} does. */
export async function readMacKey(file: string | undefined): Promise<Buffer> {
  if (file === undefined) {
    const why = `the key of kpx's own headers is missing: set jobs.mac_key_file, or pass the systemd credential ${MAC_CREDENTIAL}`;
    throw new ConfigError(MAC_KEY_FILE, [why]);
  }
  const keys = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    const what = error.code === 'ENOENT' ? 'there is no such file' : `cannot be read: ${error.code}`;
    throw new ConfigError(file, [`${what}. It has the key of kpx's own headers; ${MAC_KEY_FIX}`], { cause: error });
  });
  if (isKeyLength(keys.length)) return keys;
  const what = `has ${keys.length} bytes: expected ${MAC_KEY_BYTES}, or ${2 * MAC_KEY_BYTES} while keys are exchanged`;
  throw new ConfigError(file, [`${what}. It has the key of kpx's own headers; ${MAC_KEY_FIX}`]);
}
