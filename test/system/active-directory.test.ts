import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { joinDomain } from '../fixtures/booted/domain-accounts.js';
import { DomainController, SERVER, SHARE } from '../fixtures/booted/domain-controller.js';
import { type BootedKpx, BROKER, type DoneJob, TEMPS, unitOf, WORKSPACES } from '../fixtures/booted/kpx.js';
import type { Section } from '../fixtures/helper-installation.js';
import { jobOf } from '../fixtures/jobs.js';
import { commandsOf } from '../fixtures/page.js';
import { withKpx } from './kpx-of-file.js';
import { atWork, runBlocks } from './page-commands.js';
import { bootedLdap, bootedMachine } from './shared-machine.js';

/* An Active Directory and its file server: from an empty domain to jobs that use a share with the rights of their user. */

const machine = bootedMachine();
const ldap = bootedLdap();

/** Known to LDAP and to the domain, and to no other test. */
const PEOPLE = { 'ad-alice': 24_401, 'ad-bob': 24_402, 'ad-outdated': 24_403, 'ad-bad': 24_404, 'ad-page': 24_405 };
const WITH_DIRECTORY = ['ad-alice', 'ad-bob', 'ad-page'];
const KEYTABS = '/etc/kpx/keytabs';
const JOBS_WHEN_OUTDATED = 20;
const DOCTOR_TIMEOUT_MS = 90_000;
const SET_UP_TIMEOUT_MS = 180_000;
/** The broker tries again at most so seldom. */
const BACKOFF = { backoff_initial: '100ms', backoff_max: '1s' };
const AFTER_SILENCE_TIMEOUT_MS = 60_000;

const keytabOf = (user: string) => `${KEYTABS}/${user}.keytab`;

let controller: DomainController;
let kpx: BootedKpx;
const ends: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  const [started, leave] = await Promise.all([DomainController.start(), DomainController.servesMachine(machine)]);
  controller = started;
  ends.push(() => controller.end(), leave);
  for (const [name, uid] of Object.entries(PEOPLE)) {
    await ldap.addUser(name, { uid });
    ends.push(() => ldap.deleteUser(name));
  }
  await Promise.all(Object.keys(PEOPLE).map((name) => controller.addUser(name)));
  await Promise.all(WITH_DIRECTORY.map((name) => controller.giveDirectory(name)));
  ends.push(
    await withKpx({ broker: { policy: BACKOFF } }, async (installed) => {
      kpx = installed;
      await machine.run(['/usr/bin/kpxctl', 'kerberos', 'setup', '--apply']);
      for (const name of Object.keys(PEOPLE)) await installKeytab(name);
      await kpx.start();
    }),
    async () => {
      await machine.run(['/usr/bin/kpxctl', 'kerberos', 'setup', '--remove', '--apply']);
      await machine.remove(KEYTABS);
    },
  );
}, SET_UP_TIMEOUT_MS);
afterAll(async () => {
  const problems: unknown[] = [];
  for (const end of ends.reverse()) await end().catch((error) => problems.push(error));
  expect(problems).toEqual([]);
});

async function installKeytab(name: string): Promise<void> {
  await machine.remove(keytabOf(name));
  await machine.writeFile(keytabOf(name), await controller.keytab(name), { mode: 0o600 });
}

interface Finding {
  readonly name: string;
  readonly result: string;
  readonly seen: string;
}

/** What `kpxctl doctor` finds with one check. */
async function doctor(user: string, check: string): Promise<Finding | undefined> {
  const argv = ['/usr/bin/kpxctl', 'doctor', '--user', user, '--json'];
  const { stdout } = await machine.run(argv, { timeoutMs: DOCTOR_TIMEOUT_MS, allowFailure: true });
  const { checks } = JSON.parse(stdout) as { checks: Finding[] };
  return checks.find(({ name }) => name === check);
}

/** Has kpx forget that it was refused, and publishes a job. */
async function jobAnew(user: string): Promise<void> {
  await machine.run(['/usr/bin/kpxctl', 'start', user]);
  await kpx.publish(jobOf(user));
}

/** Samba 4.22 takes the ticket that KRB5CCNAME names only where it is told to. */
const SMBCLIENT = 'exec /usr/bin/smbclient --use-krb5-ccache="$KRB5CCNAME" "$@"';

/** What a job of this user sees of the share. */
async function onShare(user: string, command: string): Promise<DoneJob['ran']> {
  const job = randomUUID();
  const run = ['/bin/sh', '-c', SMBCLIENT, '-', `//${SERVER}/${SHARE}`, '--command', command];
  await kpx.publish(jobOf(user, job, { run }));
  return (await kpx.jobDone(user, job)).ran;
}

