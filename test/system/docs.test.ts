import { readFileSync } from 'node:fs';
import { parse } from 'smol-toml';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { Kdc } from '../fixtures/booted/kdc.js';
import { BootedKpx, type BootedKpxOptions, BROKER, SOCKET, unitOf, WORKSPACES } from '../fixtures/booted/kpx.js';
import { OwnCa } from '../fixtures/certificates.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { blocksOf, commandsOf, PAGES } from '../fixtures/page.js';
import { installKpx, installPackage, startKpx } from './installed-kpx.js';
import { atWork, runBlocks } from './page-commands.js';
import { bootedLdap, bootedMachine, bootedRabbitmq, ON_EACH_DEBIAN, takeKnimeVhost } from './shared-machine.js';

/* What the pages of docs/ tell an administrator to do, done: every command in its order, on a machine with systemd, LDAP and RabbitMQ. */

const machine = bootedMachine();
const ldap = bootedLdap();

/** The people of the pages, none of whom exists elsewhere in these tests. */
const PEOPLE = { alice: 24_001, bob: 24_002, carol: 24_003, 'corp\\alice': 24_004 };
/** The virtual host of the pages. */
const VHOST = 'knime';

const EDITOR = '/usr/local/bin/editor';
/** What somebody would write in the editor, by the name of the file. */
const EDITS = '/root/edits';
const PAGE_TEST = { timeout: 300_000 };
const DROP_INS = '/etc/systemd/system/kpx-executor@.service.d';

async function edit(name: string, text: string): Promise<void> {
  await machine.writeFile(`${EDITS}/${name}`, text);
}

/** kpx on the pages' virtual host. */
const start = async (options: BootedKpxOptions = {}) => {
  const kpx = await installKpx(options, await takeKnimeVhost(VHOST));
  await kpx.start();
  return kpx;
};

/** A drop-in or a file of one test. */
async function put(path: string, text: string): Promise<void> {
  await machine.writeFile(path, text);
  onTestFinished(async () => {
    await machine.remove(path);
    await machine.systemctl('daemon-reload');
  });
  await machine.systemctl('daemon-reload');
}

beforeAll(async () => {
  for (const [name, uid] of Object.entries(PEOPLE)) await ldap.addUser(name, { uid });
  const script = `#!/bin/sh -eu\nfor file; do\n  edits=${EDITS}/$(basename "$file" | sed 's/^[.]#//; s/[0-9a-f]\\{16\\}$//')\n  if [ -e "$edits" ]; then cat "$edits" >"$file"; fi\ndone\n`;
  await machine.writeFile(EDITOR, script, { mode: 0o755 });
});
afterAll(async () => {
  for (const name of Object.keys(PEOPLE)) await ldap.deleteUser(name);
  for (const path of [EDITOR, EDITS]) await machine.remove(path);
});
beforeEach(() => machine.remove(EDITS));

