import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { DomainController, SERVER, SHARE } from '../../fixtures/booted/domain-controller.js';
import { type BootedKpx, BROKER, type DoneJob, TEMPS, WORKSPACES } from '../../fixtures/booted/kpx.js';
import type { Section } from '../../fixtures/helper-installation.js';
import { jobOf } from '../../fixtures/jobs.js';
import { withKpx } from '../kpx-of-file.js';
import { bootedLdap, bootedMachine } from '../shared-machine.js';

/** Known to LDAP and to the domain, and to no other test. */
export const PEOPLE = {
  'ad-alice': 24_401,
  'ad-bob': 24_402,
  'ad-outdated': 24_403,
  'ad-bad': 24_404,
  'ad-page': 24_405,
  'ad-clock': 24_407,
};
const WITH_DIRECTORY = ['ad-alice', 'ad-bob', 'ad-page', 'ad-clock'];
export const KEYTABS = '/etc/kpx/keytabs';
/** This machine, as a member of the domain. */
export const MACHINE = 'KPX-HOST$';
export const MACHINE_KEYTAB = '/etc/krb5.keytab';
const DOCTOR_TIMEOUT_MS = 90_000;
export const SET_UP_TIMEOUT_MS = 180_000;
/** The broker tries again at most so seldom. */
export const BACKOFF = { backoff_initial: '100ms', backoff_max: '1s' };

export const keytabOf = (user: string) => `${KEYTABS}/${user}.keytab`;

/** Samba 4.22 takes the ticket that KRB5CCNAME names only where it is told to. */
const SMBCLIENT = 'exec /usr/bin/smbclient --use-krb5-ccache="$KRB5CCNAME" "$@"';

interface Finding {
  readonly name: string;
  readonly result: string;
  readonly seen: string;
  readonly fix?: string;
}

/** One domain controller, and kpx with tickets, for all that test/system/active-directory.test.ts runs. */
export class DomainScene {
  readonly machine = bootedMachine();
  controller!: DomainController;
  kpx!: BootedKpx;
  readonly #ends: (() => Promise<unknown>)[] = [];

  /** The users have their keytabs, and the broker consumes. */
  async begin(): Promise<void> {
    const { machine } = this;
    const ldap = bootedLdap();
    const [controller, leave] = await Promise.all([DomainController.start(), DomainController.servesMachine(machine)]);
    this.controller = controller;
    this.atEnd(() => controller.end(), leave);
    for (const [name, uid] of Object.entries(PEOPLE)) {
      await ldap.addUser(name, { uid });
      this.atEnd(() => ldap.deleteUser(name));
    }
    await Promise.all(Object.keys(PEOPLE).map((name) => controller.addUser(name)));
    await Promise.all(WITH_DIRECTORY.map((name) => controller.giveDirectory(name)));
    const stopKpx = await withKpx({ broker: { policy: BACKOFF } }, async (kpx) => {
      this.kpx = kpx;
      await machine.run(['/usr/bin/kpxctl', 'kerberos', 'setup', '--apply']);
      for (const name of Object.keys(PEOPLE)) await this.installKeytab(name);
      await kpx.start();
    });
    this.atEnd(stopKpx, async () => {
      await machine.run(['/usr/bin/kpxctl', 'kerberos', 'setup', '--remove', '--apply']);
      await machine.remove(KEYTABS);
    });
  }

  /** In {@link end}, the last that was given first. */
  atEnd(...ends: (() => Promise<unknown>)[]): void {
    this.#ends.push(...ends);
  }

  async end(): Promise<void> {
    const problems: unknown[] = [];
    for (const end of this.#ends.reverse()) await end().catch((error) => problems.push(error));
    expect(problems).toEqual([]);
  }

  async installKeytab(name: string): Promise<void> {
    await this.machine.remove(keytabOf(name));
    await this.machine.writeFile(keytabOf(name), await this.controller.keytab(name), { mode: 0o600 });
  }

  /** Known to the domain alone. Their numbers are others in the next domain: nothing of theirs may stay. */
  async addDomainUsers(...names: string[]): Promise<void> {
    for (const name of names) await this.controller.addUser(name);
    this.atEnd(async () => {
      for (const name of names) for (const parent of ['/home', WORKSPACES, TEMPS]) await this.machine.remove(`${parent}/${name}`);
    });
  }

  /** The helper judges accounts so from now on. */
  async reconfigured(accounts: Section, others: Record<string, Section> = {}): Promise<void> {
    await this.kpx.configure({ broker: { policy: BACKOFF }, helper: { accounts, ...others } });
    await this.kpx.mark();
    await this.machine.systemctl('restart', BROKER);
    await this.kpx.inUse();
  }

  /** What `kpxctl doctor` finds with one check. */
  async doctor(user: string, check: string): Promise<Finding | undefined> {
    const argv = ['/usr/bin/kpxctl', 'doctor', '--user', user, '--json'];
    const { stdout } = await this.machine.run(argv, { timeoutMs: DOCTOR_TIMEOUT_MS, allowFailure: true });
    const { checks } = JSON.parse(stdout) as { checks: Finding[] };
    return checks.find(({ name }) => name === check);
  }

  /** Has kpx forget that it was refused, and publishes a job. */
  async jobAnew(user: string): Promise<void> {
    await this.machine.run(['/usr/bin/kpxctl', 'start', user]);
    await this.kpx.publish(jobOf(user));
  }

  /** What a job of this user sees of the share. */
  async onShare(user: string, command: string, share = SHARE): Promise<DoneJob['ran']> {
    const job = randomUUID();
    const run = ['/bin/sh', '-c', SMBCLIENT, '-', `//${SERVER}/${share}`, '--command', command];
    await this.kpx.publish(jobOf(user, job, { run }));
    return (await this.kpx.jobDone(user, job)).ran;
  }
}
