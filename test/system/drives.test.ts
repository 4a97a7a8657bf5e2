import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { installFuse } from '../fixtures/booted/fuse.js';
import { type BootedKpx, type DoneJob, unitOf } from '../fixtures/booted/kpx.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { withKpx } from './kpx-of-file.js';
import { bootedLdap, bootedMachine } from './shared-machine.js';

/* kpx-drive@.service, with a server that serves a directory of this machine; homes that root may not look at. */

const machine = bootedMachine();
const ldap = bootedLdap();

/** Known to LDAP, and to no other test. */
const PEOPLE = {
  'drive-ann': 24_501,
  'drive-ben': 24_502,
  'drive-killed': 24_503,
  'drive-hung': 24_504,
  'drive-stop': 24_505,
  'drive-bad': 24_506,
  'drive-home': 24_507,
};
/** What the drives show: a directory of each user. */
const BEHIND = '/srv/kpx-test-drives';
const FUSERMOUNT = '/usr/bin/fusermount3';
const FUSE_CONF = '/etc/fuse.conf';
const SERVER_DROP_IN = '/etc/systemd/system/kpx-drive@.service.d/50-test.conf';
const DROP_IN = '/etc/systemd/system/kpx-executor@.service.d/30-kpx-drive.conf';
const SERVER = `/usr/bin/bindfs -f --no-allow-other ${BEHIND}/%i`;
const SILENT_SECONDS = 2;
const SET_UP_TIMEOUT_MS = 120_000;
/** The broker tries again at most so seldom. */
const BACKOFF = { backoff_initial: '100ms', backoff_max: '1s' };
/** For a server that has been silent, and an executor that ends in order. */
const END_TIMEOUT_MS = 20_000;

const driveUnitOf = (user: string) => `kpx-drive@${user}.service`;
const driveOf = (user: string) => `/run/kpx-drives/${user}/mnt`;

let kpx: BootedKpx;
const ends: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  await installFuse(machine);
  for (const [name, uid] of Object.entries(PEOPLE)) {
    await ldap.addUser(name, { uid });
    ends.push(() => ldap.deleteUser(name));
    await machine.run(['/usr/bin/install', '-d', '--mode=0700', `--owner=${name}`, `${BEHIND}/${name}`]);
  }
  ends.push(() => machine.remove(BEHIND));
  ends.push(
    await withKpx({ broker: { policy: BACKOFF } }, async (installed) => {
      kpx = installed;
      await serveBy(SERVER);
      ends.push(() => machine.remove(SERVER_DROP_IN));
      await setUp('--apply');
      await kpx.start();
    }),
    () => setUp('--remove', '--apply'),
  );
}, SET_UP_TIMEOUT_MS);
afterAll(async () => {
  const problems: unknown[] = [];
  for (const end of ends.reverse()) await end().catch((error) => problems.push(error));
  expect(problems).toEqual([]);
});

const setUp = async (...options: string[]) =>
  (await machine.run(['/usr/bin/kpxctl', 'drives', 'setup', ...options], { allowFailure: true })).stdout;

async function serveBy(server: string): Promise<void> {
  const lines = ['[Service]', `Environment="KPX_DRIVE_SERVER=${server}"`, `Environment=KPX_DRIVE_SILENT_SECONDS=${SILENT_SECONDS}`];
  await machine.writeFile(SERVER_DROP_IN, `${lines.join('\n')}\n`);
  await machine.systemctl('daemon-reload');
}

/** What a program sees that a job of this user runs. */
async function run(user: string, ...argv: string[]): Promise<DoneJob> {
  const job = randomUUID();
  await kpx.publish(jobOf(user, job, { run: argv }));
  return await kpx.jobDone(user, job);
}

const inDrive = (user: string, command: string) => run(user, '/bin/sh', '-c', `cd "$KPX_DRIVE" && ${command}`);

async function serverOf(user: string): Promise<string> {
  return (await machine.run(['/usr/bin/pgrep', '--full', `^/usr/bin/bindfs .*${user}/mnt$`])).stdout.trim();
}

const isMounted = async (user: string) => (await machine.readFile('/proc/self/mountinfo')).includes(driveOf(user));

async function hasEnded(user: string): Promise<void> {
  const states = async () =>
    await Promise.all([unitOf(user), driveUnitOf(user)].map(async (unit) => (await machine.show(unit, 'ActiveState')).ActiveState));
  const isOver = async () => (await states()).every((state) => ['inactive', 'failed'].includes(state ?? ''));
  await eventually(`the executor of ${user} and its drive have ended`, isOver, END_TIMEOUT_MS);
  expect(await isMounted(user)).toBe(false);
  expect(await machine.exists(`/run/kpx-drives/${user}`)).toBe(false);
}

