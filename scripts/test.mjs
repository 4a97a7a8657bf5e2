// `npm test`: everything, from nothing. Arguments go to vitest: `npm test -- packages/broker`.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runInPrivateMachine } from '../test/fixtures/private-machine.mjs';
import { endingWithItsExitCode, prepare, preparePromtool, TEST_PACKAGES } from './prepare.mjs';
import { runSystemTests, SYSTEM_TEST_PACKAGES } from './test-system.mjs';

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
endingWithItsExitCode(() => {
  prepare([...SYSTEM_TEST_PACKAGES, ...TEST_PACKAGES]);
  preparePromtool();
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

const VITEST = [process.execPath, 'node_modules/vitest/vitest.mjs'];
/** Those that run in the private machine. */
const PRIVATE_PROJECTS = ['unit', 'integration', 'security'].map((project) => `--project=${project}`);
const EXIT_SIGNAL_BASE = 128;
const args = process.argv.slice(2);
/** test/reporter.ts adds a line to it for each run. In the checkout, because little else is the same file in a private machine. */
const summariesFile = `dist/test-summaries-${process.pid}.jsonl`;
mkdirSync('dist', { recursive: true });
/** Only all tests together have to run all of the code. After `prepare`, because it needs packages. */
const coverage = args.length === 0 ? await import('./coverage.mjs') : undefined;
coverage?.emptyCoverage();
const env = { ...process.env, KPX_TEST_SUMMARIES: summariesFile, ...(coverage && { KPX_COVERAGE: '1' }) };

/** It takes a while to boot a machine: not for `npm test -- packages/broker`. */
function systemTestsAreWanted() {
  if (args.length === 0) return true;
  const [node = '', vitest = ''] = VITEST;
  const { status, stdout } = spawnSync(node, [vitest, 'list', '--filesOnly', '--project=system', ...args], { encoding: 'utf8' });
  return status !== 0 || stdout.includes('.test.ts');
}

/** @returns {import('../test/reporter.ts').RunSummary} of all runs together */
function summary() {
  const total = { passed: 0, failed: 0, skipped: 0, failures: [] };
  const lines = existsSync(summariesFile) ? readFileSync(summariesFile, 'utf8').split('\n').filter(Boolean) : [];
  for (const { passed, failed, skipped, failures } of lines.map((line) => JSON.parse(line))) {
    total.passed += passed;
    total.failed += failed;
    total.skipped += skipped;
    total.failures.push(...failures);
  }
  return total;
}

async function runBoth() {
  const filtered = args.length === 0 ? [] : ['--passWithNoTests', ...args];
  const counting = coverage ? ['--coverage.enabled'] : [];
  console.log('Running the tests in a private machine: accounts, servers and files made in there are gone afterwards.');
  const first = await runInPrivateMachine([...VITEST, 'run', ...PRIVATE_PROJECTS, ...counting, ...filtered], { env });
  if (first >= EXIT_SIGNAL_BASE || !systemTestsAreWanted()) return first;
  const second = await runSystemTests(filtered, env);
  return first === 0 ? second : first;
}

process.exitCode = await runBoth();
if (coverage && !(await coverage.coverageIsEnough())) process.exitCode ||= 1;
const { passed, failed, skipped, failures } = summary();
rmSync(summariesFile, { force: true });
if (passed + failed + skipped === 0) process.exitCode ||= 1; // nothing matches the arguments
// Last, where it is seen: the runs' own reports are thousands of lines further up.
for (const text of failures) console.log(text);
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
