import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { Kdc } from '../fixtures/booted/kdc.js';
import { type BootedKpx, unitOf } from '../fixtures/booted/kpx.js';
import { jobOf } from '../fixtures/jobs.js';
import { executorCan } from './as-executor.js';
import { installPackage, startKpx } from './installed-kpx.js';
import { bootedLdap, bootedMachine, dropIn } from './shared-machine.js';

/* kpx-ticket@.service, against a KDC that counts wrong passwords. */

const machine = bootedMachine();
const ldap = bootedLdap();
const kdc = new Kdc(machine);

/** Known to LDAP and to the KDC, and to no other test. */
const PEOPLE = {
  'tick-alice': 24_201,
  'tick-other': 24_202,
  'tick-outdated': 24_203,
  'tick-bad': 24_204,
  'tick-silent': 24_205,
  'tick-brief': 24_206,
  'tick-domain@kpx-test.example': 24_207,
  'tick-changed': 24_208,
  'tick-slow': 24_209,
  'tick-conf': 24_210,
  'tick-full': 24_211,
  'tick-waits': 24_212,
};
const KEYTABS = '/etc/kpx/keytabs';
const DROP_IN = '/etc/systemd/system/kpx-executor@.service.d/20-kpx-ticket.conf';
const JOBS_WHEN_OUTDATED = 20;
/** Half of it is longer than a test waits. Three minutes before its end it is renewed, or as soon as may be. */
const TICKET_LIFE = '190 seconds';
const RENEWAL_TIMEOUT_MS = 40_000;
const DOCTOR_TIMEOUT_MS = 60_000;

const keytabOf = (user: string) => `${KEYTABS}/${user}.keytab`;
const ticketUnitOf = (user: string) => `kpx-ticket@${user}.service`;
const cacheOf = (user: string) => `/run/kpx-tickets/${user}/krb5cc`;
const principalOf = (user: string) => user.replace(/@.*/, '');
const setUp = async (...options: string[]) => (await machine.run(['/usr/bin/kpxctl', 'kerberos', 'setup', ...options])).stdout;

async function startKpxWithTickets(): Promise<BootedKpx> {
  const kpx = await startKpx({ broker: { policy: { backoff_initial: '100ms', backoff_max: '1s' } } });
  await setUp('--apply');
  onTestFinished(async () => {
    await setUp('--remove', '--apply');
    await machine.remove(KEYTABS);
  });
  return kpx;
}

async function doJob(kpx: BootedKpx, user: string): Promise<void> {
  const job = randomUUID();
  await kpx.publish(jobOf(user, job));
  await kpx.jobDone(user, job);
}

const klist = async (user: string) => (await machine.run(['/usr/bin/klist', '-c', cacheOf(user)], { user })).stdout;

const ticketUnitSays = (user: string, text: string) =>
  machine.waitForJournal(text, [`--unit=${ticketUnitOf(user)}`], ({ MESSAGE }) => MESSAGE.includes(text), RENEWAL_TIMEOUT_MS);

beforeAll(async () => {
  await installPackage();
  await kdc.start();
  for (const [name, uid] of Object.entries(PEOPLE)) {
    await ldap.addUser(name, { uid });
    await kdc.addUser(principalOf(name));
  }
});
afterAll(async () => {
  for (const name of Object.keys(PEOPLE)) await ldap.deleteUser(name);
  await kdc.stop();
});

it('kpxctl says what is missing, does it when told to, and takes it away again', async () => {
  await startKpx();
  onTestFinished(() => machine.remove(KEYTABS));
  expect(await setUp()).toMatch(/to do .*\/etc\/kpx\/keytabs.*to do .*20-kpx-ticket\.conf.*Requires=.*--apply does it/s);
  expect(await machine.exists(DROP_IN)).toBe(false);
  expect(await setUp('--apply')).toContain('done');
  expect(await machine.show(unitOf('tick-alice'), 'Requires')).toMatchObject({
    Requires: expect.stringContaining('kpx-ticket@tick-alice'),
  });
  expect(await setUp()).toContain('Nothing is to be done');
  await setUp('--remove', '--apply');
  expect(await machine.exists(DROP_IN)).toBe(false);
  expect(await machine.show(unitOf('tick-alice'), 'Requires')).not.toMatchObject({ Requires: expect.stringContaining('kpx-ticket@') });
});

