import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { SERVER } from '../../fixtures/booted/domain-controller.js';
import { installPrograms } from '../../fixtures/booted/kdc.js';
import { type DoneJob, unitOf } from '../../fixtures/booted/kpx.js';
import type { JournalEntry } from '../../fixtures/booted/machine.js';
import { DIRECTORY_PACKAGES } from '../../fixtures/booted/services.mjs';
import { jobOf } from '../../fixtures/jobs.js';
import { executorCan } from '../as-executor.js';
import { atWork, runBlocks } from '../page-commands.js';
import { bootedLdap } from '../shared-machine.js';
import { commandsIn } from './page.js';
import { type DomainScene, KEYTABS, MACHINE, MACHINE_KEYTAB, PEOPLE, SET_UP_TIMEOUT_MS } from './scene.js';

const SERVICES = [`cifs/${SERVER}`, `ldap/${SERVER}`];
const SET_UP = ['/usr/bin/kpxctl', 'kerberos', 'setup'];
const WHO_AM_I = ['/usr/bin/ldapwhoami', '-Q', '-Y', 'GSSAPI', '-N', '-H', `ldap://${SERVER}`];
const DELEGATE_TO = SERVICES.flatMap((service) => ['--delegate-to', service]);

/** Of DynamicUser=. Source: systemd.io, "Users, Groups, UIDs and GIDs on systemd Systems". */
const DYNAMIC_UIDS = { min: 61_184, max: 65_519 };

/** Of a unit with RuntimeDirectory=kpx-tickets/CORP\alice. Source: github.com/systemd/systemd/issues/41853. Neither 252 nor 262 has this fault. */
const NO_BACKSLASHES = /^Failed to deserialize: Invalid argument/;

const cacheOf = (user: string) => `/run/kpx-tickets/${user}/krb5cc`;
const ticketUnitOf = (user: string) => `kpx-ticket@${user}.service`;

