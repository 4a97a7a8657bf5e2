// Makes trees of other releases of Debian for tests, from the archive that this machine's own apt uses. Plain Node, like prepare.mjs.

import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, realpathSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { TREES, TREES_AT, TREES_OF_EVERY_RUN, TREES_OF_SERVERS, treeDirectory } from '../test/fixtures/debian/trees.mjs';
import { EXIT_UNAVAILABLE, endingWithItsExitCode, PrepareError, prepareDebianPackages } from './prepare.mjs';
import { argumentsOr } from './usage.mjs';

const USAGE = `node scripts/debian-trees.mjs NAME…

Makes trees of other releases of Debian, as root, and keeps them in dist/tools/debian. The names: ${Object.keys(TREES).join(', ')}.
A tree that is there is not made again. \`npm test\` makes those it needs by itself: ${[...TREES_OF_EVERY_RUN, ...TREES_OF_SERVERS].join(', ')}.

Exit codes: 0 they are there, 64 wrong usage, 69 the archive cannot be reached, or says no.
`;

/** Some 300 MB are downloaded and unpacked. */
const MAKE_TIMEOUT_MS = 900_000;
const LOCK_WAIT_SECONDS = 900;
const PROBE_TIMEOUT_MS = 30_000;
const EXCERPT_LINES = 12;
/** The part of this machine's apt settings that the archive may need: how it is reached, and whether its dates are judged. */
const SETTINGS_OF_THE_ARCHIVE = /^Acquire::(?:Check-\w|Retries |https?::)/;
const THIS_FILE = fileURLToPath(import.meta.url);

/** @param {string[]} argv */
function outputOf([program = '', ...args]) {
  const { error, status, stdout } = spawnSync(program, args, { encoding: 'utf8', timeout: PROBE_TIMEOUT_MS });
  if (error !== undefined || status !== 0) {
    throw new PrepareError(`${program} ${args.join(' ')}: ${error?.message ?? `exit code ${status}`}`, EXIT_UNAVAILABLE);
  }
  return stdout;
}

/** Debian's own archive as this machine reaches it. */
function mirror() {
  const format = '$(ORIGIN)|$(LABEL)|$(REPO_URI)';
  const lines = outputOf(['/usr/bin/apt-get', 'indextargets', '--format', format, 'Created-By: Packages']).split('\n');
  const uri = lines.find((line) => line.startsWith('Debian|Debian|'))?.split('|')[2];
  if (uri === undefined) {
    throw new PrepareError('apt has no list of an archive of Debian: run apt-get update with a source of Debian.', EXIT_UNAVAILABLE);
  }
  return uri;
}

/** Under a name of its own until it is whole. @param {string} name */
function makeTree(name) {
  const directory = treeDirectory(name);
  if (existsSync(directory)) return; // by another run, while this one waited for the lock
  const { suite = '', packages = [], archives = [] } = TREES[name] ?? {};
  const unfinished = `${directory}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  const settings = outputOf(['/usr/bin/apt-config', 'dump', 'Acquire']).split('\n');
  const options = settings.filter((line) => SETTINGS_OF_THE_ARCHIVE.test(line)).map((line) => `--aptopt=${line}`);
  const download = ['apt-get', '--quiet', '--yes', '--no-install-recommends', '--download-only', 'install', ...archives];
  const args = [
    ...['--mode=root', '--variant=apt', ...options, `--include=${packages.join(',')}`],
    // mmdebstrap runs a hook by a shell; the names are this project's own, and `$1` is the tree.
    ...[`--customize-hook=chroot "$1" ${download.join(' ')}`, '--skip=cleanup/apt', suite, unfinished, mirror()],
  ];
  const begin = performance.now();
  process.stderr.write(`prepare: mmdebstrap ${suite} … `);
  const { error, status, stderr } = spawnSync('/usr/bin/mmdebstrap', args, { encoding: 'utf8', timeout: MAKE_TIMEOUT_MS });
  if (error !== undefined || status !== 0) {
    process.stderr.write('failed\n');
    rmSync(unfinished, { recursive: true, force: true });
    const why = `${error?.message ?? `exit code ${status}`}\n${stderr.trimEnd().split('\n').slice(-EXCERPT_LINES).join('\n')}`;
    throw new PrepareError(`The tree of Debian's ${suite} cannot be made of ${args.at(-1)}: mmdebstrap: ${why}`, EXIT_UNAVAILABLE);
  }
  chmodSync(unfinished, 0o755);
  renameSync(unfinished, directory);
  process.stderr.write(`${((performance.now() - begin) / 1000).toFixed(1)} s\n`);
}

/**
 * Makes those that are missing; of two runs at once one makes them, and the other waits.
 * @param {string[]} names keys of TREES
 * @throws {PrepareError} the archive cannot be reached
 */
export function prepareDebianTrees(names) {
  if (names.every((name) => existsSync(treeDirectory(name)))) return;
  prepareDebianPackages(['mmdebstrap']);
  mkdirSync(TREES_AT, { recursive: true });
  const lock = ['--wait', String(LOCK_WAIT_SECONDS), path.join(TREES_AT, 'lock')];
  const { status } = spawnSync('/usr/bin/flock', [...lock, process.execPath, THIS_FILE, '--locked', ...names], { stdio: 'inherit' });
  if (status !== 0) throw new PrepareError(`Trees of Debian are missing: ${names.join(', ')}.`, EXIT_UNAVAILABLE);
}

/** @param {string[]} args */
function readArguments(args) {
  const { positionals, values } = parseArgs({ args, allowPositionals: true, options: { locked: { type: 'boolean', default: false } } });
  for (const name of positionals) treeDirectory(name);
  if (positionals.length === 0) throw new RangeError('Name a tree.');
  return { names: positionals, locked: values.locked };
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === THIS_FILE) {
  const { names, locked } = argumentsOr(USAGE, readArguments);
  endingWithItsExitCode(() => {
    if (locked) for (const name of names) makeTree(name);
    else prepareDebianTrees(names);
  });
}
