// `npm test`: everything, from nothing.
import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onDebian, parseTestArguments, vitestCommand } from '../test/arguments.mjs';
import { TREES_OF_EVERY_RUN, treeDirectory, WHOLE } from '../test/fixtures/debian/trees.mjs';
import { runInPrivateMachine } from '../test/fixtures/private-machine.mjs';
import { runSideBySide } from '../test/side-by-side.mjs';
import { withSummary } from '../test/summary.mjs';
import { prepareDebianTrees } from './debian-trees.mjs';
import { prepareNodes } from './nodes.mjs';
import { endingWithItsExitCode, prepare, preparePromtool, TEST_PACKAGES } from './prepare.mjs';
import { preparePackage, runBesidePackage, SYSTEM_TEST_PACKAGES } from './test-system.mjs';
import { argumentsOr } from './usage.mjs';
import { noteVersions } from './versions.mjs';

const USAGE = `npm test [-- [--repeat N] [--on DEBIAN] [PATH…] [VITEST-OPTION…]]

Checks types and style, builds the programs, and runs the tests as root, in several machines side by side: private machines (unit, integration,
security) and booted ones (system). Each line of output begins with the machine's name. Files, accounts and servers that a test makes are gone
afterwards. Without a PATH all tests run, their coverage is counted, and what differs on Debian 13 runs there once more.

  PATH         runs the test files whose path contains it: npm test -- test/integration/reload.test.ts
  --repeat N   runs them N times in the same machine, with the same RabbitMQ; names each repetition that fails, and goes on
  --on DEBIAN  runs them on another Debian than this machine's: ${Object.keys(WHOLE).join(' or ')}
  --bail 1     an option of vitest: ends at the first failure, that of a repetition too
  --sequence.shuffle.files
               an option of vitest: another order of the files, in each repetition anew
  -t PATTERN   an option of vitest: runs the tests whose name matches
  --help       this text; vitest's other options: node node_modules/vitest/vitest.mjs --help

Ends with each failure and the counts. Exit codes: 0 all passed, 1 not all, or none matches, 64 wrong usage, 69 and 77 the machine cannot be made.
`;
const { repetitions, on, vitest: args } = argumentsOr(USAGE, parseTestArguments);
const tree = on && WHOLE[on];

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(() => {
  prepare([...SYSTEM_TEST_PACKAGES, ...TEST_PACKAGES]);
  preparePromtool();
  prepareNodes();
  prepareDebianTrees([...TREES_OF_EVERY_RUN, ...(tree ? [tree] : [])]);
});

/** What must hold before a test is worth running: each is a binary of node_modules with its arguments. */
const CHECKS = [
  { what: 'types', argv: ['typescript/bin/tsc', '--build'] },
  { what: 'style', argv: ['@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.'] },
];
for (const {
  what,
  argv: [program, ...args],
} of CHECKS) {
  const { status } = spawnSync(process.execPath, [`node_modules/${program}`, ...args], { stdio: 'inherit' });
  if (status !== 0) {
    console.error(`The check of ${what} failed.`);
    process.exit(1);
  }
  console.log(`${what}: as they should be`);
}
await import('./build.mjs');

/** Those that run in the private machine. */
const PRIVATE_PROJECTS = ['unit', 'integration', 'security'].map((project) => `--project=${project}`);
/** Machines among which all tests of a kind are divided: each takes some seconds to make. */
const PRIVATE_MACHINES = 4;
const BOOTED_MACHINES = 2;
/** What differs with Debian's systemd, Node and SSSD, beside the tests of the private machine that open a tree: vitest.config.ts says what the tag means. */
const DIFFERS = ['--tags-filter=each-debian'];
const everything = args.length === 0 && repetitions === 1 && on === undefined;
/** Only all tests together have to run all of the code. After `prepare`, because it needs packages. */
const coverage = everything ? await import('./coverage.mjs') : undefined;
coverage?.emptyCoverage();

/** It takes a while to boot a machine: not for `npm test -- packages/broker`. */
function systemTestsAreWanted() {
  if (args.length === 0) return true;
  const list = ['node_modules/vitest/vitest.mjs', 'list', '--filesOnly', '--project=system', ...args];
  const { status, stdout } = spawnSync(process.execPath, list, { encoding: 'utf8' });
  return status !== 0 || stdout.includes('.test.ts');
}

/**
 * A part for each machine, if all tests run once; otherwise one.
 * @param {number} machines
 */
function parts(machines) {
  if (args.length > 0) return [{ part: '', of: ['--passWithNoTests', ...args] }];
  if (repetitions > 1) return [{ part: '', of: [] }];
  return Array.from({ length: machines }, (_, index) => ({ part: ` ${index + 1}`, of: [`--shard=${index + 1}/${machines}`] }));
}

/**
 * Those that take longest first.
 * @param {NodeJS.ProcessEnv} summaryEnv
 * @returns {import('../test/side-by-side.mjs').Family[]}
 */
function families(summaryEnv) {
  const env = { ...onDebian(summaryEnv, tree), ...(coverage && { KPX_COVERAGE: '1' }) };
  const others = everything ? TREES_OF_EVERY_RUN : [];
  return [
    ...(systemTestsAreWanted() ? parts(BOOTED_MACHINES) : []).map(({ part, of }) => ({
      name: `booted${part}`,
      run: (/** @type {string} */ prefix) =>
        runBesidePackage(vitestCommand(repetitions, ['--project=system', ...of]), { env, tree, prefix }),
    })),
    ...parts(PRIVATE_MACHINES).map(({ part, of }) => ({
      name: `private${part}`,
      run: (/** @type {string} */ prefix) => {
        const counting = coverage ? ['--coverage.enabled', `--coverage.reportsDirectory=${coverage.vitestDirectory(part.trim())}`] : [];
        const command = vitestCommand(repetitions, [...PRIVATE_PROJECTS, ...counting, ...of]);
        return runInPrivateMachine(command, { env, tree: tree && treeDirectory(tree), prefix });
      },
    })),
    ...others.map((name) => ({
      name,
      run: (/** @type {string} */ prefix) =>
        runBesidePackage(vitestCommand(1, ['--project=system', ...DIFFERS]), { env: onDebian(summaryEnv, name), tree: name, prefix }),
    })),
  ];
}

process.exitCode = await withSummary(async (env) => {
  const wanted = families(env);
  if (wanted.some(({ name }) => !name.startsWith('private'))) endingWithItsExitCode(preparePackage);
  console.log('Running the tests in machines of their own: accounts, servers and files made in there are gone afterwards.');
  const code = await runSideBySide(wanted);
  return coverage && !(await coverage.coverageIsEnough()) ? code || 1 : code;
});
if (process.exitCode === 0 && args.length === 0 && repetitions === 1) {
  noteVersions(tree === undefined ? '/' : treeDirectory(tree), 'all');
  if (everything) for (const name of TREES_OF_EVERY_RUN) noteVersions(treeDirectory(name), 'what differs');
}
