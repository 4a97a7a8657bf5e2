import { randomUUID } from 'node:crypto';
import { expect, it, onTestFinished } from 'vitest';
import { makeFuseDevice } from '../fixtures/booted/fuse.js';
import { jobOf } from '../fixtures/jobs.js';
import { installPackage, startKpx } from './installed-kpx.js';
import { bootedMachine, dropIn, ON_EACH_DEBIAN } from './shared-machine.js';

/* A disk for the users' directories that nothing has mounted yet when kpx starts. */

const machine = bootedMachine();
const DISK = '/var/lib/kpx-test-disk';
const MOUNT = 'srv-kpx.mount';
/** A check of it may take 30 s. */
const DOCTOR_TIMEOUT_MS = 60_000;
const UNIT_FILE = `/etc/systemd/system/${MOUNT}`;

it('a helper that starts before the disk is mounted makes nothing below the mount point: it has the disk mounted first', async () => {
  await installPackage();
  onTestFinished(async () => {
    await machine.systemctl('stop', MOUNT);
    for (const path of [UNIT_FILE, DISK]) await machine.remove(path);
    await machine.systemctl('daemon-reload');
  });
  for (const name of ['workspaces', 'temp']) await machine.run(['/usr/bin/install', '--directory', '--mode=755', `${DISK}/${name}`]);
  await machine.writeFile(UNIT_FILE, `[Mount]\nWhat=${DISK}\nWhere=/srv/kpx\nType=none\nOptions=bind\n`);
  await machine.systemctl('daemon-reload');
  const kpx = await startKpx();
  const job = randomUUID();
  await kpx.publish(jobOf('tess', job));
  await kpx.jobDone('tess', job);
  expect(await machine.show(MOUNT, 'ActiveState')).toEqual({ ActiveState: 'active' });
  for (const name of ['workspaces', 'temp']) expect(await machine.exists(`${DISK}/${name}/tess`)).toBe(true);
});

it('a parent of homes that hangs keeps nobody else waiting', ON_EACH_DEBIAN, async () => {
  const [above, holder] = ['/srv/kpx-test-net', 'kpx-test-hanging.service'];
  const hanging = `${above}/home`;
  const options = 'fd=3,rootmode=40755,user_id=0,group_id=0,allow_other';
  const mount = `exec 3<>/dev/fuse && /usr/bin/mount --internal-only -t fuse -o ${options} kpx-test ${hanging} && exec /usr/bin/sleep infinity`;
  await installPackage();
  await makeFuseDevice(machine);
  await machine.run(['/usr/bin/mkdir', '--parents', hanging]);
  await machine.run(['/usr/bin/systemd-run', '--quiet', `--unit=${holder}`, '/bin/sh', '-c', mount]);
  onTestFinished(async () => {
    await machine.systemctl('stop', holder); // with it goes the mount's other end: whoever waits gets an error
    await machine.run(['/usr/bin/umount', '--lazy', hanging]);
    await machine.run(['/usr/bin/rmdir', hanging, above]);
  });
  await expect.poll(() => machine.readFile('/proc/1/mountinfo')).toContain(hanging);
  // The directory above the drive, as docs/install.md says: PID 1 itself would wait for one that is named here.
  await dropIn(machine, 'kpx-privhelper@.service', `[Service]\nReadWritePaths=${above}\nNoExecPaths=${above}\n`);
  const kpx = await startKpx({ helper: { directories: { home_parents: ['/home', hanging] } } });
  const job = randomUUID();
  await kpx.publish(jobOf('tess', job));
  await kpx.jobDone('tess', job);
});

it('doctor says what was made below the mount point before, and leaves the mounts as they are', async () => {
  const hidden = async () => {
    const argv = ['/usr/bin/kpxctl', 'doctor', '--json'];
    const { stdout } = await machine.run(argv, { timeoutMs: DOCTOR_TIMEOUT_MS, allowFailure: true });
    return JSON.parse(stdout).checks.find(({ name }: { name: string }) => name === 'hidden directories');
  };
  const kpx = await startKpx();
  await kpx.stop();
  const mounts = async () => (await machine.run(['/usr/bin/findmnt', '--list', '--noheadings', '--output=TARGET,SOURCE,FSTYPE'])).stdout;
  const ghost = '/srv/kpx/workspaces/ghost';
  onTestFinished(async () => {
    await machine.run(['/usr/bin/umount', '/srv/kpx'], { allowFailure: true });
    for (const path of [ghost, DISK]) await machine.remove(path);
  });
  for (const name of ['workspaces', 'temp']) await machine.run(['/usr/bin/install', '--directory', '--mode=755', `${DISK}/${name}`]);
  expect(await hidden()).toMatchObject({ result: 'ok' });
  await machine.run(['/usr/bin/install', '--directory', ghost]);
  const made = (await machine.run(['/usr/bin/ls', '/srv/kpx/workspaces'])).stdout.trimEnd().split('\n').length;
  await machine.run(['/usr/bin/mount', '--bind', DISK, '/srv/kpx']);
  const before = await mounts();
  expect(await hidden()).toMatchObject({
    result: 'warn',
    seen: expect.stringContaining(`${made} in /srv/kpx/workspaces below the mount on /srv/kpx: `),
    fix: expect.stringContaining('RequiresMountsFor='),
  });
  expect(await mounts()).toBe(before);
});
