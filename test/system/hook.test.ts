import { expect, it, onTestFinished } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { installKpx } from './installed-kpx.js';
import { bootedMachine } from './shared-machine.js';

/* The program of hook.command in the sandbox of kpx-broker.service: what docs/monitor.md says that it may do, and may not. */

const PROGRAM = '/usr/local/lib/kpx-hook';
const TOLD = '/var/lib/kpx-broker/told';

/** Says on one line each whether a command works there. */
const SCRIPT = `#!/bin/bash
cat >> ${TOLD}
[ -e /var/lib/kpx-broker/seen ] && exit 0 # it is called again when the host's state changes
can() { local what=$1; shift; if "$@" >/dev/null 2>&1; then echo "can $what"; else echo "cannot $what"; fi; }
{
  id --user --name
  can 'write its tmp' touch /tmp/kpx-hook
  can 'write its state' touch /var/lib/kpx-broker/hook
  can 'write /etc' touch /etc/kpx-hook
  can 'write /var/log' touch /var/log/kpx/hook
  can 'read the configuration' cat /etc/kpx/broker.toml
  can 'read the password of the broker' cat /run/credentials/kpx-broker.service/amqp-password
  can 'read the password of executors' cat /etc/kpx/executor-msgq
  can 'see workspaces' ls /srv/kpx/workspaces
  can 'see homes' test -e /home/.
  can 'connect to this machine' bash -c 'exec 3<>/dev/tcp/127.0.0.1/9464'
  can 'connect to the internet' timeout 2 bash -c 'exec 3<>/dev/tcp/192.0.2.1/80'
  can 'log' logger --tag kpx-hook hello
  can 'use sudo' timeout 2 setpriv --reuid=0 true
  can 'use python' python3 -c 'print(1)'
} > /var/lib/kpx-broker/seen 2>&1
setsid sh -c 'touch /var/lib/kpx-broker/left; exec sleep 300' &
until [ -e /var/lib/kpx-broker/left ]; do sleep 0.01; done
`;

it('runs in the sandbox of the broker, ends with it, and doctor looks at it', { timeout: 180_000 }, async () => {
  const machine = bootedMachine();
  await machine.writeFile(PROGRAM, SCRIPT, { mode: 0o755 });
  onTestFinished(async () => {
    for (const path of [PROGRAM, TOLD, '/var/lib/kpx-broker/seen', '/var/lib/kpx-broker/hook', '/var/lib/kpx-broker/left'])
      await machine.remove(path);
  });
  const kpx = await installKpx({ broker: { policy: { deny: ['mallory'] }, hook: { command: [PROGRAM] } } });
  await kpx.start();
  await kpx.publish(jobOf('mallory', 'm1'));
  await expect.poll(() => machine.exists('/var/lib/kpx-broker/seen'), { timeout: 30_000 }).toBe(true);
  await expect.poll(() => machine.readFile('/var/lib/kpx-broker/seen'), { timeout: 30_000 }).toMatch(/use python$/m);
  expect(JSON.parse((await machine.readFile(TOLD)).split('\n')[0] ?? '')).toMatchObject({ event: 'parked', user: 'mallory', job: 'm1' });
  expect((await machine.readFile('/var/lib/kpx-broker/seen')).trim().split('\n')).toEqual([
    ...['kpx-broker', 'can write its tmp', 'can write its state', 'cannot write /etc', 'cannot write /var/log'],
    ...['can read the configuration', 'can read the password of the broker', 'cannot read the password of executors'],
    ...['cannot see workspaces', 'cannot see homes', 'can connect to this machine', 'cannot connect to the internet', 'can log'],
    ...['cannot use sudo', 'can use python'],
  ]);
  const sleeping = async () => (await machine.run(['/usr/bin/pgrep', '-u', 'kpx-broker', 'sleep'], { allowFailure: true })).stdout;
  await expect.poll(sleeping).not.toBe(''); // it has left the program's session, and is the unit's
  const doctor = async () => {
    const { stdout } = await machine.run(['/usr/bin/kpxctl', 'doctor', '--json'], { allowFailure: true, timeoutMs: 60_000 });
    return (JSON.parse(stdout).checks as { name: string }[]).find(({ name }) => name === 'hook');
  };
  expect(await doctor()).toMatchObject({ result: 'ok', seen: `kpx-broker may execute ${PROGRAM}, and only root may change it` });
  await machine.run(['/usr/bin/chmod', '0777', PROGRAM]);
  expect(await doctor()).toMatchObject({ result: 'warn', seen: expect.stringContaining(`others than root can change ${PROGRAM}`) });
  await machine.run(['/usr/bin/chmod', '0644', PROGRAM]);
  expect(await doctor()).toMatchObject({ result: 'fail', seen: expect.stringContaining(`kpx-broker may not execute ${PROGRAM}`) });
  await kpx.stop();
  expect(await sleeping()).toBe('');
});
