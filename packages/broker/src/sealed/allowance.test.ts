import { expect, it } from 'vitest';
import { Allowance } from './allowance.js';

const MAX = 3;
const EVERY_MS = 100;

it('lets so many at once, then one for each time that has passed, and never more at once', () => {
  const allowance = new Allowance(MAX, EVERY_MS, 0);
  const taken = (now: number) => Array.from({ length: MAX + 2 }, () => allowance.take(now)).filter(Boolean).length;
  expect([0, 99, 100, 150, 199, 200, 450, 100_000, 100_099, 100_100].map(taken)).toEqual([3, 0, 1, 0, 0, 1, 2, 3, 0, 1]);
});
