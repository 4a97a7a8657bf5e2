// For kpx-ticket.cjs and kpx-ticket-delegation.cjs: how a KDC is asked by a keytab, and asked anew while the executor runs.
// A KDC counts each request with an outdated keytab as a wrong password, and locks the account out after some. So a refusal is noted: nobody asks again by
// a keytab that has been refused until the file is another, or has been touched.
'use strict';

const { spawnSync } = require('node:child_process');
const { closeSync, fsyncSync, lstatSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } = require('node:fs');
const { setTimeout: delay } = require('node:timers/promises');

const KINIT = '/usr/bin/kinit';
/** How these programs end when the account is refused, and when nobody answers: sysexits.h(3head). kpx-privhelper goes by them. */
const EXIT_REFUSED = 77;
const EXIT_NO_ANSWER = 75;
/** For the KDCs of the realm together, in milliseconds: less than kpx-privhelper has for a start. */
const KDC_TIMEOUT_MS = 5_000;
/** For a program that asks no server, in milliseconds. */
const LOCAL_TIMEOUT_MS = 2_000;
/** For a question whose answer is of use and not needed, in milliseconds. */
const CLOCK_TIMEOUT_MS = 2_000;
/** New tickets are asked for at half of the life of the old ones, or after this at the soonest. Milliseconds. */
const RENEW_MS_MIN = 15_000;
/** Or at this time before their end, where that is sooner: Samba's KDC gives nothing by a ticket that ends within two minutes. Milliseconds. */
const LEFT_MS_MIN = 180_000;
/** The wait after a renewal that no KDC has answered, which doubles each time, and the longest one. Milliseconds. */
const RETRY_MS = 5_000;
const RETRY_MS_MAX = 240_000;
/** The longest time that a timer takes, in milliseconds: 24 days. */
const NEVER_MS = 2 ** 31 - 1;
/** From here on a difference to the KDC's clock is said, in seconds. Programs of Kerberos bear 300. */
const CLOCK_OFF_S = 60;
const REASON_CHARS_MAX = 300;

/** Messages of kinit, klist and kvno about a krb5.conf that is not as it has to be, or that the account of this unit may not read. */
const BAD_CONFIGURATION = /while initializing|configuration file|config file/i;
/** What kinit and kvno say when no KDC has judged the account, or when this machine is to blame. All else counts as a refusal. */
const NO_ANSWER = /cannot (contact|find|resolve)|unreachable|unavailable|not available|timed out|clock skew|cache|no space left/i;

/** The account gets no ticket, however often it is asked for. */
class Refused extends Error {}
/** Nobody has answered, or this machine is to blame: another host may do better, or this one later. */
class NoAnswer extends Error {}

const { CREDENTIALS_DIRECTORY, STATE_DIRECTORY } = process.env;
/** PID 1's copy of the keytab. The account that this unit runs as can read it. Another text where there is no keytab. */
const KEYTAB = `${CREDENTIALS_DIRECTORY}/keytab`;
const REFUSAL = `${STATE_DIRECTORY}/refused`;
/** The note of a refusal that has not come: with its room on the disk, and read by nobody. By delegation all accounts have one directory. */
const PREPARED = `${REFUSAL}-${process.argv[2]}`;
/** Of a note, whatever it says. */
const NOTE_BYTES = 1_024;

/**
 * @param {string} program
 * @param {string[]} args
 * @param {number} [timeout] in milliseconds
 * @param {NodeJS.ProcessEnv} [more] variables
 */
