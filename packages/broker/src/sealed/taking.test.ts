import type { KnimeUser, OsUser } from '@kpx/protocol';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { AccountSession } from './account-session.js';
import { servedOf, Taking } from './taking.js';

const ALICE = { osUser: 'alice' as OsUser, user: 'alice' as KnimeUser, uid: 1_001, pid: 100 };
const LOOK_EVERY_MS = 50;

/** An account whose queue has that many consumers at RabbitMQ, and how often RabbitMQ was asked. */
function account(consumers: number) {
  const state = { consumers, looks: 0 };
  const look = async () => {
    state.looks += 1;
    return { messages: 0, consumers: state.consumers };
  };
  const [session, taking] = [{ look } as unknown as AccountSession, new Taking()];
  const lanes = new Map([[ALICE.osUser, { consumers: (pid: number) => taking.consumers(session, 'knime-jobs', pid) }]]);
  /** For so long as the broker does while an executor starts. Answers when alice was not served any more, in milliseconds. */
  const watch = async (forMs: number, executor = ALICE) => {
    for (let ms = 0; ms < forMs; ms += LOOK_EVERY_MS) {
      const { uids } = await servedOf([executor], lanes);
      if (!uids.has(ALICE.uid)) return ms;
      vi.advanceTimersByTime(LOOK_EVERY_MS);
    }
    return undefined;
  };
  return { state, taking, watch };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** One look. */
async function wait(watch: (forMs: number) => Promise<unknown>): Promise<void> {
  await watch(LOOK_EVERY_MS);
  vi.advanceTimersByTime(LOOK_EVERY_MS);
}

it('asks RabbitMQ every five seconds for a consumer that has been there for long, and sees its end within that time', async () => {
  const { state, watch } = account(1);
  expect(await watch(20_000)).toBeUndefined();
  state.looks = 0;
  expect(await watch(60_000)).toBeUndefined();
  expect(state.looks).toBeGreaterThanOrEqual(11);
  expect(state.looks).toBeLessThanOrEqual(13);
  state.consumers = 0;
  expect(await watch(60_000)).toBeLessThanOrEqual(5_000);
});

it('asks each second for a consumer that has just come', async () => {
  const { state, watch } = account(1);
  expect(await watch(500)).toBeUndefined();
  state.consumers = 0;
  expect(await watch(60_000)).toBeLessThanOrEqual(1_000);
});

it('asks at once for the consumer of another process, and for one at another session', async () => {
  const { state, taking, watch } = account(1);
  expect(await watch(30_000)).toBeUndefined();
  state.consumers = 0;
  expect(await watch(60_000, { ...ALICE, pid: 200 })).toBe(0);
  state.consumers = 1;
  expect(await watch(60_000, { ...ALICE, pid: 300 })).toBeUndefined();
  state.consumers = 0;
  taking.forget();
  expect(await watch(60_000, { ...ALICE, pid: 300 })).toBe(0);
});

it('sees a consumer that comes soon within a twentieth of a second, and a late one within a quarter; RabbitMQ is asked the less, the later', async () => {
  const { state, watch } = account(0);
  const untilServed = async () => {
    for (let ms = 0; ; ms += LOOK_EVERY_MS) {
      if ((await watch(LOOK_EVERY_MS)) === undefined) return ms;
      vi.advanceTimersByTime(LOOK_EVERY_MS);
    }
  };
  for (let ms = 0; ms < 300; ms += LOOK_EVERY_MS) await wait(watch);
  state.consumers = 1;
  expect(await untilServed()).toBeLessThanOrEqual(LOOK_EVERY_MS);

  state.consumers = 0;
  vi.advanceTimersByTime(60_000);
  state.looks = 0;
  for (let ms = 0; ms < 10_000; ms += LOOK_EVERY_MS) await wait(watch);
  expect(state.looks).toBeLessThan(70);
  state.consumers = 1;
  expect(await untilServed()).toBeLessThanOrEqual(250);
});
