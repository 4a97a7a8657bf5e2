import { describe, expect, it } from 'vitest';
import { KNIME_USERS_PER_ACCOUNT_MAX } from './limits.js';
import { privhelperConfigSchema } from './privhelper-config.js';
import { ConfigError, parseConfig } from './toml-config.js';

const EXECUTOR = '[executor]\nlauncher = "direct"\ncommand = ["/opt/knime/knime"]\n';
const parse = (toml: string) => parseConfig('privhelper.toml', toml, privhelperConfigSchema);

/** The lines of the error. */
function problemsOf(toml: string): string[] {
  try {
    parse(toml);
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n');
    throw error;
  }
  return [];
}

/** Whether a problem is one of this key: with its line, counted entries, and the value unless it may be a secret. */
const isOf = (problem: string, key: string) => {
  const name = key.replace(/\.(\d)$/, (_, index) => `, entry ${Number(index) + 1}`);
  const [, named = ''] = /^privhelper\.toml: line \d+, (.*)$/s.exec(problem) ?? [];
  return named.startsWith(`${name}: `) || named.startsWith(`${name} = `);
};

it('needs only to know what to start', () => {
  expect(parse(EXECUTOR)).toEqual({
    accounts: {
      ...{ min_uid: 1000, denied_users: [], denied_groups: [], allowed_groups: [], denied_shells: [] },
      ...{ ask_pam: false, case: 'lower', map: {} },
    },
    directories: {
      workspace_parent: '/srv/kpx/workspaces',
      temp_parent: '/srv/kpx/temp',
      home_parents: ['/home'],
      create_home: true,
      skeleton: '/etc/skel',
      extra_acl: [],
    },
    executor: {
      launcher: 'direct',
      unit: 'kpx-executor@',
      profiles: {},
      command: ['/opt/knime/knime'],
      working_directory: '',
      msgq_file: '/etc/kpx/executor-msgq',
      sealed: false,
      node: '',
      reservation_clause: "user = '{user}'",
      max_executors: 200,
      environment: {},
    },
  });
});

describe.each([
  ['directories.workspace_parent', (value: string) => `${EXECUTOR}[directories]\nworkspace_parent = ${value}`],
  ['directories.temp_parent', (value: string) => `${EXECUTOR}[directories]\ntemp_parent = ${value}`],
  ['directories.home_parents.0', (value: string) => `${EXECUTOR}[directories]\nhome_parents = [${value}]`],
  ['directories.skeleton', (value: string) => `${EXECUTOR}[directories]\nskeleton = ${value}`],
  ['executor.msgq_file', (value: string) => `${EXECUTOR}msgq_file = ${value}`],
  ['executor.working_directory', (value: string) => `${EXECUTOR}working_directory = ${value}`],
])('the path %s', (key, toml) => {
  it.each(['/a', '/a/b.c', '/a b/ü', '/.a/..b/...'])('may be %j', (path) => {
    expect(problemsOf(toml(JSON.stringify(path)))).toEqual([]);
  });

  it.each(['a', './a', '~/a', '/a/', '/a//b', '//a', '/a/./b', '/a/../b', '/..', '/a/..', '/.', '/a\n', '/a\t', '/a\u0000b', '/a\u0085b'])(
    'may not be %j',
    (path) => {
      const problems = problemsOf(toml(JSON.stringify(path)));
      expect(problems.length).toBeGreaterThan(0);
      for (const problem of problems) expect([problem, isOf(problem, key)]).toEqual([problem, true]);
    },
  );
});

