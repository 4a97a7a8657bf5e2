import {
  CONFIG_BYTES_MAX,
  ConfigError,
  KNIME_USERS_PER_ACCOUNT_MAX,
  KpxError,
  knimeUserSchema,
  type OsUser,
  osUserSchema,
  type ProfileName,
  parseConfig,
  profileNameSchema,
} from '@kpx/protocol';
import * as z from 'zod';
import { readTrustedFile } from './system/trusted-file.js';

/** Executors that one helper ever runs at once, whatever the configuration says. */
const EXECUTORS_MAX = 5_000;
/** The profile whose unit is executor.unit. */
export const DEFAULT_PROFILE = 'default';
/** Entries of any list in the configuration. */
const LIST_MAX = 1_000;
/** KNIME names in [accounts.map]. */
const MAP_MAX = 10_000;
/** Characters of one path, argument or environment value. */
const TEXT_CHARS_MAX = 4_096;
const text = z
  .string()
  .max(TEXT_CHARS_MAX)
  // Noncharacters are valid UTF-8, and systemd refuses a whole EnvironmentFile= for one of them.
  .regex(/^[^\p{Cc}\p{Noncharacter_Code_Point}]*$/u, 'expected text without control characters and noncharacters');
const path = text.regex(/^(\/|(\/(?!\.{1,2}(\/|$))[^/]+)+)$/, 'expected an absolute path without "." or ".." or "//", not ending in "/"');
const names = z.array(text.min(1)).max(LIST_MAX).default([]);

/** What is wrong with a key of a table, where zod alone says only that something is. */
const keyMessage: { error: z.core.$ZodErrorMap } = {
  error: (issue) => (issue.code === 'invalid_key' ? issue.issues[0]?.message : undefined),
};

/** An access entry for setfacl: type, name or id, permissions. */
const aclEntry = text.regex(/^(user|group):[A-Za-z0-9._@\\-]{1,64}:[r-][w-][x-]$/, 'expected "group:NAME:r-x" or "user:NAME:rwx"');

const accounts = z.strictObject({
  min_uid: z.int().min(1).max(0xffff_fffe).default(1000),
  denied_users: names,
  denied_groups: names,
  allowed_groups: names,
  denied_shells: names,
  case: z.enum(['lower', 'keep']).default('lower'),
  map: z
    .record(knimeUserSchema, osUserSchema, keyMessage)
    .default({})
    .refine((map) => Object.keys(map).length <= MAP_MAX, `expected at most ${MAP_MAX} names`),
});

const directories = z.strictObject({
  workspace_parent: path.default('/srv/kpx/workspaces'),
  temp_parent: path.default('/srv/kpx/temp'),
  home_parents: z.array(path).min(1).max(LIST_MAX).default(['/home']),
  create_home: z.boolean().default(true),
  skeleton: path.default('/etc/skel'),
  extra_acl: z.array(aclEntry).max(16).default([]),
});

/** Without what glibc heeds before main(): setpriv runs with these variables while it is still root. */
const VARIABLE = /^(?!LD_|GLIBC_|GCONV_PATH$|LOCPATH$)[A-Za-z_][A-Za-z0-9_]{0,127}$/;

/** A template unit without its instance name. */
const template = text.regex(/^[A-Za-z0-9:_.-]{1,64}@$/, 'expected the name of a template unit up to its "@"');

const THE_UNIT_SAYS = 'expected nothing: with launcher "systemd" the unit says what is run and where (systemctl edit)';

