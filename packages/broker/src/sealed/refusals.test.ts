import { expect, it } from 'vitest';
import { Refusals } from './refusals.js';

const PER_MINUTE = 10;

it('parks some of what is refused each minute, says once that it counts the rest, and begins anew with the next minute', () => {
  const refusals = new Refusals(() => PER_MINUTE);
  const minute = (from: number) => Array.from({ length: PER_MINUTE + 3 }, (_, index) => refusals.next(from + index));
  const expected = [...Array.from({ length: PER_MINUTE }, () => 'parked'), 'counted from now on', 'counted', 'counted'];
  expect(minute(5)).toEqual(expected);
  expect(refusals.next(60_004)).toBe('counted');
  expect(minute(60_005)).toEqual(expected);
  expect(refusals.counted).toBe(2 * expected.length + 1);
});
