import { describe, expect, it } from 'vitest';
import { parseTestArguments, REPETITIONS_MAX } from './arguments.mjs';
import { summaryText } from './summary.mjs';

describe('the arguments of npm test', () => {
  it('are vitest’s but for --repeat', () => {
    expect(parseTestArguments(['test/x', '--repeat', '5', '--bail', '1'])).toEqual({
      repetitions: 5,
      vitest: ['test/x', '--bail', '1'],
    });
    expect(parseTestArguments(['--repeat=2'])).toEqual({ repetitions: 2, vitest: [] });
  });

  it.each([[[]], [['0']], [['-1']], [['1.5']], [['five']], [[String(REPETITIONS_MAX + 1)]]])('refuse --repeat %j', (value) => {
    expect(() => parseTestArguments(['--repeat', ...value])).toThrow(`a whole number from 1 to ${REPETITIONS_MAX}`);
  });
});

describe('the summary', () => {
  const good = { passed: 3, failed: 0, skipped: 1, failures: [] };
  const bad = { passed: 2, failed: 1, skipped: 1, failures: ['failed: x.test.ts > is right\n    Error: wrong'] };

  it('adds up the runs of both machines', () => {
    expect(summaryText([good, bad])).toBe('failed: x.test.ts > is right\n    Error: wrong\n5 passed, 1 failed, 2 skipped\n');
  });

  it('says which repetitions failed, and counts those of both machines once', () => {
    const runs = [1, 2].flatMap((repetition) => [good, repetition === 2 ? bad : good].map((run) => ({ ...run, repetition })));
    expect(summaryText(runs)).toBe(
      'repetition 2: failed: x.test.ts > is right\n    Error: wrong\n1 of 2 repetitions passed; failed: 2\n11 passed, 1 failed, 4 skipped\n',
    );
  });
});
