import { readdir, readFile } from 'node:fs/promises';
import { runCommand } from '@kpx/privhelper/system/command';
import type { OsUser } from '@kpx/protocol';
import { DELEGATION_ACCOUNT } from '../delegated-services.js';
import { judged, orUnseen } from './accounts.js';
import { ASK_AS_ROOT, type Check, fail, ok, Skipped, type Verdict, warn } from './check.js';
import { ASK_DOMAIN, BadConfiguration, judgedDelegation, principalsIn, wrongIn } from './keytab.js';
import type { Scene } from './scene.js';
import { showUnit } from './systemd.js';

/** Whether a directory's refusals reach kpx, and tickets of Kerberos of the user in --user. */
export const kerberosChecks = (scene: Scene): Check[] => [
  disabledAccounts(scene),
  ...(scene.user === undefined ? [] : [keytab(scene), ticket(scene)]),
];

const KEYTABS = '/etc/kpx/keytabs';
const JOURNALCTL = '/usr/bin/journalctl';
const NO_TICKETS = ok('executors get no tickets from kpx');
const NEW_KEYTAB =
  'Make a new keytab of the account, and install it: install -m 0600 NEW.keytab /etc/kpx/keytabs/ACCOUNT.keytab (kerberos.md).';
const ASK_KDC =
  'See journalctl -u kpx-ticket@ACCOUNT, /etc/krb5.conf, the DNS of the realm, the firewall (port 88) and the clock: timedatectl.';

const CORRECT_CONFIGURATION = 'Correct /etc/krb5.conf and what it includes; everybody has to be able to read it: chmod 0644.';
const SET_CLOCK = 'Have both clocks set by NTP: timedatectl, here and on the KDC. Beyond 5 minutes, servers refuse tickets (kerberos.md).';

/** The unit that the executor requires, and the cache that its programs look in. */
interface Way {
  readonly unit: string;
  readonly cache: string;
  /** No keytab of the user: the keytab of this machine. */
  readonly byDelegation: boolean;
}

/** Looks at an account whose executors start with a ticket. */
function withTickets(scene: Scene, look: (osUser: OsUser, way: Way, signal: AbortSignal) => Promise<Verdict>): Check['look'] {
  return async (signal) => {
    const { executor } = await scene.helper();
    if (executor.launcher === 'direct') return NO_TICKETS;
    const { osUser } = await judged(scene).catch(orUnseen);
    const { Requires, Environment } = await showUnit(`${executor.unit}${osUser}.service`, signal);
    const [unit] = /\bkpx-ticket@\S+/.exec(Requires) ?? [];
    if (unit === undefined) return NO_TICKETS;
    if (!scene.isRoot) throw new Skipped(ASK_AS_ROOT);
    const [, cache = ''] = /\bKRB5CCNAME=(\S+)/.exec(Environment) ?? [];
    const { User } = await showUnit(unit, signal);
    return await look(osUser, { unit, cache, byDelegation: User === DELEGATION_ACCOUNT }, signal).catch((error) => {
      if (error instanceof BadConfiguration) return fail(error.message, CORRECT_CONFIGURATION);
      throw error;
    });
  };
}

const keytab = (scene: Scene): Check => ({
  name: 'user keytab',
  fix: NEW_KEYTAB,
  look: withTickets(scene, async (osUser, { byDelegation }, signal) => {
    if (byDelegation) return await judgedDelegation(signal);
    const path = `${KEYTABS}/${osUser}.keytab`;
    const wrong = await wrongIn(path, 0o711, signal);
    if (wrong !== undefined) return wrong;
    const held = await principalsIn(path, signal);
    const wanted = nameIn(osUser);
    if (!held.some((name) => nameIn(name) === wanted)) throw new Error(`${path} is of ${held.join(', ') || 'nobody'}, not of "${osUser}"`);
    return ok(`${path} is of ${held.join(', ')}`);
  }),
});

/** `alice` of alice, Alice@CORP.EXAMPLE and CORP\alice. */
const nameIn = (name: string) => name.replace(/^.*\\/, '').replace(/@.*$/, '').toLowerCase();

/**
 * Starts kpx-ticket@.service where no executor has: it asks the KDC once, and not at all by a keytab that has been refused. Nobody requires it, so
 * PID 1 ends it again.
 */
const ticket = (scene: Scene): Check => ({
  name: 'user ticket',
  fix: ASK_KDC,
  look: withTickets(scene, async (osUser, { unit, cache, byDelegation }, signal) => {
    const { executor } = await scene.helper();
    const { KRB5CCNAME: other } = executor.environment;
    if (other !== undefined && other !== cache)
      return fail(
        `programs look for it in ${other}, and it is in ${cache}`,
        'Take KRB5CCNAME out of [executor.environment] in privhelper.toml.',
      );
    const { ActiveState, StatusText } = await showUnit(unit, signal);
    if (ActiveState === 'active') return heldNow(StatusText, byDelegation ? ASK_DOMAIN : NEW_KEYTAB);
    const { exitCode } = await runCommand('/usr/bin/systemctl', ['--no-ask-password', 'start', '--', unit], signal);
    const asked = await showUnit(unit, signal);
    const gives = byDelegation ? `the domain lets this machine act for "${osUser}"` : `the KDC gives "${osUser}" a ticket`;
    if (exitCode === 0) return clockIn(await lastSaid(unit, signal)) ?? ok(`${gives}; an executor finds it in ${cache}`);
    const why = asked.StatusText || `${unit} did not start: result ${asked.Result}, exit ${asked.ExecMainStatus}`;
    if (CLOCK_OFF.test(why)) return fail(why, SET_CLOCK);
    if (BAD_CONFIGURATION.test(why)) return fail(why, CORRECT_CONFIGURATION);
    if (byDelegation) return fail(why, ASK_DOMAIN);
    return fail(why, asked.ExecMainStatus === EXIT_REFUSED ? NEW_KEYTAB : ASK_KDC);
  }),
});

