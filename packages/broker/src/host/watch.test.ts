import { type ExecutorInfo, HelperUnavailable } from '@kpx/protocol';
import { pino } from 'pino';
import { beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import { ExecutorWatch } from './watch.js';

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;

const NOBODY = { idleGrainMs: undefined, looksForConnections: 'never', running: () => [], wantsList: false } as const;

/** What the helper was asked for, one entry a list: whether it was to judge the accounts. */
let asked: boolean[];
let answer: () => Promise<ExecutorInfo[]>;

beforeEach(() => {
  asked = [];
  answer = async () => [];
  vi.useFakeTimers();
  const helper = {
    listExecutors: async (judge: boolean) => {
      asked.push(judge);
      return await answer();
    },
  };
  const served = async () => ({ uids: new Set<number>() });
  const log = pino({ enabled: false });
  const watch = new ExecutorWatch(NOBODY, helper, served, { now: () => performance.now(), emit: () => {}, log });
  watch.start();
  onTestFinished(() => {
    watch.stop();
    vi.useRealTimers();
  });
});

it('asks the helper for a list once a minute, and each time for a judgement of the accounts', async () => {
  await vi.advanceTimersByTimeAsync(9 * MINUTE_MS + 2 * SECOND_MS);
  expect(asked).toEqual(Array(10).fill(true));
});

it('has the accounts judged as soon as the helper is there again', async () => {
  await vi.advanceTimersByTimeAsync(SECOND_MS);
  answer = async () => {
    throw new HelperUnavailable('it is restarted');
  };
  await vi.advanceTimersByTimeAsync(MINUTE_MS + 5 * SECOND_MS);
  const [tries, last] = [asked.length, asked.at(-1)];
  expect(last).toBe(true);
  expect(tries).toBeLessThanOrEqual(1 + 7);
  answer = async () => [];
  await vi.advanceTimersByTimeAsync(2 * SECOND_MS);
  expect(asked.slice(tries)).toEqual([true]);
});
