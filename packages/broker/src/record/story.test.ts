import { expect, it } from 'vitest';
import { awayMs, type Step, type StepKind, type Story } from './story.js';

/** With these steps, one each ten milliseconds. */
const storyOf = (...steps: StepKind[]) =>
  ({ steps: steps.map((what, index): Step => ({ at: 10 * index, what, why: '' })) }) as unknown as Story;

it.each<[number | undefined, StepKind[]]>([
  [10, ['seen', 'offered', 'back']],
  [10, ['seen', 'offered', 'back', 'held', 'offered', 'back']],
  [20, ['seen', 'offered', 'problem', 'back']],
  [undefined, ['seen']],
  [undefined, ['back']],
  [undefined, ['seen', 'delayed', 'from delay']],
  [undefined, ['seen', 'offered', 'returned', 'again']],
  [undefined, ['seen', 'offered', 'back', 'held']],
])('a job was away for %s ms by the steps %j', (expected, steps) => {
  expect(awayMs(storyOf(...steps))).toBe(expected);
});

it('a job was not away for less than no time, where the clock was set back', () => {
  const steps: Step[] = [
    { at: 5_000, what: 'offered', why: '' },
    { at: 1_000, what: 'back', why: '' },
  ];
  expect(awayMs({ steps } as unknown as Story)).toBe(0);
});
