import { expect, it, onTestFinished } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { startKpx } from './installed-kpx.js';
import { bootedMachine } from './shared-machine.js';

/* [accounts] ask_pam and /etc/pam.d/kpx-account of the package, with accounts of this machine. */

const machine = bootedMachine();
const USER = 'pam-user';
const expire = (date: string) => machine.run(['/usr/sbin/usermod', '--expiredate', date, USER]);

it('an account that has expired gets no executor, and one that has not does', async () => {
  await machine.run(['/usr/sbin/useradd', '--uid', '24301', USER]);
  onTestFinished(() => machine.run(['/usr/sbin/userdel', USER]).then(() => {}));
  const kpx = await startKpx({ helper: { accounts: { ask_pam: true } } });
  await expire('1970-01-02');
  await kpx.publish(jobOf(USER, 'while expired'));
  const [parked] = await kpx.deadLetters(1);
  expect(parked?.headers).toMatchObject({
    'x-kpx-reason': 'ACCOUNT_DENIED',
    'x-kpx-detail': `PAM refuses the account: it is disabled, locked or expired, or its password is: see journalctl --unit 'kpx-account@${USER}.service'`,
  });
  await expire('');
  await machine.run(['/usr/bin/kpxctl', 'start', USER]);
  await kpx.publish(jobOf(USER, 'afterwards'));
  await kpx.jobDone(USER, 'afterwards');
});

it('--check finds a group in a list that does not exist', async () => {
  await startKpx({ helper: { accounts: { denied_groups: ['wheell'], allowed_groups: ['root'] } } });
  const check = ['/usr/sbin/kpx-privhelper', '--config', '/etc/kpx/privhelper.toml', '--check'];
  expect(await machine.run(check, { allowFailure: true })).toMatchObject({
    exitCode: 78,
    stderr: '/etc/kpx/privhelper.toml: accounts.denied_groups: there is no group "wheell" on this host\n',
  });
});
