import { randomUUID } from 'node:crypto';
import { expect, it, onTestFinished } from 'vitest';
import { type BootedKpx, BROKER, unitOf } from '../fixtures/booted/kpx.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { startKpx } from './installed-kpx.js';
import { bootedLdap, bootedMachine, dropIn } from './shared-machine.js';

/* Homes that are made: the copy of the skeleton is PID 1's, in a unit of its own, and nothing of a user's runs in the helper's. */

const machine = bootedMachine();
const ldap = bootedLdap();

const SKELETON = '/etc/kpx-test-skeleton';
const PATIENT = { policy: { start_attempts: 100, backoff_initial: '500ms', backoff_max: '1s' } };
/** Of the request. The copy has 3 seconds, what is done after it one, and a busy machine some more. */
const HELD_MS_MAX = 10_000;

const homeUnitOf = (osUser: string) => `kpx-home@${osUser}.service`;

/** Nobody else's, without a home. */
async function person(name: string, uid: number): Promise<void> {
  await ldap.addUser(name, { uid });
  onTestFinished(async () => {
    await machine.remove(`/home/${name}`);
    await ldap.deleteUser(name);
  });
}

async function skeleton(): Promise<void> {
  await machine.run(['/usr/bin/install', '--directory', '--mode=755', SKELETON]);
  onTestFinished(() => machine.remove(SKELETON));
}

/** What a test leaves on purpose is gone with it. */
function removeUnfinished(): void {
  const find = ['/usr/bin/find', '/home', '-maxdepth', '1', '-name', '.kpx-new-*'];
  onTestFinished(() => machine.run([...find, '-exec', '/usr/bin/rm', '-r', '{}', '+']).then(() => {}));
}

const unfinished = async () => (await machine.run(['/usr/bin/find', '/home', '-maxdepth', '1', '-name', '.kpx-new-*'])).stdout;

/** Uid and control group of every process. */
async function processes(): Promise<{ uid: number; group: string }[]> {
  const { stdout } = await machine.run(['/usr/bin/ps', '-e', '--no-headers', '-ww', '-o', 'uid=,cgroup=']);
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => ({ uid: Number.parseInt(line, 10), group: line }));
}

async function done(kpx: BootedKpx, osUser: string): Promise<void> {
  const job = randomUUID();
  await kpx.publish(jobOf(osUser, job));
  await kpx.jobDone(osUser, job);
}

/** In what is half made it puts pipes in place of the files, in which a copy waits for a reader. */
const IN_THE_WAY = `
  use POSIX;
  while (1) {
    my ($home) = glob('/home/.kpx-new-*') or next;
    POSIX::mkfifo("$home/file-$_", 0600) for reverse 0 .. 1999;
  }
`;

it('a user who keeps the copy from ending has nothing in the helper’s unit, keeps nobody waiting, and gets a home when that is over', async () => {
  removeUnfinished();
  await skeleton();
  const files = Array.from({ length: 2_000 }, (_, number) => `${SKELETON}/file-${number}`);
  await machine.run(['/usr/bin/touch', ...files]);
  await person('home-holder', 23_201);
  await person('home-other', 23_202);
  const kpx = await startKpx({ helper: { directories: { skeleton: SKELETON } }, broker: PATIENT });
  const leave = async () => void (await machine.run(['/usr/bin/pkill', '--uid', '23201', 'perl'], { allowFailure: true }));
  onTestFinished(leave);
  await machine.start(['/usr/bin/perl', '-e', IN_THE_WAY], { user: 'home-holder' });
  await kpx.mark();
  const job = randomUUID();
  await kpx.publish(jobOf('home-holder', job));
  const isCopy = ({ uid, group }: { uid: number; group: string }) => uid === 23_201 && group.includes(homeUnitOf('home-holder'));
  await eventually('the copy runs', async () => (await processes()).some(isCopy));
  const ofHelper = (await processes()).filter(({ group }) => group.includes('kpx-privhelper@'));
  expect(ofHelper.length).toBeGreaterThan(0);
  expect(ofHelper.filter(({ uid }) => uid !== 0)).toEqual([]);
  // The other one's home has no pipes in it: its directory is another account's.
  await done(kpx, 'home-other');
  const refused = await kpx.helperSays({ os_user: 'home-holder', code: 'DIRECTORY_FAILED' });
  expect(refused.reason).toBe(`the home was not filled: see journalctl -u '${homeUnitOf('home-holder')}'`);
  expect(Number(refused.duration_ms)).toBeLessThan(HELD_MS_MAX);

  await leave();
  await kpx.jobDone('home-holder', job);
  expect(await machine.show(homeUnitOf('home-holder'), 'ActiveState', 'TasksMax')).toEqual({ ActiveState: 'inactive', TasksMax: '8' });
  expect((await machine.run(['/usr/bin/find', '/home/home-holder', '-type', 'f', '-name', 'file-*'])).stdout.split('\n')).toHaveLength(
    2_001,
  );
});

