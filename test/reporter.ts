import { appendFileSync } from 'node:fs';
import type { Reporter, TestCase, TestModule, Vitest } from 'vitest/node';

/**
 * Closes a run with one plain line of counts, names what was skipped, and makes skipping an error in CI. What --testNamePattern leaves out
 * is not skipped: nobody asked for it. Where the run is one of several, the counts go to the file that KPX_TEST_COUNTS names, for
 * scripts/test.mjs to add up.
 */
export default class CountingReporter implements Reporter {
  #wanted: (test: TestCase) => boolean = () => true;

  onInit({ config: { testNamePattern } }: Vitest): void {
    // The pattern is for names joined by spaces.
    if (testNamePattern) this.#wanted = ({ fullName }) => testNamePattern.test(fullName.replaceAll(' > ', ' '));
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]).filter(this.#wanted);
    const count = (state: string) => tests.filter((test) => test.result().state === state).length;
    const skippedTests = tests.filter((test) => test.result().state === 'skipped');
    for (const test of skippedTests) {
      const result = test.result();
      console.log(`skipped: ${test.fullName} (${(result.state === 'skipped' && result.note) || 'no reason given'})`);
    }
    if (skippedTests.length > 0 && process.env.CI !== undefined) process.exitCode = 1;
    const brokenFiles = modules.filter((module) => module.state() === 'failed' && [...module.children.allTests('failed')].length === 0);
    const [passed, failed, skipped] = [count('passed'), count('failed') + brokenFiles.length, skippedTests.length];
    const countsFile = process.env.KPX_TEST_COUNTS;
    if (countsFile === undefined && passed + failed + skipped === 0) process.exitCode = 1;
    if (countsFile === undefined) console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
    else appendFileSync(countsFile, `${JSON.stringify({ passed, failed, skipped })}\n`);
  }
}
