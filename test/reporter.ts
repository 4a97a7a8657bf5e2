import type { Reporter, TestModule } from 'vitest/node';

/** Closes a run with one plain line of counts, names what was skipped, and makes skipping an error in CI. */
export default class CountingReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const count = (state: string) => tests.filter((test) => test.result().state === state).length;
    const skipped = tests.filter((test) => test.result().state === 'skipped');
    for (const test of skipped) {
      const result = test.result();
      console.log(`skipped: ${test.fullName} (${(result.state === 'skipped' && result.note) || 'no reason given'})`);
    }
    if (skipped.length > 0 && process.env.CI !== undefined) process.exitCode = 1;
    const brokenFiles = modules.filter((module) => module.state() === 'failed' && [...module.children.allTests('failed')].length === 0);
    console.log(`${count('passed')} passed, ${count('failed') + brokenFiles.length} failed, ${skipped.length} skipped`);
  }
}