it('kpxctl says what is missing, does it when told to, and takes it away again', async () => {
  onTestFinished(() => setUp('--apply').then(() => {}));
  await setUp('--remove', '--apply');
  expect(await machine.exists(DROP_IN)).toBe(false);
  await machine.run(['/usr/bin/mv', FUSERMOUNT, `${FUSERMOUNT}.away`]);
  expect(await setUp('--apply')).toMatch(/fails .*fusermount3.*it is not installed.*apt install fuse3.*see to what fails first/s);
  await machine.run(['/usr/bin/mv', `${FUSERMOUNT}.away`, FUSERMOUNT]);
  expect(await setUp()).toMatch(/ok .*\/dev\/fuse.*ok .*\/usr\/bin\/bindfs.*to do .*30-kpx-drive\.conf.*BindsTo=.*--apply does it/s);
  expect(await machine.exists(DROP_IN)).toBe(false);
  expect(await setUp('--apply')).toContain('done');
  expect(await machine.show(unitOf('drive-ann'), 'BindsTo')).toEqual({ BindsTo: driveUnitOf('drive-ann') });
  expect(await setUp()).toContain('Nothing is to be done');
});

it('an executor has the drive of its user, whom alone the kernel lets in, and the drive goes with it', async () => {
  const [user, other] = ['drive-ann', 'drive-ben'];
  expect(await inDrive(user, `echo of ${user} >made.txt; cat made.txt`)).toMatchObject({ ran: { exitCode: 0, output: `of ${user}\n` } });
  expect(await machine.readFile(`${BEHIND}/${user}/made.txt`)).toBe(`of ${user}\n`);
  for (const who of [{}, { user: other }])
    expect(await machine.run(['/usr/bin/ls', driveOf(user)], { ...who, allowFailure: true })).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('Permission denied'),
    });
  // An executor that starts meanwhile, and so a helper, have it in their view of the file system.
  expect(await inDrive(other, `echo of ${other} >made.txt; ls ${driveOf(user)}`)).toMatchObject({
    ran: { exitCode: 2, output: expect.stringContaining('Permission denied') },
  });
  expect(await machine.readFile(`${BEHIND}/${other}/made.txt`)).toBe(`of ${other}\n`);
  await machine.systemctl('stop', unitOf(user));
  await hasEnded(user);
  expect(await isMounted(other)).toBe(true);
});

it('an executor cannot get into the server of its drive, in which set-uid programs work', async () => {
  const user = 'drive-ann';
  await inDrive(user, 'true');
  const pid = await serverOf(user);
  expect(await machine.readFile(`/proc/${pid}/status`)).toMatch(/^NoNewPrivs:\t0$/m);
  expect(await run(user, '/usr/bin/head', '-c1', '/proc/self/environ')).toMatchObject({ ran: { exitCode: 0 } });
  for (const name of ['environ', 'mem', 'root/etc/hostname'])
    expect(await run(user, '/usr/bin/head', '-c1', `/proc/${pid}/${name}`)).toMatchObject({
      ran: { exitCode: 1, output: expect.stringMatching(/Permission denied|No such file/) },
    });
});

it('doctor has a drive mounted that no executor has, and leaves none behind', async () => {
  const user = 'drive-ben';
  await machine.systemctl('stop', unitOf(user));
  await hasEnded(user);
  const { stdout } = await machine.run(['/usr/bin/kpxctl', 'doctor', '--user', user, '--json'], { allowFailure: true, timeoutMs: 90_000 });
  const { checks } = JSON.parse(stdout) as { checks: { name: string }[] };
  const found = checks.find(({ name }) => name === 'user drive');
  expect(found).toMatchObject({ result: 'ok', seen: `"${user}" gets a drive, and it answers` });
  await hasEnded(user);
});

it('a server that dies ends the executor, and the next job has another one with a new drive', async () => {
  const user = 'drive-killed';
  const { pid } = await inDrive(user, 'true');
  await machine.run(['/usr/bin/kill', '-KILL', await serverOf(user)]);
  await hasEnded(user);
  const said = ({ MESSAGE }: { MESSAGE: string }) => MESSAGE === '/usr/bin/bindfs has ended (signal SIGKILL)';
  await machine.waitForJournal('what has happened', [`--unit=${driveUnitOf(user)}`], said);
  const next = await inDrive(user, 'echo again >again.txt; cat again.txt');
  expect(next).toMatchObject({ ran: { exitCode: 0, output: 'again\n' } });
  expect(next.pid).not.toBe(pid);
});

