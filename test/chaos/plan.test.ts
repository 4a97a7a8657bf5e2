import { describe, expect, it } from 'vitest';
import { JOB_KINDS, planOf } from './plan.js';

const MINUTE_MS = 60_000;

describe('the plan of a run', () => {
  it('is the same for the same seed, and another one for another', () => {
    expect(planOf(7, MINUTE_MS)).toEqual(planOf(7, MINUTE_MS));
    expect(planOf(8, MINUTE_MS)).not.toEqual(planOf(7, MINUTE_MS));
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

  it('has no job twice', () => {
    const { publications } = planOf(7, 40 * MINUTE_MS);
    const jobs = publications.flatMap((publication) => publication.jobs);
    expect(new Set(jobs.map(({ id }) => id)).size).toBe(jobs.length);
  });
});
