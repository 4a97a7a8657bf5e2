import { expect, it } from 'vitest';
import { OFFER_EVERY_MS_MIN } from '../policy/offers.js';
import { Filling } from './filling.js';

/* How a queue is filled is tested from the outside in filling.property.test.ts; here is what a queue could not be asked about. */

const HELD = 100;
const WINDOW = 64;
const LATER_MS = 1_000;

it('a queue that cannot be asked counts neither as full nor as having room', () => {
  const filling = new Filling(0);
  const offer = (now: number) => filling.take(HELD, now, 0).jobs;
  expect(offer(0)).toBe(1);
  expect(filling.told(0, 1, 'taken', WINDOW)).toBe(0);
  expect(offer(0)).toBe(2);
  filling.told(0, 2, 'not now', WINDOW);
  expect(filling.told(0, 2, 'not now', WINDOW)).toBeGreaterThanOrEqual(OFFER_EVERY_MS_MIN);
  expect(offer(LATER_MS)).toBe(2);
});
