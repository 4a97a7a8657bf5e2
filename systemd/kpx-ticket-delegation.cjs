// Runs in: kpx-ticket@.service, where `kpxctl kerberos setup --delegate-to` has set that: as the account kpx-delegation, which is nobody else's.
// Gets tickets of the user by the keytab of this machine: S4U2Self says that the user is here, S4U2Proxy gives a ticket for each service. The user
// can read these tickets and nothing else of it.
'use strict';

const { spawnSync } = require('node:child_process');
const { chmodSync, chownSync, lstatSync, readFileSync, renameSync, rmSync, writeFileSync } = require('node:fs');
const { setTimeout: delay } = require('node:timers/promises');

/** How this program ends when the account is refused, and when nobody answers: as kpx-ticket.cjs. */
const EXIT_REFUSED = 77;
const EXIT_NO_ANSWER = 75;
/** New tickets are asked for at half of the life of the old ones, or after this at the soonest. Milliseconds. */
const RENEW_MS_MIN = 15_000;
/** The wait after a renewal that no KDC has answered. Milliseconds. */
const RETRY_MS = 30_000;
/** The longest time that a timer takes, in milliseconds: 24 days. */
const NEVER_MS = 2 ** 31 - 1;

/** For the KDCs of the realm together, in milliseconds: less than kpx-privhelper has for a start. */
const KDC_TIMEOUT_MS = 5_000;
/** For a program that asks no server, in milliseconds. */
const LOCAL_TIMEOUT_MS = 1_000;
const REASON_CHARS_MAX = 300;

/** What kinit and kvno say when no KDC has judged the account, or when this machine is to blame. All else counts as a refusal. */
const NO_ANSWER = /cannot (contact|find|resolve)|unreachable|unavailable|not available|timed out|clock skew|cache|no space left/i;

/** The account gets no ticket, however often it is asked for. */
class Refused extends Error {}
/** Nobody has answered, or this machine is to blame: another host may do better, or this one later. */
class NoAnswer extends Error {}

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

const { CREDENTIALS_DIRECTORY = '', RUNTIME_DIRECTORY = '', STATE_DIRECTORY = '' } = process.env;
/** PID 1's copy of the keytab, which this unit alone can read. Another text where there is no keytab. */
const KEYTAB = `${CREDENTIALS_DIRECTORY}/keytab`;
const REFUSAL = `${STATE_DIRECTORY}/refused`;

/** systemd sorts them: for the ticket of this machine, and for the user's tickets. */
const [OF_MACHINE = '', OF_USER = ''] = RUNTIME_DIRECTORY.split(':');
const CACHE = `${OF_USER}/krb5cc`;
const OWN_CACHE = `${OF_MACHINE}/krb5cc`;

/**
 * @param {string} program
 * @param {string[]} args
 * @param {number} timeout in milliseconds
 */
function run(program, args, timeout) {
  const env = { ...process.env, LC_ALL: 'C', TZ: 'UTC' };
  const { status, stdout, stderr, error } = spawnSync(program, args, { env, timeout, encoding: 'utf8', killSignal: 'SIGKILL' });
  const late = /** @type {NodeJS.ErrnoException | undefined} */ (error)?.code === 'ETIMEDOUT';
  if (error && !late) throw new NoAnswer(`${program} cannot be run (${error.message}): install the client programs of Kerberos`);
  const [last = ''] = stderr.trim().split('\n').slice(-1);
  return { done: status === 0, late, stdout, said: last.replace(/^\w+: /, '') };
}

/** @param {string} path */
function look(path) {
  try {
    return lstatSync(path);
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    if (code === 'ENOENT') throw new Refused(`there is no ${path}`);
    throw new NoAnswer(`${path}: ${code}: kpxctl kerberos setup`);
  }
}

/**
 * Throws for a file that others may have put there or may read. Answers what changes whenever the file does.
 * @param {string} path
 */
function judgedFile(path) {
  const parent = path.slice(0, path.lastIndexOf('/'));
  const directory = look(parent);
  if (!directory.isDirectory() || directory.uid !== 0 || directory.mode & 0o022) throw new Refused(`${parent} is not root's alone`);
  const file = look(path);
  if (!file.isFile()) throw new Refused(`${path} is no regular file`);
  if (file.uid !== 0 || file.mode & 0o177) throw new Refused(`${path} has to be root's, with mode 0600 or 0400`);
  if (file.size === 0) throw new Refused(`${path} is empty`);
  return [file.ino, file.size, file.mtimeMs, file.ctimeMs].join(' ');
}

