import type { Texts } from './json-schema.js';

const CONNECTION = "with the helper's next connection: `systemctl restart kpx-broker`";
const START = `${CONNECTION}, for executors that start from then on`;

/** The meaning of the tables and keys of privhelper.toml. They are not in the helper's own code, where they would cost memory in a root process. */
export const PRIVHELPER_TEXTS: Texts = {
  accounts: {
    text: 'The accounts that may have an executor. No account with the uid or gid of root ever does.',
    effect: CONNECTION,
  },
  'accounts.min_uid':
    'The lowest uid that may have an executor. Change it where the uids of people start elsewhere (`UID_MIN` in `/etc/login.defs`). Example: `min_uid = 10000`.',
  'accounts.denied_users':
    'Accounts of the operating system that may not have an executor. With `case = "lower"` their case does not matter. Set it to keep single accounts out. Example: `denied_users = ["backup-admin"]`.',
  'accounts.denied_groups':
    'Groups whose members may not have an executor. With `case = "lower"` their case does not matter, here or in the directory. Set it to keep administrators out. Example: `denied_groups = ["wheel"]`.',
  'accounts.allowed_groups':
    'Groups of which an account must be a member to have an executor. When empty, every account that is not denied may. Set it where only some people use KNIME. Example: `allowed_groups = ["knime-users"]`.',
  'accounts.denied_shells':
    'Login shells that mark an account as closed: it may not have an executor. Set it where accounts are closed by their shell. Example: `denied_shells = ["/usr/sbin/nologin", "/bin/false"]`.',
  'accounts.ask_pam':
    "If true, PAM's account step is asked at each start, by `/etc/pam.d/kpx-account`, and an account that it refuses may not have an executor. Set it where accounts are disabled in a directory and not removed, as in Active Directory; SSSD then needs `access_provider = ad`. Example: `ask_pam = true`.",
  'accounts.case':
    'How names from KNIME are compared with accounts. `"lower"`: the helper folds them to lower case first. `"keep"`: it takes them as they are. Set `"keep"` where accounts have capital letters. Example: `case = "keep"`.',
  'accounts.map': {
    text: 'The account of a KNIME user where the two have different names, as `"KNIME name" = "account"`. One `*` in both makes a pattern: `"*@corp.example" = "*"` takes a domain off, `"*" = "*@corp.example"` adds one. A line for one name goes before a pattern. No name may match two patterns, and there are 16 at most. Up to 31 names may lead to one account, and share its executor. Only here may a KNIME name have characters that no account has, and only where `reservation_clause` has `{user}` in single quotes. Set it where accounts differ from KNIME names. Example: `"carol.smith" = "csmith"`.',
    effect: START,
  },

  directories: {
    text: "Where users' directories are. The parents must exist, belong to root, and be writable by nobody else, all the way up. Where they are not below `/srv/kpx` and `/home`, `kpx-privhelper@.service` needs a drop-in with `ReadWritePaths=`.",
    effect: START,
  },
  'directories.workspace_parent':
    'The directory with a workspace for each user, named like the account. A workspace has mode 0700, and a default ACL gives what is made in it the same rights. Change it to a disk with more room, and add `ReadWritePaths=`. Example: `workspace_parent = "/data/kpx/workspaces"`.',
  'directories.temp_parent':
    'The directory with a directory for temporary files for each user, named and protected like a workspace. It must differ from `workspace_parent`. Change it to a fast disk, and add `ReadWritePaths=`. Example: `temp_parent = "/data/kpx/temp"`.',
  'directories.home_parents':
    'The directories below which homes may be. The helper refuses an account with a home elsewhere. Set it where homes are on a network drive, and add `ReadWritePaths=`. Where that drive may hang, let it name the directory above the drive: all others are served meanwhile. Example: `home_parents = ["/home", "/net/home"]`.',
  'directories.create_home':
    'If true, the helper makes a missing home. It never changes one that exists. Set it to false where another program makes homes. Example: `create_home = false`.',
  'directories.skeleton':
    'The directory whose content is copied into a new home, with the rights of its user. Change it to give users of KNIME other files. Example: `skeleton = "/etc/skel"`.',
  'directories.extra_acl':
    'Further entries in the ACLs of workspaces and temp directories. Set it where administrators or a backup must read them. A name may have blanks in it. Example: `extra_acl = ["group:knime-admins:r-x", "user:backup:r-x"]`.',

  executor: {
    text: 'The program that the helper starts, and how.',
    effect: START,
  },
  'executor.launcher':
    'How executors run. `"systemd"`: as units of systemd, which live on when kpx is restarted. `"direct"`: as children of kpx-privhelper, which end with it. Set `"direct"` in containers without systemd. Example: `launcher = "systemd"`.',
  'executor.unit':
    'With `"systemd"`: the template unit of executors, up to its `@`. The unit says what runs, and where. Change it to use a unit of your own. Example: `unit = "kpx-executor@"`.',
  'executor.profiles': {
    text: 'With `"systemd"` only: further template units that a rule of `broker.toml` may choose, as `NAME = "template@"`. `"default"` is `unit` above, and no key here. An account has one executor, and keeps it under its old profile until it ends. Such a unit is a copy of `kpx-executor@.service` under another name in `/etc/systemd/system`. A link does not do: to systemd it is the same unit. The helper refuses a profile that is not listed with `PROFILE_UNKNOWN`. Set it for users who need other limits. Example: `big = "kpx-executor-big@"`.',
    effect: START,
  },
  'executor.command':
    'With `"direct"` only, and required there: the program and its arguments, as a list that begins with an absolute path. The helper replaces `{workspace}`, `{temp}` and `{user}` inside single arguments; no shell is involved. Set it with `launcher = "direct"`. Example: `command = ["/opt/knime/knime", "-nosplash"]`.',
  'executor.working_directory':
    'With `"direct"` only: the directory in which executors start; when empty, the workspace. Set it where the program needs its own directory. Example: `working_directory = "/opt/knime"`.',
  'executor.msgq_file':
    'The file with the value of `KNIME_EXECUTOR_MSGQ` on one line: RabbitMQ\'s address with the credentials of the executors. A secret: owner root, mode 0600. The helper reads it at each start of an executor, so a new password needs no restart. With `sealed = true`, or a list, it is a template. Change it where the secret is kept elsewhere. Example: `msgq_file = "/etc/kpx/executor-msgq"`.',
  'executor.sealed':
    'Whether each account has a RabbitMQ user and virtual host of its own, both called `kpx.NODE.ACCOUNT`. A list such as `["alice", "bob"]` has the accounts that do, while an installation moves from one to the other. The address for all others is in a file beside `msgq_file`, `executor-msgq.shared`. An executor that runs keeps what it was started with. Then `msgq_file` is a template: `amqp://{user}:{password}@127.0.0.1:5673/{vhost}`. The helper makes a password for each start and tells the broker its hash only. Set it to true together with `sealed.enabled` in `broker.toml`. Example: `sealed = false`.',
  'executor.node':
    'With `sealed = true`: NODE in the names of users and virtual hosts, `kpx.NODE.ACCOUNT`; when empty, the short name of the host. The broker hears it from the helper. Set it where two hosts have one short name, or where the host is to be renamed. Stop all executors before a change: those that run have the old name. Example: `node = "exec1"`.',
  'executor.reservation_clause':
    'The part of `KNIME_EXECUTOR_RESERVATION` for one KNIME name; `{user}` stands for the name. The helper joins those of all names of the account by OR. Set it without the single quotes for KNIME before 4.11.3. Example: `reservation_clause = "user = {user}"`.',
  'executor.max_executors':
    'How many executors the helper lets run at once, whatever the broker asks for. Raise it above `policy.max_executors` of the broker. Example: `max_executors = 300`.',
  'executor.environment': {
    text: 'Additions to the environment of executors, as `NAME = "value"`. The helper refuses names that change how programs are loaded (`LD_*`, `GLIBC_*`, `GCONV_PATH`, `LOCPATH`). Set it for variables that workflows read. Example: `KNIME_LOCALE = "en"`.',
    effect: START,
  },
};
