import {
  CONFIG_BYTES_MAX,
  ConfigError,
  DEFAULT_PROFILE,
  foldCase,
  KpxError,
  type OsUser,
  type PrivhelperConfig,
  type ProfileName,
  parseConfig,
  privhelperConfigSchema,
} from '@kpx/protocol';
import { readTrustedFile } from './system/trusted-file.js';

/** [accounts] with the map's KNIME names folded, for look-ups. */
export type AccountsConfig = Omit<PrivhelperConfig['accounts'], 'map'> & { readonly map: ReadonlyMap<string, OsUser> };
export type Config = Omit<PrivhelperConfig, 'accounts'> & { readonly accounts: AccountsConfig };

/** The template unit of a profile. Throws PROFILE_UNKNOWN. */
export function templateOf({ unit, profiles }: Config['executor'], profile: ProfileName): string {
  const template = profile === DEFAULT_PROFILE ? unit : Object.hasOwn(profiles, profile) ? profiles[profile] : undefined;
  if (template === undefined) throw new KpxError('PROFILE_UNKNOWN', `there is no executor profile "${profile}"`);
  return template;
}

/** Reads and judges the configuration: who may have written the file, then every key. Throws {@link ConfigError}. */
export async function readConfig(file: string): Promise<Config> {
  try {
    const config = parseConfig(file, await readTrustedFile(file, 'public', CONFIG_BYTES_MAX), privhelperConfigSchema);
    const map = new Map(Object.entries(config.accounts.map).map(([name, osUser]) => [foldCase(name, config.accounts.case), osUser]));
    return { ...config, accounts: { ...config.accounts, map } };
  } catch (error) {
    throw error instanceof KpxError ? new ConfigError(file, [error.message], { cause: error }) : error;
  }
}