/** The principals in PID 1's copy of the keytab. @param {string} original */
function principalsIn(original) {
  const { done, said, stdout } = run('/usr/bin/klist', ['-k', KEYTAB], LOCAL_TIMEOUT_MS);
  if (!done) throw new Refused(`${original} is no keytab: ${said}`);
  return [...new Set([...stdout.matchAll(/^ *\d+ (\S+@\S+)$/gm)].map(([, name = '']) => name))];
}

/**
 * A first ticket, by PID 1's copy of the keytab `original`, into the cache. Asks once: after a refusal not again while `key` of the file is the same.
 * @param {{ principal: () => string, cache: string, original: string, key: string }} wanted
 * @param {string[]} options of kinit
 * @param {number} timeout in milliseconds
 */
function firstTicket({ principal, cache, original, key }, options = [], timeout = KDC_TIMEOUT_MS) {
  const [refused, why = ''] = noted();
  if (refused === key) throw new Refused(why);
  const name = principal();
  const { done, late, said } = run('/usr/bin/kinit', [...options, '-k', '-t', KEYTAB, '-c', `FILE:${cache}`, name], timeout);
  if (done) return rmSync(REFUSAL, { force: true });
  throwUnlessJudged(name, late, said);
  const reason = `"${name}" was refused a ticket: ${said}. A new ${original} is tried at once, this one after touch`;
  writeFileSync(REFUSAL, `${key}\n${reason}`, { mode: 0o600 });
  throw new Refused(reason);
}

/** @returns {string[]} the keytab that was refused last, and why */
function noted() {
  try {
    return readFileSync(REFUSAL, 'utf8').split('\n');
  } catch {
    return [];
  }
}

/** Returns where a KDC has refused. @param {string} name @param {boolean} late @param {string} said */
function throwUnlessJudged(name, late, said) {
  if (late) throw new NoAnswer(`no KDC has answered for "${name}" within ${KDC_TIMEOUT_MS / 1_000} s`);
  if (NO_ANSWER.test(said)) throw new NoAnswer(`no ticket for "${name}": ${said}`);
}

/** @param {string} cache @returns {number} milliseconds from the beginning of its tickets to the first end of one; 0: unknown */
function lifeOf(cache) {
  const { stdout } = run('/usr/bin/klist', ['-c', `FILE:${cache}`], LOCAL_TIMEOUT_MS);
  // "11/29/26 07:32:10  11/29/26 17:32:10  krbtgt/…"; some builds write the whole year.
  const tickets = stdout.matchAll(/^(\d\d\/\d\d\/\d+) (\S+) +(\d\d\/\d\d\/\d+) (\S+) +\S/gm);
  const at = (/** @type {string} */ day = '', /** @type {string} */ time = '') =>
    Date.parse(`${day.replace(/\/(\d\d)$/, '/20$1')} ${time} UTC`);
  const lives = [...tickets].map(([, ...of]) => at(of[2], of[3]) - at(of[0], of[1]));
  return lives.length === 0 ? 0 : Math.min(...lives) || 0;
}

/**
 * For the journal, and for kpx-privhelper, which passes it on.
 * @param {string} text
 * @param {string[]} more
 */
function tell(text, ...more) {
  console.log(text);
  run('/usr/bin/systemd-notify', [`--status=${text.slice(0, REASON_CHARS_MAX)}`, ...more], LOCAL_TIMEOUT_MS);
}

/**
 * Judges the keytab of this machine, the services and the account.
 * @param {string} account
 * @returns what gets tickets, and says for how long and which
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
      const life = lifeOf(`${CACHE}.new`);
      chownSync(`${CACHE}.new`, uid, process.getgid?.() ?? 0);
      // In one step: who reads the cache meanwhile has a whole one.
      renameSync(`${CACHE}.new`, CACHE);
      return { life, has: `tickets of "${user}" for ${services.join(', ')}` };
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
  const lines = readFileSync(`${process.env.CREDENTIALS_DIRECTORY}/services`, 'utf8')
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

async function keepTickets() {
  const [account = ''] = process.argv.slice(2);
  const ask = byDelegation(account);
  const halfOf = (/** @type {number} */ life) => Math.max(RENEW_MS_MIN, life / 2);
  const { life, has } = ask();
  tell(`has ${has}`, '--ready');
  for (let wait = halfOf(life); ; ) {
    await delay(wait);
    try {
      wait = halfOf(ask().life);
      tell('has a new ticket');
    } catch (error) {
      tell(`no new ticket: ${/** @type {Error} */ (error).message}`);
      // The tickets that are there may be good for a while. They go with this unit, so the unit stays.
      wait = error instanceof NoAnswer ? RETRY_MS : NEVER_MS;
    }
  }
}

keepTickets().catch((error) => {
  tell(error.message);
  process.exitCode = error instanceof Refused ? EXIT_REFUSED : error instanceof NoAnswer ? EXIT_NO_ANSWER : 1;
});
