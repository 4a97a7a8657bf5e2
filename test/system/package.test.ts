import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { BootedKpx, BROKER, SLICE, SOCKET, TEMPS, unitOf, WORKSPACES } from '../fixtures/booted/kpx.js';
import { OTHER_LINE, packageOfOtherVersion } from '../fixtures/booted/other-version.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import { installKpx, runningPrograms, startKpx } from './installed-kpx.js';
import { bootedMachine } from './shared-machine.js';

/*
 * apt and dpkg with the real package, in the machine that all files share. Each test makes the state that it starts from; the last word is
 * that of a machine without kpx, on which others install it.
 */

const machine = bootedMachine();

const APT_TIMEOUT_MS = 90_000;
const TEST_TIMEOUT_MS = 240_000;
const EXIT_WRONG_CONFIGURATION = 78;
/** Nobody else in these tests is called so: their directories can be removed. */
const USERS = ['quin', 'ria', 'sam', 'tess'];
const CONFIGURATION = '/etc/kpx';
const SECRETS = [`${CONFIGURATION}/amqp-password`, `${CONFIGURATION}/executor-msgq`, `${CONFIGURATION}/job-mac-key`];
/** A copy: what is packed while the tests run replaces the file that was packed for them. */
const CURRENT = '/var/tmp/kpx-current.deb';
/** A higher version, which speaks another version of the wire and brings another broker.toml. */
const NEWER = '/var/tmp/kpx-newer.deb';
/** What unattended installations use: an admin's own version of a file is kept, and nobody is asked. */
const UNATTENDED = ['-o', 'Dpkg::Options::=--force-confdef', '-o', 'Dpkg::Options::=--force-confold'];
/** A job that is not done before the executor is ended. */
const ENDLESS_JOB = { JOB_MS: '600000' };

/** Jobs that wait while an upgrade runs. */
const BACKLOG = 20;

const lines = (text: string) => text.split('\n').filter(Boolean);

/** Rejects when apt fails, and when it leaves anything half done. */
async function apt(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await machine.run(['/usr/bin/apt-get', '--yes', '--quiet', ...UNATTENDED, ...args], {
    timeoutMs: APT_TIMEOUT_MS,
    allowFailure: true,
  });
  // What dpkg and its scripts say of a failure is in stdout: apt gives them a terminal.
  if (exitCode !== 0) throw new Error(`apt-get ${args.join(' ')}: exit code ${exitCode}\n${stdout}${stderr}`);
  expect((await machine.run(['/usr/bin/dpkg', '--audit'])).stdout).toBe('');
  return stdout + stderr;
}

const install = () => apt('install', CURRENT);
const upgrade = () => apt('install', NEWER);

/** A machine that has never had kpx. */
async function neverInstalled(): Promise<void> {
  await machine.run(['/usr/bin/dpkg', '--purge', 'kpx'], { timeoutMs: APT_TIMEOUT_MS }); // not an error where there is none
  const dropIns = lines((await machine.run(['/usr/bin/find', '/etc/systemd/system', '-name', 'kpx-*.d'])).stdout);
  for (const directory of ['/srv/kpx', CONFIGURATION, ...dropIns, ...USERS.map((user) => `/home/${user}`)]) await machine.remove(directory);
  await machine.run(['/usr/sbin/userdel', 'kpx-broker'], { allowFailure: true });
  await machine.systemctl('daemon-reload');
}

/** Installed for the first time, with nothing configured. */
async function justInstalled(): Promise<void> {
  await neverInstalled();
  await install();
}

async function installedVersion(): Promise<string> {
  const { stdout } = await machine.run(['/usr/bin/dpkg-query', '--show', `--showformat=\${Status} \${Version}`, 'kpx']);
  return stdout;
}

/** "mode owner:group" */
async function statusOf(path: string): Promise<string> {
  return (await machine.run(['/usr/bin/stat', '--format=%a %U:%G', path])).stdout.trim();
}