it('a server that hangs is ended, and so is the executor that waits for it', async () => {
  const user = 'drive-hung';
  const { pid } = await inDrive(user, 'true');
  await machine.run(['/usr/bin/kill', '-STOP', await serverOf(user)]);
  await kpx.publish(jobOf(user, randomUUID(), { run: ['/usr/bin/ls', driveOf(user)] }));
  const said = ({ MESSAGE }: { MESSAGE: string }) => MESSAGE.includes(`has not answered for ${SILENT_SECONDS} s`);
  await machine.waitForJournal('what has happened', [`--unit=${driveUnitOf(user)}`], said);
  await eventually('there is another executor', async () => (await run(user, '/usr/bin/true')).pid !== pid, END_TIMEOUT_MS);
  expect(await inDrive(user, 'true')).toMatchObject({ ran: { exitCode: 0 } });
});

it('an executor that waits for a hung drive can be ended', async () => {
  const user = 'drive-stop';
  // A server that has taken the request and does not answer: it waits itself, for another one. Until it ends, no signal ends who has asked it.
  const [behind, further] = [`${BEHIND}/${user}`, `${BEHIND}/${user}-further`];
  await machine.run(['/usr/bin/install', '-d', '--mode=0700', `--owner=${user}`, further]);
  await machine.run(['/usr/bin/bindfs', '--no-allow-other', further, behind], { user });
  const { stdout } = await machine.run(['/usr/bin/pgrep', '--full', `^/usr/bin/bindfs .*${further} `]);
  onTestFinished(async () => {
    await machine.run(['/usr/bin/kill', '-KILL', stdout.trim()]);
    await machine.run([FUSERMOUNT, '-u', '-z', behind], { user });
  });
  await inDrive(user, 'true');
  await machine.run(['/usr/bin/kill', '-STOP', stdout.trim()]);
  await kpx.publish(jobOf(user, 'waits', { run: ['/usr/bin/ls', driveOf(user)] }));
  const waits = async () =>
    (await machine.run(['/usr/bin/pgrep', '--full', `^/usr/bin/ls ${driveOf(user)}`], { allowFailure: true })).stdout;
  await eventually('a program waits for the drive', async () => (await waits()) !== '');
  // Fails after half a minute: it would take two, TimeoutStopSec= for SIGTERM and once more for SIGKILL.
  await machine.systemctl('stop', unitOf(user));
});

it.each([
  ['cannot be run', '/usr/bin/no-such-server', '/usr/bin/no-such-server cannot be run'],
  ['ends at once', '/usr/bin/false', '/usr/bin/false has ended (exit 1)'],
  ['mounts nothing', '/usr/bin/tail -f /etc/hostname', '/usr/bin/tail has no drive that answers, after 4 s'],
  ['lets others in', SERVER.replace('--no-allow-other', '-o allow_other'), 'others could use the drive'],
])('with a server that %s no executor starts, and the reason says so; the job is done when it is right', async (_what, server, reason) => {
  const user = 'drive-bad';
  await machine.systemctl('stop', unitOf(user));
  await machine.writeFile(FUSE_CONF, 'user_allow_other\n');
  onTestFinished(async () => {
    await machine.remove(FUSE_CONF);
    await serveBy(SERVER);
  });
  await serveBy(server);
  await kpx.mark();
  const job = randomUUID();
  await kpx.publish(jobOf(user, job));
  const said = await kpx.brokerSays({ user, state: 'backoff' });
  expect(said.reason).toContain(`HOST_FAILED: ${reason}`);
  expect(said.reason).toContain(`(journalctl --unit '${driveUnitOf(user)}')`);
  expect((await machine.run(['/usr/bin/kpxctl', 'show', user])).stdout).toContain(reason);
  await serveBy(SERVER);
  await kpx.jobDone(user, job, END_TIMEOUT_MS);
  expect(await isMounted(user)).toBe(true);
});

it('a home on a file system that refuses root is refused with the reason, as one on NFS with root_squash may be', async () => {
  const user = 'drive-home';
  const home = `/home/${user}`;
  await machine.run(['/usr/bin/install', '-d', '--mode=0755', `--owner=${user}`, home]);
  await machine.run(['/usr/bin/bindfs', '--no-allow-other', `${BEHIND}/${user}`, home], { user });
  onTestFinished(async () => {
    await machine.run([FUSERMOUNT, '-u', '-z', home], { user });
    await machine.run(['/usr/bin/rmdir', home]);
  });
  await kpx.mark();
  await kpx.publish(jobOf(user));
  const { reason } = await kpx.brokerSays({ user, state: 'backoff' });
  expect(reason).toContain(`DIRECTORY_FAILED: ${home}: EACCES, refused to root: by NFS with root_squash`);
});
