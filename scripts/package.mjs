// `npm run package`: a .deb and an .rpm of what `npm run build` makes. The same sources and version give the same bytes.

import { spawnSync } from 'node:child_process';
import { mkdirSync, renameSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { debianContents } from '../systemd/debian/contents.mjs';
import { DEBIAN_ARCHITECTURES, makeDeb } from '../systemd/debian/deb.mjs';
import { CHECKOUT, readText } from '../systemd/package/checkout.mjs';
import { run } from '../systemd/package/command.mjs';
import { sbom } from '../systemd/package/sbom.mjs';
import { rpmContents } from '../systemd/rpm/contents.mjs';
import { makeRpm, RELEASE, RPM_ARCHITECTURES } from '../systemd/rpm/rpm.mjs';
import { EXIT_UNAVAILABLE, endingWithItsExitCode, PrepareError, prepareNpmPackages } from './prepare.mjs';
import { argumentsOr } from './usage.mjs';

const USAGE = `npm run package [-- [--deb] [--rpm] [--version V] [--output DIR]]

Makes kpx's packages of this checkout, and prints the path of each: first DIR/kpx-V-${RELEASE}.ARCHITECTURE.rpm, which needs rpmbuild, then
DIR/kpx_V_ARCHITECTURE.deb, which needs dpkg-deb. Debian has both (the package "rpm"). No root is needed.

  --deb, --rpm  make this one (default: both; one whose tool is missing is left out, and stderr says so)
  --version V   version of the package (default: the version in package.json)
  --output DIR  made if it is missing (default: dist/package)
  --no-build    pack the bundles as \`npm run build\` left them
  --help        this text

Times of files: SOURCE_DATE_EPOCH if it is set, else the time of the last commit, which needs git.
Exit codes: 0 made, 64 wrong usage, 69 not made: a tool is missing, or failed.
`;

/** sysexits.h: wrong usage. */
const EXIT_USAGE = 64;
const PROBE_TIMEOUT_MS = 10_000;
/** What deb-version(7) and rpm-version(7) both know, without epoch and revision. */
const VERSION = /^\d[A-Za-z0-9.+~]*$/;

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

/** @typedef {import('../systemd/package/contents.mjs').Entry} Entry */
/** @typedef {import('../systemd/package/contents.mjs').Made} Made */
/**
 * @typedef {object} Format
 * @property {string} tool
 * @property {Map<string, string>} architectures by Node's names
 * @property {(version: string, architecture: string) => string} nameOf
 * @property {(made: Made) => Entry[]} contents
 * @property {(what: { version: string, epoch: number, architecture: string, entries: Entry[] }, file: string) => void} make
 */

/** In this order: the last line that is printed is the path of the .deb where both are made. */
const FORMATS = /** @type {const} */ (['rpm', 'deb']);
/** @type {Record<typeof FORMATS[number], Format>} */
const FORMAT = {
  rpm: {
    tool: 'rpmbuild',
    architectures: RPM_ARCHITECTURES,
    nameOf: (version, architecture) => `kpx-${version}-${RELEASE}.${architecture}.rpm`,
    contents: rpmContents,
    make: makeRpm,
  },
  deb: {
    tool: 'dpkg-deb',
    architectures: DEBIAN_ARCHITECTURES,
    nameOf: (version, architecture) => `kpx_${version}_${architecture}.deb`,
    contents: debianContents,
    make: makeDeb,
  },
};

/** @param {Format} format @returns {string | undefined} why it cannot be made here */
function obstacle({ tool, architectures }) {
  if (!architectures.has(process.arch)) return `there is none for ${process.arch}`;
  const { error } = spawnSync(tool, ['--version'], { stdio: 'ignore', timeout: PROBE_TIMEOUT_MS });
  return error === undefined ? undefined : `${tool} is missing (${error.message})`;
}

/**
 * @param {(typeof FORMATS[number])[]} asked none: what can be made here
 * @returns {Format[]}
 */
function formatsToMake(asked) {
  const wanted = asked.length > 0 ? asked : FORMATS;
  const possible = wanted.filter((name) => {
    const why = obstacle(FORMAT[name]);
    if (why !== undefined) process.stderr.write(`No .${name} is made: ${why}.\n`);
    return why === undefined;
  });
  const enough = asked.length > 0 ? asked.length : 1;
  if (possible.length < enough) throw new PrepareError('Nothing was packed.', EXIT_UNAVAILABLE);
  return possible.map((name) => FORMAT[name]);
}

/**
 * @param {Format} format
 * @param {string} output
 * @param {Made} made
 * @returns {string} the path of the package
 */
function makePackage({ architectures, nameOf, contents, make }, output, made) {
  const architecture = architectures.get(process.arch) ?? '';
  const file = path.join(output, nameOf(made.version, architecture));
  // Beside its place first: somebody may be reading the one that is there.
  const unfinished = `${file}.${process.pid}`;
  make({ ...made, architecture, entries: contents(made) }, unfinished);
  renameSync(unfinished, file);
  return file;
}

function readOptions(/** @type {string[]} */ args) {
  const { values } = parseArgs({
    args,
    options: {
      deb: { type: 'boolean', default: false },
      rpm: { type: 'boolean', default: false },
      version: { type: 'string', default: JSON.parse(readText('package.json')).version },
      output: { type: 'string', default: path.join(CHECKOUT, 'dist/package') },
      'no-build': { type: 'boolean', default: false },
    },
  });
  if (!VERSION.test(values.version)) {
    throw new RangeError(`--version: expected a version such as "1.2.3" or "1.3.0~rc1", not "${values.version}"`);
  }
  return { ...values, asked: FORMATS.filter((name) => values[name]), output: path.resolve(values.output) };
}

/** @returns {Promise<void>} */
async function main() {
  const { asked, version, output, 'no-build': noBuild } = argumentsOr(USAGE, readOptions);
  const formats = formatsToMake(asked);
  if (!noBuild) {
    prepareNpmPackages();
    await import('./build.mjs');
  }
  const epoch = sourceDateEpoch();
  mkdirSync(output, { recursive: true });
  const made = { version, epoch, sbom: sbom(version, epoch) };
  for (const format of formats) process.stdout.write(`${makePackage(format, output, made)}\n`);
}

main().catch((error) =>
  endingWithItsExitCode(() => {
    throw error;
  }),
);