/** Everything below, with owner, mode, time of change and content: what nobody has touched is equal. */
async function snapshot(...directories: string[]): Promise<string[]> {
  const { stdout: entries } = await machine.run(['/usr/bin/find', ...directories, '-printf', String.raw`%p %u:%g %m %T@\n`]);
  const { stdout: sums } = await machine.run(['/usr/bin/find', ...directories, '-type', 'f', '-exec', '/usr/bin/sha256sum', '{}', '+']);
  return [...lines(entries), ...lines(sums)].sort();
}

async function unitsIn(...states: string[]): Promise<string[]> {
  const text = await machine.systemctl('list-units', '--plain', '--no-legend', `--state=${states.join(',')}`, 'kpx-*');
  return lines(text).map((line) => line.split(' ')[0] ?? '');
}

const failedUnits = () => unitsIn('failed');

/** Links of `systemctl enable`. */
async function enableLinks(): Promise<string[]> {
  const { stdout } = await machine.run(['/usr/bin/find', '/etc/systemd/system', '-name', 'kpx-*', '-type', 'l']);
  return lines(stdout).sort();
}

const ENABLE_LINKS = [`/etc/systemd/system/multi-user.target.wants/${BROKER}`, `/etc/systemd/system/sockets.target.wants/${SOCKET}`];

async function enabled(unit: string): Promise<string> {
  return (await machine.run(['/usr/bin/systemctl', 'is-enabled', unit], { allowFailure: true })).stdout.trim();
}

async function mainPid(unit: string): Promise<number> {
  return Number((await machine.show(unit, 'MainPID')).MainPID);
}

/** The helper that serves the broker now. */
async function helperPid(): Promise<number> {
  const [unit = ''] = lines(await machine.systemctl('list-units', '--plain', '--no-legend', '--state=running', 'kpx-privhelper@*'));
  return await mainPid(unit.split(' ')[0] ?? '');
}

/** The jobs that RabbitMQ has given to executors of a virtual host and that are not done. */
async function jobsInHand(kpx: BootedKpx): Promise<number> {
  const { stdout } = await machine.run([
    ...['/usr/sbin/rabbitmqctl', '--quiet', '--no-table-headers', 'list_channels', 'user', 'vhost', 'messages_unacknowledged'],
  ]);
  const { vhost, server } = kpx.vhost;
  const channels = lines(stdout).map((line) => line.split('\t'));
  return channels
    .filter(([user, where]) => user === server.users.executor.name && where === vhost)
    .reduce((sum, [, , count]) => sum + Number(count), 0);
}

async function dropIn(unit: string, text: string): Promise<void> {
  await machine.writeFile(`/etc/systemd/system/${unit}.d/admin.conf`, text);
  await machine.systemctl('daemon-reload');
}

async function writeBrokerToml(text: string): Promise<void> {
  await machine.writeFile(`${CONFIGURATION}/broker.toml`, text, { mode: 0o640, owner: 'root:kpx-broker' });
}

async function check(program: 'kpx-broker' | 'kpx-privhelper', file: string) {
  const { exitCode, stdout, stderr } = await machine.run([`/usr/sbin/${program}`, '--config', `${CONFIGURATION}/${file}`, '--check'], {
    allowFailure: true,
  });
  return { exitCode, said: stdout + stderr };
}

