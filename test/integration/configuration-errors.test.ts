import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { installHelper } from './installed-helper.js';
import { installKpx, runBroker } from './installed-kpx.js';

const AMQP = '[amqp]\nurls = ["amqp://kpx-broker@127.0.0.1:5672/knime"]\n';

/** The lines that `--check` of a program writes about a wrong configuration, without the name of the file. */
const linesOf = (file: string, stderr: string) =>
  stderr
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(`${file}: `, ''));

describe('kpx-broker --check names line, key and value, and what to write', () => {
  async function problems(text: string): Promise<string[]> {
    const file = `${(await installKpx()).etc}/wrong.toml`;
    writeFileSync(file, text);
    const { code, stderr } = await runBroker(['--config', file, '--check']);
    expect(code).toBe(78);
    return linesOf(file, stderr);
  }

  it.each([
    [
      'a limit of 0 in a rule',
      `${AMQP}[[policy.rule]]\nname = "reports"\nusers = ["a"]\nmax_executors = 0\n`,
      'line 6, rule 1 "reports": max_executors = 0: expected a whole number from 1 to 5000; for example max_executors = 5; to keep these users out: action = "deny"',
    ],
    [
      'a limit of 0 for everybody',
      `${AMQP}[policy]\nmax_executors = 0\n`,
      'line 4, policy.max_executors = 0: expected a whole number from 1 to 5000; for example max_executors = 40; to start no executor: kpxctl drain',
    ],
    [
      'a duration with a blank',
      `${AMQP}[policy]\nidle_stop = "30 min"\n`,
      'line 4, policy.idle_stop = "30 min": expected a duration such as "30m", or "" for never',
    ],
    [
      'a duration without a unit',
      `${AMQP}[policy]\nidle_stop = 30\n`,
      'line 4, policy.idle_stop = 30: expected a duration such as "30m", or "" for never',
    ],
    [
      'one address instead of a list',
      '[amqp]\nurls = "amqp://kpx-broker@127.0.0.1:5672/knime"\n',
      'line 2, amqp.urls: expected a list; for example urls = ["amqp://kpx-broker@127.0.0.1:5672/knime"]',
    ],
    [
      'one name instead of a list',
      `${AMQP}[policy]\ndeny = "mallory"\n`,
      'line 4, policy.deny = "mallory": expected a list: deny = ["mallory"]',
    ],
    [
      'a beginning of a choice',
      `${AMQP}[policy]\nwhen_full = "evict"\n`,
      'line 4, policy.when_full = "evict": expected "wait" or "evict-idle"; did you mean "evict-idle"?',
    ],
    [
      'text without quotes',
      `${AMQP}[policy]\nidle_stop = 30m # half an hour\n`,
      'line 4, column 15, policy.idle_stop: idle_stop = 30m: text needs quotes: idle_stop = "30m"',
    ],
    ['a word for true', `${AMQP}[executors]\nwatch = yes\n`, 'line 4, column 9, executors.watch: invalid value; expected watch = true'],
    ['no value', `${AMQP}[log]\nlevel =\n`, 'line 4, column 8, log.level: there is no value after "="; nothing is written level = ""'],
    [
      'a list of rules that is there twice',
      `${AMQP}[policy]\nrule = []\n[[policy.rule]]\nusers = ["*"]\n`,
      'line 5, column 3: "policy.rule" is there twice: take out line 4, "rule = []"',
    ],
    ['a key in the wrong table', `${AMQP}max_executors = 3\n`, 'line 3, amqp.max_executors: unknown key; move it below [policy]'],
    ['nothing at all', '', 'amqp.urls is missing, and has no default; for example urls = ["amqp://kpx-broker@127.0.0.1:5672/knime"]'],
  ])('%s', async (_, text, line) => {
    expect(await problems(text)).toEqual([line]);
  });

  it('names all that is wrong, in the order of the file, and no more than 20 of it', async () => {
    const rules = '[[policy.rule]]\nusers = "*"\nprioity = 1\n'.repeat(15);
    const lines = await problems(`${AMQP}prefetch = 0\n${rules}`);
    expect(lines).toHaveLength(21);
    expect(lines.slice(0, 3)).toEqual([
      expect.stringMatching(/^line 3, amqp\.prefetch = 0: /),
      'line 5, rule 1: users = "*": expected a list: users = ["*"]',
      'line 6, rule 1: prioity: unknown key; did you mean "priority"?',
    ]);
    expect(lines.at(-1)).toBe('11 more problems are not listed: correct these first');
  });

  it.each([
    ['in an address', '[amqp]\nurls = ["amqp://u:hunter2@host/v"]\n'],
    ['in an address that is no list', '[amqp]\nurls = "amqp://u:hunter2@host/v"\n'],
    ['in an address without quotes', '[amqp]\nurls = [amqp://u:hunter2@host/v]\n'],
    ['in an address without a list or quotes', '[amqp]\nurls = hunter2\n'],
    ['where its file belongs', `${AMQP}password_file = hunter2\n`],
    ['in a list where its file belongs', `${AMQP}password_file = ["hunter2"]\n`],
    ['under an unknown key', `${AMQP}password = "hunter2"\n`],
    ['under an unknown key without quotes', `${AMQP}password = hunter2\n`],
    ['in an address of the management API', `${AMQP}management_urls = ["http://u:hunter2@host"]\n`],
    ['in an address at a wrong place', `${AMQP}[policy]\nidle_stop = "amqp://u:hunter2@host"\n`],
    ['that is there twice', `${AMQP}password_file = "hunter2"\npassword_file = "hunter2"\n`],
  ])('and never a password: %s', async (_, text) => {
    const lines = await problems(text);
    expect(lines.join('\n')).toMatch(/line \d/);
    expect(lines.join('\n')).not.toContain('hunter2');
  });
});

