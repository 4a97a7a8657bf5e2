import type { OsUser, PrivhelperConfig } from '@kpx/protocol';
import { CONFIG_BYTES_MAX, ConfigError, foldCase, parseConfig, privhelperConfigSchema } from '@kpx/protocol';
import { readTrustedFile } from './system/trusted-file.js';

/** [accounts] with the map's KNIME names folded, for look-ups. */
export type AccountsConfig = Omit<PrivhelperConfig['accounts'], 'map'> & { readonly map: ReadonlyMap<string, OsUser> };
export type Config = Omit<PrivhelperConfig, 'accounts'> & { readonly accounts: AccountsConfig };

/** Reads and judges the configuration: who may have written the file, then every key. Throws {@link ConfigError}. */
export async function readConfig(file: string): Promise<Config> {
  const refused = (error: Error) => Promise.reject(new ConfigError(file, [error.message], { cause: error }));
  const text = await readTrustedFile(file, 'public', CONFIG_BYTES_MAX).catch(refused);
  const config = parseConfig(file, text, privhelperConfigSchema);
  const map = new Map(Object.entries(config.accounts.map).map(([name, osUser]) => [foldCase(name, config.accounts.case), osUser]));
  return { ...config, accounts: { ...config.accounts, map } };
}