it('docs/operate.md: every command, with parked jobs of two users', PAGE_TEST, async () => {
  await put(`/etc/systemd/system/${unitOf('carol')}.d/50-wrong.conf`, '[Service]\nExecStart=\nExecStart=/usr/bin/false\n');
  const kpx = await start({ broker: { policy: { deny: ['bob'], start_attempts: 1 } } });
  await atWork(kpx, 'alice', 'corp\\alice');
  await kpx.publish(jobOf('bob'), jobOf('carol'));
  await eventually('both are parked', async () => (await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages === 2);
  onTestFinished(async () => {
    for (const path of ['/etc/tmpfiles.d/kpx-temp.conf', `/etc/systemd/system/${unitOf('corp\\alice')}.d`]) await machine.remove(path);
    await machine.systemctl('daemon-reload');
  });
  await edit('override.conf', '[Service]\nTasksMax=4000\n');
  await edit('kpx-temp.conf', 'e /srv/kpx/temp/* - - - 7d\n');
  const letters = (await machine.run(['/usr/bin/kpxctl', 'dead-letters', 'list', '--user', 'bob', '--json'])).stdout;
  const values = {
    './kpx_VERSION_amd64.deb': await BootedKpx.packageFile(machine),
    '3f9a1c': JSON.parse(letters).id,
    'drop --user bob': 'drop --user bob --yes',
  };
  await runBlocks(commandsOf('docs/operate.md', values), [
    { at: 'kpxctl status', says: /consuming "knime-jobs"; executors: 2, .*kpx-executor@alice\.service.*kpx\.dead-letter\t/s },
    { at: 'KPX_OS_USER=alice', says: '"verb":"spawnExecutor"' },
    { at: 'kpxctl explain alice', says: 'goes to the executor at once: the executor is ready' },
    { at: "'kpx-executor@corp\\alice'", says: 'active (running)' },
    { at: 'systemctl reload kpx-broker', says: 'The running broker has the same configuration.' },
    { at: 'dead-letters list', says: /USER_DENIED.*START_FAILED/s },
  ]);
  expect(await machine.show(unitOf('corp\\alice'), 'TasksMax')).toEqual({ TasksMax: '4000' });
  expect(await machine.run(['/usr/bin/readlink', '/etc/tmpfiles.d/kpx-temp.conf'])).toMatchObject({ stdout: '/dev/null\n' });
});

it('docs/monitor.md: what is read, and who may tell the broker', PAGE_TEST, async () => {
  const kpx = await start();
  await machine.run(['/usr/sbin/useradd', '--system', '--no-user-group', 'operator']);
  onTestFinished(() => machine.run(['/usr/sbin/userdel', 'operator']).then(() => {}));
  await runBlocks(commandsOf('docs/monitor.md'), [
    { at: '/metrics', says: /kpx_rabbitmq_connected 1\n.*"helper":\{"connected":true,/s },
    { at: '--request POST http://kpx/drain', says: '"draining":' },
  ]);
  expect((await machine.run(['/usr/bin/id', '--name', '--groups', 'operator'])).stdout).toContain('kpx-admin');
  await kpx.brokerSays({ msg: 'draining: no executor is started any more' });
});

it('docs/leaver.md: from the denial to the audit, in its order', PAGE_TEST, async () => {
  await ldap.addUser('lea', { uid: 24_010 });
  onTestFinished(() => ldap.deleteUser('lea').catch(() => {})); // the page has her deleted
  const kpx = await start();
  await atWork(kpx, 'lea');
  await edit('privhelper.toml', `${await machine.readFile('/etc/kpx/privhelper.toml')}\n[accounts]\ndenied_users = ["lea"]\n`);
  await edit('broker.toml', `${await machine.readFile('/etc/kpx/broker.toml')}\n[policy]\ndeny = ["lea"]\n`);
  await machine.run(['/usr/bin/mkdir', '-p', '/etc/kpx/keytabs']);
  await machine.writeFile('/etc/kpx/keytabs/lea.keytab', 'a keytab', { mode: 0o600 });
  const gone = async () => {
    await ldap.deleteUser('lea');
    await machine.run(['/usr/sbin/sss_cache', '-E']);
  };
  await kpx.mark();
  const commands = commandsOf('docs/leaver.md', { alice: 'lea', 'drop --user lea': 'drop --user lea --yes' });
  await runBlocks(commands, [
    { at: 'systemctl restart', says: 'kpxctl doctor looks at the rest' },
    { at: 'kpxctl stop', before: () => kpx.inUse(), says: /USER_DENIED: "lea" is in policy\.deny/ },
    {
      at: 'dead-letters list',
      before: async () => {
        await kpx.brokerSays({ user: 'lea', msg: 'ending an executor' });
        await kpx.publish(jobOf('lea', 'late'));
        await kpx.brokerSays({ msg: 'job parked', job: 'late' });
      },
      says: /USER_DENIED.*lea/s,
    },
    { at: 'ls -ld', says: /lea .*\/srv\/kpx\/workspaces\/lea/ },
    { at: 'orphans', before: gone, says: /^gone +\/srv\/kpx\/workspaces\/lea /m },
    { at: 'audit.jsonl', says: /"verb":"stopExecutor".*an operator has an executor ended/s },
  ]);
  expect((await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages).toBe(0);
  expect(await machine.exists('/etc/kpx/keytabs/lea.keytab')).toBe(false);
  for (const path of ['/srv/kpx/workspaces/lea', '/root/lea-workspace.tar']) expect(await machine.exists(path)).toBe(true);
  expect(await machine.show(unitOf('lea'), 'ActiveState')).toEqual({ ActiveState: 'inactive' });
  await machine.remove('/root/lea-workspace.tar');
});

it('docs/tune.md: the worked example, a profile, a drained host', PAGE_TEST, async () => {
  const kpx = await start();
  const [example] = blocksOf('docs/tune.md').filter(({ language }) => language === 'toml');
  await edit('broker.toml', `${await machine.readFile('/etc/kpx/broker.toml')}\n${example?.text}`);
  await edit(
    'privhelper.toml',
    `${await machine.readFile('/etc/kpx/privhelper.toml')}\n[executor.profiles]\nsmall = "kpx-executor-small@"\n`,
  );
  await put(`${DROP_INS}/10-all.conf`, '[Service]\nMemoryMax=8G\nTasksMax=1234\n');
  await edit('50-small.conf', '[Service]\nMemoryMax=2G\n');
  onTestFinished(async () => {
    for (const path of ['', '.d']) await machine.remove(`/etc/systemd/system/kpx-executor-small@.service${path}`);
    await machine.systemctl('daemon-reload');
  });
  await runBlocks(commandsOf('docs/tune.md'), [
    { at: 'systemctl reload', says: 'policy.max_executors: 40 -> 16' },
    { at: 'kpx-executor-small@', says: 'kpxctl doctor looks at the rest' },
    { at: 'kpxctl drain', before: () => kpx.inUse(), says: 'the host is being drained' },
  ]);
  // What is for all is for this profile, too, and its own drop-in has the last word.
  const small = await machine.show('kpx-executor-small@alice.service', 'MemoryMax', 'TasksMax');
  expect(small).toEqual({ MemoryMax: `${2 * 1024 ** 3}`, TasksMax: '1234' });
});

it('docs/rabbitmq.md: accounts made as it says are enough for a job', PAGE_TEST, async () => {
  const rabbitmq = bootedRabbitmq();
  const vhost = await takeKnimeVhost(VHOST);
  const kpx = await installKpx({}, vhost);
  onTestFinished(() => rabbitmq.createUsers());
  for (const { name } of [rabbitmq.users.broker, rabbitmq.users.executor]) await rabbitmq.api('DELETE', `users/${name}`);
  await runBlocks(commandsOf('docs/rabbitmq.md'), [
    { at: '--definitions', says: '/root/kpx-rabbitmq.json is written' },
    { at: 'list_permissions', says: /^kpx-broker\t\^kpx\\+\.\t/m },
    { at: 'list_permissions', says: /^knime-executor\t\^\$\t/m },
    { at: 'consumer_timeout', says: '{ok,1800000}' },
    {
      at: 'list_consumers',
      before: async () => {
        await kpx.start();
        await atWork(kpx, 'alice');
      },
      says: /^kpx\.dead-letter\tquorum\t0\t0\t0$/m,
    },
    { at: 'list_consumers', says: /^knime-jobs\tclassic\t/m },
    { at: 'list_consumers', says: /^kpx-broker\tknime\t127\.0\.0\.1\trunning$/m },
  ]);
});

it(
  'docs/rabbitmq.md: a broker that logs in by its certificate alone starts without a password, with the key of its headers',
  PAGE_TEST,
  async () => {
    const key = '/etc/kpx/client.key';
    const { certificate, ...issued } = new OwnCa('kpx-page-clients').issue('DNS:broker.example', { name: 'kpx-broker' });
    const [, withoutPassword] = blocksOf('docs/rabbitmq.md').filter(({ language, text }) => language === 'ini' && text.includes(key));
    const url = new URL((await takeKnimeVhost(VHOST)).urlWithoutPassword('broker').replace(/^amqp:/, 'amqps:'));
    url.username = '';
    await put(key, readFileSync(issued.key, 'utf8'));
    await machine.run(['/usr/bin/chmod', '0600', key]);
    await put('/etc/kpx/client.pem', readFileSync(certificate, 'utf8'));
    await put(`/etc/systemd/system/${BROKER}.d/10-client-key.conf`, withoutPassword?.text ?? '');
    const tls = { cert_file: '/etc/kpx/client.pem', key_file: `/run/credentials/${BROKER}/amqp-key` };
    const kpx = await installKpx({ broker: { amqp: { urls: [url.href], tls } } });
    await machine.remove('/etc/kpx/amqp-password');
    await kpx.mark();
    await machine.systemctl('enable', '--now', '--no-block', '--quiet', BROKER);
    // The RabbitMQ of these tests speaks no TLS: the broker has all that it needs to ask it.
    expect((await kpx.brokerSays({ msg: 'RabbitMQ cannot be used; trying again' })).reason).toContain('SSL');
    const { stdout } = await machine.run(['/usr/bin/kpxctl', 'doctor', '--json'], { allowFailure: true, timeoutMs: 60_000 });
    const checks: { name: string; result: string }[] = JSON.parse(stdout).checks;
    const results = ['amqp-password', 'job-mac-key'].map((name) => checks.find((check) => check.name === name)?.result);
    expect(results).toEqual(['ok', 'ok']);
  },
);

it('docs/hosts.md and docs/troubleshooting.md: what one looks at, and a host taken out', PAGE_TEST, async () => {
  const kpx = await start();
  await atWork(kpx, 'alice');
  await runBlocks(commandsOf('docs/troubleshooting.md'), [{ at: 'kpxctl explain', says: 'consuming "knime-jobs"; executors: 1, ' }]);
  await runBlocks(commandsOf('docs/hosts.md'), [
    { at: 'list_connections', says: /knime-jobs\t0\t[2-9]/ },
    { at: 'kpxctl drain', says: /none: the host is being drained.*kpx-executor@alice\.service/s },
  ]);
  expect((await machine.show(unitOf('alice'), 'ActiveState')).ActiveState).toBe('inactive');
  expect((await machine.show(BROKER, 'UnitFileState')).UnitFileState).toBe('disabled');
});

it('docs/sealed.md: a RabbitMQ of the accounts, sealed executors, and an upgrade', { timeout: 600_000, ...ON_EACH_DEBIAN }, async () => {
  const rabbitmq = bootedRabbitmq();
  const kpx = await start();
  onTestFinished(async () => {
    await kpx.stop();
    await machine.run(['/usr/bin/systemctl', 'disable', '--now', 'kpx-rabbitmq'], { allowFailure: true });
    const made = ['/etc/systemd/system/kpx-rabbitmq.service', '/etc/kpx/rabbitmq', '/etc/kpx/sealed-password', '/var/lib/kpx-rabbitmq'];
    for (const path of [...made, '/etc/kpx/executor-msgq.shared']) await machine.remove(path);
    await machine.systemctl('daemon-reload');
    await rabbitmq.createUsers();
  });
  await atWork(kpx, 'alice');
  const toml = blocksOf('docs/sealed.md').filter(({ language }) => language === 'toml');
  const [broker = {}, helper = {}] = toml.map(({ text }) => parse(text) as Record<string, Record<string, unknown>>);
  const sealedJob = async () => {
    await kpx.inUse();
    await atWork(kpx, 'alice');
  };
  await runBlocks(commandsOf('docs/sealed.md'), [
    {
      at: 'kpxctl sealed setup\nkpxctl',
      says: /to do +\/etc\/kpx\/sealed-password: .*done +kpx-rabbitmq\.service: .*by hand +\/etc\/kpx\/privhelper\.toml: /s,
    },
    {
      at: 'kpxctl drain\nsystemctl stop kpx-executors.slice\nkpxctl sealed setup',
      before: async () => {
        await kpx.configure({ broker, helper });
        await kpx.mark();
      },
      says: /done +\/etc\/kpx\/executor-msgq: /,
    },
    { at: 'delete_user', says: /, 0 warn|nothing has failed/ },
    { at: 'kpxctl sealed refused', before: sealedJob, says: /^alice +kpx\.\S+\.alice +connected +0 /m },
    { at: 'list_users', says: /^kpx-broker\t\[administrator\]$/m },
    { at: 'rm -r /var/lib/kpx-rabbitmq/mnesia', before: () => kpx.mark(), says: /^alice +kpx\.\S+\.alice +(?:connected|ending|kept) /m },
  ]);
  await sealedJob();
  expect((await machine.run(['/usr/bin/kpxctl', 'sealed', 'setup'])).stdout).not.toMatch(/^(?:to do|fails)/m);
});

describe('drop-ins of the pages', () => {
  const dropIns = PAGES.flatMap((page) => blocksOf(page).map((block) => ({ page, ...block }))).filter(
    ({ language, illustration }) => language === 'ini' && illustration === undefined,
  );

  it.each(dropIns)('$page, $heading: systemd has nothing to say about it ($#)', async ({ text }) => {
    await installPackage();
    const [path = `${DROP_INS}/50-page.conf`] = /\/etc\/systemd\/system\/[^:\s]+/.exec(text) ?? [];
    const [, name = ''] = /^\/etc\/systemd\/system\/([^/]+?)(?:\.d\/.*)?$/.exec(path) ?? [];
    const unit = name.replace('@.', '@alice.');
    await put(path, text);
    if (text.includes('kinit')) await Kdc.install(machine);
    const argv = ['/usr/bin/systemd-analyze', 'verify', '--man=no', '--recursive-errors=no', unit];
    const { stdout, stderr } = await machine.run(argv);
    expect(stdout + stderr).toBe('');
    expect(await machine.systemctl('cat', unit)).toContain(text);
  });

  it('are several, and one that is wrong would be noticed', async () => {
    expect(dropIns.length).toBeGreaterThanOrEqual(6);
    await put(`${DROP_INS}/50-page.conf`, '[Service]\nMemoryMx=8G\n');
    const { stderr } = await machine.run(['/usr/bin/systemd-analyze', 'verify', '--man=no', unitOf('alice')], { allowFailure: true });
    expect(stderr).toContain('MemoryMx');
  });
});

/** As the page has it. */
async function withPamSession(): Promise<void> {
  const [dropIn, pam] = blocksOf('docs/kerberos.md').filter(({ heading }) => heading === 'A PAM session');
  await put('/etc/pam.d/kpx-executor', pam?.text ?? '');
  await put(`${DROP_INS}/10-all.conf`, dropIn?.text ?? '');
}

it.each([
  ['has expired', ['/usr/sbin/usermod', '--expiredate', '1']],
  ['has a password that has to be changed', ['/usr/bin/chage', '--lastday', '0']],
])('docs/kerberos.md: an account that %s gets no executor where PAM is asked', async (_what, argv) => {
  await machine.run(['/usr/sbin/useradd', '--uid', '24005', 'former']);
  onTestFinished(async () => void (await machine.run(['/usr/sbin/userdel', '--remove', 'former'], { allowFailure: true })));
  await machine.run([...argv, 'former']);
  await withPamSession();
  const kpx = await startKpx({ broker: { policy: { start_attempts: 1 } } });
  await kpx.publish(jobOf('former'));
  const [parked] = await kpx.deadLetters(1);
  expect(parked?.headers['x-kpx-detail']).toContain('exit 224');
  expect(await machine.exists(`${WORKSPACES}/former/started.json`)).toBe(false);
});

it('docs/kerberos.md: an executor with a PAM session does its job, and stays in its control group', async () => {
  await withPamSession();
  const kpx = await startKpx();
  await atWork(kpx, 'alice');
  const { MainPID, ControlGroup } = await machine.show(unitOf('alice'), 'MainPID', 'ControlGroup');
  expect(await machine.readFile(`/proc/${MainPID}/cgroup`)).toContain('kpx-executor@alice.service');
  expect(ControlGroup).toContain('/kpx-executors.slice/');
});

describe('docs/troubleshooting.md: an executor that PID 1 cannot start', () => {
  it.each([
    ['Group=no-such-group', 'exit 216'],
    ['User=no-such-user', 'exit 217'],
    ['PAMName=kpx-refuses', 'exit 224'],
    ['BindPaths=/no/such/directory:/mnt', 'exit 226'],
  ])('with %s: %s', async (line, words) => {
    await put('/etc/pam.d/kpx-refuses', 'account required pam_deny.so\nsession required pam_deny.so\n');
    await put(`/etc/systemd/system/${unitOf('alice')}.d/50-wrong.conf`, `[Service]\n${line}\n`);
    const kpx = await startKpx({ broker: { policy: { start_attempts: 1 } } });
    await kpx.publish(jobOf('alice'));
    // Whether the job is parked or handed back: the reason is the same.
    const { reason } = await kpx.helperSays({ verb: 'spawnExecutor', decision: 'refused' });
    expect(reason).toContain(words);
  });

  it('a second broker is turned away by PID 1', async () => {
    const kpx = await startKpx();
    await atWork(kpx, 'alice');
    const cursor = await machine.journalCursor();
    const connect =
      'const { SeqpacketSocket } = require("node-unix-socket"); new SeqpacketSocket().connect("/run/kpx/privhelper.sock", () => {});';
    const node = ['/usr/bin/env', `--chdir=${machine.facts.checkout}`, '/usr/bin/node', '--eval', connect];
    await machine.run(node, { user: 'kpx-broker', allowFailure: true });
    const said = ({ MESSAGE }: { MESSAGE: string }) => MESSAGE.includes('Too many incoming connections');
    await machine.waitForJournal('that it is one too many', [`--after-cursor=${cursor}`, `--unit=${SOCKET}`], said);
  });

  it.each(['amqp-password', 'job-mac-key'])('without its file %s the broker is started again and again', async (file) => {
    const kpx = await startKpx();
    const cursor = await machine.journalCursor();
    await machine.remove(`/etc/kpx/${file}`);
    await machine.run(['/usr/bin/systemctl', 'restart', BROKER], { allowFailure: true });
    const said = ({ MESSAGE }: { MESSAGE: string }) => MESSAGE.includes('status=243/CREDENTIALS');
    await machine.waitForJournal('how it ends', [`--after-cursor=${cursor}`, `--unit=${BROKER}`], said);
    await kpx.mark();
    await kpx.configure();
    await kpx.inUse();
  });
});
