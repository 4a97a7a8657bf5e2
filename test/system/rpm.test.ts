import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type BootedKpx, BROKER, SOCKET, unitOf } from '../fixtures/booted/kpx.js';
import { OTHER_LINE, packageOfOtherVersion } from '../fixtures/booted/other-version.js';
import { BootedRpm } from '../fixtures/booted/rpm.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import { removePackages, runningPrograms, startKpx } from './installed-kpx.js';
import { bootedMachine } from './shared-machine.js';

/* The scriptlets of the .rpm where systemd runs. What is the same with both packages is in upgrade.test.ts; a tree without PID 1 in rpm-package.test.ts. */

const machine = bootedMachine();
const rpm = new BootedRpm(machine);

const TEST_TIMEOUT_MS = 120_000;
const OTHER = '/var/tmp/kpx-other.rpm';
const CONFIGURATION = '/etc/kpx/broker.toml';
/** A job that is not done before the executor is ended. */
const ENDLESS_JOB = { JOB_MS: '600000' };

const lines = (text: string) => text.split('\n').filter(Boolean);

const back = async (kpx: BootedKpx, jobs: number) => (await kpx.vhost.queueDepth(KNIME_QUEUE))?.messages === jobs;

describe('the .rpm, where systemd runs', { timeout: TEST_TIMEOUT_MS }, () => {
  beforeAll(async () => {
    await machine.run(['/usr/bin/dd', 'status=none', `of=${OTHER}`], { input: await packageOfOtherVersion('rpm') });
  });
  beforeEach(async () => {
    await removePackages();
    await rpm.install(await rpm.packageFile());
  });
  afterAll(async () => {
    await removePackages();
    await machine.remove(OTHER);
  });

  it('starts and enables nothing', async () => {
    expect(await machine.show(BROKER, 'LoadState', 'ActiveState', 'UnitFileState')).toEqual({
      LoadState: 'loaded',
      ActiveState: 'inactive',
      UnitFileState: 'disabled',
    });
    expect(await runningPrograms()).toEqual([]);
  });

  it('is complete even when the new broker does not start, and says so; an admin’s configuration stays', async () => {
    const kpx = await startKpx();
    const configuration = await machine.readFile(CONFIGURATION);
    const wrong = `${configuration}\n[nonsense]\n`;
    await machine.writeFile(CONFIGURATION, wrong, { mode: 0o640, owner: 'root:kpx-broker' });
    expect(await rpm.install(OTHER)).toContain(`kpx: ${BROKER} does not run, see: systemctl status ${BROKER}`);
    expect(await rpm.version()).toMatch(/\+newer$/);
    expect(await machine.readFile(CONFIGURATION)).toBe(wrong);
    expect(await machine.readFile(`${CONFIGURATION}.rpmnew`)).toContain(OTHER_LINE);
    const status = await machine.run(['/usr/bin/stat', '--format=%a %U:%G', CONFIGURATION, `${CONFIGURATION}.rpmnew`]);
    expect(status.stdout).toBe('640 root:kpx-broker\n640 root:kpx-broker\n');
    await machine.writeFile(CONFIGURATION, configuration, { mode: 0o640, owner: 'root:kpx-broker' });
    await kpx.mark();
    await machine.systemctl('restart', BROKER);
    await kpx.inUse();
  });

  it('leaves a stopped broker stopped, and what is enabled enabled', async () => {
    await startKpx();
    await machine.systemctl('stop', BROKER);
    await rpm.install(OTHER);
    expect(await machine.show(BROKER, 'ActiveState', 'UnitFileState')).toEqual({ ActiveState: 'inactive', UnitFileState: 'enabled' });
  });

  it('ends all that runs when it is removed, wherever an admin has moved it, and gives jobs back; secrets and data stay', async () => {
    const dropIn = `/etc/systemd/system/${unitOf('vic')}.d`;
    await machine.writeFile(`${dropIn}/admin.conf`, '[Service]\nSlice=system.slice\n');
    const kpx = await startKpx({ standIn: ENDLESS_JOB });
    await kpx.publish(jobOf('uma', 'one'), jobOf('vic', 'one'));
    for (const user of ['uma', 'vic']) await kpx.brokerSays({ user, state: 'ready' });
    await rpm.erase();
    await machine.remove(dropIn);
    expect(await runningPrograms()).toEqual([]);
    const left = await machine.systemctl('list-units', '--plain', '--no-legend', '--state=active,activating,deactivating,failed', 'kpx-*');
    expect(left).toBe('');
    await eventually('the jobs are back', () => back(kpx, 2));
    expect(lines((await machine.run(['/usr/bin/find', '/etc/systemd/system', '-name', 'kpx-*'])).stdout)).toEqual([]);
    for (const gone of ['/run/kpx', '/run/kpx-broker', '/usr/lib/kpx']) expect(await machine.exists(gone)).toBe(false);
    for (const kept of ['/etc/kpx/amqp-password', `${CONFIGURATION}.rpmsave`, '/srv/kpx/workspaces/uma'])
      expect(await machine.exists(kept)).toBe(true);
    await rpm.install(await rpm.packageFile());
    expect(await machine.show(SOCKET, 'ActiveState', 'UnitFileState')).toEqual({ ActiveState: 'inactive', UnitFileState: 'disabled' });
  });
});
