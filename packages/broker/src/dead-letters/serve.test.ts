import type { Logger } from 'pino';
import { describe, expect, it, vi } from 'vitest';
import { DeadLetterServer } from '../../test-fixtures/dead-letters.js';
import { serveDeadLetters } from './serve.js';

/** More letters are there than are shown. */
const MAX = { letters: 10, sought: 100 };
const ALL = { ids: [] };

const numbered = (name: string, count: number) => Array.from({ length: count }, (_, index) => `${name}${index + 10}`);
const jobsOf = (letters: readonly { job: string }[]) => letters.map(({ job }) => job).sort();

function served(to: 'front' | 'end', max = MAX) {
  const server = new DeadLetterServer(to, max);
  const warn = vi.fn();
  const inForce = { config: () => ({}), mac: () => ({}) } as never;
  const service = serveDeadLetters(inForce, { warn } as unknown as Logger, async () => server.open());
  return { server, service, warn };
}

describe('dead letters through the broker', () => {
  it.each(['front', 'end'] as const)('are those that were shown, where RabbitMQ puts what is given back to the %s', async (to) => {
    const { server, service } = served(to);
    server.park(...numbered('old', 15));
    const { letters, all, choice = '' } = await service.choose(ALL);
    expect([letters.length, all]).toEqual([10, false]);
    server.park(...numbered('new', 3));
    const others = server.jobs.filter((job) => !jobsOf(letters).includes(job));
    const { done, problem } = await service.settle('drop', choice);
    expect([jobsOf(done), problem, server.jobs]).toEqual([jobsOf(letters), null, others]);
  });

  it('are not those of another choice, nor of one that was settled, or is long ago', async () => {
    const { server, service } = served('end');
    server.park('a');
    const { choice = '' } = await service.choose(ALL);
    await service.settle('drop', choice);
    server.park('a'); // of the same key
    await expect(service.settle('drop', choice)).rejects.toMatchObject({ exitCode: 66, message: expect.stringContaining('look again') });
    const first = (await service.choose(ALL)).choice ?? '';
    for (let others = 0; others < 16; others++) await service.choose({ ids: [], user: 'bob' });
    await expect(service.settle('drop', first)).rejects.toThrow('look again');
    expect(server.jobs).toEqual(['a']);
    const { choice: last = '' } = await service.choose(ALL);
    const now = performance.now();
    vi.spyOn(performance, 'now').mockReturnValue(now + 700_000);
    await expect(service.settle('drop', last)).rejects.toThrow('look again');
    vi.restoreAllMocks();
  });

  it('are said to be there still, perhaps, where there are too many to find them', async () => {
    const { server, service } = served('end', { letters: 10, sought: 12 });
    server.park(...numbered('old', 40));
    const { choice = '' } = await service.choose(ALL);
    const { done, problem } = await service.settle('drop', choice);
    expect(done.length).toBeLessThan(10);
    expect([server.jobs.length, problem]).toEqual([40 - done.length, 'There are more than 12 dead letters, and only these were looked at']);
  });

  it('that were settled before the connection was lost are answered, and are in the log, with why the others stay', async () => {
    const { server, service, warn } = served('end');
    server.park('a', 'b', 'c', 'd');
    const { letters, choice = '' } = await service.choose(ALL);
    server.lostAfter = 3;
    const { done, problem } = await service.settle('drop', choice);
    expect([jobsOf(done), problem]).toEqual([['a', 'b', 'c'], 'The connection to RabbitMQ was lost (the cable)']);
    expect(server.jobs).toEqual(['d']);
    const named = letters.slice(0, 3).map(({ id, job, user }) => ({ id, job, user }));
    expect(warn.mock.calls.map(([facts]) => facts)).toEqual([
      { way: 'drop', ids: [], count: 4 },
      { way: 'drop', letters: named },
      { way: 'drop', done: 3, left: 1, reason: problem },
    ]);
  });
});
