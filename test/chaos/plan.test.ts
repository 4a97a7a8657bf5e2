import { describe, expect, it } from 'vitest';
import { planOf } from './plan.js';

const MINUTE_MS = 60_000;

describe('the plan of a run', () => {
  it('is the same for the same seed, and another one for another', () => {
    expect(planOf(7, MINUTE_MS)).toEqual(planOf(7, MINUTE_MS));
    expect(planOf(8, MINUTE_MS)).not.toEqual(planOf(7, MINUTE_MS));
  });

  it('begins in the same way however long it is', () => {
    const [short, long] = [planOf(7, MINUTE_MS), planOf(7, 5 * MINUTE_MS)];
    expect(long.publications.slice(0, short.publications.length)).toEqual(short.publications);
    for (const [part, faults] of short.faults.entries()) expect(long.faults[part]?.slice(0, faults.length)).toEqual(faults);
  });

  it('has the faults of one part one after the other, and all of them over in time', () => {
    for (const faults of planOf(7, 10 * MINUTE_MS).faults) {
      expect(faults.length).toBeGreaterThan(20);
      let over = 0;
      for (const { atMs, forMs } of faults) {
        expect(atMs).toBeGreaterThan(over);
        over = atMs + forMs;
      }
      expect(over).toBeLessThanOrEqual(10 * MINUTE_MS);
    }
  });

  it('does not have one part do what another does', () => {
    const times = planOf(7, MINUTE_MS).faults.map((faults) => faults.map(({ atMs }) => atMs).join());
    expect(new Set(times).size).toBe(times.length);
  });

  it('has every kind of fault and of job in the long run, and no job twice', () => {
    const { faults, publications } = planOf(7, 20 * MINUTE_MS);
    expect(new Set(faults.flat().map(({ kind, what }) => `${kind} ${what}`)).size).toBe(37);
    const jobs = publications.flatMap((publication) => publication.jobs);
    expect(new Set(jobs.map(({ kind }) => kind)).size).toBe(11);
    expect(new Set(jobs.map(({ id }) => id)).size).toBe(jobs.length);
  });
});
