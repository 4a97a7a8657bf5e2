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
const LOCAL_TIMEOUT_MS = 2_000;
/** For a question whose answer is of use and not needed, in milliseconds. */
const CLOCK_TIMEOUT_MS = 2_000;
/** A new ticket is asked for at half of the life of the old one, or after this at the soonest. Milliseconds. */
const RENEW_MS_MIN = 15_000;
/** The wait after a renewal that no KDC has answered, which doubles each time, and the longest one. Milliseconds. */
const RETRY_MS = 5_000;
const RETRY_MS_MAX = 240_000;
/** From here on a difference to the KDC's clock is said, in seconds. Programs of Kerberos bear 300. */
const CLOCK_OFF_S = 60;
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
 * @param {NodeJS.ProcessEnv} [more] variables
 */
function run(program, args, timeout, more = {}) {
  const env = { ...process.env, LC_ALL: 'C', TZ: 'UTC', ...more };
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
  const { done, late, said, stdout } = run('/usr/bin/klist', ['-k', keytab], LOCAL_TIMEOUT_MS);
  // This machine is to blame, and what the program has written may be missing.
  if (late) throw new NoAnswer(`klist has not ended within ${LOCAL_TIMEOUT_MS / 1_000} s`);
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
  if (NO_ANSWER.test(said)) throw new NoAnswer(`no ticket for "${name}": ${said}${/clock skew/i.test(said) ? clockBy(name) : ''}`);
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

/**
 * Since when the ticket in a cache is good, by the KDC's clock, and for how long. Not numbers where there is none. Milliseconds.
 * @param {string} path
 */
function timesIn(path) {
  const { stdout } = run('/usr/bin/klist', ['-c', `FILE:${path}`], LOCAL_TIMEOUT_MS);
  // "11/29/26 07:32:10  11/29/26 17:32:10  krbtgt/…"; some builds write the whole year.
  const [, ...dates] = /^(\d\d\/\d\d\/\d+) (\S+) +(\d\d\/\d\d\/\d+) (\S+) +krbtgt\//m.exec(stdout) ?? [];
  const at = (/** @type {string | undefined} */ day, /** @type {string | undefined} */ time) =>
    Date.parse(`${day?.replace(/\/(\d\d)$/, '/20$1')} ${time} UTC`);
  const [from, until] = [at(dates[0], dates[1]), at(dates[2], dates[3])];
  return { from, life: until - from };
}

/**
 * How far this machine's clock is off, where it is, by a ticket that the KDC has given a moment ago.
 * @param {number} from
 */
function clockAt(from) {
  const ahead = Math.round((Date.now() - from) / 1_000);
  if (!(Math.abs(ahead) >= CLOCK_OFF_S)) return '';
  return `; this machine's clock is ${Math.abs(ahead)} s ${ahead > 0 ? 'ahead of' : 'behind'} the KDC's: timedatectl`;
}

/**
 * The same where krb5.conf has kinit refuse such a clock: by a ticket of no other use. The KDC has found the key right: it counts no wrong password.
 * @param {string} name
 */
function clockBy(name) {
  const [path, configuration] = [`${cache}.clock`, `${cache}.conf`];
  writeFileSync(configuration, '[libdefaults]\nkdc_timesync = 1\n');
  const KRB5_CONFIG = `${configuration}:${process.env.KRB5_CONFIG ?? '/etc/krb5.conf'}`;
  run(KINIT, ['-k', '-t', keytab, '-c', `FILE:${path}`, name], CLOCK_TIMEOUT_MS, { KRB5_CONFIG });
  const said = clockAt(timesIn(path).from);
  for (const made of [path, configuration]) rmSync(made, { force: true });
  return said;
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
  for (let endsAt = 0, retry = RETRY_MS, wait = 0, first = true; ; ) {
    await delay(wait);
    try {
      ask(key);
      const { from, life } = timesIn(cache);
      tell(`has a ${first ? '' : 'new '}ticket${clockAt(from)}`, ...(first ? ['--ready'] : []));
      [endsAt, retry, wait, first] = [Date.now() + life, RETRY_MS, Math.max(RENEW_MS_MIN, life / 2 || 0), false];
    } catch (error) {
      if (first) throw error;
      // The ticket that is there may be good for a while. It goes with this unit, so the unit stays.
      wait = error instanceof NoAnswer ? retry : 2 ** 31 - 1;
      retry = Math.min(retry * 2, RETRY_MS_MAX);
      const old = Date.now() < endsAt ? `is good until ${new Date(endsAt).toISOString()}` : 'has expired';
      const next = error instanceof NoAnswer ? `; asked again in ${wait / 1_000} s` : '';
      tell(`no new ticket: ${/** @type {Error} */ (error).message}; the old one ${old}${next}`);
    }
  }
}

keepTicket().catch((error) => {
  tell(error.message);
  process.exitCode = error instanceof Refused ? EXIT_REFUSED : error instanceof NoAnswer ? EXIT_NO_ANSWER : 1;
});
