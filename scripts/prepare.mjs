// Makes a fresh clone ready to run: Debian packages, then npm packages. Plain Node, because it runs before `npm ci`.
// Entry scripts call prepare(); run directly it prepares and ends.

import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { argumentsOr, noArguments } from './usage.mjs';

const USAGE = `node scripts/prepare.mjs

Installs the Debian and npm packages that are missing, as root. Starts no service, now or at the next boot. The other scripts do this by themselves.
`;

/**
 * What demo and tests run: the broker under test, setfacl/getfacl, a PID 1 that reaps, ip(8) for the loopback of a network namespace, certificates,
 * a wall clock that jumps, directories that are immutable, system calls as the kernel sees them, a terminal.
 */
export const DEBIAN_PACKAGES = ['rabbitmq-server', 'acl', 'tini', 'iproute2', 'openssl', 'libfaketime', 'e2fsprogs', 'strace', 'tmux'];

/** An executor that is not KNIME's, for the demo and tests. */
export const CELERY_PACKAGE = 'python3-celery';

/** What only tests run: a browser, other publishers and executors than Node’s, what judges the .rpm, and what makes trees of Debian. */
export const TEST_PACKAGES = ['chromium', 'python3-pika', CELERY_PACKAGE, 'amqp-tools', 'rpmlint', 'mmdebstrap'];

/** sysexits.h: a service this needs is not there. */
export const EXIT_UNAVAILABLE = 69;
/** sysexits.h: not permitted; kpx's programs use it for "not root" too. */
export const EXIT_NOT_ROOT = 77;

/** Units that Debian enables when it installs these; erlang-base comes with rabbitmq-server. */
const UNITS_OF = { 'rabbitmq-server': 'rabbitmq-server.service', 'erlang-base': 'epmd.socket' };

const CHECKOUT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const POLICY_FILE = '/usr/sbin/policy-rc.d';
const BOOTED_WITH_SYSTEMD = '/run/systemd/system';

const PROBE_TIMEOUT_MS = 30_000;
const INSTALL_TIMEOUT_MS = 600_000;
/** Another apt-get may be at work on a machine that has just booted. */
const APT_LOCK_WAIT_SECONDS = 120;
const EXCERPT_HEAD_LINES = 12;
const EXCERPT_TAIL_LINES = 12;
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

