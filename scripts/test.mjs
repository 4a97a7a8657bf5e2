// `npm test`: everything, from nothing.
import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onDebian, parseTestArguments, vitestCommand } from '../test/arguments.mjs';
import { TREES_OF_EVERY_RUN, treeDirectory, WHOLE } from '../test/fixtures/debian/trees.mjs';
import { runInPrivateMachine } from '../test/fixtures/private-machine.mjs';
import { withSummary } from '../test/summary.mjs';
import { prepareDebianTrees } from './debian-trees.mjs';
import { prepareNodes } from './nodes.mjs';
import { endingWithItsExitCode, prepare, preparePromtool, TEST_PACKAGES } from './prepare.mjs';
import { runSystemTests, SYSTEM_TEST_PACKAGES } from './test-system.mjs';
import { argumentsOr } from './usage.mjs';
import { noteVersions } from './versions.mjs';

const USAGE = `npm test [-- [--repeat N] [--on DEBIAN] [PATH…] [VITEST-OPTION…]]

Checks types and style, builds the programs, and runs the tests as root: first those of the private machine (unit, integration, security), then
those of the booted one (system). What a test makes in there is gone afterwards. Without a PATH all tests run, their coverage is counted, and what
differs on Debian 13 runs there once more.

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
const EXIT_SIGNAL_BASE = 128;
/** What differs with Debian's systemd, Node, RabbitMQ and SSSD, beside the tests of the private machine that open a tree. */
const DIFFERS = ['main-job', 'units', 'faults', 'attacks'].map((name) => `test/system/${name}.test.ts`);
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

/** @param {NodeJS.ProcessEnv} summaryEnv */
async function runAll(summaryEnv) {
  const env = { ...onDebian(summaryEnv, tree), ...(coverage && { KPX_COVERAGE: '1' }) };
  const filtered = args.length === 0 ? [] : ['--passWithNoTests', ...args];
  const counting = coverage ? ['--coverage.enabled'] : [];
  console.log('Running the tests in a private machine: accounts, servers and files made in there are gone afterwards.');
  const first = await runInPrivateMachine(vitestCommand(repetitions, [...PRIVATE_PROJECTS, ...counting, ...filtered]), {
    env,
    tree: tree && treeDirectory(tree),
  });
  if (first >= EXIT_SIGNAL_BASE || !systemTestsAreWanted()) return first;
  const second = await runSystemTests(repetitions, filtered, env, tree);
  if (second >= EXIT_SIGNAL_BASE || !everything) return first || second;
  let other = 0;
  for (const name of TREES_OF_EVERY_RUN) other ||= await runSystemTests(1, DIFFERS, summaryEnv, name);
  return first || second || other;
}

process.exitCode = await withSummary(async (env) => {
  const code = await runAll(env);
  return coverage && !(await coverage.coverageIsEnough()) ? code || 1 : code;
});
if (process.exitCode === 0 && args.length === 0 && repetitions === 1) {
  noteVersions(tree === undefined ? '/' : treeDirectory(tree), 'all');
  if (everything) for (const name of TREES_OF_EVERY_RUN) noteVersions(treeDirectory(name), 'what differs');
}
