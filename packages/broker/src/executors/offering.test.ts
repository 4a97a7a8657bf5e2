import { describe, expect, it } from 'vitest';
import { Offering } from './offering.js';

describe('an executor that is given jobs by the queue that all share, after one of its own', () => {
  it('is given more than the other one could have had under way, of which nothing is told any more', () => {
    const offering = new Offering();
    offering.told(0, 0, 'taken', 8);
    offering.gave(64);
    expect(offering.hasPlace).toBe(false);
    offering.cameBack(1);
    expect(offering.hasPlace).toBe(true);
  });
});
