import { expect, it } from 'vitest';
import { END_RETRY_MS, ENDING_MAX_MS, Ending } from './ending.js';

const STEP_MS = 500;

/** The requests to the helper, and their times in milliseconds. */
function asked(ending: Ending, fromMs: number, untilMs: number): [string, number][] {
  const found: [string, number][] = [];
  for (let now = fromMs; now < untilMs; now += STEP_MS) {
    const due = ending.due(now);
    if (due) found.push([due, now]);
  }
  return found;
}

it('uses force after a time, again where that shows no effect, and less and less often', () => {
  const times = asked(new Ending(0, false), 0, 400_000);
  expect(times.slice(0, 4)).toEqual([
    ['kill', ENDING_MAX_MS],
    ['kill', ENDING_MAX_MS + END_RETRY_MS],
    ['kill', ENDING_MAX_MS + 3 * END_RETRY_MS],
    ['kill', ENDING_MAX_MS + 7 * END_RETRY_MS],
  ]);
  expect(times.at(-1)?.[1]).toBeGreaterThan(300_000);
  expect(times.length).toBeLessThan(12);
});

it('asks again within seconds when the helper could not, in the same way', () => {
  const gentle = new Ending(0, false);
  gentle.failed(10_000);
  expect(asked(gentle, 10_000, 60_000)).toEqual([['stop', 10_000 + END_RETRY_MS]]);
  const forced = new Ending(0, true);
  forced.failed(1_000);
  expect(asked(forced, 1_000, 4_500)[0]).toEqual(['kill', END_RETRY_MS]);
});
