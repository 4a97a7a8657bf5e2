import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { Kdc } from '../fixtures/booted/kdc.js';
import { type BootedKpx, TEMPS, unitOf } from '../fixtures/booted/kpx.js';
import { jobOf } from '../fixtures/jobs.js';
import { blocksOf, commandsOf } from '../fixtures/page.js';
import { startKpx } from './installed-kpx.js';
import { bootedLdap, bootedMachine } from './shared-machine.js';

/* docs/kerberos.md, "With a keytab for each user": its commands and its drop-in, as they are, against a KDC that counts wrong passwords. */

const machine = bootedMachine();
const ldap = bootedLdap();
const kdc = new Kdc(machine);

/** Known to LDAP and to the KDC, and to no other test. */
const PEOPLE = {
  'krb-alice': 24_101,
  'krb-other': 24_102,
  'krb-outdated': 24_103,
  'krb-missing': 24_104,
  'krb-foreign': 24_105,
  'krb-brief': 24_106,
};
const HEADING = 'With a keytab for each user';
const KEYTABS = '/srv/keytabs';
const DROP_INS = '/etc/systemd/system/kpx-executor@.service.d';
const WORK = '/root/kpx-keytabs';
const START_ATTEMPTS = 2;

const keytabOf = (user: string) => `${KEYTABS}/${user}.keytab`;
const cacheOf = (user: string) => `FILE:${TEMPS}/${user}/krb5cc`;

/** The commands of the page, for one of the people. */
async function installKeytab(user: string): Promise<void> {
  await kdc.writeKeytab(user, `${WORK}/${user}.keytab`);
  for (const { text } of commandsOf('docs/kerberos.md', { alice: user }))
    await machine.run(['/usr/bin/env', `--chdir=${WORK}`, '/bin/sh', '-e', '-u', '-c', text]);
}

/** kpx with the drop-in of the page, for a cache in a file as it stands there, or for another one. */
async function startKpxWithDropIn(cache?: string): Promise<BootedKpx> {
  const [dropIn] = blocksOf('docs/kerberos.md').filter(({ heading, language }) => heading === HEADING && language === 'ini');
  const text = dropIn?.text ?? '';
  onTestFinished(async () => {
    await machine.remove(DROP_INS);
    await machine.systemctl('daemon-reload');
  });
  await machine.writeFile(`${DROP_INS}/20-kerberos.conf`, cache === undefined ? text : text.replaceAll(cacheOf('%i'), cache));
  await machine.systemctl('daemon-reload');
  return await startKpx({ broker: { policy: { start_attempts: START_ATTEMPTS, backoff_initial: '100ms' } } });
}

async function doJob(kpx: BootedKpx, user: string): Promise<void> {
  const job = randomUUID();
  await kpx.publish(jobOf(user, job));
  await kpx.jobDone(user, job);
}

const klist = async (user: string, cache: string) => (await machine.run(['/usr/bin/klist', '-c', cache], { user })).stdout;

beforeAll(async () => {
  await kdc.start();
  await machine.run(['/usr/bin/mkdir', '--mode=0700', WORK]);
  for (const [name, uid] of Object.entries(PEOPLE)) {
    await ldap.addUser(name, { uid });
    await kdc.addUser(name);
  }
});
afterAll(async () => {
  for (const name of Object.keys(PEOPLE)) await ldap.deleteUser(name);
  for (const path of [KEYTABS, WORK]) await machine.remove(path);
  await kdc.stop();
});

