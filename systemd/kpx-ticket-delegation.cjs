// Runs in: kpx-ticket@.service, where `kpxctl kerberos setup --delegate-to` has set that: as the account kpx-delegation, which is nobody else's.
// Gets tickets of the user by the keytab of this machine: S4U2Self says that the user is here, S4U2Proxy gives a ticket for each service. The user
// can read these tickets and nothing else of it.
'use strict';

const { chmodSync, chownSync, readFileSync, renameSync, rmSync } = require('node:fs');
const tickets = require('./kpx-tickets.cjs');
const { KDC_TIMEOUT_MS, KEYTAB, NoAnswer, Refused, firstTicket, judgedFile, keepTickets, principalsIn, run, throwUnlessJudged, timesIn } =
  tickets;

const ORIGINAL = '/etc/krb5.keytab';
const SERVICES = '/etc/kpx/delegation';
/** Accounts of this machine, which no domain knows: somebody else may have the same name there. */
const LOCAL_ACCOUNTS = '/etc/passwd';
const SERVICES_MAX = 16;
/** `cifs/files.corp.example`, of another realm with `@REALM`. */
const SERVICE = /^[A-Za-z][A-Za-z0-9-]*\/[A-Za-z0-9][A-Za-z0-9.-]*(@[A-Z0-9.-]+)?$/;
const PERSON = /^([A-Za-z0-9._-]+)(?:@([A-Za-z0-9.-]+))?$/;
/** Of the directory service: it may have to be asked for the account. */
const LOOK_UP_TIMEOUT_MS = 2_000;

/** Without it no ticket that this machine gets of a user may be passed on to a service. */
const FORWARDABLE = ['-f'];

const { CREDENTIALS_DIRECTORY, RUNTIME_DIRECTORY = '' } = process.env;
/** systemd sorts them: for the ticket of this machine, and for the user's tickets. */
const [OF_MACHINE = '', OF_USER = ''] = RUNTIME_DIRECTORY.split(':');
const CACHE = `${OF_USER}/krb5cc`;
const OWN_CACHE = `${OF_MACHINE}/krb5cc`;

/**
 * Judges the keytab of this machine, the services and the account.
 * @param {string} account
 * @returns what gets tickets, and says which and for how long
 */
function byDelegation(account) {
  const key = judged();
  const machine = machineIn();
  const services = namedServices();
  const user = principalOf(account, machine);
  const uid = uidOf(account);
  // To open what is the user's in there by its name, and to change nothing.
  chmodSync(OF_USER, 0o711);
  return () => {
    if (judged() !== key)
      throw new NoAnswer(`${ORIGINAL} or ${SERVICES} is another since this executor was started: kpxctl stop ${account}`);
    const until = performance.now() + KDC_TIMEOUT_MS;
    const left = () => Math.max(1, Math.round(until - performance.now()));
    try {
      blamed(() => firstTicket({ principal: () => machine, cache: OWN_CACHE, original: ORIGINAL, key }, FORWARDABLE, left()));
      const answer = actFor(user, services, `${CACHE}.new`, left());
      if (!answer.done) throw refusal(user, machine, services, answer, left());
      const times = timesIn(`${CACHE}.new`);
      chownSync(`${CACHE}.new`, uid, process.getgid?.() ?? 0);
      // In one step: who reads the cache meanwhile has a whole one.
      renameSync(`${CACHE}.new`, CACHE);
      return { ...times, has: `tickets of "${user}" for ${services.join(', ')}` };
    } finally {
      for (const path of [OWN_CACHE, `${CACHE}.new`]) rmSync(path, { force: true });
    }
  };
}

/** Both files: what changes whenever one does. */
const judged = () => blamed(() => [ORIGINAL, SERVICES].map(judgedFile).join(' '));

/** This machine is to blame for what is refused. @template T @param {() => T} look @returns {T} */
function blamed(look) {
  try {
    return look();
  } catch (error) {
    throw error instanceof Refused ? new NoAnswer(error.message) : error;
  }
}

