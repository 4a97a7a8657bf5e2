import { osUserSchema } from '@kpx/protocol';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { KeptAnswers } from './kept-answers.js';

const GRACE_MS = 1_000;
const ALICE = osUserSchema.parse('alice');
const BOB = osUserSchema.parse('bob');
const QUEUE = { name: 'kpx.reply.client', arguments: {} };

let kept: KeptAnswers;
beforeEach(() => {
  vi.useFakeTimers();
  kept = new KeptAnswers(() => GRACE_MS);
});
afterEach(() => void vi.useRealTimers());

/** An executor that has been given one job and has ended. */
function ended(): void {
  const answers = kept.of(ALICE);
  answers.open('client', 'c1', performance.now());
  kept.keep(ALICE, answers, [QUEUE]);
}

const mayAnswer = (account = ALICE) => kept.of(account).isOpen('client', 'c1', performance.now());

it('what an executor might answer, the next one of its account may, and no other', () => {
  ended();
  expect([mayAnswer(), mayAnswer(BOB)]).toEqual([true, false]);
});

it('that is forgotten when it has been so for the time of grace, counted from the end of the last executor', () => {
  ended();
  vi.advanceTimersByTime(GRACE_MS - 1);
  kept.keep(ALICE, kept.of(ALICE), []);
  vi.advanceTimersByTime(GRACE_MS - 1);
  expect(mayAnswer()).toBe(true);
  vi.advanceTimersByTime(1);
  expect(mayAnswer()).toBe(false);
});

it('it is known for the time of grace which queues for answers an executor has left, of its own account alone', () => {
  expect(kept.queuesOf(ALICE)).toBeUndefined();
  ended();
  expect([kept.queuesOf(ALICE), kept.queuesOf(BOB)]).toEqual([[QUEUE], undefined]);
  vi.advanceTimersByTime(GRACE_MS);
  expect(kept.queuesOf(ALICE)).toBeUndefined();
});

it('an id that nobody has answered is closed in the time of grace after the end, also while the next executor runs', () => {
  ended();
  const answers = kept.of(ALICE);
  expect(answers.unheardOf).toBe(0);
  for (const _ of answers.sweep(performance.now() + GRACE_MS));
  expect(answers.isOpen('client', 'c1', performance.now())).toBe(false);
});

it('what is forgotten, nobody may answer any more', () => {
  ended();
  kept.forget(ALICE);
  expect(mayAnswer()).toBe(false);
  kept.forget(ALICE);
});

it('a time of grace longer than a timer of Node can be is kept', () => {
  kept = new KeptAnswers(() => 2 ** 32);
  ended();
  vi.advanceTimersByTime(GRACE_MS);
  expect(mayAnswer()).toBe(true);
});