it.each(['tick-alice', 'tick-domain@kpx-test.example'])(
  'the executor of %s has a ticket to read, and neither the keytab nor a way to it',
  async (user) => {
    const kpx = await startKpxWithTickets();
    await kdc.writeKeytab(principalOf(user), keytabOf(user));
    await doJob(kpx, user);
    expect(await kpx.started(user)).toMatchObject({ env: { KRB5CCNAME: `FILE:${cacheOf(user)}` } });
    expect(await klist(user)).toContain(`Default principal: ${principalOf(user)}@`);
    expect((await machine.run(['/usr/bin/klist', '-c', cacheOf(user)], { user: 'tick-other', allowFailure: true })).exitCode).toBe(1);

    const { MainPID: pid } = await machine.show(ticketUnitOf(user), 'MainPID');
    const copy = `/run/credentials/${ticketUnitOf(user)}/keytab`;
    expect(await executorCan(user, '/usr/bin/test', '-r', cacheOf(user))).toBe(true);
    for (const path of [keytabOf(user), copy, `/proc/${pid}/root${copy}`, `/proc/${pid}/environ`])
      expect(await executorCan(user, '/usr/bin/head', '-c1', path), path).toBe(false);
    // In memory that all starts need.
    for (const path of [cacheOf(user), `/run/kpx-tickets/${user}/another`])
      expect(await executorCan(user, '/usr/bin/dd', 'if=/dev/zero', `of=${path}`, 'count=1', 'conv=notrunc', 'oflag=append'), path).toBe(
        false,
      );

    await machine.systemctl('stop', unitOf(user));
    await expect.poll(() => machine.show(ticketUnitOf(user), 'ActiveState')).toEqual({ ActiveState: 'inactive' });
    expect(await machine.exists(cacheOf(user))).toBe(false);
  },
);

