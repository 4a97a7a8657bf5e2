// `npm run package`: a Debian package of what `npm run build` makes. The same sources and version give the same bytes.
// Needs nothing of Debian but dpkg, and no privilege: dpkg-deb writes root as the owner of everything by itself.

import { spawnSync } from 'node:child_process';
import { chmodSync, lutimesSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { CHECKOUT, readText } from '../systemd/debian/checkout.mjs';
import { contents } from '../systemd/debian/contents.mjs';
import { ancestors, changelog, controlFiles } from '../systemd/debian/control.mjs';
import { sbom } from '../systemd/debian/sbom.mjs';
import { EXIT_UNAVAILABLE, endingWithItsExitCode, PrepareError, prepareNpmPackages } from './prepare.mjs';
import { argumentsOr } from './usage.mjs';

const USAGE = `npm run package [-- --version V] [-- --output DIR]

Makes DIR/kpx_V_ARCHITECTURE.deb of this checkout and prints its path as the last line. Needs dpkg (on Debian 12 or later), not root.

  --version V   Debian version of the package (default: the version in package.json)
  --output DIR  made if it is missing (default: dist/package)
  --no-build    pack the bundles as \`npm run build\` left them
  --help        this text

Times of files: SOURCE_DATE_EPOCH if it is set, else the time of the last commit, which needs git.
`;

/** sysexits.h: wrong usage. */
const EXIT_USAGE = 64;
const COMMAND_TIMEOUT_MS = 120_000;
/** deb-version(7), without epoch and revision: this is a native package. */
const VERSION = /^\d[A-Za-z0-9.+~]*$/;

/** @typedef {import('../systemd/debian/contents.mjs').Entry} Entry */

/**
 * @param {string} command
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env additions to the environment
 */
function run(command, args, env = {}) {
  const result = spawnSync(command, args, {
    cwd: CHECKOUT,
    env: { ...process.env, LC_ALL: 'C', ...env },
    timeout: COMMAND_TIMEOUT_MS,
    encoding: 'utf8',
  });
  if (result.error === undefined && result.status === 0) return result.stdout;
  const why = result.error?.message ?? `exit code ${result.status ?? result.signal}`;
  throw new PrepareError(`${[command, ...args].join(' ')}: ${why}\n${result.stderr ?? ''}`, EXIT_UNAVAILABLE);
}

/** @returns {number} seconds */
function sourceDateEpoch() {
  const given = process.env.SOURCE_DATE_EPOCH;
  if (given !== undefined) {
    if (!/^\d{1,10}$/.test(given)) throw new PrepareError(`SOURCE_DATE_EPOCH: expected seconds since 1970, not "${given}"`, EXIT_USAGE);
    return Number(given);
  }
  try {
    // The checkout may belong to somebody else than who packs it, for example in a container.
    return Number(run('git', ['-c', 'safe.directory=*', 'log', '-1', '--format=%ct']));
  } catch (error) {
    if (!(error instanceof PrepareError)) throw error;
    throw new PrepareError(`The time of the last commit is not known: set SOURCE_DATE_EPOCH.\n${error.message}`, error.exitCode);
  }
}

/**
 * Lays the entries out below `stage`. Modes and times are set, whatever the umask and the clock are.
 * @param {string} stage
 * @param {Entry[]} entries
 * @param {number} epoch
 */
function layOut(stage, entries, epoch) {
  const directories = [...new Set(entries.flatMap(({ to }) => ancestors(to)))].sort();
  for (const directory of directories) mkdirSync(path.join(stage, directory));
  for (const entry of entries) {
    const file = path.join(stage, entry.to);
    if ('link' in entry) symlinkSync(entry.link, file);
    else {
      writeFileSync(file, entry.content, { flag: 'wx' });
      chmodSync(file, entry.mode);
    }
    lutimesSync(file, epoch, epoch);
  }
  for (const directory of ['.', ...directories].reverse()) {
    chmodSync(path.join(stage, directory), 0o755);
    lutimesSync(path.join(stage, directory), epoch, epoch);
  }
}

/**
 * @param {{ version: string, output: string }} options
 * @returns {string} the path of the package
 */
function makePackage({ version, output }) {
  const architecture = run('dpkg', ['--print-architecture']).trim();
  const epoch = sourceDateEpoch();
  const entries = contents({ architecture, changelog: changelog(version, epoch), sbom: sbom(version, epoch) });
  const file = path.join(output, `kpx_${version}_${architecture}.deb`);
  const stage = mkdtempSync(path.join(tmpdir(), 'kpx-package-'));
  try {
    layOut(stage, [...entries, ...controlFiles(version, architecture, entries)], epoch);
    mkdirSync(output, { recursive: true });
    // One thread: how xz cuts its blocks must not depend on the machine.
    const options = ['--root-owner-group', '-Zxz', '--threads-max=1'];
    // Beside its place first: somebody may be reading the one that is there.
    const unfinished = `${file}.${process.pid}`;
    process.stderr.write(run('dpkg-deb', [...options, '--build', stage, unfinished], { SOURCE_DATE_EPOCH: String(epoch) }));
    renameSync(unfinished, file);
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
  return file;
}

function readOptions(/** @type {string[]} */ args) {
  const { values } = parseArgs({
    args,
    options: {
      version: { type: 'string', default: JSON.parse(readText('package.json')).version },
      output: { type: 'string', default: path.join(CHECKOUT, 'dist/package') },
      'no-build': { type: 'boolean', default: false },
    },
  });
  if (!VERSION.test(values.version)) {
    throw new RangeError(`--version: expected a Debian version such as "1.2.3" or "1.3.0~rc1", not "${values.version}"`);
  }
  return { ...values, output: path.resolve(values.output) };
}

/** @returns {Promise<void>} */
async function main() {
  const options = argumentsOr(USAGE, readOptions);
  if (!options['no-build']) {
    prepareNpmPackages();
    await import('./build.mjs');
  }
  process.stdout.write(`${makePackage(options)}\n`);
}

main().catch((error) =>
  endingWithItsExitCode(() => {
    throw error;
  }),
);