/** What a first installation leaves: everything in place, nothing running, nothing that will. */
async function expectFirstInstallation(): Promise<void> {
  expect(await installedVersion()).toMatch(/^install ok installed /);
  const { stdout: account } = await machine.run(['/usr/bin/getent', 'passwd', 'kpx-broker']);
  expect(account).toMatch(/^kpx-broker:x:[1-9]\d{0,2}:[1-9]\d{0,2}:kpx broker:\/nonexistent:\/usr\/sbin\/nologin\n$/);
  expect((await machine.run(['/usr/bin/getent', 'shadow', 'kpx-broker'])).stdout).toMatch(/^kpx-broker:!\*?:/);
  expect((await machine.run(['/usr/bin/id', '--groups', '--name', 'kpx-broker'])).stdout).toBe('kpx-broker\n');
  expect(await machine.exists('/nonexistent')).toBe(false);
  const wanted = {
    '/run/kpx': '755 root:root',
    '/run/kpx/executors': '700 root:root',
    '/run/kpx-broker': '2710 kpx-broker:kpx-admin',
    '/srv/kpx': '755 root:root',
    [WORKSPACES]: '755 root:root',
    [TEMPS]: '755 root:root',
    [CONFIGURATION]: '755 root:root',
    [`${CONFIGURATION}/broker.toml`]: '640 root:kpx-broker',
    [`${CONFIGURATION}/privhelper.toml`]: '600 root:root',
    [`${CONFIGURATION}/job-mac-key`]: '600 root:root',
  };
  const found = await Promise.all(Object.keys(wanted).map(async (path) => [path, await statusOf(path)]));
  expect(Object.fromEntries(found)).toEqual(wanted);
  expect(await enableLinks()).toEqual([]);
  expect([await enabled(BROKER), await enabled(SOCKET), await enabled('kpx-executor@.service')]).toEqual([
    'disabled',
    'disabled',
    'static',
  ]);
  expect(await unitsIn('active', 'activating', 'failed')).toEqual([]);
  expect(await runningPrograms()).toEqual([]);
  expect((await machine.run(['/usr/bin/dpkg', '--verify', 'kpx'])).stdout).toBe('');
}

beforeAll(async () => {
  // With one, dpkg's scripts would leave services as they are, and the tests would judge something else.
  expect(await machine.exists('/usr/sbin/policy-rc.d')).toBe(false);
  await machine.run(['/usr/bin/cp', await BootedKpx.packageFile(machine), CURRENT]);
  await machine.run(['/usr/bin/dd', 'status=none', `of=${NEWER}`], { input: await packageOfOtherVersion('deb') });
});

afterAll(async () => {
  await neverInstalled();
  for (const file of [CURRENT, NEWER]) await machine.remove(file);
});

describe('installing on a machine without kpx', { timeout: TEST_TIMEOUT_MS }, () => {
  beforeEach(neverInstalled);

  it('makes the account and the directories, protects the configuration, and enables and starts nothing', async () => {
    expect(await install()).toContain(`systemctl enable --now ${BROKER}`);
    await expectFirstInstallation();
  });

  it('brings units that systemd has nothing to say about, and manual pages that man finds', async () => {
    await install();
    const units = [BROKER, SOCKET, SLICE, unitOf('ada'), 'kpx-privhelper@1-1-1.service'];
    const hasMan = await machine.exists('/usr/bin/man');
    const verify = ['/usr/bin/systemd-analyze', 'verify', '--recursive-errors=no', `--man=${hasMan ? 'yes' : 'no'}`];
    const { stdout, stderr } = await machine.run([...verify, ...units]);
    expect(stdout + stderr).toBe('');
    const pages = ['8 kpx-broker', '8 kpx-privhelper', '5 kpx-broker.toml', '5 kpx-privhelper.toml'];
    for (const page of pages) {
      const [section = '', name = ''] = page.split(' ');
      const file = `/usr/share/man/man${section}/${name}.${section}.gz`;
      if (hasMan) expect((await machine.run(['/usr/bin/man', '--where', section, name])).stdout).toBe(`${file}\n`);
      else expect(await machine.exists(file)).toBe(true);
    }
  });

  it('leaves a configuration of which --check says what is missing, until it is there', async () => {
    await install();
    const before = await check('kpx-privhelper', 'privhelper.toml');
    expect(before).toEqual({ exitCode: EXIT_WRONG_CONFIGURATION, said: expect.stringContaining('executor.msgq_file: ') });
    await machine.writeFile(`${CONFIGURATION}/executor-msgq`, 'amqp://knime-executor:secret@127.0.0.1:5672/knime\n', { mode: 0o600 });
    await machine.writeFile(`${CONFIGURATION}/amqp-password`, 'secret\n', { mode: 0o600 });
    const DONE = /toml: no errors( in the file)?; kpxctl doctor looks at the rest\.\n$/;
    for (const [program, file] of [['kpx-privhelper', 'privhelper.toml'] as const, ['kpx-broker', 'broker.toml'] as const])
      expect(await check(program, file)).toEqual({ exitCode: 0, said: expect.stringMatching(DONE) });
  });

  it('goes on where an admin has made something else of a directory', async () => {
    await machine.writeFile('/srv/kpx/temp', 'not a directory\n');
    expect(await install()).toContain('/srv/kpx/temp');
    expect(await installedVersion()).toMatch(/^install ok installed /);
    expect((await machine.run(['/usr/bin/dpkg', '--audit'])).stdout).toBe('');
    expect((await check('kpx-privhelper', 'privhelper.toml')).said).toContain('directories.temp_parent: ');
  });
});