const executor = z
  .strictObject({
    launcher: z.enum(['systemd', 'direct']).default('systemd'),
    unit: template.default('kpx-executor@'),
    /** Further template units, by the name that the broker asks with. */
    profiles: z
      .record(profileNameSchema, template, keyMessage)
      .default({})
      .refine((profiles) => !Object.hasOwn(profiles, DEFAULT_PROFILE), `expected no "${DEFAULT_PROFILE}": that is executor.unit`)
      .refine((profiles) => Object.keys(profiles).length <= LIST_MAX, `expected at most ${LIST_MAX} profiles`),
    command: z.array(text).max(256).default([]),
    working_directory: z.union([path, z.literal('')]).default(''),
    msgq_file: path.default('/etc/kpx/executor-msgq'),
    reservation_clause: text.includes('{user}', 'expected a clause with {user} in it').default("user = '{user}'"),
    max_executors: z.int().min(1).max(EXECUTORS_MAX).default(200),
    environment: z
      .record(
        z.string().regex(VARIABLE, 'expected the name of an environment variable, none that changes how programs are loaded'),
        text,
        keyMessage,
      )
      .default({})
      .refine((variables) => Object.keys(variables).length <= LIST_MAX, `expected at most ${LIST_MAX} variables`),
  })
  .refine(({ launcher, command: [program] }) => launcher === 'systemd' || program?.startsWith('/'), {
    path: ['command'],
    message: 'expected an absolute path as the first element',
  })
  .refine(({ launcher, profiles }) => launcher === 'systemd' || Object.keys(profiles).length === 0, {
    path: ['profiles'],
    message: 'expected none with launcher "direct"',
  })
  .refine(({ launcher, command }) => launcher === 'direct' || command.length === 0, { path: ['command'], message: THE_UNIT_SAYS })
  .refine(({ launcher, working_directory }) => launcher === 'direct' || working_directory === '', {
    path: ['working_directory'],
    message: THE_UNIT_SAYS,
  });

/** privhelper.toml. */
export const configSchema = z
  .strictObject({ accounts: accounts.prefault({}), directories: directories.prefault({}), executor: executor.prefault({}) })
  .refine(({ directories: { workspace_parent, temp_parent } }) => workspace_parent !== temp_parent, {
    path: ['directories', 'temp_parent'],
    message: 'expected another directory than workspace_parent',
  })
  .superRefine((config, context) => {
    const perAccount = new Map<string, number>();
    const seen = new Set<string>();
    for (const [knimeUser, osUser] of Object.entries(config.accounts.map)) {
      const folded = foldCase(knimeUser, config.accounts.case);
      const count = (perAccount.get(osUser) ?? 0) + 1;
      perAccount.set(osUser, count);
      const problem = seen.has(folded)
        ? 'stands here twice, in different case'
        : count >= KNIME_USERS_PER_ACCOUNT_MAX
          ? `more than ${KNIME_USERS_PER_ACCOUNT_MAX - 1} names for the account "${osUser}"`
          : undefined;
      seen.add(folded);
      if (problem) context.addIssue({ code: 'custom', path: ['accounts', 'map', knimeUser], message: problem });
    }
  });

type Parsed = z.output<typeof configSchema>;

/** [accounts] with the map's KNIME names folded, for look-ups. */
export type AccountsConfig = Omit<Parsed['accounts'], 'map'> & { readonly map: ReadonlyMap<string, OsUser> };
export type Config = Omit<Parsed, 'accounts'> & { readonly accounts: AccountsConfig };

/** How KNIME names are compared, as configured. */
export function foldCase(name: string, rule: 'lower' | 'keep'): string {
  return rule === 'lower' ? name.toLowerCase() : name;
}

/** The template unit of a profile. Throws PROFILE_UNKNOWN. */
export function templateOf({ unit, profiles }: Config['executor'], profile: ProfileName): string {
  const template = profile === DEFAULT_PROFILE ? unit : Object.hasOwn(profiles, profile) ? profiles[profile] : undefined;
  if (template === undefined) throw new KpxError('PROFILE_UNKNOWN', `there is no executor profile "${profile}"`);
  return template;
}

/** Reads and judges the configuration: who may have written the file, then every key. Throws {@link ConfigError}. */
export async function readConfig(file: string): Promise<Config> {
  try {
    const config = parseConfig(file, await readTrustedFile(file, 'public', CONFIG_BYTES_MAX), configSchema);
    const map = new Map(Object.entries(config.accounts.map).map(([name, osUser]) => [foldCase(name, config.accounts.case), osUser]));
    return { ...config, accounts: { ...config.accounts, map } };
  } catch (error) {
    throw error instanceof KpxError ? new ConfigError(file, [error.message], { cause: error }) : error;
  }
}
