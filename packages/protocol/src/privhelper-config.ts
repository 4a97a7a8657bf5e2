import * as z from 'zod';
import { problemsOfMap } from './account-map.js';
import { hints } from './config-hints.js';
import { KpxError } from './errors.js';
import { reservationBytesMax } from './executor-text.js';
import { KNIME_USERS_PER_ACCOUNT_MAX, PROFILES_MAX, RESERVATION_BYTES_MAX } from './limits.js';
import { knimeUserSchema, osUserSchema, type ProfileName, profileNameSchema } from './names.js';
import { NODE, NODE_RULE, nodeOf } from './sealed.js';
import { configTable, configText } from './toml-config.js';

/*
 * The schema of privhelper.toml. Here and not in the helper, because kpxctl writes that file and judges it as the helper will, and the
 * reference is made from it: none of them needs anything else of the program that runs as root.
 */

/** Executors that one helper ever runs at once, whatever the configuration says. */
const EXECUTORS_MAX = 5_000;
/** The template unit that fills a new home. */
export const HOME_TEMPLATE = 'kpx-home@';
/** The profile whose unit is executor.unit. */
export const DEFAULT_PROFILE = 'default';
/** Entries of any list in the configuration. */
const LIST_MAX = 1_000;
/** KNIME names in [accounts.map]. */
const MAP_MAX = 10_000;
const text = configText;
const path = text.regex(/^(\/|(\/(?!\.{1,2}(\/|$))[^/]+)+)$/, 'expected an absolute path without "." or ".." or "//", not ending in "/"');
const names = z
  .array(text.min(1))
  .max(LIST_MAX)
  .default([])
  .register(hints, { example: ['alice', 'bob'] });
const SECRET = { secret: true } as const;

/** An access entry: type, name or id, permissions. A name may have blanks in it, as "domain users" of Active Directory; setfacl gets the id. */
const aclEntry = text.regex(
  /^(user|group):(?! )[A-Za-z0-9._@\\ -]{1,64}(?<! ):[r-][w-][x-]$/,
  'expected "group:NAME:r-x" or "user:NAME:rwx"',
);

/** A name, or a pattern for names: one with a `*` in it. */
const nameOrPattern = (name: z.ZodType<string>) =>
  z.string().superRefine((text, context) => {
    const { error } = name.safeParse(text.replace('*', 'x'));
    if (error) context.addIssue({ code: 'custom', message: `${error.issues[0]?.message}, or a pattern for such names with one "*"` });
  });

const accounts = z.strictObject({
  min_uid: z.int().min(1).max(0xffff_fffe).default(1000),
  denied_users: names,
  denied_groups: names,
  allowed_groups: names,
  denied_shells: names,
  ask_pam: z.boolean().default(false),
  case: z.enum(['lower', 'keep']).default('lower'),
  map: configTable(nameOrPattern(knimeUserSchema), nameOrPattern(osUserSchema), MAP_MAX, 'names').default({}),
});

const directories = z.strictObject({
  workspace_parent: path.default('/srv/kpx/workspaces'),
  temp_parent: path.default('/srv/kpx/temp'),
  home_parents: z.array(path).min(1).max(LIST_MAX).default(['/home']),
  create_home: z.boolean().default(true),
  skeleton: path.default('/etc/skel'),
  extra_acl: z
    .array(aclEntry)
    .max(16)
    .default([])
    .register(hints, { example: ['group:knime-admins:r-x'] }),
});

/** Without what glibc heeds before main(): setpriv runs with these variables while it is still root. */
const variable = text.regex(
  /^(?!LD_|GLIBC_|GCONV_PATH$|LOCPATH$)[A-Za-z_][A-Za-z0-9_]{0,127}$/,
  'expected the name of an environment variable, none that changes how programs are loaded',
);

/** A template unit without its instance name. */
const template = text.regex(/^[A-Za-z0-9:_.-]{1,64}@$/, 'expected the name of a template unit up to its "@"');

const THE_UNIT_SAYS = 'expected nothing: with launcher "systemd" the unit says what is run and where (systemctl edit)';

const fitsReservation = (clause: string) => reservationBytesMax(clause) <= RESERVATION_BYTES_MAX;

