import { describe, expect, it } from 'vitest';
import { JOB_KINDS, planOf } from './plan.js';

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

  it.each([7, 8, 9, 1502])('has each fault that a broker has to outlive at least ten times in ten minutes (seed %i)', (seed) => {
    const kinds = planOf(seed, 10 * MINUTE_MS)
      .faults.flat()
      .map(({ kind }) => kind);
    for (const kind of [
      'broker: log lost',
      'helper: log lost',
      'helper: answers with errors',
      'systemctl: slow',
      'RabbitMQ: mute',
      'executors: without RabbitMQ',
    ])
      expect([kind, kinds.filter((each) => each === kind).length]).toEqual([kind, expect.toSatisfy((count: number) => count >= 10)]);
  });

  it.each([7, 8, 9])('has each odd job at least ten times in ten minutes (seed %i)', (seed) => {
    const kinds = planOf(seed, 10 * MINUTE_MS).publications.flatMap(({ jobs }) => jobs.map(({ kind }) => kind));
    const odd = Object.entries(JOB_KINDS).flatMap(([kind, facts]) => ('headers' in facts ? [kind] : []));
    expect(odd).toHaveLength(5);
    for (const kind of odd) expect([kind, kinds.filter((each) => each === kind).length >= 10]).toEqual([kind, true]);
  });

  it('has every kind of fault and of job in the long run, and no job twice', () => {
    const { faults, publications } = planOf(7, 40 * MINUTE_MS);
    expect(new Set(faults.flat().map(({ kind, what }) => `${kind} ${what}`)).size).toBe(50);
    const jobs = publications.flatMap((publication) => publication.jobs);
    expect(new Set(jobs.map(({ kind }) => kind)).size).toBe(16);
    expect(new Set(jobs.map(({ id }) => id)).size).toBe(jobs.length);
  });
});