describe('an upgrade', { timeout: TEST_TIMEOUT_MS }, () => {
  beforeEach(justInstalled);

  it('of what nobody has configured replaces the configuration, which stays readable by the broker, and starts nothing', async () => {
    await upgrade();
    await expectFirstInstallation();
    expect(await installedVersion()).toMatch(/\+newer$/);
    expect(await machine.readFile(`${CONFIGURATION}/broker.toml`)).toContain(OTHER_LINE);
    expect(await machine.run(['/usr/bin/ls', CONFIGURATION])).toMatchObject({ stdout: 'broker.toml\njob-mac-key\nprivhelper.toml\n' });
  });

  it('replaces broker and helper, loses no job, and leaves executors, configuration and drop-ins alone', async () => {
    await dropIn(BROKER, '[Service]\nMemoryMax=900M\n');
    await dropIn('kpx-executor@.service', '[Service]\nTasksMax=1234\n');
    const kpx = await startKpx();
    // An admin's own choice of mode and group.
    await machine.run(['/usr/bin/chmod', '0440', `${CONFIGURATION}/broker.toml`]);
    await machine.run(['/usr/bin/chmod', '0400', `${CONFIGURATION}/privhelper.toml`]);
    const userOf = (index: number) => (index % 2 === 0 ? 'sam' : 'tess');
    await kpx.publish(jobOf('sam', 'first'), jobOf('tess', 'first'));
    const [[sam], [tess]] = await Promise.all([kpx.jobsDone('sam', 1), kpx.jobsDone('tess', 1)]);
    const programs = [await mainPid(BROKER), await helperPid()];
    const configuration = await snapshot(CONFIGURATION);
    await kpx.mark();
    const cursor = await machine.journalCursor();

    const jobs = Array.from({ length: BACKLOG }, (_, index) => `before-${index}`);
    await kpx.publish(...jobs.map((job, index) => jobOf(userOf(index), job)));
    let upgraded = false;
    const upgrading = upgrade().finally(() => {
      upgraded = true;
    });
    while (!upgraded) {
      const job = `while-${jobs.length}`;
      const user = userOf(jobs.length);
      await kpx.publish(jobOf(user, job));
      jobs.push(job);
      // Some are always under way, and never so many that the delay queues make the test long.
      const enough = (jobs.length - BACKLOG) / 2;
      await eventually('jobs are being done', async () => upgraded || (await kpx.done(user)).length > enough, APT_TIMEOUT_MS);
    }
    await upgrading;

    await kpx.inUse();
    await kpx.publish(jobOf('sam', 'last'), jobOf('tess', 'last'));
    const half = Math.floor(jobs.length / 2);
    const done = {
      sam: await kpx.jobsDone('sam', jobs.length - half + 2, 60_000),
      tess: await kpx.jobsDone('tess', half + 2, 60_000),
    };
    expect(jobs.length).toBeGreaterThan(2 * BACKLOG);
    for (const [user, pid] of [['sam', sam?.pid] as const, ['tess', tess?.pid] as const]) {
      const published = ['first', ...jobs.filter((_, index) => userOf(index) === user), 'last'];
      expect(done[user].map(({ job }) => job).sort()).toEqual(published.sort());
      expect(new Set(done[user].map((job) => job.pid))).toEqual(new Set([pid]));
      expect(await machine.show(unitOf(user), 'MainPID', 'NRestarts')).toEqual({ MainPID: `${pid}`, NRestarts: '0' });
    }

    expect(await installedVersion()).toMatch(/^install ok installed .*\+newer$/);
    const replaced = [await mainPid(BROKER), await helperPid()];
    for (const pid of [...programs, ...replaced]) expect(pid).toBeGreaterThan(1);
    expect(new Set([...programs, ...replaced]).size).toBe(4);
    const brokers = await machine.journal(`--after-cursor=${cursor}`, '--identifier=kpx-broker');
    expect(new Set(brokers.map(({ _PID }) => Number(_PID)))).toEqual(new Set([programs[0], replaced[0]])); // restarted once, not twice
    expect((await runningPrograms()).map((line) => Number(line.split(' ')[0])).sort()).toEqual([...replaced, sam?.pid, tess?.pid].sort());
    // dpkg puts its own version of a changed file beside it.
    const after = (await snapshot(CONFIGURATION)).filter((line) => !line.includes('.dpkg-dist'));
    const files = (entries: string[]) => entries.filter((line) => !line.startsWith(`${CONFIGURATION} `)); // the directory has a new entry
    expect(files(after)).toEqual(files(configuration));
    expect(await statusOf(`${CONFIGURATION}/broker.toml`)).toBe('440 root:kpx-broker');
    expect(await machine.show(BROKER, 'MemoryMax', 'NeedDaemonReload')).toEqual({
      MemoryMax: `${900 * 1024 * 1024}`,
      NeedDaemonReload: 'no',
    });
    expect(await machine.show(unitOf('sam'), 'TasksMax', 'NeedDaemonReload')).toEqual({ TasksMax: '1234', NeedDaemonReload: 'no' });
    expect(await failedUnits()).toEqual([]);
    expect([await enabled(BROKER), await enabled(SOCKET)]).toEqual(['enabled', 'enabled']);
  });

  it('leaves a stopped broker stopped', async () => {
    const kpx = await startKpx();
    await kpx.publish(jobOf('sam', 'one'));
    const [before] = await kpx.jobsDone('sam', 1);
    await machine.systemctl('stop', BROKER);
    await upgrade();
    expect(await machine.show(BROKER, 'ActiveState', 'SubState')).toEqual({ ActiveState: 'inactive', SubState: 'dead' });
    expect(await enabled(BROKER)).toBe('enabled');
    expect(await failedUnits()).toEqual([]);
    await kpx.mark();
    await machine.systemctl('start', BROKER);
    await kpx.inUse();
    await kpx.publish(jobOf('sam', 'two'));
    expect((await kpx.jobsDone('sam', 2)).map(({ job, pid }) => [job, pid])).toEqual([
      ['one', before?.pid],
      ['two', before?.pid],
    ]);
  });

  it('is complete for dpkg even when the new broker does not start, and says so', async () => {
    const kpx = await startKpx();
    await kpx.publish(jobOf('sam', 'one'));
    const [before] = await kpx.jobsDone('sam', 1);
    const configuration = await machine.readFile(`${CONFIGURATION}/broker.toml`);
    await writeBrokerToml(`${configuration}\n[nonsense]\n`);
    expect(await upgrade()).toContain(`kpx: ${BROKER} does not run`);
    expect(await installedVersion()).toMatch(/^install ok installed .*\+newer$/);
    expect(await machine.show(BROKER, 'ActiveState', 'ExecMainStatus')).toEqual({
      ActiveState: 'failed',
      ExecMainStatus: `${EXIT_WRONG_CONFIGURATION}`,
    });
    expect(await mainPid(unitOf('sam'))).toBe(before?.pid);
    await writeBrokerToml(configuration);
    await kpx.mark();
    await machine.systemctl('restart', BROKER);
    await kpx.inUse();
    await kpx.publish(jobOf('sam', 'two'));
    expect((await kpx.jobsDone('sam', 2)).map(({ pid }) => pid)).toEqual([before?.pid, before?.pid]);
  });
});