it('an executor has a ticket of its own, which is renewed without the password, and gone with the executor', async () => {
  const user = 'krb-alice';
  await installKeytab(user);
  const issuedBefore = await kdc.count('ISSUE', user);
  const kpx = await startKpxWithDropIn();
  await doJob(kpx, user);
  expect(await kpx.started(user)).toMatchObject({ env: { KRB5CCNAME: cacheOf(user) } });
  expect(await klist(user, cacheOf(user))).toMatch(new RegExp(`Default principal: ${user}@.*renew until`, 's'));

  // krenew has renewed it once before it went to the background, and goes on in there.
  expect(await kdc.count('ISSUE', user)).toBe(issuedBefore + 2);
  expect((await machine.run(['/usr/bin/pgrep', '--uid', user, '--list-name'])).stdout).toMatch(/ krenew$/m);
  await kdc.changePassword(user);
  await machine.run(['/usr/bin/krenew', '-k', cacheOf(user)], { user });
  expect(await kdc.count('ISSUE', user)).toBe(issuedBefore + 3);
  expect(await kdc.count('PREAUTH_FAILED', user)).toBe(0);

  await machine.systemctl('stop', unitOf(user));
  expect(await machine.exists(cacheOf(user).slice('FILE:'.length))).toBe(false);
});

it('with sssd-kcm as the cache, too', async () => {
  const user = 'krb-other';
  await installKeytab(user);
  await machine.systemctl('start', 'sssd-kcm.socket');
  onTestFinished(() => machine.systemctl('stop', 'sssd-kcm.socket', 'sssd-kcm.service').then(() => {}));
  const kpx = await startKpxWithDropIn('KCM:');
  await doJob(kpx, user);
  expect(await klist(user, 'KCM:')).toMatch(new RegExp(`Default principal: ${user}@.*renew until`, 's'));
  await machine.systemctl('stop', unitOf(user));
  expect((await machine.run(['/usr/bin/klist', '-c', 'KCM:'], { user, allowFailure: true })).exitCode).toBe(1);
});

/** What is wrong with somebody's keytab, how often the KDC counts a wrong password in a start, and what the unit's log says of it. */
const BAD: [what: string, user: keyof typeof PEOPLE, spoil: (user: string) => Promise<unknown>, countedByStart: number, says: string][] = [
  ['is outdated', 'krb-outdated', (user) => kdc.changePassword(user), 1, 'Preauthentication failed'],
  ['is missing', 'krb-missing', (user) => machine.remove(keytabOf(user)), 0, 'not found'],
  [
    "is somebody else's",
    'krb-foreign',
    (user) =>
      kdc
        .writeKeytab('krb-other', `${WORK}/foreign`)
        .then(() => machine.run(['/usr/bin/install', '-m', '0600', '-o', user, `${WORK}/foreign`, keytabOf(user)])),
    0,
    'no suitable keys',
  ],
  ['is good for tickets that cannot be renewed', 'krb-brief', (user) => kdc.forbidRenewal(user), 0, 'krenew: error renewing credentials'],
];

it.each(BAD)('whose keytab %s, gets no executor and is asked for once a start', async (_what, user, spoil, countedByStart, says) => {
  await installKeytab(user);
  await spoil(user);
  const cursor = await machine.journalCursor();
  const kpx = await startKpxWithDropIn();
  await kpx.publish(jobOf(user));
  const [parked] = await kpx.deadLetters(1);
  expect(parked?.headers).toMatchObject({ 'x-kpx-reason': 'START_FAILED' });
  // Nobody goes on asking: nothing of the unit is left, and another job waits for the trial after backoff_max.
  await kpx.publish(jobOf(user));
  await kpx.deadLetters(1);
  expect(await machine.show(unitOf(user), 'ActiveState')).toEqual({ ActiveState: 'failed' });
  expect((await machine.run(['/usr/bin/pgrep', '--uid', user], { allowFailure: true })).stdout).toBe('');
  expect(await kdc.count('PREAUTH_FAILED', user)).toBe(START_ATTEMPTS * countedByStart);
  const said = await machine.journal(`--after-cursor=${cursor}`, `--unit=${unitOf(user)}`);
  expect(said.filter(({ MESSAGE }) => MESSAGE.includes(says))).toHaveLength(START_ATTEMPTS);
});
