// `npm run test:system`: kpx's Debian package in a machine that has booted.
import { spawnSync } from 'node:child_process';
import { readFileSync, realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onDebian, parseTestArguments, vitestCommand } from '../test/arguments.mjs';
import { runBesideBootedMachine } from '../test/fixtures/booted/boot.mjs';
import {
  CONTAINER_PACKAGES,
  DIRECTORY_PACKAGES,
  DRIVE_PACKAGES,
  fusePackages,
  KERBEROS_PACKAGES,
  suiteOf,
} from '../test/fixtures/booted/services.mjs';
import { TREES_OF_SERVERS, WHOLE } from '../test/fixtures/debian/trees.mjs';
import { withSummary } from '../test/summary.mjs';
import { prepareDebianTrees } from './debian-trees.mjs';
import { downloadDebianPackages, EXIT_UNAVAILABLE, endingWithItsExitCode, PrepareError, prepare } from './prepare.mjs';
import { argumentsOr } from './usage.mjs';

/** Beside what all tests need: systemd-nspawn, what makes and installs the .rpm, and a packet filter. */
export const SYSTEM_TEST_PACKAGES = ['systemd-container', 'rpm', 'nftables'];

const CHECKOUT = dirname(dirname(fileURLToPath(import.meta.url)));
const USAGE = `npm run test:system [-- [--repeat N] [--on DEBIAN] [PATH…] [VITEST-OPTION…]]

Builds kpx's Debian package, boots a machine in a container, and runs the tests of test/system beside it. \`npm test -- --help\` explains the
arguments; \`npm test\` runs these tests too.
`;

/** A command of its own, because the arguments here are vitest's. It makes the bundles too. */
function makePackage() {
  const { status } = spawnSync(process.execPath, ['scripts/package.mjs'], { cwd: CHECKOUT, stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new PrepareError('The Debian package was not built.', EXIT_UNAVAILABLE);
}

/** What {@link runBesidePackage} needs, once for all machines that are booted. The working directory has to be the checkout. */
export function preparePackage() {
  makePackage();
  const ofDrives = [...DRIVE_PACKAGES, ...fusePackages(suiteOf(readFileSync('/etc/os-release', 'utf8')))];
  downloadDebianPackages([...CONTAINER_PACKAGES, ...KERBEROS_PACKAGES, ...ofDrives, ...DIRECTORY_PACKAGES]);
  prepareDebianTrees(TREES_OF_SERVERS);
}

/**
 * Runs a command beside a booted machine that has the built package at hand. On a machine that is prepared, with SYSTEM_TEST_PACKAGES and
 * {@link preparePackage}. The working directory has to be the checkout.
 * @param {string[]} command argv
 * @param {{ env?: NodeJS.ProcessEnv, tree?: string | undefined, prefix?: string }} [options] `tree`: of another Debian, which is there;
 *   `prefix`: in front of each line of output
 * @returns {Promise<number>} its exit code
 */
export async function runBesidePackage(command, { env = process.env, tree, prefix = '' } = {}) {
  console.log(`${prefix}Booting a machine${tree === undefined ? '' : ` of ${tree}`} in a container: it is gone afterwards.`);
  return await runBesideBootedMachine(command, { env, on: tree, prefix });
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { repetitions, on, vitest } = argumentsOr(USAGE, parseTestArguments);
  const tree = on && WHOLE[on];
  process.chdir(CHECKOUT);
  endingWithItsExitCode(() => {
    prepare(SYSTEM_TEST_PACKAGES);
    if (tree) prepareDebianTrees([tree]);
    preparePackage();
  });
  const command = vitestCommand(repetitions, ['--project=system', ...vitest]);
  process.exitCode = await withSummary((env) => runBesidePackage(command, { env: onDebian(env, tree), tree }));
}