describe('removing', { timeout: TEST_TIMEOUT_MS }, () => {
  beforeEach(justInstalled);

  it('ends all that runs, gives jobs back, keeps configuration and data; installed again, it goes on with them', async () => {
    // Wherever an admin has moved an executor to.
    await dropIn(unitOf('ria'), '[Service]\nSlice=system.slice\n');
    const kpx = await startKpx({ standIn: ENDLESS_JOB });
    const jobs = ['one', 'two', 'three'];
    await kpx.publish(...jobs.flatMap((job) => [jobOf('quin', job), jobOf('ria', job)]));
    await eventually('both executors have their jobs', async () => (await jobsInHand(kpx)) === 2 * jobs.length);
    expect(await machine.show(unitOf('ria'), 'Slice')).toEqual({ Slice: 'system.slice' });
    await machine.writeFile(`${WORKSPACES}/quin/result.csv`, '42\n', { owner: 'quin', mode: 0o600 });
    const data = [`${WORKSPACES}/quin`, `${TEMPS}/quin`, '/home/quin', `${WORKSPACES}/ria`, `${TEMPS}/ria`, '/home/ria'];
    const kept = await snapshot(CONFIGURATION, ...data);

    await apt('remove', 'kpx');
    expect(await runningPrograms()).toEqual([]);
    expect(await unitsIn('active', 'activating', 'deactivating', 'failed')).toEqual([]);
    expect(await machine.exists('/run/kpx')).toBe(false);
    expect(await machine.exists('/usr/lib/kpx')).toBe(false);
    await eventually('the jobs are back', async () => {
      const depth = await kpx.vhost.queueDepth(KNIME_QUEUE);
      return depth?.messages === 2 * jobs.length && depth.consumers === 0;
    });
    expect(await snapshot(CONFIGURATION, ...data)).toEqual(kept);
    for (const secret of SECRETS) expect(await statusOf(secret)).toBe('600 root:root');

    await kpx.configure();
    await kpx.mark();
    await install();
    await kpx.inUse();
    expect([await enabled(BROKER), await enabled(SOCKET)]).toEqual(['enabled', 'enabled']);
    for (const user of ['quin', 'ria']) expect((await kpx.jobsDone(user, 3)).map(({ job }) => job).sort()).toEqual(jobs.toSorted());
    expect(await failedUnits()).toEqual([]);
  });

  it('ends all that runs also when an upgrade has been broken off before the new version was configured', async () => {
    const kpx = await startKpx();
    await kpx.publish(jobOf('sam', 'one'));
    await kpx.jobsDone('sam', 1);
    await machine.run(['/usr/bin/dpkg', '--force-confold', '--unpack', NEWER], { timeoutMs: APT_TIMEOUT_MS });
    await machine.run(['/usr/bin/dpkg', '--remove', 'kpx'], { timeoutMs: APT_TIMEOUT_MS });
    expect(await runningPrograms()).toEqual([]);
    expect(await unitsIn('active', 'activating', 'deactivating', 'failed')).toEqual([]);
    await install();
  });

  it('when nothing runs leaves nothing running, and installed again it stays disabled', async () => {
    await installKpx();
    await apt('remove', 'kpx');
    await install();
    expect([await enabled(BROKER), await enabled(SOCKET)]).toEqual(['disabled', 'disabled']);
    expect(await unitsIn('active', 'activating', 'failed')).toEqual([]);
  });
});

