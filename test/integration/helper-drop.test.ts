import { execFileSync } from 'node:child_process';
import { chmodSync, closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { HelperConnection } from '../fixtures/helper-connection.js';
import { idsOf, node } from '../fixtures/helper-installation.js';
import { argumentsOf, descriptorsOf, environmentOf, everyProcess, hasOnlyDevNullOpen, statOf, statusOf } from '../fixtures/process.js';
import { installHelper, rawAccounts, startHelper } from './installed-helper.js';

const MSGQ = 'amqp://executor:a-secret-of-all-executors@127.0.0.1:5672/knime';
const NO_CAPABILITY = '0000000000000000';

const groupsOf = (account: string) =>
  execFileSync('/usr/bin/id', ['-G', account], { encoding: 'utf8' })
    .trim()
    .split(' ')
    .map(Number)
    .sort((a, b) => a - b);

describe('an executor', () => {
  it('has the uid and gid of its user and exactly the user’s supplementary groups (defect: root’s groups stay, the user’s are missing)', async () => {
    // The helper's own groups: none of them may be left.
    const { connection } = await startHelper({}, { wrap: ['/usr/bin/setpriv', '--groups=0,4,27', '--'] });
    for (const user of ['alice', 'bob']) {
      const { uid, gid } = idsOf(user);
      const { mainPid } = await connection.spawned(user);
      expect(statusOf(mainPid)).toMatchObject({ Uid: Array(4).fill(uid).join('\t'), Gid: Array(4).fill(gid).join('\t') });
      expect(statusOf(mainPid)?.Groups?.split(' ').map(Number)).toEqual(groupsOf(user));
    }
    expect(groupsOf('bob').length).toBe(groupsOf('alice').length + 1);
  });

  it('has no capability in any set and can gain none', async () => {
    const wrap = ['/usr/bin/setpriv', '--inh-caps=+chown,+fowner', '--ambient-caps=+chown', '--'];
    const { connection, installation } = await startHelper({}, { wrap });
    expect(statusOf(installation.helper?.pid ?? 0)?.CapInh).not.toBe(NO_CAPABILITY);
    const { mainPid } = await connection.spawned('alice');
    const sets = { CapInh: NO_CAPABILITY, CapPrm: NO_CAPABILITY, CapEff: NO_CAPABILITY, CapBnd: NO_CAPABILITY, CapAmb: NO_CAPABILITY };
    expect(statusOf(mainPid)).toMatchObject({ ...sets, NoNewPrivs: '1' });
  });

  it('leads a session of its own, in its workspace, with a umask that keeps its files to itself', async () => {
    const { connection, installation } = await startHelper();
    const { mainPid } = await connection.spawned('alice');
    expect(statOf(mainPid)).toMatchObject({ parent: installation.helper?.pid, group: mainPid, session: mainPid });
    expect(execFileSync('/usr/bin/readlink', [`/proc/${mainPid}/cwd`], { encoding: 'utf8' }).trim()).toBe(
      `${installation.workspaces}/alice`,
    );
    expect(statusOf(mainPid)?.Umask).toBe('0077');
  });

  it('runs in working_directory where that is configured', async () => {
    const { connection } = await startHelper({ config: { executor: { working_directory: '/usr/lib' } } });
    const { mainPid } = await connection.spawned('alice');
    expect(execFileSync('/usr/bin/readlink', [`/proc/${mainPid}/cwd`], { encoding: 'utf8' }).trim()).toBe('/usr/lib');
  });

  it('has an environment from scratch (defect: root’s whole environment is passed on)', async () => {
    const environment = { KPX_FIXED: '$(id) `id` $HOME {workspace}', HOME: '/root', USER: 'root', LANG: 'de_DE.UTF-8' };
    const { connection, installation } = await startHelper({ msgq: MSGQ, config: { executor: { environment } } });
    const { mainPid } = await connection.spawned('bob');
    expect(environmentOf(installation.helper?.pid ?? 0)).toMatchObject({ KPX_CANARY: 'of the helper' });
    await expect
      .poll(() => environmentOf(mainPid))
      .toEqual({
        PATH: '/usr/local/bin:/usr/bin:/bin',
        LANG: 'de_DE.UTF-8',
        HOME: '/home/bob',
        USER: 'bob',
        LOGNAME: 'bob',
        SHELL: '/bin/bash',
        TMPDIR: `${installation.temps}/bob`,
        KPX_USER: 'bob',
        KPX_WORKSPACE: `${installation.workspaces}/bob`,
        KPX_FIXED: environment.KPX_FIXED,
        KNIME_EXECUTOR_TEMP_DIR: `${installation.temps}/bob`,
        KNIME_EXECUTOR_RESERVATION: "(user = 'bob')",
        KNIME_EXECUTOR_MSGQ: MSGQ,
        KPX_AMQP_URL: MSGQ,
      });
  });

  it('has nothing open but /dev/null: none of the helper’s sockets, nothing that the helper was started with', async () => {
    const listening = createServer();
    await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
    const file = openSync('/etc/shadow', 'r');
    onTestFinished(() => {
      listening.close();
      closeSync(file);
    });
    const installation = installHelper();
    // 3: Node marks low descriptors close-on-exec when it starts. 20 and 21: it does not look that far.
    const beyond = { 3: file, 20: file, 21: 'pipe' } as const;
    const stdio = Array.from({ length: 22 }, (_, slot) => (slot === 1 || slot === 2 ? 'pipe' : (beyond[slot as 3] ?? 'ignore')));
    await installation.startHelper({ stdio });
    const helper = descriptorsOf(installation.helper?.pid ?? 0);
    expect(helper[20]).toBe('/etc/shadow');
    expect(helper[21]).toMatch(/^socket:/);
    const connection = await HelperConnection.greeted(installation.socket);
    const first = await connection.spawned('alice');
    const later = await HelperConnection.greeted(installation.socket); // a socket that was not there when the first was started
    const second = await later.spawned('bob');
    later.close();
    const third = await connection.spawned('carol');
    for (const { mainPid } of [first, second, third]) {
      await hasOnlyDevNullOpen(mainPid);
    }
  });

  it('gets its arguments one by one, without a shell (defect: shell commands are built from names)', async () => {
    const given = [
      '{workspace}',
      '-x={temp}',
      '{user}:{user}',
      '{home}',
      '$(id)',
      '; touch /srv/pwned',
      '`id`',
      '*',
      '',
      '{workspace} {temp}',
    ];
    const command = [node(), '--eval', 'setInterval(() => {}, 1e6)', ...given];
    const { connection, installation } = await startHelper({ config: { executor: { command } } });
    const { mainPid } = await connection.spawned('bob_temp');
    const workspace = `${installation.workspaces}/bob_temp`;
    const temp = `${installation.temps}/bob_temp`;
    const got = [
      workspace,
      `-x=${temp}`,
      'bob_temp:bob_temp',
      '{home}',
      '$(id)',
      '; touch /srv/pwned',
      '`id`',
      '*',
      '',
      `${workspace} ${temp}`,
    ];
    await expect.poll(() => argumentsOf(mainPid)).toEqual([...command.slice(0, 3), ...got]);
    expect(existsSync('/srv/pwned')).toBe(false);
  });
});

describe('an external command', () => {
  it.each(['getent', 'setfacl', 'cp'])('%s has none of the helper’s sockets; the one that fills a home runs as the user', async (name) => {
    const installation = installHelper();
    const report = `${installation.srv}/report`;
    writeFileSync(report, '', { mode: 0o666 });
    chmodSync(report, 0o666);
    const wrap = installation.inPlaceOf(`/usr/bin/${name}`, `readlink /proc/$$/fd/* >>${report}; exec $real "$@"`);
    chmodSync(installation.etc, 0o755);
    await installation.startHelper({ wrap });
    const connection = await HelperConnection.greeted(installation.socket);
    const { home } = rawAccounts().account(`homeless-${name}`);
    onTestFinished(() => rmSync(home, { recursive: true, force: true }));
    expect(await connection.prepare(`homeless-${name}`)).toMatchObject({ kind: 'userPrepared' });
    const ofHelper = new Set(Object.values(descriptorsOf(installation.helper?.pid ?? 0)));
    const ofCommand = readFileSync(report, 'utf8').trim().split('\n');
    expect(ofCommand).toContain('/dev/null');
    expect(ofCommand.filter((target) => ofHelper.has(target) && target !== '/dev/null')).toEqual([]);
  });
});

describe('the password in the MSGQ URL', () => {
  it('is in no log line, no message and no command line, that of setpriv included', async () => {
    const installation = installHelper({ msgq: MSGQ });
    const report = `${installation.etc}/argv`;
    const wrap = installation.inPlaceOf('/usr/bin/setpriv', `echo "$@" >>${report}; exec $real "$@"`);
    await installation.startHelper({ wrap });
    const connection = await HelperConnection.greeted(installation.socket);
    const { mainPid } = await connection.spawned('alice');
    // Not while it is becoming its program.
    await expect.poll(() => environmentOf(mainPid).KNIME_EXECUTOR_MSGQ).toBe(MSGQ);
    expect(readFileSync(report, 'utf8')).toContain(`--reuid ${idsOf('alice').uid} `);
    const commandLines = everyProcess().map((pid) => argumentsOf(pid).join(' '));
    expect(commandLines).toContain('/usr/bin/sleep infinity');
    await connection.stop('alice');
    await installation.endHelper();
    const { lines, stderr } = installation.helperLog;
    for (const text of [...commandLines, readFileSync(report, 'utf8'), JSON.stringify(lines), stderr]) {
      expect(text).not.toContain('a-secret');
    }
  });
});