function run(program, args, timeout = LOCAL_TIMEOUT_MS, more = {}) {
  const env = { ...process.env, LC_ALL: 'C', TZ: 'UTC', ...more };
  const { status, stdout, stderr, error } = spawnSync(program, args, { env, timeout, encoding: 'utf8', killSignal: 'SIGKILL' });
  const code = /** @type {NodeJS.ErrnoException | undefined} */ (error)?.code;
  const late = code === 'ETIMEDOUT';
  const advice = code === 'ENOENT' ? ': install the client programs of Kerberos' : '';
  if (error && !late) throw new NoAnswer(`${program} cannot be run (${error.message})${advice}`);
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
  const { done, late, said, stdout } = run('/usr/bin/klist', ['-k', KEYTAB]);
  // This machine is to blame, and what the program has written may be missing.
  if (late) throw new NoAnswer(`klist has not ended within ${LOCAL_TIMEOUT_MS / 1_000} s`);
  if (!done && BAD_CONFIGURATION.test(said)) throw new NoAnswer(`klist: ${said}: /etc/krb5.conf`);
  if (!done) throw new Refused(`${original} is no keytab: ${said}`);
  return [...new Set([...stdout.matchAll(/^ *\d+ (\S+@\S+)$/gm)].map(([, name = '']) => name))];
}

/**
 * A first ticket, by PID 1's copy of the keytab `original`, into the cache. Asks once: after a refusal not again while `key` of the file is the same.
 * Asks nobody where a refusal could not be noted, since it would be asked for again.
 * @param {{ principal: () => string, cache: string, original: string, key: string }} wanted
 * @param {string[]} [options] of kinit
 * @param {number} [timeout] in milliseconds
 */
function firstTicket({ principal, cache, original, key }, options = [], timeout = KDC_TIMEOUT_MS) {
  const [refused, why = ''] = noted();
  if (refused === key) throw new Refused(why);
  const name = principal();
  const refusal = (/** @type {string} */ why) =>
    `"${name}" was refused a ticket: ${why}. A new ${original} is tried at once, this one after touch`;
  try {
    prepareNote(`${key}\n${refusal('see the journal')}`);
    const { done, late, said } = run(KINIT, [...options, '-k', '-t', KEYTAB, '-c', `FILE:${cache}`, name], timeout);
    if (done) return rmSync(REFUSAL, { force: true });
    throwUnlessJudged(name, late, said, () => clockBy(name, cache));
    noteRefusal(`${key}\n${refusal(said)}`);
    throw new Refused(refusal(said));
  } finally {
    rmSync(PREPARED, { force: true });
  }
}

/** @param {string} text */
function prepareNote(text) {
  try {
    writeNote(PREPARED, 'w', text);
  } catch (error) {
    throw new NoAnswer(`no ticket is asked for, since a refusal could not be noted: ${/** @type {Error} */ (error).message}`);
  }
}

/** The prepared note counts from now on, also where its words do not change any more. @param {string} text */
function noteRefusal(text) {
  try {
    renameSync(PREPARED, REFUSAL);
    writeNote(REFUSAL, 'r+', text);
  } catch (error) {
    console.log(`the refusal is not noted in full: ${/** @type {Error} */ (error).message}`);
  }
}

/**
 * All of a note, or its first bytes anew, on the disk.
 * @param {string} path
 * @param {'w' | 'r+'} flags
 * @param {string} text
 */