describe('kpx-privhelper --check names line, key and value, and what to write', () => {
  async function problems(text: string): Promise<string[]> {
    const installation = installHelper();
    writeFileSync(installation.configFile, text);
    const { code, stderr } = await installation.runHelper(['--check']);
    expect(code).toBe(78);
    return linesOf(installation.configFile, stderr);
  }

  it('for all that is wrong, without what may hold a secret', async () => {
    const text = [
      '[accounts]',
      'min_uid = "500"',
      'case = "Lower"',
      'denied_users = "bob"',
      '[accounts.map]',
      'bob = "root user"',
      '[directories]',
      'workspace_parent = "/a/"',
      'create_home = "yes"',
      '[executor]',
      'launcher = "sys"',
      'max_executors = 0',
      'command = "hunter2"',
      'environment = { PASSWORD = ["hunter2"], "A=B" = "hunter2" }',
    ].join('\n');
    const lines = await problems(text);
    expect(lines.join('\n')).not.toContain('hunter2');
    expect(lines).toEqual([
      'line 2, accounts.min_uid = "500": expected a whole number from 1 to 4294967294, without quotes; for example min_uid = 1000',
      'line 3, accounts.case = "Lower": expected "lower" or "keep"; did you mean "lower"?',
      'line 4, accounts.denied_users = "bob": expected a list: denied_users = ["bob"]',
      expect.stringMatching(/^line 6, accounts\.map\.bob = "root user": expected a name of /),
      expect.stringMatching(
        /^line 8, directories\.workspace_parent = "\/a\/": .*; for example workspace_parent = "\/srv\/kpx\/workspaces"$/,
      ),
      'line 9, directories.create_home = "yes": expected true or false, without quotes',
      'line 11, executor.launcher = "sys": expected "systemd" or "direct"; did you mean "systemd"?',
      'line 12, executor.max_executors = 0: expected a whole number from 1 to 5000; for example max_executors = 200',
      'line 13, executor.command: expected a list; for example command = ["/opt/knime/knime"]',
      'line 14, executor.environment.PASSWORD: expected text in quotes',
      expect.stringMatching(/^line 14, executor\.environment\.A=B: expected the name of an environment variable/),
    ]);
  });
});