/** Tickets of users by the keytab of this machine alone. */
export function delegation(scene: DomainScene): void {
  const { machine } = scene;
  const ldap = bootedLdap();
  const setUp = async (...options: string[]) => (await machine.run([...SET_UP, ...options])).stdout;

  describe('by delegation, without keytabs of users,', () => {
    let leave = async () => {};

    beforeAll(async () => {
      await installPrograms(machine, DIRECTORY_PACKAGES);
      await setUp('--remove', '--apply');
      await machine.remove(KEYTABS);
      for (const user of Object.keys(PEOPLE)) await machine.systemctl('stop', unitOf(user));
      // As SSSD has it where names have to be whole.
      await ldap.addUser('ad-alice@corp.example', { uid: 24_409 });
      scene.atEnd(() => ldap.deleteUser('ad-alice@corp.example'));
      await machine.writeFile(MACHINE_KEYTAB, await scene.controller.addMachine(MACHINE.slice(0, -1)), { mode: 0o600 });
      leave = async () => {
        await setUp('--remove', '--apply');
        await machine.remove(MACHINE_KEYTAB);
      };
    }, SET_UP_TIMEOUT_MS);
    afterAll(() => leave());

    it('docs/kerberos.md: Active Directory with delegation, as it is written', async () => {
      const user = 'ad-page';
      const { ofDomain, ofMachine } = commandsIn('Active Directory with delegation', { alice: user });
      for (const { text } of ofDomain) await scene.controller.run('/bin/sh', '-e', '-u', '-c', text);
      await scene.kpx.mark();
      await runBlocks(ofMachine, [
        {
          at: 'kpxctl kerberos setup',
          says: new RegExp(
            [
              String.raw`ok +/etc/krb5\.keytab.*to do +/etc/kpx/delegation.*to do .*20-kpx-delegation\.conf.*DynamicUser=yes.*--apply does it`,
              String.raw`done +.*20-kpx-delegation\.conf`,
              String.raw`ok +user keytab +by delegation: .* is of KPX-HOST\$@CORP\.EXAMPLE.*ok +user ticket +the domain lets this machine act for "ad-page"`,
            ].join('.*'),
            's',
          ),
        },
        {
          at: 'status kpx-ticket@',
          before: () => atWork(scene.kpx, user),
          says: /has tickets of "ad-page" for cifs.*Default principal: ad-page@CORP\.EXAMPLE.* ad-page\.txt /s,
        },
      ]);
    });

    it('kpxctl names the services anew when told to, keeps them otherwise, and takes nothing that is none', async () => {
      await scene.controller.tool('delegation', 'add-service', MACHINE, SERVICES[1] ?? '');
      expect(await setUp(...DELEGATE_TO, '--apply')).toMatch(
        /done +\/etc\/kpx\/delegation: .*cifs\/dc\.corp\.example, ldap\/dc\.corp\.example/,
      );
      expect(await setUp()).toContain('Nothing is to be done');
      const wrong = await machine.run([...SET_UP, '--delegate-to', 'files.corp.example'], { allowFailure: true });
      expect(wrong).toMatchObject({ exitCode: 64, stderr: expect.stringContaining('"files.corp.example" is no service') });
    });

    /** A program of a job of this user, as they run it. */
    async function runs(user: string, ...run: string[]): Promise<DoneJob['ran']> {
      const job = randomUUID();
      await scene.kpx.publish(jobOf(user, job, { run }));
      return (await scene.kpx.jobDone(user, job)).ran;
    }

    it.each([
      ['ad-alice', 'ad-bob'],
      ['ad-bob', 'ad-alice'],
    ])('the executor of %s reads and writes what is theirs on the share, and the server refuses what is of %s', async (user, other) => {
      expect(await scene.onShare(user, `get ${user}/${user}.txt -`)).toMatchObject({
        exitCode: 0,
        output: expect.stringContaining(`of ${user}\n`),
      });
      expect(await scene.onShare(user, `put /proc/self/status ${user}/delegated.txt`)).toMatchObject({ exitCode: 0 });
      expect(scene.controller.readShared(`${user}/delegated.txt`)).toMatch(new RegExp(`^Uid:\t${PEOPLE[user as 'ad-alice']}\t`, 'm'));
      const refused = { exitCode: 1, output: expect.stringContaining('NT_STATUS_ACCESS_DENIED') };
      expect(await scene.onShare(user, `get ${other}/${other}.txt -`)).toEqual(refused);
      expect(await scene.onShare(user, `put /proc/self/status ${other}/delegated.txt`)).toEqual(refused);
    });

    it.each(['ad-alice', 'ad-bob'])('an executor of %s is known to the named services as its user', async (user) => {
      expect(await runs(user, ...WHO_AM_I)).toEqual({ exitCode: 0, output: `u:CORP\\${user}\n` });
    });

    it('a user has tickets of their own for the named services, and no other: none of this machine’s, and no way to it', async () => {
      const { stdout } = await machine.run(['/usr/bin/klist', '-c', cacheOf('ad-alice')], { user: 'ad-alice' });
      expect(stdout).toContain('Default principal: ad-alice@CORP.EXAMPLE');
      const held = [...stdout.matchAll(/^\d\d\/\S+ \S+ +\S+ \S+ +(\S+)$/gm)].map(([, service]) => service);
      expect(held).toEqual(SERVICES.map((service) => `${service}@CORP.EXAMPLE`));
      expect(stdout).not.toContain(MACHINE);

      const { MainPID: pid } = await machine.show(ticketUnitOf('ad-alice'), 'MainPID');
      const copy = `/run/credentials/${ticketUnitOf('ad-alice')}/keytab`;
      expect(await executorCan('ad-alice', '/usr/bin/test', '-r', cacheOf('ad-alice'))).toBe(true);
      expect(await executorCan('ad-bob', '/usr/bin/test', '-r', cacheOf('ad-alice'))).toBe(false);
      for (const path of [MACHINE_KEYTAB, copy, `/proc/${pid}/root${copy}`, `/proc/${pid}/environ`, '/etc/kpx/delegation'])
        expect(await executorCan('ad-alice', '/usr/bin/head', '-c1', path), path).toBe(false);
      for (const path of ['/run/kpx-delegation/ad-alice', '/run/kpx-tickets/ad-bob'])
        expect(await executorCan('ad-alice', '/usr/bin/ls', path), path).toBe(false);
      expect(await executorCan('ad-alice', '/usr/bin/rm', '-f', cacheOf('ad-alice'))).toBe(false);
      expect(await executorCan('ad-alice', '/usr/bin/touch', '/run/kpx-tickets/ad-alice/other')).toBe(false);
      // The ticket of this machine is there while it is used, and no longer.
      await expect.poll(async () => (await machine.run(['/usr/bin/find', '/run/kpx-delegation', '-type', 'f'])).stdout).toBe('');
    });

    it('nothing of it runs as root or as the user, and the one capability is to give files away', async () => {
      const { MainPID: pid } = await machine.show(ticketUnitOf('ad-alice'), 'MainPID');
      const status = await machine.readFile(`/proc/${pid}/status`);
      const [, uid] = /^Uid:\t(\d+)\t\1\t\1\t\1$/m.exec(status) ?? [];
      expect(Number(uid)).toBeGreaterThanOrEqual(DYNAMIC_UIDS.min);
      expect(Number(uid)).toBeLessThanOrEqual(DYNAMIC_UIDS.max);
      for (const set of ['CapPrm', 'CapEff', 'CapBnd']) expect(status).toMatch(new RegExp(`^${set}:\\t0{15}1$`, 'm'));
    });

    it.each<[string, RegExp]>([
      ['ad-alice@corp.example', /^has tickets of "ad-alice" for /],
      ['CORP\\ad-alice', /^"CORP\\ad-alice" does not name its realm/],
      ['daemon', /^"daemon" is an account of this machine \(\/etc\/passwd\)/],
    ])('the account %s gets the tickets of the person that it is, or none', async (account, said) => {
      const before = await machine.journalCursor();
      // Nobody requires it, so PID 1 ends it again.
      await machine.run(['/usr/bin/systemctl', 'start', '--', ticketUnitOf(account)], { allowFailure: true });
      const version = await machine.systemctl('--version');
      const expected = account.includes('\\') && version.startsWith('systemd 257 ') ? NO_BACKSLASHES : said;
      const isSaid = ({ MESSAGE }: JournalEntry) => expected.test(MESSAGE);
      const identifiers = ['kpx-ticket', 'systemd-executor'].map((identifier) => `--identifier=${identifier}`);
      await machine.waitForJournal(String(expected), [`--after-cursor=${before}`, ...identifiers], isSaid);
    });

    it('they end with the executor', async () => {
      await machine.systemctl('stop', unitOf('ad-bob'));
      await expect.poll(() => machine.show(ticketUnitOf('ad-bob'), 'ActiveState')).toEqual({ ActiveState: 'inactive' });
      expect(await machine.exists('/run/kpx-tickets/ad-bob')).toBe(false);
    });

    describe('a job is parked at once with the reason', () => {
      const user = 'ad-bad';
      it.each<[string, () => Promise<unknown>, () => Promise<unknown>, string]>([
        [
          'where the domain has disabled the account',
          () => scene.controller.tool('user', 'disable', user),
          () => scene.controller.tool('user', 'enable', user),
          'revoked',
        ],
        [
          'where the domain has marked the account as sensitive',
          () => scene.controller.tool('user', 'sensitive', user, 'on'),
          () => scene.controller.tool('user', 'sensitive', user, 'off'),
          `the domain gives no ticket of "${user}"`,
        ],
      ])('%s, and doctor says it', async (_what, begin, end, reason) => {
        await begin();
        onTestFinished(async () => {
          await end();
        });
        await scene.jobAnew(user);
        const [parked] = await scene.kpx.deadLetters(1);
        expect(parked?.headers).toMatchObject({ 'x-kpx-reason': 'CREDENTIALS_REFUSED', 'x-kpx-detail': expect.stringContaining(reason) });
        expect(await scene.doctor(user, 'user ticket')).toMatchObject({ result: 'fail', seen: expect.stringContaining(reason) });
      });
    });

    describe('jobs wait, and are done afterwards, while', () => {
      const user = 'ad-outdated';
      it.each<[string, () => Promise<unknown>, () => Promise<unknown>, RegExp]>([
        [
          'the domain does not let this machine act for users',
          () => scene.controller.tool('delegation', 'for-any-protocol', MACHINE, 'off'),
          () => scene.controller.tool('delegation', 'for-any-protocol', MACHINE, 'on'),
          /^HOST_FAILED: the domain does not let "KPX-HOST\$@CORP\.EXAMPLE" act for users at /,
        ],
        [
          'the keytab of this machine can be read by others',
          () => machine.run(['/usr/bin/chmod', '0644', MACHINE_KEYTAB]),
          () => machine.run(['/usr/bin/chmod', '0600', MACHINE_KEYTAB]),
          /^HOST_FAILED: \/etc\/krb5\.keytab has to be root's/,
        ],
        [
          'what is named is no service',
          () => machine.writeFile('/etc/kpx/delegation', 'files.corp.example\n', { mode: 0o600 }),
          () => machine.writeFile('/etc/kpx/delegation', `${SERVICES.join('\n')}\n`, { mode: 0o600 }),
          /^HOST_FAILED: \/etc\/kpx\/delegation: "files\.corp\.example" is no service/,
        ],
        [
          'the domain controller is silent',
          async () => scene.controller.freeze(),
          async () => scene.controller.thaw(),
          /^HOST_FAILED: no KDC has answered for /,
        ],
      ])('%s', async (_what, begin, end, reason) => {
        await machine.systemctl('stop', unitOf(user));
        await scene.kpx.mark();
        await begin();
        const job = randomUUID();
        try {
          await scene.kpx.publish(jobOf(user, job));
          expect((await scene.kpx.brokerSays({ user, state: 'backoff' })).reason).toMatch(reason);
        } finally {
          await end();
        }
        await scene.kpx.jobDone(user, job, 60_000);
      });
    });
  });
}
