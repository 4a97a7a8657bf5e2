import { describe, expect, it } from 'vitest';
import { SlowStart } from './slow-start.js';

function started(full: number) {
  const widened: number[] = [];
  const start = new SlowStart(full, (prefetch) => widened.push(prefetch));
  const take = (count: number, underWay = 0) => {
    for (let taken = 0; taken < count; taken++) start.taken();
    start.look(underWay);
  };
  return { start, widened, take };
}

describe('slow start', () => {
  it('takes 1, 8, 64 and then as many as are configured', () => {
    const { start, widened, take } = started(256);
    expect(start.prefetch).toBe(1);
    for (const count of [1, 8, 64, 256]) take(count);
    expect(widened).toEqual([8, 64, 256]);
  });

  it('never takes more than are configured', () => {
    const { widened, take } = started(20);
    for (const count of [1, 8, 20]) take(count);
    expect(widened).toEqual([8, 20]);
    expect(started(1).start.prefetch).toBe(1);
  });

  it('does not go on while a job is under way, and goes on with jobs that are only held', () => {
    const { widened, take } = started(256);
    take(1, 1);
    expect(widened).toEqual([]);
    take(0, 0);
    expect(widened).toEqual([8]);
    take(8, 1);
    expect(widened).toEqual([8]);
    take(1, 1);
    expect(widened).toEqual([8, 64]);
  });
});
