import { randomUUID } from 'node:crypto';
import { expect, it, onTestFinished } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { installPackage, startKpx } from './installed-kpx.js';
import { bootedMachine } from './shared-machine.js';

/* A disk for the users' directories that nothing has mounted yet when kpx starts. */

const machine = bootedMachine();
const DISK = '/var/lib/kpx-test-disk';
const MOUNT = 'srv-kpx.mount';
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