const executor = z
  .strictObject({
    launcher: z.enum(['systemd', 'direct']).default('systemd'),
    unit: template.default('kpx-executor@'),
    /** Further template units, by the name that the broker asks with. */
    profiles: configTable(profileNameSchema, template, PROFILES_MAX, 'profiles')
      .refine((profiles) => !Object.hasOwn(profiles, DEFAULT_PROFILE), `expected no "${DEFAULT_PROFILE}": that is executor.unit`)
      .default({}),
    command: z
      .array(text)
      .max(256)
      .default([])
      .register(hints, { ...SECRET, example: ['/opt/knime/knime'] }),
    working_directory: z
      .union([path, z.literal('')])
      .default('')
      .register(hints, { expected: 'expected an absolute path, or ""' }),
    msgq_file: path.default('/etc/kpx/executor-msgq').register(hints, SECRET),
    /** A list while an installation moves: see sealed.ts. */
    sealed: z
      .union([z.boolean(), z.array(osUserSchema).max(LIST_MAX)])
      .default(false)
      .register(hints, { expected: 'expected true, false, or a list of accounts such as ["alice"]' }),
    /** Empty: the short name of this host, see sealed.ts. */
    node: z
      .union([text.regex(NODE, NODE_RULE), z.literal('')])
      .default('')
      .register(hints, { expected: `${NODE_RULE}, or ""`, example: 'exec1' }),
    reservation_clause: text
      .includes('{user}', 'expected a clause with {user} in it')
      .refine(
        fitsReservation,
        `expected a clause of which ${KNIME_USERS_PER_ACCOUNT_MAX} with the longest names fit ${RESERVATION_BYTES_MAX} bytes`,
      )
      .default("user = '{user}'"),
    max_executors: z.int().min(1).max(EXECUTORS_MAX).default(200),
    environment: configTable(variable, text, LIST_MAX, 'variables').default({}).register(hints, SECRET),
  })
  .superRefine(({ launcher, command, working_directory, profiles, sealed, node }, context) => {
    const expect = (met: boolean, key: string, message: string) => met || context.addIssue({ code: 'custom', path: [key], message });
    expect(!sealed || node !== '' || NODE.test(nodeOf({ node })), 'node', `${NODE_RULE}, because the name of this host is no such text`);
    if (launcher === 'systemd') {
      expect(command.length === 0, 'command', THE_UNIT_SAYS);
      expect(working_directory === '', 'working_directory', THE_UNIT_SAYS);
    } else {
      expect(command[0]?.startsWith('/') === true, 'command', 'expected an absolute path as the first element');
      expect(Object.keys(profiles).length === 0, 'profiles', 'expected none with launcher "direct"');
    }
  });

/** privhelper.toml. */
export const privhelperConfigSchema = z
  .strictObject({ accounts: accounts.prefault({}), directories: directories.prefault({}), executor: executor.prefault({}) })
  .refine(({ directories: { workspace_parent, temp_parent } }) => workspace_parent !== temp_parent, {
    path: ['directories', 'temp_parent'],
    message: 'expected another directory than workspace_parent',
  })
  .refine(({ accounts, executor }) => !accounts.ask_pam || executor.launcher === 'systemd', {
    path: ['accounts', 'ask_pam'],
    message: 'expected false with launcher "direct": it is systemd that asks PAM',
  })
  .superRefine(({ accounts, executor }, context) => {
    for (const [name, message] of problemsOfMap(accounts, executor.reservation_clause))
      context.addIssue({ code: 'custom', path: ['accounts', 'map', name], message });
  });

export type PrivhelperConfig = z.output<typeof privhelperConfigSchema>;

/** Every template unit of the profiles, each once. */
export const templatesOf = ({ unit, profiles }: PrivhelperConfig['executor']) => [...new Set([unit, ...Object.values(profiles)])];

/** Every profile by its name, with its template unit. */
const profilesOf = ({ unit, profiles }: PrivhelperConfig['executor']) =>
  new Map<string, string>([[DEFAULT_PROFILE, unit], ...Object.entries(profiles)]);

export const profileNamesOf = (executor: PrivhelperConfig['executor']) => [...profilesOf(executor).keys()] as ProfileName[];

/** Every template unit that has to be there: also the one that fills homes. */
export const neededTemplatesOf = (executor: PrivhelperConfig['executor']) => [HOME_TEMPLATE, ...templatesOf(executor)];

/** The template unit of a profile. Throws PROFILE_UNKNOWN. */
export function templateOf(executor: PrivhelperConfig['executor'], profile: ProfileName): string {
  const template = profilesOf(executor).get(profile);
  if (template === undefined) throw new KpxError('PROFILE_UNKNOWN', `there is no executor profile "${profile}"`);
  return template;
}
