import { expect, it, onTestFinished } from 'vitest';
import type { BootedKpx } from '../fixtures/booted/kpx.js';
import { jobOf } from '../fixtures/jobs.js';
import { startKpx } from './installed-kpx.js';
import { bootedMachine } from './shared-machine.js';

/* [accounts] ask_pam and /etc/pam.d/kpx-account of the package, with accounts of this machine. */

const machine = bootedMachine();
const USER = 'pam-user';
const expire = (date: string) => machine.run(['/usr/sbin/usermod', '--expiredate', date, USER]);

async function startAskingPam(start_attempts: number): Promise<BootedKpx> {
  await machine.run(['/usr/sbin/useradd', '--uid', '24301', USER]);
  onTestFinished(() => machine.run(['/usr/sbin/userdel', USER]).then(() => {}));
  const policy = { start_attempts, backoff_initial: '100ms', backoff_max: '1s' };
  return await startKpx({ helper: { accounts: { ask_pam: true } }, broker: { policy } });
}

it('an account that has expired gets no executor, and one that has not does', async () => {
  const kpx = await startAskingPam(2);
  await expire('1970-01-02');
  await kpx.publish(jobOf(USER, 'while expired'));
  const [parked] = await kpx.deadLetters(1);
  expect(parked?.headers).toMatchObject({
    'x-kpx-reason': 'START_FAILED',
    'x-kpx-detail': expect.stringContaining(
      `2 starts failed, the last one: LAUNCH_FAILED: PAM refuses the account, or cannot tell: it is disabled, locked or expired, or its password is, or SSSD was away: see journalctl --unit 'kpx-account@${USER}.service'`,
    ),
  });
  await expire('');
  await machine.run(['/usr/bin/kpxctl', 'start', USER]);
  await kpx.publish(jobOf(USER, 'afterwards'));
  await kpx.jobDone(USER, 'afterwards');
});

it('PAM that has nobody to ask keeps no account out: the job is done when it answers again', async () => {
  const stack = '/etc/pam.d/kpx-account';
  const { stdout: right } = await machine.run(['/usr/bin/cat', stack]);
  const restore = () => machine.writeFile(stack, right);
  const kpx = await startAskingPam(100);
  onTestFinished(restore);
  // Of a module that cannot ask, such as pam_sss.so while SSSD restarts, PAM says the same as of one that is missing: no.
  await machine.writeFile(stack, 'account required no-such-module.so\n');
  await kpx.publish(jobOf(USER, 'PAM is away'));
  expect(await kpx.brokerSays({ user: USER, state: 'backoff' })).toMatchObject({
    reason: expect.stringContaining('PAM refuses the account, or cannot tell'),
  });
  await restore();
  await kpx.jobDone(USER, 'PAM is away');
});

it('--check finds a group in a list that does not exist', async () => {
  await startKpx({ helper: { accounts: { denied_groups: ['wheell'], allowed_groups: ['root'] } } });
  const check = ['/usr/sbin/kpx-privhelper', '--config', '/etc/kpx/privhelper.toml', '--check'];
  expect(await machine.run(check, { allowFailure: true })).toMatchObject({
    exitCode: 78,
    stderr: '/etc/kpx/privhelper.toml: accounts.denied_groups: there is no group "wheell" on this host\n',
  });
});