function machineIn() {
  const held = blamed(() => principalsIn(ORIGINAL));
  const own = held.find((name) => /^[^/@]+\$@/.test(name));
  if (own === undefined) throw new NoAnswer(`${ORIGINAL} is of ${held.join(', ') || 'nobody'}, and of no machine of a domain`);
  return own;
}

function namedServices() {
  const lines = readFileSync(`${CREDENTIALS_DIRECTORY}/services`, 'utf8')
    .split('\n')
    .map((line) => line.trim());
  const named = lines.filter((line) => line !== '' && !line.startsWith('#'));
  const wrong = named.find((one) => !SERVICE.test(one));
  if (wrong !== undefined) throw new NoAnswer(`${SERVICES}: "${wrong}" is no service, such as cifs/files.corp.example`);
  if (named.length === 0 || named.length > SERVICES_MAX)
    throw new NoAnswer(`${SERVICES} names ${named.length} services: 1 to ${SERVICES_MAX}`);
  return named;
}

/**
 * `alice` of alice and alice@corp.example in CORP.EXAMPLE, the realm of this machine. Not of CORP\alice: nothing here says which realm has that short name, and in another one
 * alice is another person.
 * @param {string} account
 * @param {string} machine
 */
function principalOf(account, machine) {
  const [, name, domain] = PERSON.exec(account) ?? [];
  if (name === undefined) throw new Refused(`"${account}" does not name its realm: alice or alice@corp.example does`);
  const isLocal = readFileSync(LOCAL_ACCOUNTS, 'utf8')
    .split('\n')
    .some((line) => line.startsWith(`${account}:`));
  if (isLocal)
    throw new Refused(`"${account}" is an account of this machine (${LOCAL_ACCOUNTS}), and gets no ticket of a domain's account`);
  const realm = domain?.toUpperCase();
  // In the realm of this machine without it: otherwise kvno takes all of it for the name.
  return realm === undefined || machine.endsWith(`@${realm}`) ? name : `${name}@${realm}`;
}

/** @param {string} account */
function uidOf(account) {
  const { done, stdout, said } = run('/usr/bin/id', ['-u', '--', account], LOOK_UP_TIMEOUT_MS);
  if (!done || !/^\d+\n$/.test(stdout)) throw new NoAnswer(`the name service does not know "${account}": ${said}`);
  return Number(stdout);
}

/**
 * Tickets of a user for the services, asked for as this machine.
 * @param {string} user
 * @param {string[]} services
 * @param {string} into
 * @param {number} timeout in milliseconds
 */
function actFor(user, services, into, timeout) {
  const as = ['-q', '-c', `FILE:${OWN_CACHE}`, '-k', KEYTAB, '-U', user, '-P', '--out-cache', `FILE:${into}`];
  return run('/usr/bin/kvno', [...as, '--', ...services], timeout);
}

/**
 * A domain says the same of a user who may not be acted for and of a machine that may not act for anybody. So this machine asks for its own tickets
 * in the same way, which shows what it may.
 * @param {string} user
 * @param {string} machine
 * @param {string[]} services
 * @param {{ late: boolean, said: string }} answer
 * @param {number} timeout in milliseconds
 */
function refusal(user, machine, services, { late, said }, timeout) {
  throwUnlessJudged(user, late, said);
  const own = actFor(machine, services, `${OWN_CACHE}.own`, timeout);
  rmSync(`${OWN_CACHE}.own`, { force: true });
  if (own.done) return new Refused(`the domain gives no ticket of "${user}": ${said}`);
  throwUnlessJudged(machine, own.late, own.said);
  return new NoAnswer(`the domain does not let "${machine}" act for users at ${services.join(', ')}: ${own.said}`);
}

const [account = ''] = process.argv.slice(2);
keepTickets(() => byDelegation(account));
