// The end of `npm test`: what failed, in which repetition, and the counts of all runs together.
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';

/** @typedef {import('./reporter.ts').RunSummary} RunSummary */

/**
 * The working directory has to be the checkout.
 * @param {(env: NodeJS.ProcessEnv) => Promise<number>} run vitest, with this environment; resolves with an exit code
 * @returns {Promise<number>} the same; 1 if it is 0 and nothing ran
 */
export async function withSummary(run) {
  // In the checkout, because little else is the same file in a private machine.
  const file = `dist/test-summaries-${process.pid}.jsonl`;
  mkdirSync('dist', { recursive: true });
  const code = await run({ ...process.env, KPX_TEST_SUMMARIES: file });
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
  rmSync(file, { force: true });
  /** @type {RunSummary[]} */
  const runs = lines.map((line) => JSON.parse(line));
  // Last, where it is seen: the runs' own reports are thousands of lines further up.
  process.stdout.write(summaryText(runs));
  return code === 0 && runs.every(({ passed, failed, skipped }) => passed + failed + skipped === 0) ? 1 : code;
}

/** @param {RunSummary[]} runs */
export function summaryText(runs) {
  /** @param {'passed' | 'failed' | 'skipped'} key */
  const sum = (key) => runs.reduce((total, run) => total + run[key], 0);
  const lines = [
    ...runs.flatMap(({ repetition, debian, failures }) =>
      failures.map((text) => [...(debian ? [`on ${debian}`] : []), ...(repetition ? [`repetition ${repetition}`] : []), text].join(': ')),
    ),
    ...repetitionsText(runs),
    `${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`,
  ];
  return `${lines.join('\n')}\n`;
}

/**
 * @param {RunSummary[]} runs
 * @returns {string[]} a line, if there were several repetitions
 */
function repetitionsText(runs) {
  const all = new Set(runs.flatMap(({ repetition }) => repetition ?? []));
  if (all.size < 2) return [];
  const failed = new Set(runs.flatMap(({ repetition, failures }) => (repetition && failures.length > 0 ? repetition : [])));
  const which = failed.size === 0 ? '' : `; failed: ${[...failed].sort((a, b) => a - b).join(', ')}`;
  return [`${all.size - failed.size} of ${all.size} repetitions passed${which}`];
}
