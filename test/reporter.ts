import { appendFileSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';
import type { Reporter, SerializedError, TestCase, TestModule, Vitest } from 'vitest/node';
import { summaryText } from './summary.mjs';

/** Of an error in the summary, in lines and in characters of a line: the whole is where the test ran. */
const ERROR_LINES_MAX = 40;
const ERROR_LINE_CHARACTERS_MAX = 300;
/** A line of a stack that is about Node.js or a package, not about a test or what it tests. */
const FOREIGN_FRAME = /^\s+at .*(node_modules\/|node:|<anonymous>\))/;

/** What one run came to, as test/summary.mjs adds it up. */
export interface RunSummary {
  /** Where there are several (repeat.mjs): counted from 1. */
  repetition?: number;
  /** The Debian that tests run on, where it is another than this machine's. */
  debian?: string;
  passed: number;
  failed: number;
  skipped: number;
  /** Each failure: which test or file, and its error's first lines. */
  failures: string[];
}

/** What has `diff` is an assertion, whose message leaves out most of what it compares. */
function failure(name: string, errors: readonly (SerializedError & { diff?: string })[] | undefined): string {
  const lines = (errors ?? [])
    .flatMap(({ message, stack = message, diff = '' }) => [...stack.split('\n'), ...diff.split('\n')])
    .filter((line) => line.trim() !== '' && !FOREIGN_FRAME.test(line))
    .map((line) => `    ${stripVTControlCharacters(line).slice(0, ERROR_LINE_CHARACTERS_MAX)}`);
  return [`failed: ${name}`, ...lines.slice(0, ERROR_LINES_MAX)].join('\n');
}

/**
 * Closes a run with what failed, what was skipped and one plain line of counts, so that who has only the end of the output has what
 * matters; and makes skipping an error in CI. What --testNamePattern or --tags-filter leaves out is not skipped: nobody asked for it. Where the run is one of
 * several, the summary goes to the file that KPX_TEST_SUMMARIES names, for test/summary.mjs to close all of them with.
 */
export default class SummaryReporter implements Reporter {
  readonly #repetitions = Number(process.env.KPX_TEST_REPETITIONS ?? 1);
  readonly #debian = process.env.KPX_TEST_DEBIAN;
  #repetition = 0;
  #wanted: (test: TestCase) => boolean = () => true;

  onInit({ config: { testNamePattern, tagsFilter = [] } }: Vitest): void {
    this.#wanted = ({ fullName, tags }) =>
      // The pattern is for names joined by spaces. Of a filter one tag is understood, no expression.
      (testNamePattern?.test(fullName.replaceAll(' > ', ' ')) ?? true) && tagsFilter.every((tag) => tags.includes(tag));
  }

  onTestRunStart(): void {
    this.#repetition += 1;
    if (this.#repetitions > 1) console.log(`\nrepetition ${this.#repetition} of ${this.#repetitions}`);
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]).filter(this.#wanted);
    const count = (state: string) => tests.filter((test) => test.result().state === state).length;
    const skippedTests = tests.filter((test) => test.result().state === 'skipped');
    for (const test of skippedTests) {
      const result = test.result();
      console.log(`skipped: ${test.fullName} (${(result.state === 'skipped' && result.note) || 'no reason given'})`);
    }
    if (skippedTests.length > 0 && process.env.CI !== undefined) process.exitCode = 1;
    const failures = [
      ...modules.flatMap((module) => [
        ...(module.errors().length > 0 ? [failure(module.relativeModuleId, module.errors())] : []),
        ...[...module.children.allSuites()]
          .filter((suite) => suite.errors().length > 0)
          .map((suite) => failure(`${module.relativeModuleId} > ${suite.fullName}`, suite.errors())),
        ...[...module.children.allTests('failed')].map((test) =>
          failure(`${module.relativeModuleId} > ${test.fullName}`, test.result().errors),
        ),
      ]),
      ...unhandledErrors.map((error) => failure('outside of every test', [error])),
    ];
    const summary: RunSummary = {
      ...(this.#repetitions > 1 && { repetition: this.#repetition }),
      ...(this.#debian && { debian: this.#debian }),
      passed: count('passed'),
      failed: failures.length,
      skipped: skippedTests.length,
      failures,
    };
    const summariesFile = process.env.KPX_TEST_SUMMARIES;
    if (summariesFile !== undefined) {
      appendFileSync(summariesFile, `${JSON.stringify(summary)}\n`);
      return;
    }
    if (summary.passed + summary.failed + summary.skipped === 0) process.exitCode = 1;
    process.stdout.write(summaryText([summary]));
  }
}