it.each([
  ['ad-alice', 'ad-bob'],
  ['ad-bob', 'ad-alice'],
])('the executor of %s reads and writes what is theirs on the share, and the server refuses what is of %s', async (user, other) => {
  expect(await onShare(user, `get ${user}/${user}.txt -`)).toMatchObject({ exitCode: 0, output: expect.stringContaining(`of ${user}\n`) });
  expect(await onShare(user, `put /proc/self/status ${user}/status.txt`)).toMatchObject({ exitCode: 0 });
  expect(controller.readShared(`${user}/status.txt`)).toMatch(new RegExp(`^Uid:\t${PEOPLE[user as 'ad-alice']}\t`, 'm'));
  expect(await onShare(user, `get ${other}/${other}.txt -`)).toEqual({
    exitCode: 1,
    output: expect.stringContaining('NT_STATUS_ACCESS_DENIED'),
  });
  expect(await onShare(user, `put /proc/self/status ${other}/status.txt`)).toEqual({
    exitCode: 1,
    output: expect.stringContaining('NT_STATUS_ACCESS_DENIED'),
  });
});

it('an outdated keytab counts as one wrong password, however many jobs there are, and they are done with a new one', async () => {
  const user = 'ad-outdated';
  await controller.outdateKeytabs(user);
  const jobs = Array.from({ length: JOBS_WHEN_OUTDATED }, () => randomUUID());
  await kpx.publish(...jobs.map((job) => jobOf(user, job)));
  await expect.poll(async () => (await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages).toBe(JOBS_WHEN_OUTDATED);
  const { stdout } = await machine.run(['/usr/bin/kpxctl', 'dead-letters', 'list', '--json']);
  expect(stdout.match(/CREDENTIALS_REFUSED/g)).toHaveLength(JOBS_WHEN_OUTDATED);
  expect(await doctor(user, 'user ticket')).toMatchObject({ result: 'fail', seen: expect.stringContaining('was refused a ticket') });
  expect(await controller.wrongPasswords(user)).toBe(1);
  expect(await controller.isLockedOut(user)).toBe(false);

  await installKeytab(user);
  await machine.run(['/usr/bin/kpxctl', 'dead-letters', 'replay', '--reason', 'CREDENTIALS_REFUSED']);
  await kpx.jobsDone(user, JOBS_WHEN_OUTDATED);
  expect(await controller.wrongPasswords(user)).toBeLessThanOrEqual(1);
});

describe('a job whose user has a keytab', () => {
  const user = 'ad-bad';
  const path = keytabOf(user);
  it.each<[string, string[], string]>([
    ['that is missing', ['/usr/bin/rm', path], `there is no ${path}`],
    ['that is empty', ['/usr/bin/truncate', '--size=0', path], `${path} is empty`],
    ['of somebody else', ['/usr/bin/cp', keytabOf('ad-bob'), path], `${path} is of ad-bob@CORP.EXAMPLE, not of "${user}"`],
    ['that others may read', ['/usr/bin/chmod', '0644', path], `${path} has to be root's, with mode 0600 or 0400`],
    ['that is a link', ['/usr/bin/ln', '--symbolic', '--force', keytabOf('ad-bob'), path], `${path} is no regular file`],
  ])('%s is parked with the reason, and the domain is not asked', async (_what, spoil, reason) => {
    onTestFinished(() => installKeytab(user));
    await machine.run(spoil);
    await jobAnew(user);
    const [parked] = await kpx.deadLetters(1);
    expect(parked?.headers).toMatchObject({ 'x-kpx-reason': 'CREDENTIALS_REFUSED', 'x-kpx-detail': expect.stringContaining(reason) });
    expect(await controller.wrongPasswords(user)).toBe(0);
  });
});

it('an account that is disabled in the domain gets no ticket, and no executor', async () => {
  const user = 'ad-bad';
  await controller.tool('user', 'disable', user);
  onTestFinished(async () => {
    await controller.tool('user', 'enable', user);
  });
  await jobAnew(user);
  const [parked] = await kpx.deadLetters(1);
  expect(parked?.headers).toMatchObject({ 'x-kpx-reason': 'CREDENTIALS_REFUSED', 'x-kpx-detail': expect.stringContaining('revoked') });
});

describe('while the domain controller', () => {
  const users = ['ad-alice', 'ad-bob'];
  it.each<[string, () => unknown, () => unknown]>([
    ['is silent', () => controller.freeze(), () => controller.thaw()],
    ['refuses connections', () => controller.stopService(), () => controller.startService()],
  ])('%s, jobs wait with the reason, and are done afterwards', async (_what, begin, end) => {
    for (const user of users) await machine.systemctl('stop', unitOf(user));
    await kpx.mark();
    await begin();
    const jobs = users.map((user) => [user, randomUUID()] as const);
    try {
      await kpx.publish(...jobs.map(([user, job]) => jobOf(user, job)));
      for (const user of users) {
        const { reason } = await kpx.brokerSays({ user, state: 'backoff' });
        expect(reason).toMatch(/^HOST_FAILED: no (KDC has answered|ticket) for /);
      }
    } finally {
      await end();
    }
    for (const [user, job] of jobs) await kpx.jobDone(user, job, AFTER_SILENCE_TIMEOUT_MS);
    for (const user of users) expect(await controller.wrongPasswords(user)).toBe(0);
  });
});

it('docs/kerberos.md: Active Directory with keytabs, in an evening, as it is written', async () => {
  const user = 'ad-page';
  await machine.run(['/usr/bin/kpxctl', 'kerberos', 'setup', '--remove', '--apply']);
  await machine.remove(keytabOf(user));
  const blocks = commandsOf('docs/kerberos.md', { alice: user });
  const isForController = ({ text }: { text: string }) => text.startsWith('samba-tool');
  const exported = `/root/${user}.keytab`;
  const makeKeytab = async () => {
    for (const { text } of blocks.filter(isForController)) await controller.run('/bin/sh', '-e', '-u', '-c', text);
    await machine.writeFile(exported, controller.take(exported));
  };
  const job = randomUUID();
  await runBlocks(
    blocks.filter((block) => !isForController(block)),
    [
      {
        at: 'kpxctl kerberos setup',
        before: makeKeytab,
        says: /to do .*20-kpx-ticket\.conf.*--apply does it.*done .*20-kpx-ticket\.conf/s,
      },
      {
        at: 'kpxctl doctor',
        says: /ok +user keytab .*\.keytab is of ad-page@CORP\.EXAMPLE\n.*ok +user ticket .*gives "ad-page" a ticket/s,
      },
      {
        at: 'status kpx-ticket@',
        before: () => atWork(kpx, user),
        says: /has a ticket.*Default principal: ad-page@CORP\.EXAMPLE.* ad-page\.txt /s,
      },
      {
        at: '--reason CREDENTIALS_REFUSED',
        before: async () => {
          await machine.systemctl('stop', unitOf(user));
          await controller.outdateKeytabs(user);
          await kpx.publish(jobOf(user, job));
          await expect.poll(async () => (await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages).toBe(1);
          await installKeytab(user);
        },
      },
    ],
  );
  await kpx.jobDone(user, job);
});

describe('with the accounts of the domain through SSSD', () => {
  const [user, nested] = ['ad-carol', 'ad-dave'];

  beforeAll(async () => {
    await machine.run(['/usr/bin/kpxctl', 'kerberos', 'setup', '--remove', '--apply']);
    for (const name of [user, nested]) await controller.addUser(name);
    await controller.addGroup('Inner People', nested);
    await controller.addGroup('outer people', 'Inner People');
    ends.push(await joinDomain(machine, controller), async () => {
      // Of other numbers in the next domain.
      for (const name of [user, nested]) for (const parent of ['/home', WORKSPACES, TEMPS]) await machine.remove(`${parent}/${name}`);
    });
  }, SET_UP_TIMEOUT_MS);

  async function reconfigured(accounts: Section): Promise<void> {
    await kpx.configure({ broker: { policy: BACKOFF }, helper: { accounts } });
    await kpx.mark();
    await machine.systemctl('restart', BROKER);
    await kpx.inUse();
  }

  it.each(['ad-carol', 'Ad-Carol'])('a job of %s goes to the one account, whose group is "domain users"', async (name) => {
    await kpx.publish(jobOf(name, name));
    expect(await kpx.jobDone(user, name)).toMatchObject({ uid: expect.any(Number) });
    expect((await machine.run(['/usr/bin/id', '--group', '--name', user])).stdout).toBe('domain users\n');
  });

  it.each(['CORP\\ad-carol', 'ad-carol@corp.example'])(
    'a job of %s is parked, and the reason has the name that the account has',
    async (name) => {
      await kpx.publish(jobOf(name));
      const [parked] = await kpx.deadLetters(1);
      expect(parked?.headers).toMatchObject({
        'x-kpx-reason': 'ACCOUNT_DENIED',
        'x-kpx-detail': expect.stringContaining('the name service calls it "ad-carol"'),
      });
    },
  );

  it('a group in denied_groups is found by its own name, also where it is nested', async () => {
    await reconfigured({ denied_groups: ['outer people'] });
    await kpx.publish(jobOf(nested));
    const [parked] = await kpx.deadLetters(1);
    expect(parked?.headers).toMatchObject({ 'x-kpx-reason': 'ACCOUNT_DENIED' });
  });

  it('an account that is disabled gets an executor, and none where PAM is asked', async () => {
    await machine.systemctl('stop', unitOf(user));
    await controller.tool('user', 'disable', user);
    await reconfigured({});
    expect(await doctor(user, 'disabled accounts')).toMatchObject({ result: 'warn', seen: expect.stringContaining('PAM is not asked') });
    await kpx.publish(jobOf(user, 'PAM is not asked'));
    await kpx.jobDone(user, 'PAM is not asked');
    await machine.systemctl('stop', unitOf(user));
    await reconfigured({ ask_pam: true });
    await kpx.publish(jobOf(user));
    const [parked] = await kpx.deadLetters(1);
    expect(parked?.headers).toMatchObject({
      'x-kpx-reason': 'ACCOUNT_DENIED',
      'x-kpx-detail': expect.stringContaining('PAM refuses the account'),
    });
  });
});