describe('installing again', { timeout: TEST_TIMEOUT_MS }, () => {
  beforeEach(justInstalled);

  it('is complete for dpkg even when the broker does not start, and says so', async () => {
    const kpx = await startKpx();
    await apt('remove', 'kpx');
    const configuration = await machine.readFile(`${CONFIGURATION}/broker.toml`);
    await writeBrokerToml(`${configuration}\n[nonsense]\n`);
    expect(await install()).toContain(`kpx: ${BROKER} does not run`);
    expect(await installedVersion()).toMatch(/^install ok installed /);
    await writeBrokerToml(configuration);
    await kpx.mark();
    await machine.systemctl('restart', BROKER);
    await kpx.inUse();
  });
});

describe('a purge', { timeout: TEST_TIMEOUT_MS }, () => {
  beforeEach(justInstalled);

  it('takes configuration, secrets and enablement with it, and neither the account nor users’ data', async () => {
    const kpx = await startKpx();
    await kpx.publish(jobOf('tess', 'one'));
    await kpx.jobsDone('tess', 1);
    await machine.writeFile(`${CONFIGURATION}/job-mac-key`, '', { mode: 0o600 }); // as a full disk leaves it
    await upgrade(); // leaves dpkg's own version of broker.toml beside the admin's
    await kpx.inUse();
    expect((await machine.run(['/usr/bin/stat', '--format=%s', `${CONFIGURATION}/job-mac-key`])).stdout).toBe('32\n');
    expect(await enableLinks()).toEqual(ENABLE_LINKS);
    const data = [`${WORKSPACES}/tess`, `${TEMPS}/tess`, '/home/tess'];
    const kept = await snapshot(...data);
    const { stdout: account } = await machine.run(['/usr/bin/getent', 'passwd', 'kpx-broker']);

    await apt('purge', 'kpx');
    expect(await runningPrograms()).toEqual([]);
    for (const gone of [CONFIGURATION, '/run/kpx', '/run/kpx-broker', '/usr/lib/kpx', '/usr/share/doc/kpx'])
      expect(await machine.exists(gone)).toBe(false);
    expect(await enableLinks()).toEqual([]);
    expect((await machine.run(['/usr/bin/find', '/var/lib/systemd', '/var/lib/dpkg/info', '-name', '*kpx*'])).stdout).toBe('');
    expect(await snapshot(...data)).toEqual(kept);
    expect((await machine.run(['/usr/bin/getent', 'passwd', 'kpx-broker'])).stdout).toBe(account);
    expect(await unitsIn('active', 'activating', 'failed')).toEqual([]);

    await install();
    await expectFirstInstallation();
    expect(await snapshot(...data)).toEqual(kept);
  });

  it('after a removal is as thorough', async () => {
    await startKpx();
    await apt('remove', 'kpx');
    expect(await enableLinks()).toEqual(ENABLE_LINKS);
    await apt('purge', 'kpx');
    expect(await machine.exists(CONFIGURATION)).toBe(false);
    expect(await enableLinks()).toEqual([]);
    await install();
    await expectFirstInstallation();
  });

  it('leaves what an admin has put beside the configuration', async () => {
    await machine.writeFile(`${CONFIGURATION}/ca.pem`, 'a certificate\n');
    for (const secret of ['sealed-password', 'executor-msgq.shared']) await machine.writeFile(`${CONFIGURATION}/${secret}`, 'secret\n');
    // As a user may mount a file system in a directory of their own.
    const mounted = '/run/kpx-tickets/tess';
    await machine.run(['/usr/bin/mkdir', '--parents', mounted]);
    await machine.run(['/usr/bin/mount', '-t', 'tmpfs', 'tmpfs', mounted]);
    onTestFinished(async () => {
      await machine.run(['/usr/bin/umount', mounted]);
      await machine.remove('/run/kpx-tickets');
    });
    await apt('purge', 'kpx');
    expect((await machine.run(['/usr/bin/ls', CONFIGURATION])).stdout).toBe('ca.pem\n');
  });
});