/** sysexits.h, EX_NOPERM: so kpx-tickets.cjs ends when the account is refused. */
const EXIT_REFUSED = '77';

/** How kpx-tickets.cjs speaks of a clock that is off, and of a KDC that has not answered, which it asks again. */
const CLOCK_OFF = /clock is \d+ s|clock skew/i;
const ASKED_AGAIN = /; asked again in /;
/** And of a krb5.conf that is not as it has to be. */
const BAD_CONFIGURATION = /: \/etc\/krb5\.conf\b/;

/** The last line of a unit's programs: PID 1 forgets the status of one that has ended well. */
async function lastSaid(unit: string, signal: AbortSignal): Promise<string> {
  await runCommand(JOURNALCTL, ['--sync'], signal);
  const options = ['--quiet', '--no-pager', '--output=cat', '--lines=1'];
  return (await runCommand(JOURNALCTL, [...options, `_SYSTEMD_UNIT=${unit}`], signal)).stdout.trim();
}

const clockIn = (said: string) => (CLOCK_OFF.test(said) ? warn(`the KDC gives tickets: ${said}`, SET_CLOCK) : undefined);

function heldNow(said: string, fix: string): Verdict {
  if (!said.startsWith('no new ticket')) return clockIn(said) ?? ok(`the executor that runs ${said}`);
  return warn(`the executor that runs has an old ticket: ${said}`, ASKED_AGAIN.test(said) ? ASK_KDC : fix);
}

const SSSD = '/etc/sssd/sssd.conf';
const SSSD_PARTS = '/etc/sssd/conf.d';
/** Providers of SSSD that know when an account is disabled. */
const KNOW = /^(ad|ipa)$/;

/** An account that the directory has disabled still exists; PAM's account step is what refuses it. */
const disabledAccounts = (scene: Scene): Check => ({
  name: 'disabled accounts',
  fix: `Look at ${SSSD}.`,
  look: async () => {
    const { accounts } = await scene.helper();
    const domains = await sssdDomains();
    const known = domains.filter(({ id_provider }) => KNOW.test(id_provider ?? ''));
    if (!accounts.ask_pam && known.length > 0)
      return warn(
        `accounts that are disabled in ${namesOf(known)} get executors: PAM is not asked`,
        'Set ask_pam = true in [accounts] of privhelper.toml, then: systemctl restart kpx-broker.',
      );
    if (!accounts.ask_pam) return ok('PAM is not asked at a start (accounts.ask_pam), and no directory is known to disable accounts');
    const idle = domains.filter(({ access_provider = 'permit' }) => access_provider === 'permit');
    if (idle.length > 0)
      return warn(
        `PAM is asked at each start, and SSSD refuses nobody of ${namesOf(idle)}: access_provider is "permit"`,
        `Set access_provider = ad (or ipa, ldap, simple) in ${SSSD}, then: systemctl restart sssd.`,
      );
    return ok(`PAM is asked at each start${domains.length > 0 ? `, and SSSD judges accounts of ${namesOf(domains)}` : ''}`);
  },
});

type Domain = Readonly<Record<string, string>> & { readonly name: string };

const namesOf = (domains: readonly Domain[]) => domains.map(({ name }) => `"${name}"`).join(', ');

/** The keys of each `[domain/NAME]` of SSSD's configuration, which only root may read; none where there is no SSSD. */
async function sssdDomains(): Promise<Domain[]> {
  const parts = (await readdir(SSSD_PARTS).catch(() => [])).filter((name) => name.endsWith('.conf') && !name.startsWith('.')).sort();
  const domains = new Map<string, Record<string, string>>();
  for (const path of [SSSD, ...parts.map((name) => `${SSSD_PARTS}/${name}`)]) {
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return '';
      throw error.code === 'EACCES' ? new Skipped(ASK_AS_ROOT) : error;
    });
    for (const [name, keys] of sectionsOf(text)) domains.set(name, { ...domains.get(name), ...keys });
  }
  return [...domains].map(([name, keys]) => ({ ...keys, name }));
}

function sectionsOf(text: string): [name: string, keys: Record<string, string>][] {
  return text.split(/^\s*(?=\[)/m).flatMap((section) => {
    const [, name] = /^\[domain\/([^\]]+)\]/.exec(section) ?? [];
    const pairs = [...section.matchAll(/^\s*(\w+)\s*=\s*(.*?)\s*$/gm)].map(([, key = '', value = '']) => [key, value] as const);
    return name === undefined ? [] : [[name, Object.fromEntries(pairs)]];
  });
}
