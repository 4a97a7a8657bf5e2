import type { Texts } from './json-schema.js';

const CONNECTION = "with the helper's next connection: `systemctl restart kpx-broker`";
const START = `${CONNECTION}, for executors that start from then on`;

/** What the tables and keys of privhelper.toml mean. They are not in the helper's own code, where they would cost memory in a root process. */
export const PRIVHELPER_TEXTS: Texts = {
  accounts: { text: 'Who may have an executor. No account with the uid or gid of root ever does.', effect: CONNECTION },
  'accounts.min_uid': 'Accounts with a lower uid do not.',
  'accounts.denied_users': 'Accounts of the operating system that do not. With `case = "lower"`, whatever their case here.',
  'accounts.denied_groups': 'Accounts in any of these groups do not. With `case = "lower"`, whatever their case here or in the directory.',
  'accounts.allowed_groups': 'Only accounts in one of these groups do; when empty, all that are not denied.',
  'accounts.denied_shells': 'Accounts with one of these login shells do not.',
  'accounts.case': 'How names from KNIME are compared with accounts: `"lower"`, folded to lower case first; `"keep"`, as they are.',
  'accounts.map': {
    text: 'The account of a KNIME user where the two have different names, as `"KNIME name" = "account"`. One `*` in both makes a pattern: `"*@corp.example" = "*"` takes a domain off, `"*" = "*@corp.example"` adds one. A line for one name goes before a pattern; no name may match two patterns; 16 at most. Up to 31 names may lead to one account, and share its executor. Only here may a KNIME name have characters that no account has, and only where `reservation_clause` has `{user}` in single quotes.',
    effect: START,
  },

  directories: {
    text: "Where users' directories are. The parents must exist, belong to root, and be writable by nobody else, all the way up. Where they are elsewhere than below `/srv/kpx` and `/home`, `kpx-privhelper@.service` needs a drop-in with `ReadWritePaths=`.",
    effect: START,
  },
  'directories.workspace_parent':
    "Holds a directory for each user, named like the account, for the executor's workspace: mode 0700, and so is by a default ACL what is made in it.",
  'directories.temp_parent': 'The same for temporary files; not the same directory.',
  'directories.home_parents': 'A home elsewhere is refused.',
  'directories.create_home': 'Whether a missing home is made. One that exists is left alone.',
  'directories.skeleton': 'What a new home is filled with, with the rights of its user.',
  'directories.extra_acl':
    'Further entries in the ACLs of workspaces and temp directories, such as `"group:knime-admins:r-x"` or `"user:backup:r-x"`.',

  executor: { text: 'What is started.', effect: START },
  'executor.launcher':
    '`"systemd"`: executors are units of systemd and live on when kpx is restarted. `"direct"`: they are children of kpx-privhelper and end with it; for containers.',
  'executor.unit': 'With `"systemd"`: the template unit, up to its `@`. What is run, and where, is said in there.',
  'executor.profiles': {
    text: 'With `"systemd"` only: further template units that a rule of `broker.toml` may choose, as `NAME = "template@"`. `"default"` is `unit` above, and no key here. An account has one executor, whatever its profile: who has one under another profile keeps it until it ends. Such a unit is a copy of `kpx-executor@.service` under another name in `/etc/systemd/system`. A link would not do: it is the same unit to systemd. A profile that is asked for and not listed is refused with `PROFILE_UNKNOWN`.',
    effect: START,
  },
  'executor.command':
    'With `"direct"` only, and required there: what is run, as a list of arguments, the first of them an absolute path. `{workspace}`, `{temp}` and `{user}` are replaced inside single arguments; no shell is involved.',
  'executor.working_directory': 'With `"direct"` only: where it is run; when empty, in the workspace.',
  'executor.msgq_file':
    "The file with the value of `KNIME_EXECUTOR_MSGQ` on one line: RabbitMQ's address with the credentials of the executors. A secret: owner root, mode 0600. Read at each start of an executor, so that a new password needs no restart.",
  'executor.reservation_clause':
    'The part of `KNIME_EXECUTOR_RESERVATION` for one KNIME name; those of all names of the account are joined by OR. KNIME before 4.11.3 wants it without the single quotes.',
  'executor.max_executors': 'How many executors run at once. The broker cannot raise it.',
  'executor.environment': {
    text: 'Additions to the environment of executors, as `NAME = "value"`. Names that change how programs are loaded (`LD_*`, `GLIBC_*`, `GCONV_PATH`, `LOCPATH`) are refused.',
    effect: START,
  },
};
