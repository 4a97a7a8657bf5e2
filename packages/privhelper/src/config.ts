import type { AccountMap, PrivhelperConfig } from '@kpx/protocol';
import { CONFIG_BYTES_MAX, ConfigError, parseConfig, privhelperConfigSchema, withMap } from '@kpx/protocol';
import { readTrustedFile } from './system/trusted-file.js';

/** [accounts] with its map ready for look-ups. */
export type AccountsConfig = Omit<PrivhelperConfig['accounts'], 'map'> & AccountMap;
export type Config = Omit<PrivhelperConfig, 'accounts'> & { readonly accounts: AccountsConfig };

/** Reads and judges the configuration: who may have written the file, then every key. Throws {@link ConfigError}. */
export async function readConfig(file: string): Promise<Config> {
  const refused = (error: Error) => Promise.reject(new ConfigError(file, [error.message], { cause: error }));
  const text = await readTrustedFile(file, 'public', CONFIG_BYTES_MAX).catch(refused);
  const config = parseConfig(file, text, privhelperConfigSchema);
  return { ...config, accounts: withMap(config.accounts) };
}