it.each([
  ['accounts.min_uid', '[accounts]\nmin_uid = 0'],
  ['accounts.min_uid', '[accounts]\nmin_uid = -1'],
  ['accounts.min_uid', '[accounts]\nmin_uid = 1000.5'],
  ['accounts.min_uid', '[accounts]\nmin_uid = 4294967295'],
  ['accounts.denied_users.0', '[accounts]\ndenied_users = [""]'],
  ['accounts.denied_users.1', '[accounts]\ndenied_users = ["a", 5]'],
  ['accounts.denied_groups', '[accounts]\ndenied_groups = "wheel"'],
  ['accounts.denied_groups.0', '[accounts]\ndenied_groups = ["a\\u0000"]'],
  ['accounts.case', '[accounts]\ncase = "upper"'],
  ['accounts.map', '[accounts]\nmap = "alice"'],
  ['accounts.map.alice', '[accounts.map]\nalice = ""'],
  ['accounts.map.alice', '[accounts.map]\nalice = "0"'],
  ['accounts.map.alice', '[accounts.map]\nalice = "-x"'],
  ['accounts.map.alice', '[accounts.map]\nalice = "a b"'],
  ['accounts.map.alice', '[accounts.map]\nalice = ["bob"]'],
  ['accounts.map.a  b', '[accounts.map]\n"a  b" = "alice"'],
  ['accounts.map.1000', '[accounts.map]\n1000 = "alice"'],
  ['accounts.map.../x', '[accounts.map]\n"../x" = "alice"'],
  ['directories.create_home', '[directories]\ncreate_home = "yes"'],
  ['directories.home_parents', '[directories]\nhome_parents = []'],
  ['accounts.ask_pam', '[accounts]\nask_pam = true'],
  ['directories.extra_acl.0', '[directories]\nextra_acl = ["group:admins:rwx,user:mallory:rwx"]'],
  ['directories.extra_acl.0', '[directories]\nextra_acl = ["other::r-x"]'],
  ['directories.extra_acl.0', '[directories]\nextra_acl = ["user::rwx"]'],
  ['directories.extra_acl.0', '[directories]\nextra_acl = ["default:group:admins:r-x"]'],
  ['directories.extra_acl.0', '[directories]\nextra_acl = ["group:admins:rx"]'],
  ['directories.extra_acl.0', '[directories]\nextra_acl = ["group:admins:r-X"]'],
  ['directories.extra_acl.0', '[directories]\nextra_acl = ["group: domain users:r-x"]'],
  ['directories.extra_acl', `[directories]\nextra_acl = [${'"group:admins:r-x",'.repeat(17)}]`],
  ['directories.temp_parent', '[directories]\nworkspace_parent = "/srv/x"\ntemp_parent = "/srv/x"'],
])('refuses %s of %j', (key, section) => {
  const problems = problemsOf(`${EXECUTOR}${section}\n`);
  expect(problems.map((problem) => [problem, isOf(problem, key)])).toEqual([[expect.anything(), true]]);
  expect(problems[0]).toMatch(/expected/);
});

