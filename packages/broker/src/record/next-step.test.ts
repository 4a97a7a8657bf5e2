import { expect, it } from 'vitest';
import { nextStepOf } from './next-step.js';

it.each([
  ['alice', 'Wait for it; its log: kpxctl logs alice.'],
  ['corp\\alice', "Wait for it; its log: kpxctl logs 'corp\\alice'."],
  ['a$&b', "Wait for it; its log: kpxctl logs 'a$&b'."],
])('names %s in a command so that a shell takes the name as it is', (user, step) => {
  expect(nextStepOf({ user, cause: 'executor' } as never)).toBe(step);
});