function writeNote(path, flags, text) {
  const note = Buffer.alloc(NOTE_BYTES, '\n');
  note.write(text);
  const file = openSync(path, flags, 0o600);
  try {
    writeFileSync(file, note);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** @returns {string[]} the keytab that was refused last, and why */
function noted() {
  try {
    return readFileSync(REFUSAL, 'utf8').split('\n');
  } catch (error) {
    const { code, message } = /** @type {NodeJS.ErrnoException} */ (error);
    if (code === 'ENOENT') return [];
    throw new NoAnswer(`no ticket is asked for, since it is not known whether one was refused: ${message}`);
  }
}

/**
 * Returns where a KDC has refused. `clock` is asked where the clocks differ too much.
 * @param {string} name
 * @param {boolean} late
 * @param {string} said
 * @param {() => string} [clock]
 */
function throwUnlessJudged(name, late, said, clock = () => '') {
  if (late) throw new NoAnswer(`no KDC has answered for "${name}" within ${KDC_TIMEOUT_MS / 1_000} s`);
  if (BAD_CONFIGURATION.test(said)) throw new NoAnswer(`no ticket for "${name}": ${said}: /etc/krb5.conf`);
  if (NO_ANSWER.test(said)) throw new NoAnswer(`no ticket for "${name}": ${said}${/clock skew/i.test(said) ? clock() : ''}`);
}

/**
 * Since when the newest ticket in a cache is good, by the KDC's clock, and for how long all of them are. Not numbers where there is none. Milliseconds.
 * @param {string} cache
 */
function timesIn(cache) {
  const { stdout } = run('/usr/bin/klist', ['-c', `FILE:${cache}`]);
  // "11/29/26 07:32:10  11/29/26 17:32:10  krbtgt/…"; some builds write the whole year.
  const tickets = stdout.matchAll(/^(\d\d\/\d\d\/\d+) (\S+) +(\d\d\/\d\d\/\d+) (\S+) +\S/gm);
  const at = (/** @type {string} */ day = '', /** @type {string} */ time = '') =>
    Date.parse(`${day.replace(/\/(\d\d)$/, '/20$1')} ${time} UTC`);
  const times = [...tickets].map(([, day, time, lastDay, lastTime]) => [at(day, time), at(lastDay, lastTime)]);
  if (times.length === 0) return { from: Number.NaN, life: Number.NaN };
  const from = Math.max(...times.map(([begin = Number.NaN]) => begin));
  return { from, life: Math.min(...times.map(([, end = Number.NaN]) => end)) - from };
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
 * @param {string} cache
 */
function clockBy(name, cache) {
  const [path, configuration] = [`${cache}.clock`, `${cache}.conf`];
  writeFileSync(configuration, '[libdefaults]\nkdc_timesync = 1\n');
  const KRB5_CONFIG = `${configuration}:${process.env.KRB5_CONFIG ?? '/etc/krb5.conf'}`;
  run(KINIT, ['-k', '-t', KEYTAB, '-c', `FILE:${path}`, name], CLOCK_TIMEOUT_MS, { KRB5_CONFIG });
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
  try {
    run('/usr/bin/systemd-notify', [`--status=${text.slice(0, REASON_CHARS_MAX)}`, ...more]);
  } catch (error) {
    console.log(/** @type {Error} */ (error).message);
  }
}

/** @typedef {ReturnType<typeof timesIn> & { has: string }} Got which tickets, for people, and their times */

/**
 * Asks for tickets, and for new ones in time, for as long as the executor runs. `begin` judges what does not change, and answers what asks.
 * @param {() => () => Got} begin
 */
function keepTickets(begin) {
  keep(begin).catch((error) => {
    // All that nobody has thought of is this machine's fault, too.
    process.exitCode = error instanceof Refused ? EXIT_REFUSED : EXIT_NO_ANSWER;
    tell(error.message);
  });
}

/** @param {number} life in milliseconds, or not a number */
const renewalAfter = (life) => Math.min(Math.max(RENEW_MS_MIN, Math.min(life / 2, life - LEFT_MS_MIN) || 0), NEVER_MS);

/** @param {() => () => Got} begin */
async function keep(begin) {
  const ask = begin();
  for (let endsAt = 0, retry = RETRY_MS, wait = 0, first = true; ; ) {
    await delay(wait);
    try {
      const { has, from, life } = ask();
      tell(`has ${first ? has : 'a new ticket'}${clockAt(from)}`, ...(first ? ['--ready'] : []));
      [endsAt, retry, wait, first] = [Date.now() + life, RETRY_MS, renewalAfter(life), false];
    } catch (error) {
      if (first) throw error;
      // The ticket that is there may be good for a while. It goes with this unit, so the unit stays.
      const isRefused = error instanceof Refused;
      wait = isRefused ? NEVER_MS : retry;
      retry = Math.min(retry * 2, RETRY_MS_MAX);
      const old = Date.now() < endsAt ? `is good until ${new Date(endsAt).toISOString()}` : 'has expired';
      const next = isRefused ? '' : `; asked again in ${wait / 1_000} s`;
      tell(`no new ticket: ${/** @type {Error} */ (error).message}; the old one ${old}${next}`);
    }
  }
}

module.exports = {
  KDC_TIMEOUT_MS,
  KEYTAB,
  NoAnswer,
  Refused,
  firstTicket,
  judgedFile,
  keepTickets,
  principalsIn,
  run,
  throwUnlessJudged,
  timesIn,
};