it('an outdated keytab is tried once, whatever asks; its jobs are parked at once, and done after a new one', async () => {
  const user = 'tick-outdated';
  const kpx = await startKpxWithTickets();
  await kdc.writeKeytab(user, keytabOf(user));
  await kdc.changePassword(user);
  const jobs = Array.from({ length: JOBS_WHEN_OUTDATED }, () => randomUUID());
  await kpx.publish(...jobs.map((job) => jobOf(user, job)));
  await expect.poll(async () => (await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages, { timeout: 20_000 }).toBe(JOBS_WHEN_OUTDATED);
  const { stdout } = await machine.run(['/usr/bin/kpxctl', 'dead-letters', 'list', '--json']);
  expect(stdout.match(/CREDENTIALS_REFUSED/g)).toHaveLength(JOBS_WHEN_OUTDATED);
  expect(await kpx.helperSays({ code: 'CREDENTIALS_REFUSED' })).toMatchObject({
    reason: expect.stringMatching(/refused a ticket: Preauthentication failed.*journalctl --unit 'kpx-ticket@/),
  });
  for (let start = 0; start < 3; start++) await machine.run(['/usr/bin/systemctl', 'start', unitOf(user)], { allowFailure: true });
  expect(await kdc.count('PREAUTH_FAILED', user)).toBe(1);
  await machine.run(['/usr/bin/touch', keytabOf(user)]);
  await machine.run(['/usr/bin/systemctl', 'start', unitOf(user)], { allowFailure: true });
  expect(await kdc.count('PREAUTH_FAILED', user)).toBe(2);

  await machine.remove(keytabOf(user));
  await kdc.writeKeytab(user, keytabOf(user));
  await machine.run(['/usr/bin/kpxctl', 'dead-letters', 'replay', '--reason', 'CREDENTIALS_REFUSED']);
  await kpx.jobsDone(user, JOBS_WHEN_OUTDATED, 60_000);
  expect(await kdc.count('PREAUTH_FAILED', user)).toBe(2);
});

it('an outdated keytab is not tried where there is no room to note a refusal, and once when there is', async () => {
  const user = 'tick-full';
  const notes = '/var/lib/kpx-tickets';
  const fill = () => machine.run(['/usr/bin/dd', 'if=/dev/zero', `of=${notes}/full`, 'bs=4k'], { allowFailure: true });
  const startAgain = () => machine.run(['/usr/bin/systemctl', 'start', unitOf(user)], { allowFailure: true });
  const kpx = await startKpxWithTickets();
  await machine.run(['/usr/bin/mkdir', '--parents', notes]);
  await machine.run(['/usr/bin/mount', '-t', 'tmpfs', '-o', 'size=64k,mode=755', 'kpx-test', notes]);
  onTestFinished(() => machine.run(['/usr/bin/umount', '--lazy', notes]).then(() => {}));
  await kdc.writeKeytab(user, keytabOf(user));
  await kdc.changePassword(user);
  await fill();
  await kpx.publish(jobOf(user));
  const { reason } = await kpx.brokerSays({ user, state: 'backoff' });
  expect(reason).toContain('HOST_FAILED: no ticket is asked for, since a refusal could not be noted: ENOSPC');
  await startAgain();
  expect(await kdc.count('NEEDED_PREAUTH', user)).toBe(0);

  await machine.remove(`${notes}/full`);
  const [parked] = await kpx.deadLetters(1);
  expect(parked?.headers).toMatchObject({
    'x-kpx-reason': 'CREDENTIALS_REFUSED',
    'x-kpx-detail': expect.stringContaining('refused a ticket: Preauthentication failed'),
  });
  await fill();
  await startAgain();
  expect(await kdc.count('PREAUTH_FAILED', user)).toBe(1);
  await machine.run(['/usr/bin/touch', keytabOf(user)]);
  await startAgain();
  expect(await kdc.count('PREAUTH_FAILED', user)).toBe(1);
  await machine.remove(`${notes}/full`);
  await startAgain();
  expect(await kdc.count('PREAUTH_FAILED', user)).toBe(2);
});

describe('a keytab is refused, and the KDC not asked,', () => {
  const user = 'tick-bad';
  const path = keytabOf(user);
  it.each<[string, string[][], string]>([
    ['that is missing', [['/usr/bin/rm', path]], `there is no ${path}`],
    ['that is empty', [['/usr/bin/truncate', '--size=0', path]], `${path} is empty`],
    ['that others may read', [['/usr/bin/chmod', '0644', path]], `${path} has to be root's, with mode 0600 or 0400`],
    ['that is the user’s', [['/usr/bin/chown', user, path]], `${path} has to be root's`],
    [
      'that is a link',
      [
        ['/usr/bin/mv', path, `${path}.1`],
        ['/usr/bin/ln', '-s', `${path}.1`, path],
      ],
      `${path} is no regular file`,
    ],
    [
      'that is none',
      [
        ['/usr/bin/cp', '/etc/hostname', path],
        ['/usr/bin/chmod', '0600', path],
      ],
      `${path} is no keytab`,
    ],
    ['of somebody else', [['/usr/bin/cp', `${KEYTABS}/other`, path]], `${path} is of tick-other@KPX-TEST.EXAMPLE, not of "${user}"`],
    ['in a directory that others may write to', [['/usr/bin/chmod', '0777', KEYTABS]], `${KEYTABS} is not root's alone`],
  ])('%s', async (_what, spoil, message) => {
    const kpx = await startKpxWithTickets();
    await kdc.writeKeytab(user, path);
    await kdc.writeKeytab('tick-other', `${KEYTABS}/other`);
    for (const argv of spoil) await machine.run(argv);
    const asked = await kdc.count('NEEDED_PREAUTH', user);
    await kpx.publish(jobOf(user));
    const [parked] = await kpx.deadLetters(1);
    expect(parked?.headers).toMatchObject({ 'x-kpx-reason': 'CREDENTIALS_REFUSED', 'x-kpx-detail': expect.stringContaining(message) });
    expect(await kdc.count('NEEDED_PREAUTH', user)).toBe(asked);
  });
});

it('a KDC that is silent is waited for: the job is done when it answers again', async () => {
  const user = 'tick-silent';
  const kpx = await startKpxWithTickets();
  await kdc.writeKeytab(user, keytabOf(user));
  await kdc.pause();
  const job = randomUUID();
  await kpx.publish(jobOf(user, job));
  const { reason } = await kpx.brokerSays({ user, state: 'backoff' }, 20_000);
  expect(reason).toContain(`HOST_FAILED: no KDC has answered for "${user}" within 5 s (journalctl --unit 'kpx-ticket@${user}.service')`);
  await kdc.resume();
  await kpx.jobDone(user, job, 60_000);
});

it('a machine that is too slow for klist refuses nobody: the job is done when it is faster', async () => {
  const user = 'tick-slow';
  const slow = '/usr/local/bin/slow-klist';
  const kpx = await startKpxWithTickets();
  await kdc.writeKeytab(user, keytabOf(user));
  await machine.writeFile(slow, '#!/bin/sh\nexec /usr/bin/sleep 8\n', { mode: 0o755 });
  onTestFinished(() => machine.remove(slow));
  const directory = `/etc/systemd/system/${ticketUnitOf(user)}.d`;
  await dropIn(machine, ticketUnitOf(user), `[Service]\nBindReadOnlyPaths=${slow}:/usr/bin/klist\n`);
  const job = randomUUID();
  await kpx.publish(jobOf(user, job));
  const { reason } = await kpx.brokerSays({ user, state: 'backoff' });
  expect(reason).toContain('HOST_FAILED: klist has not ended within 2 s');
  await machine.remove(directory);
  await machine.systemctl('daemon-reload');
  await kpx.jobDone(user, job);
});

describe('a krb5.conf of this machine refuses nobody, and the job is done when it is right again,', () => {
  const user = 'tick-conf';
  const CONF = '/etc/krb5.conf';
  const write = (text: string) => machine.writeFile(CONF, text);
  it.each<[string, (right: string) => Promise<unknown>, string]>([
    ['that is no configuration', (right) => write(right.replace(']', '')), 'Improper format of Kerberos configuration file'],
    ['that others may not read', () => machine.run(['/usr/bin/chmod', '0600', CONF]), 'Permission denied while initializing'],
    ['that includes what is not there', (right) => write(`includedir /nowhere\n${right}`), 'Included profile directory could not be read'],
    [
      'with a value that is none',
      (right) => write(right.replace(']', ']\nallow_weak_crypto = perhaps')),
      'Invalid boolean value while initializing',
    ],
    ['without a realm', (right) => write(right.replace(/default_realm.*/, '')), 'Configuration file does not specify default realm'],
    [
      'with encryption that nobody knows',
      (right) => write(right.replace(']', ']\npermitted_enctypes = none-such')),
      'No supported encryption types (config file error?)',
    ],
  ])('%s', async (_what, spoil, message) => {
    const kpx = await startKpxWithTickets();
    await kdc.writeKeytab(user, keytabOf(user));
    const { stdout: right } = await machine.run(['/usr/bin/cat', CONF]);
    const restore = async () => {
      await machine.remove(CONF);
      await write(right);
    };
    onTestFinished(restore);
    await spoil(right);
    const job = randomUUID();
    await kpx.publish(jobOf(user, job));
    const { reason } = await kpx.brokerSays({ user, state: 'backoff' });
    expect(reason).toMatch(/HOST_FAILED: .*: \/etc\/krb5\.conf/);
    expect(reason).toContain(message);
    expect(await machine.exists(`/var/lib/kpx-tickets/${user}/refused`)).toBe(false);
    expect(await doctorsFix(user)).toContain('Correct /etc/krb5.conf');
    expect(await doctorsFix(user)).not.toMatch(/new keytab/);
    await restore();
    await kpx.jobDone(user, job);
  });
});

/** What doctor would have done, all of it. */
async function doctorsFix(user: string): Promise<string> {
  const doctor = ['/usr/bin/kpxctl', 'doctor', '--user', user, '--json'];
  const { stdout } = await machine.run(doctor, { allowFailure: true, timeoutMs: DOCTOR_TIMEOUT_MS });
  const checks: { name: string; fix?: string }[] = JSON.parse(stdout).checks;
  return checks.flatMap(({ name, fix = '' }) => (name.startsWith('user ') ? [fix] : [])).join('\n');
}

/** Nobody who tells systemd of its state can do so without the right to execute it. */
const notifyMode = async (mode: string) => void (await machine.run(['/usr/bin/chmod', mode, '/usr/bin/systemd-notify']));

it('a ticket is renewed while the executor runs, and a refusal meanwhile is the last request; systemd need not hear of it', async () => {
  const user = 'tick-brief';
  const kpx = await startKpxWithTickets();
  await kdc.limitLife(user, TICKET_LIFE);
  await kdc.writeKeytab(user, keytabOf(user));
  await doJob(kpx, user);
  const before = await klist(user);
  await ticketUnitSays(user, 'has a new ticket');
  expect(await klist(user)).not.toBe(before);
  await notifyMode('0644');
  onTestFinished(() => notifyMode('0755'));
  await kdc.changePassword(user);
  await ticketUnitSays(user, 'systemd-notify cannot be run');
  await ticketUnitSays(user, 'no new ticket: "tick-brief" was refused a ticket: Preauthentication failed');
  expect(await kdc.count('PREAUTH_FAILED', user)).toBe(1);
  await doJob(kpx, user);
  expect((await machine.show(ticketUnitOf(user), 'ActiveState')).ActiveState).toBe('active');
  await notifyMode('0755');
  await machine.systemctl('stop', unitOf(user));
  await kpx.publish(jobOf(user));
  expect((await kpx.deadLetters(1))[0]?.headers).toMatchObject({ 'x-kpx-reason': 'CREDENTIALS_REFUSED' });
  expect(await kdc.count('PREAUTH_FAILED', user)).toBe(1);
});

it('a KDC that is silent when a ticket is to be renewed is asked again, and a job that runs meanwhile goes on', async () => {
  const [user, job] = ['tick-waits', randomUUID()];
  const kpx = await startKpxWithTickets();
  await kdc.limitLife(user, TICKET_LIFE);
  await kdc.writeKeytab(user, keytabOf(user));
  await doJob(kpx, user);
  await kdc.pause();
  onTestFinished(() => kdc.resume());
  await ticketUnitSays(user, 'no new ticket: no KDC has answered');
  await kpx.publish(jobOf(user, job, { run: ['/usr/bin/sleep', '8'] }));
  const doctor = await machine.run(['/usr/bin/kpxctl', 'doctor', '--user', user], { timeoutMs: DOCTOR_TIMEOUT_MS, allowFailure: true });
  expect(doctor.stdout).toMatch(/warn +user ticket +the executor that runs has an old ticket: no new ticket: .*; asked again in /);
  await kdc.resume();
  await ticketUnitSays(user, 'has a new ticket');
  expect((await kpx.jobDone(user, job)).ran).toMatchObject({ exitCode: 0 });
  expect((await machine.show(unitOf(user), 'ActiveState')).ActiveState).toBe('active');
  expect(await kdc.count('PREAUTH_FAILED', user)).toBe(0);
});

it('a keytab that is replaced while the executor runs is not asked for by its old copy, and is taken by the next start', async () => {
  const user = 'tick-changed';
  const kpx = await startKpxWithTickets();
  await kdc.limitLife(user, TICKET_LIFE);
  await kdc.writeKeytab(user, keytabOf(user));
  await doJob(kpx, user);
  await kdc.changePassword(user);
  await machine.remove(keytabOf(user));
  await kdc.writeKeytab(user, keytabOf(user));
  await ticketUnitSays(user, `${keytabOf(user)} is another since this executor was started`);
  await machine.systemctl('stop', unitOf(user));
  await doJob(kpx, user);
  expect(await kdc.count('PREAUTH_FAILED', user)).toBe(0);
});