/** Says what is in the way and which exit code tells it to a script. */
export class PrepareError extends Error {
  /**
   * @param {string} message
   * @param {number} exitCode
   */
  constructor(message, exitCode) {
    super(message);
    this.exitCode = exitCode;
  }
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {{ timeout: number, env?: NodeJS.ProcessEnv }} options
 */
function run(command, args, { timeout, env = process.env }) {
  const result = spawnSync(command, args, { cwd: CHECKOUT, env, timeout, encoding: 'utf8', maxBuffer: OUTPUT_BYTES_MAX });
  if (result.error === undefined && result.status === 0) return result.stdout;
  const why = result.error?.message ?? `exit code ${result.status ?? result.signal}`;
  throw new PrepareError(
    `${[command, ...args].join(' ')}: ${why}\n${excerpt(`${result.stdout ?? ''}${result.stderr ?? ''}`)}`,
    EXIT_UNAVAILABLE,
  );
}

/**
 * npm says what is wrong first and then explains its own usage; apt-get says it last.
 * @param {string} output
 */
function excerpt(output) {
  const lines = output.trimEnd().split('\n');
  if (lines.length <= EXCERPT_HEAD_LINES + EXCERPT_TAIL_LINES) return lines.join('\n');
  return [...lines.slice(0, EXCERPT_HEAD_LINES), '…', ...lines.slice(-EXCERPT_TAIL_LINES)].join('\n');
}

/**
 * One line when a step begins, so that a wait is explained, and how long it took when it is over.
 * @param {string} what
 * @param {() => void} step
 */
function told(what, step) {
  const begin = performance.now();
  process.stderr.write(`prepare: ${what} … `);
  try {
    step();
  } catch (error) {
    process.stderr.write('failed\n');
    throw error;
  }
  process.stderr.write(`${((performance.now() - begin) / 1000).toFixed(1)} s\n`);
}

/** @returns {string[]} the packages of `wanted` that dpkg does not know as installed */
export function missingDebianPackages(wanted = DEBIAN_PACKAGES) {
  // dpkg-query ends with 1 when it has never heard of one of them; its lines about the others are good all the same.
  const probe = spawnSync('dpkg-query', ['--show', `--showformat=\${db:Status-Status} \${Package}\n`, ...wanted], {
    timeout: PROBE_TIMEOUT_MS,
    encoding: 'utf8',
  });
  if (probe.error) throw new PrepareError(`dpkg-query: ${probe.error.message}`, EXIT_UNAVAILABLE);
  const installed = new Set(
    probe.stdout.split('\n').flatMap((line) => (line.startsWith('installed ') ? [line.slice('installed '.length)] : [])),
  );
  return wanted.filter((name) => !installed.has(name));
}

/**
 * On a booted Debian a package's service starts when it is installed. policy-rc.d is how Debian lets that be refused. Where an
 * admin has one, it stays; ours refuses only while this process lives, so that even `kill -9` leaves nothing that has an effect.
 * @param {() => void} install
 */
function withoutStartingServices(install) {
  if (existsSync(POLICY_FILE)) return install();
  writeFileSync(
    POLICY_FILE,
    `#!/bin/sh\n# Written by kpx's scripts/prepare.mjs for one package installation.\nkill -0 ${process.pid} 2>/dev/null && exit 101\nexit 0\n`,
    {
      mode: 0o755,
      flag: 'wx',
    },
  );
  try {
    install();
  } finally {
    rmSync(POLICY_FILE, { force: true });
  }
}

/** Installs what is missing; starts no service, now or at the next boot. */
export function prepareDebianPackages(wanted = DEBIAN_PACKAGES) {
  const missing = missingDebianPackages(wanted);
  if (missing.length === 0) return;
  const fresh = missingDebianPackages(Object.keys(UNITS_OF));
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const wait = ['-o', `DPkg::Lock::Timeout=${APT_LOCK_WAIT_SECONDS}`];
  told('apt-get update', () => run('apt-get', [...wait, '--quiet', 'update'], { timeout: INSTALL_TIMEOUT_MS, env }));
  told(`apt-get install ${missing.join(' ')}`, () =>
    withoutStartingServices(() =>
      run('apt-get', [...wait, '--quiet', '--yes', '--no-install-recommends', 'install', ...missing], { timeout: INSTALL_TIMEOUT_MS, env }),
    ),
  );
  // Packages enable their units. Who wanted a private server for a test has not asked for one that starts at every boot.
  const units = Object.entries(UNITS_OF).flatMap(([name, unit]) => (fresh.includes(name) ? [unit] : []));
  if (units.length > 0 && existsSync(BOOTED_WITH_SYSTEMD)) {
    told(`systemctl disable ${units.join(' ')}`, () => run('systemctl', ['--quiet', 'disable', ...units], { timeout: PROBE_TIMEOUT_MS }));
  }
}

/**
 * Puts what is not installed, with all that it depends on, into apt's cache, and installs nothing.
 * @param {string[]} wanted
 */
export function downloadDebianPackages(wanted) {
  const missing = missingDebianPackages(wanted);
  if (missing.length === 0) return;
  const wait = ['-o', `DPkg::Lock::Timeout=${APT_LOCK_WAIT_SECONDS}`];
  const download = () =>
    run('apt-get', [...wait, '--quiet', '--yes', '--no-install-recommends', '--download-only', 'install', ...missing], {
      timeout: INSTALL_TIMEOUT_MS,
    });
  told(`apt-get install --download-only ${missing.join(' ')}`, () => {
    try {
      download();
    } catch {
      // The lists may be missing, or so old that what they name is gone.
      run('apt-get', [...wait, '--quiet', 'update'], { timeout: INSTALL_TIMEOUT_MS });
      download();
    }
  });
}

const APT_ARCHIVES = '/var/cache/apt/archives';
const PROMTOOL = path.join(CHECKOUT, 'dist/tools/promtool');

/**
 * promtool, which tests the alert rules. Debian has it in the package of Prometheus' server, which takes 330 MB installed, with what its web pages
 * need: that one program is taken out of the package, and nothing is installed.
 */
export function preparePromtool() {
  if (existsSync(PROMTOOL)) return;
  downloadDebianPackages(['prometheus']);
  const archive = readdirSync(APT_ARCHIVES).find((name) => /^prometheus_.*\.deb$/.test(name));
  const installed = '/usr/bin/promtool'; // with the package there is nothing to download
  if (archive === undefined && !existsSync(installed)) {
    throw new PrepareError(`${APT_ARCHIVES} does not keep the package prometheus, which promtool is in.`, EXIT_UNAVAILABLE);
  }
  mkdirSync(path.dirname(PROMTOOL), { recursive: true });
  const unpacked = mkdtempSync(`${PROMTOOL}-`);
  try {
    if (archive !== undefined) {
      const unpack = ['--extract', path.join(APT_ARCHIVES, archive), unpacked];
      told('dpkg-deb --extract prometheus', () => run('dpkg-deb', unpack, { timeout: INSTALL_TIMEOUT_MS }));
    }
    copyFileSync(archive === undefined ? installed : path.join(unpacked, installed), PROMTOOL);
  } finally {
    rmSync(unpacked, { recursive: true });
  }
}

/** npm writes node_modules/.package-lock.json last, so an interrupted `npm ci` counts as not done. */
export function npmPackagesAreCurrent() {
  const installed = statSync(path.join(CHECKOUT, 'node_modules/.package-lock.json'), { throwIfNoEntry: false });
  return installed !== undefined && installed.mtimeMs >= statSync(path.join(CHECKOUT, 'package-lock.json')).mtimeMs;
}

export function prepareNpmPackages() {
  if (npmPackagesAreCurrent()) return;
  told('npm ci', () => run('npm', ['ci'], { timeout: INSTALL_TIMEOUT_MS }));
}

/**
 * @param {string[]} [alsoDebianPackages] beside DEBIAN_PACKAGES
 * @throws {PrepareError} with the exit code to end with
 */
export function prepare(alsoDebianPackages = []) {
  if (process.getuid?.() !== 0) {
    throw new PrepareError('Run this as root: it makes accounts, namespaces and mounts that are gone when it ends.', EXIT_NOT_ROOT);
  }
  if (!existsSync('/usr/bin/apt-get')) {
    throw new PrepareError(
      `This is not a Debian-like system: install what Debian calls ${DEBIAN_PACKAGES.join(', ')} and run it on Debian 12 or later.`,
      EXIT_UNAVAILABLE,
    );
  }
  prepareDebianPackages([...DEBIAN_PACKAGES, ...alsoDebianPackages]);
  prepareNpmPackages();
}

/**
 * Runs a step of an entry script; what PrepareError says becomes one message and the exit code, without a stack trace.
 * @param {() => void} step
 */
export function endingWithItsExitCode(step) {
  try {
    step();
  } catch (error) {
    if (!(error instanceof PrepareError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(error.exitCode);
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  argumentsOr(USAGE, noArguments);
  endingWithItsExitCode(prepare);
}