it.each([
  ['executor.launcher', 'launcher = "shell"\ncommand = ["/x"]'],
  ['executor.command', 'command = ["/x"]'],
  ['executor.sealed', 'sealed = "yes"'],
  ['executor.node', 'node = "Host1"'],
  ['executor.node', `node = "${'x'.repeat(33)}"`],
  ['executor.working_directory', 'launcher = "systemd"\nworking_directory = "/x"'],
  ['executor.unit', 'unit = "kpx-executor"'],
  ['executor.unit', 'unit = "kpx-*@"'],
  ['executor.unit', 'unit = "--all@ @"'],
  ['executor.command', 'launcher = "direct"'],
  ['executor.command', 'launcher = "direct"\ncommand = []'],
  ['executor.command', 'launcher = "direct"\ncommand = "/opt/knime/knime -nosplash"'],
  ['executor.command', 'launcher = "direct"\ncommand = ["knime"]'],
  ['executor.command', 'launcher = "direct"\ncommand = ["{user}/knime"]'],
  ['executor.command.1', 'launcher = "direct"\ncommand = ["/x", "a\\u0000b"]'],
  ['executor.max_executors', 'launcher = "direct"\ncommand = ["/x"]\nmax_executors = 0'],
  ['executor.max_executors', 'launcher = "direct"\ncommand = ["/x"]\nmax_executors = 5001'],
  ['executor.reservation_clause', 'launcher = "direct"\ncommand = ["/x"]\nreservation_clause = "user = alice"'],
  ['executor.reservation_clause', `reservation_clause = "user = '{user}' OR ${"group = '{user}' OR ".repeat(16)}x = y"`],
  ['executor.reservation_clause', `reservation_clause = "{user}${'x'.repeat(4_000)}"`],
  ['executor.environment.1X', 'launcher = "direct"\ncommand = ["/x"]\nenvironment = { 1X = "" }'],
  ['executor.environment.A=B', 'launcher = "direct"\ncommand = ["/x"]\nenvironment = { "A=B" = "" }'],
  ['executor.environment.A', 'launcher = "direct"\ncommand = ["/x"]\nenvironment = { A = 5 }'],
  ['executor.environment.A', 'launcher = "direct"\ncommand = ["/x"]\nenvironment = { A = "two\\nlines" }'],
  ['executor.environment.A', 'environment = { A = "\\ufdd0" }'],
  ['executor.environment.A', 'environment = { A = "\\U0010ffff" }'],
  ['executor.environment.LD_LIBRARY_PATH', 'launcher = "direct"\ncommand = ["/x"]\nenvironment = { LD_LIBRARY_PATH = "/x" }'],
  ['executor.environment.GLIBC_TUNABLES', 'launcher = "direct"\ncommand = ["/x"]\nenvironment = { GLIBC_TUNABLES = "x" }'],
  ['executor.environment.GCONV_PATH', 'launcher = "direct"\ncommand = ["/x"]\nenvironment = { GCONV_PATH = "/x" }'],
])('refuses %s in [executor] with %j', (key, section) => {
  const problems = problemsOf(`[executor]\n${section}\n`);
  expect(problems.map((problem) => [problem, isOf(problem, key)])).toEqual([[expect.anything(), true]]);
  expect(problems[0]).toMatch(/expected/);
});

it.each([
  ['directories.extra_acl', '[directories]\nextra_acl = ["group:domain users:r-x", "user:corp\\\\anna:---", "group:4711:rwx"]'],
  ['accounts.map', '[accounts.map]\n"corp\\\\anna" = "anna"\n"anna@corp.example" = "anna"\n_x = "y"'],
  ['accounts.denied_groups', '[accounts]\ndenied_groups = ["Domain Users", "Größe"]'],
])('takes %s of %j', (_key, section) => {
  expect(problemsOf(`${EXECUTOR}${section}\n`)).toEqual([]);
});

it.each([
  ['minuid = 500', 'accounts.minuid: unknown key; did you mean "min_uid"?', '[accounts]\n'],
  ['environments = {}', 'executor.environments: unknown key; did you mean "environment"?', EXECUTOR],
  ['[dirctories]', 'dirctories: unknown key; did you mean "directories"?', ''],
])('names the key that %j may have meant', (line, said, section) => {
  expect(problemsOf(`${section === EXECUTOR ? '' : EXECUTOR}${section}${line}\n`)).toEqual([
    expect.stringMatching(/^privhelper\.toml: line \d, /),
  ]);
  expect(problemsOf(`${section === EXECUTOR ? '' : EXECUTOR}${section}${line}\n`)[0]).toContain(said);
});

describe('[accounts.map]', () => {
  const map = (names: string[], extra = '') =>
    `${EXECUTOR}[accounts]\n${extra}\n[accounts.map]\n${names.map((name) => `"${name}" = "alice"\n`).join('')}`;

  it('holds a name once, whatever its case', () => {
    expect(problemsOf(map(['Ann', 'ann']))).toEqual([
      'privhelper.toml: line 8, accounts.map.ann = "alice": stands here twice, in different case',
    ]);
    expect(problemsOf(map(['Ann', 'ann'], 'case = "keep"'))).toEqual([]);
  });

  it('leads at most so many names to one account, its own among them, that a list entry can hold them', () => {
    const names = Array.from({ length: KNIME_USERS_PER_ACCOUNT_MAX }, (_, index) => `name${index}`);
    expect(problemsOf(map(names.slice(1)))).toEqual([]);
    expect(problemsOf(map(names))).toEqual([
      `privhelper.toml: line 38, accounts.map.name31 = "alice": more than ${KNIME_USERS_PER_ACCOUNT_MAX - 1} names for the account "alice"`,
    ]);
  });
});
