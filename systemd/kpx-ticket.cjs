// Runs in: kpx-ticket@.service, as the user. Gets the user a ticket by the keytab in /etc/kpx/keytabs, and anew while the executor runs: kpx-ticket.cjs ACCOUNT
// A KDC counts each request with an outdated keytab as a wrong password, and locks the user out after some. So a refusal is noted: nobody asks again by
// a keytab that has been refused until the file is another, or has been touched.
'use strict';

const { spawnSync } = require('node:child_process');
const { lstatSync, readFileSync, renameSync, rmSync, writeFileSync } = require('node:fs');
const { setTimeout: delay } = require('node:timers/promises');

const KEYTABS = '/etc/kpx/keytabs';
const KINIT = '/usr/bin/kinit';
/** How this program ends when the account is refused, and when nobody answers: sysexits.h(3head). kpx-privhelper goes by them. */
const EXIT_REFUSED = 77;
const EXIT_NO_ANSWER = 75;
/** For the KDCs of the realm together, in milliseconds: less than kpx-privhelper has for a start. */
const KDC_TIMEOUT_MS = 5_000;
/** For a program that asks no server, in milliseconds. */
const LOCAL_TIMEOUT_MS = 1_000;
/** A new ticket is asked for at half of the life of the old one, or after this at the soonest; and so long after a KDC has not answered. Milliseconds. */
const RENEW_MS_MIN = 15_000;
const RETRY_MS = 30_000;
const REASON_CHARS_MAX = 300;

/** What kinit says when no KDC has judged the account, or when this machine is to blame. All else counts as a refusal. */
const NO_ANSWER = /cannot (contact|find|resolve)|unreachable|unavailable|not available|timed out|clock skew|cache|no space left/i;

class Refused extends Error {}
class NoAnswer extends Error {}

const [account = ''] = process.argv.slice(2);
const { CREDENTIALS_DIRECTORY, RUNTIME_DIRECTORY, STATE_DIRECTORY } = process.env;
const original = `${KEYTABS}/${account}.keytab`;
/** PID 1's copy, which the user can read. Another text where there is no keytab. */
const keytab = `${CREDENTIALS_DIRECTORY}/keytab`;
const cache = `${RUNTIME_DIRECTORY}/krb5cc`;
const refusal = `${STATE_DIRECTORY}/refused`;

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

/** Throws for a keytab that others may have put there or may read. Answers what changes whenever the file does. */
function judgedFile() {
  const directory = look(KEYTABS);
  if (!directory.isDirectory() || directory.uid !== 0 || directory.mode & 0o022) throw new Refused(`${KEYTABS} is not root's alone`);
  const file = look(original);
  if (!file.isFile()) throw new Refused(`${original} is no regular file`);
  if (file.uid !== 0 || file.mode & 0o177) throw new Refused(`${original} has to be root's, with mode 0600 or 0400`);
  if (file.size === 0) throw new Refused(`${original} is empty`);
  return [file.ino, file.size, file.mtimeMs, file.ctimeMs].join(' ');
}

/** The principal of the account, as the keytab spells it: `alice`, or `alice@CORP.EXAMPLE` for the account alice@corp.example. kinit knows the realm of others. */
function principal() {
  const { done, said, stdout } = run('/usr/bin/klist', ['-k', keytab], LOCAL_TIMEOUT_MS);
  if (!done) throw new Refused(`${original} is no keytab: ${said}`);
  const held = [...new Set([...stdout.matchAll(/^ *\d+ (\S+@\S+)$/gm)].map(([, name = '']) => name))];
  const [, name = '', domain] = /^(?:[^\\]*\\)?([^@]*)(?:@(.*))?$/.exec(account) ?? [];
  const lower = (/** @type {string} */ text) => text.toLowerCase();
  const isOwn = (/** @type {string} */ one) => {
    const [user = '', realm = ''] = one.split('@');
    return lower(user) === lower(name) && (domain === undefined || lower(realm) === lower(domain));
  };
  const own = held.filter(isOwn);
  const [first] = own.filter((one) => one.startsWith(`${name}@`)).concat(own);
  if (first === undefined) throw new Refused(`${original} is of ${held.join(', ') || 'nobody'}, not of "${account}"`);
  return domain === undefined ? first.slice(0, first.lastIndexOf('@')) : first;
}

/** Asks once, with PID 1's copy of the keytab that `key` is of. */
function ask(/** @type {string} */ key) {
  if (judgedFile() !== key) throw new Refused(`${original} is another since this executor was started: kpxctl stop ${account}`);
  const [refused, why = ''] = noted();
  if (refused === key) throw new Refused(why);
  const name = principal();
  const { done, late, said } = run(KINIT, ['-k', '-t', keytab, '-c', `FILE:${cache}.new`, name], KDC_TIMEOUT_MS);
  if (done) {
    // In one step: who reads the cache meanwhile has a whole one.
    renameSync(`${cache}.new`, cache);
    return rmSync(refusal, { force: true });
  }
  if (late) throw new NoAnswer(`no KDC has answered for "${name}" within ${KDC_TIMEOUT_MS / 1_000} s`);
  if (NO_ANSWER.test(said)) throw new NoAnswer(`no ticket for "${name}": ${said}`);
  const reason = `"${name}" was refused a ticket: ${said}. A new ${original} is tried at once, this one after touch`;
  writeFileSync(refusal, `${key}\n${reason}`, { mode: 0o600 });
  throw new Refused(reason);
}

/** @returns {string[]} the keytab that was refused last, and why */
function noted() {
  try {
    return readFileSync(refusal, 'utf8').split('\n');
  } catch {
    return [];
  }
}

/** @returns {number} milliseconds until a new ticket is asked for */
function halfOfItsLife() {
  const { stdout } = run('/usr/bin/klist', ['-c', `FILE:${cache}`], LOCAL_TIMEOUT_MS);
  // "11/29/26 07:32:10  11/29/26 17:32:10  krbtgt/…"; some builds write the whole year.
  const [, ...dates] = /^(\d\d\/\d\d\/\d+) (\S+) +(\d\d\/\d\d\/\d+) (\S+) +krbtgt\//m.exec(stdout) ?? [];
  const at = (/** @type {string | undefined} */ day, /** @type {string | undefined} */ time) =>
    Date.parse(`${day?.replace(/\/(\d\d)$/, '/20$1')} ${time} UTC`);
  const [from, until] = [at(dates[0], dates[1]), at(dates[2], dates[3])];
  return Math.max(RENEW_MS_MIN, (until - from) / 2 || 0);
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

async function keepTicket() {
  const key = judgedFile();
  ask(key);
  tell('has a ticket', '--ready');
  for (let wait = halfOfItsLife(); ; ) {
    await delay(wait);
    try {
      ask(key);
      wait = halfOfItsLife();
      tell('has a new ticket');
    } catch (error) {
      tell(`no new ticket: ${/** @type {Error} */ (error).message}`);
      // The ticket that is there may be good for a while. It goes with this unit, so the unit stays.
      wait = error instanceof NoAnswer ? RETRY_MS : 2 ** 31 - 1;
    }
  }
}

keepTicket().catch((error) => {
  tell(error.message);
  process.exitCode = error instanceof Refused ? EXIT_REFUSED : error instanceof NoAnswer ? EXIT_NO_ANSWER : 1;
});
