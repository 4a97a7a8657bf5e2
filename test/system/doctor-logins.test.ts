import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import type { BootedKpx } from '../fixtures/booted/kpx.js';
import { withKpx } from './kpx-of-file.js';
import { bootedLdap, bootedMachine } from './shared-machine.js';

/* What kpxctl doctor says of a user who may log in beside the executor. The rest of it: test/system/doctor.test.ts. */

const machine = bootedMachine();
const ldap = bootedLdap();
const USER = 'logs.in';
const UID = 23_040;
const DOCTOR_TIMEOUT_MS = 90_000;

let end: (() => Promise<void>) | undefined;

beforeAll(async () => {
  await ldap.addUser(USER, { uid: UID });
  end = await withKpx({}, async (_installed: BootedKpx) => {});
});
afterAll(async () => {
  await end?.();
  await ldap.deleteUser(USER);
});

async function logins() {
  const argv = ['/usr/bin/kpxctl', 'doctor', '--json', '--user', USER];
  const { stdout } = await machine.run(argv, { timeoutMs: DOCTOR_TIMEOUT_MS, allowFailure: true });
  return JSON.parse(stdout).checks.find(({ name }: { name: string }) => name === 'user logins');
}

it('is content where nobody can log in', async () => {
  expect(await logins()).toMatchObject({ result: 'ok', seen: `no sshd runs here where "${USER}" could log in` });
});

it('warns of a manager of the user that systemd keeps without a login', async () => {
  const file = `/var/lib/systemd/linger/${USER}`;
  onTestFinished(() => machine.remove(file));
  await machine.writeFile(file, '');
  expect(await logins()).toMatchObject({ result: 'warn', fix: `loginctl disable-linger ${USER}` });
});

it('warns of a manager of the user that runs', async () => {
  const file = `/etc/systemd/system/user@${UID}.service.d/runtime-directory.conf`;
  onTestFinished(async () => {
    await machine.systemctl('stop', `user@${UID}.service`);
    await machine.remove(file);
    await machine.systemctl('daemon-reload');
  });
  // There is no logind in this machine, which would say where the user's runtime directory is.
  await machine.writeFile(file, '[Service]\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i\n');
  await machine.systemctl('daemon-reload');
  await machine.systemctl('start', `user@${UID}.service`);
  expect(await logins()).toMatchObject({ result: 'warn', seen: expect.stringContaining(`user@${UID}.service`) });
});

it('warns of an sshd that may let the user in', async () => {
  const unit = '/etc/systemd/system/sshd.service';
  onTestFinished(async () => {
    await machine.systemctl('stop', 'sshd.service');
    await machine.remove(unit);
    await machine.systemctl('daemon-reload');
  });
  // There is none in here: what matters is that a unit of that name runs.
  await machine.writeFile(unit, '[Service]\nExecStart=/usr/bin/sleep infinity\n');
  await machine.systemctl('daemon-reload');
  await machine.systemctl('start', 'sshd.service');
  expect(await logins()).toMatchObject({ result: 'warn', fix: expect.stringContaining('DenyUsers') });
});
