// Runs in: kpx-drive@.service, as the user. Runs a FUSE server in the foreground, says when the drive is there, and ends with it: kpx-drive.cjs SERVER ARG…
// The server gets the mount point as its last argument. A server that hangs would hold every process that uses the drive, and no signal ends those:
// so the drive is looked at, and the server is killed when it does not answer.
'use strict';

const { spawn, spawnSync } = require('node:child_process');
const { closeSync, constants, existsSync, fchmodSync, mkdirSync, openSync, readFileSync, rmdirSync } = require('node:fs');
const { statfs } = require('node:fs/promises');
const { setTimeout: delay } = require('node:timers/promises');

/** How this program ends when the server says that the account is refused, and when there is no drive: sysexits.h(3head). kpx-privhelper goes by them. */
const EXIT_REFUSED = 77;
const EXIT_NO_DRIVE = 75;
/** From the start of the server until the drive answers, in milliseconds: with a ticket before it, less than kpx-privhelper has for a start. */
const MOUNT_TIMEOUT_MS = 4_000;
/** How often it is looked whether the drive is mounted, in milliseconds. */
const MOUNT_POLL_MS = 20;
/** For a program that asks no server, in milliseconds. */
const LOCAL_TIMEOUT_MS = 1_000;
/** How often a drive is looked at during the time in which it has to answer. */
const LOOKS = 3;
const REASON_CHARS_MAX = 300;

class NoDrive extends Error {}
class Refused extends Error {}
class Broken extends NoDrive {}

const [program, ...args] = process.argv.slice(2);
const { RUNTIME_DIRECTORY = '', KPX_DRIVE_SILENT_SECONDS, NOTIFY_SOCKET, ...others } = process.env;
const mountPoint = `${RUNTIME_DIRECTORY}/mnt`;
const silentMs = Number(KPX_DRIVE_SILENT_SECONDS) * 1_000;
let stopping = false;

/** What is mounted there: its type and its options, without which it is not there. See "/proc/pid/mountinfo" in proc(5). */
function mounted() {
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const at = before.split(' ')[4]?.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
    const [type = '', , options = ''] = after.split(' ');
    if (at === mountPoint) return { type, options: options.split(',') };
  }
  return undefined;
}

/** Whether it answers within so many milliseconds. A question that is not answered keeps a thread of this process until the server has ended. */
async function answers(/** @type {number} */ timeoutMs) {
  const late = Symbol('late');
  const timer = new AbortController();
  const answer = await Promise.race([statfs(mountPoint).catch((error) => error), delay(timeoutMs, late, { signal: timer.signal })]);
  if (answer === late) return false;
  timer.abort();
  if (answer instanceof Error) throw new Broken(`the drive is broken: ${answer.message}`);
  return true;
}

/** In a process group of its own, which goes as a whole: a child of the server may hold the drive as well. */
function startServer() {
  if (program === undefined) throw new NoDrive('no server is named: KPX_DRIVE_SERVER= in a drop-in of kpx-drive@.service');
  const child = spawn(program, [...args, mountPoint], { env: others, stdio: ['ignore', 'inherit', 'inherit'], detached: true });
  /** @type {Promise<{ how: string, code: number | null }>} */
  const ended = new Promise((resolve) => {
    child.once('error', (error) => resolve({ how: `cannot be run (${error.message})`, code: null }));
    child.once('exit', (code, signal) =>
      resolve({
        how: `has ended (${code === null ? `signal ${signal}` : `exit ${code}`})${code === 0 ? ': it has to stay in the foreground' : ''}`,
        code,
      }),
    );
  });
  const kill = async () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ESRCH') throw error;
    }
    await ended;
  };
  return { ended, kill };
}

/** Resolves when the drive is there, and is for this user alone. */
async function untilMounted() {
  const deadline = performance.now() + MOUNT_TIMEOUT_MS;
  for (let found = mounted(); ; found = mounted()) {
    if (found && !found.type.startsWith('fuse')) throw new NoDrive(`${mountPoint} is a mount of type ${found.type}`);
    // Without these options the kernel refuses everybody else, root included.
    if (found?.options.some((option) => /^allow_(other|root)$/.test(option)))
      throw new NoDrive(`others could use the drive: take allow_other away from ${program}`);
    if (found && (await answers(deadline - performance.now()))) return;
    if (found || performance.now() > deadline)
      throw new NoDrive(`${program} has no drive that answers, after ${MOUNT_TIMEOUT_MS / 1_000} s`);
    await delay(MOUNT_POLL_MS);
  }
}

/** Throws when the drive has not answered for too long. */
async function watch() {
  for (;;) {
    await delay(silentMs / LOOKS);
    if (!(await answers(silentMs))) throw new NoDrive(`the drive has not answered for ${silentMs / 1_000} s: its server is ended`);
  }
}

/**
 * For the journal, and for kpx-privhelper, which passes it on.
 * @param {string} text
 * @param {string[]} more
 */
function tell(text, ...more) {
  console.log(text);
  const said = [`--status=${text.slice(0, REASON_CHARS_MAX)}`, ...more];
  const { error } = spawnSync('/usr/bin/systemd-notify', said, {
    timeout: LOCAL_TIMEOUT_MS,
    stdio: 'ignore',
    env: { ...others, NOTIFY_SOCKET },
  });
  if (error) console.log(`systemd-notify: ${error.message}`);
}

async function keepDrive() {
  if (!(silentMs > 0)) throw new NoDrive('KPX_DRIVE_SILENT_SECONDS= has to be a number of seconds');
  if (existsSync(mountPoint)) rmdirSync(mountPoint);
  mkdirSync(mountPoint);
  const below = openSync(mountPoint, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  // fusermount3 mounts on its working directory, and has no right to look into one that is closed to others.
  fchmodSync(below, 0o711);
  const { ended, kill } = startServer();
  const end = ended.then(({ how, code }) => {
    throw code === EXIT_REFUSED ? new Refused(`${program} was refused (exit ${code})`) : new NoDrive(`${program} ${how}`);
  });
  try {
    await Promise.race([end, untilMounted()]);
    // When the server dies, a job must not write to what is below the drive in the belief that it writes to the drive.
    fchmodSync(below, 0);
    closeSync(below);
    tell('the drive answers', '--ready');
    await Promise.race([end, watch()]);
  } catch (error) {
    // A server that ends breaks the drive first.
    if (error instanceof Broken) await Promise.race([end, delay(LOCAL_TIMEOUT_MS)]);
    throw error;
  } finally {
    await kill();
  }
}

// systemd tells the server as well: this program ends with it.
process.once('SIGTERM', () => {
  stopping = true;
});

keepDrive()
  .catch((error) => {
    if (stopping) return;
    tell(error.message);
    process.exitCode = error instanceof Refused ? EXIT_REFUSED : EXIT_NO_DRIVE;
  })
  .finally(() => process.exit());
