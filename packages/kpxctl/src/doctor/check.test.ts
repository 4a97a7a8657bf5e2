import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Check, examine, ok } from './check.js';

const untilAborted = (signal: AbortSignal) =>
  new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error('/usr/bin/id did not finish in time')));
  });

describe('a check that takes too long', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it.each<[string, Check['look'], string]>([
    ['says what it waited for', untilAborted, 'no answer within 30 s: /usr/bin/id did not finish in time'],
    [
      'is not well when it makes the best of it',
      (signal) => untilAborted(signal).catch(() => ok('as it should be')),
      'no answer within 30 s',
    ],
    ['is not waited for when it does not say that', () => new Promise(() => {}), 'no answer within 30 s'],
  ])('%s, and the others have their result', async (_what, look, seen) => {
    const examined = examine([
      { name: 'slow', fix: 'Look there.', look },
      { name: 'quick', fix: '', look: async () => ok('as it should be') },
    ]);
    await vi.runAllTimersAsync();
    expect(await examined).toEqual([
      { name: 'slow', result: 'fail', seen, fix: 'Look there.' },
      { name: 'quick', result: 'ok', seen: 'as it should be' },
    ]);
  });
});