it('a home has what the skeleton has, with the modes that useradd would give it, set-gid folders included', async () => {
  await skeleton();
  const modes = ['0644', '0755', '0664', '0444'];
  for (const mode of modes) await machine.run(['/usr/bin/install', `--mode=${mode}`, '/dev/null', `${SKELETON}/file-${mode}`]);
  for (const mode of ['0755', '2755', '1777']) {
    await machine.run(['/usr/bin/install', '--directory', `--mode=${mode}`, `${SKELETON}/folder-${mode}`]);
    await machine.run(['/usr/bin/install', '--mode=0644', '/dev/null', `${SKELETON}/folder-${mode}/file`]);
  }
  await machine.run(['/usr/bin/chmod', '2755', SKELETON]);
  await person('home-modes', 23_203);
  const kpx = await startKpx({ helper: { directories: { skeleton: SKELETON } } });
  await done(kpx, 'home-modes');
  const useradd = ['/usr/sbin/useradd', '--create-home', '--skel', SKELETON, 'home-reference'];
  await machine.run(useradd);
  onTestFinished(() => machine.run(['/usr/sbin/userdel', '--remove', 'home-reference'], { allowFailure: true }).then(() => {}));
  const inside = async (user: string) =>
    (await machine.run(['/usr/bin/find', `/home/${user}`, '-mindepth', '1', '-printf', '%M %P\n'])).stdout.trimEnd().split('\n').sort();
  expect(await inside('home-modes')).toEqual(await inside('home-reference'));
  expect(await inside('home-modes')).toHaveLength(10);
  const { stdout } = await machine.run(['/usr/bin/stat', '--format=%A %U %G', '/home/home-modes']);
  expect(stdout).toBe('drwx------ home-modes home-modes\n');
});

it('a copy that a helper has begun, and not seen the end of, is not taken for that of the next one', async () => {
  removeUnfinished();
  await person('home-again', 23_204);
  // Between the copy and its last command there is time.
  const commands = (await machine.readFile('/usr/lib/systemd/system/kpx-home@.service')).match(/^ExecStart=.*$/gm) ?? [];
  expect(commands).toHaveLength(2);
  const [copy = '', last = ''] = commands;
  await dropIn(machine, homeUnitOf('home-again'), `[Service]\nExecStart=\n${copy}\nExecStart=/usr/bin/sleep 2\n${last}\n`);
  const kpx = await startKpx({ broker: PATIENT });
  const job = randomUUID();
  await kpx.publish(jobOf('home-again', job));
  await eventually('the copy is done', async () => {
    const { exitCode } = await machine.run(['/usr/bin/pgrep', '--uid', '23204', '--exact', 'sleep'], { allowFailure: true });
    return exitCode === 0;
  });
  await machine.systemctl('kill', '--kill-whom=all', '--signal=SIGKILL', 'kpx-privhelper@*');
  await kpx.jobDone('home-again', job);
  expect(await machine.exists('/home/home-again/.profile')).toBe(true);
  const left = (await unfinished()).trimEnd().split('\n');
  expect(left).toEqual([expect.stringMatching(/^\/home\/\.kpx-new-\w{6}$/)]);
  expect(await machine.show(BROKER, 'ActiveState')).toEqual({ ActiveState: 'active' });
  expect(await machine.show(unitOf('home-again'), 'ActiveState')).toEqual({ ActiveState: 'active' });
});
