import type { KnimeUser, OsUser } from '@kpx/protocol';
import { expect, it, vi } from 'vitest';
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
  return { state, watch };
}

it('asks RabbitMQ every five seconds for a consumer that has been there for long, and sees its end within that time', async () => {
  vi.useFakeTimers({ toFake: ['performance'] });
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
  vi.useFakeTimers({ toFake: ['performance'] });
  const { state, watch } = account(1);
  expect(await watch(500)).toBeUndefined();
  state.consumers = 0;
  expect(await watch(60_000)).toBeLessThanOrEqual(1_000);
});

it('asks at once for the consumer of another process, and for one that was not there', async () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  const { state, watch } = account(1);
  expect(await watch(30_000)).toBeUndefined();
  state.consumers = 0;
  expect(await watch(60_000, { ...ALICE, pid: 200 })).toBe(0);
  state.consumers = 1;
  expect(await watch(500, { ...ALICE, pid: 200 })).toBeUndefined();
});
