import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { InTurn } from './in-turn.js';

const WAIT_MS = 30_000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Work that lasts until it is told to end. */
function work() {
  const ends: (() => void)[] = [];
  const run = () => new Promise<void>((resolve) => ends.push(resolve));
  return { run, begun: () => ends.length, end: (index: number) => ends[index]?.() };
}

it('lets no more run at once, and the others in the order in which they came', async () => {
  const inTurn = new InTurn(2, WAIT_MS);
  const order: number[] = [];
  const { run, begun, end } = work();
  const all = [0, 1, 2, 3].map((number) =>
    inTurn.run(async () => {
      order.push(number);
      await run();
    }),
  );
  await vi.advanceTimersByTimeAsync(0);
  expect(order).toEqual([0, 1]);
  end(1);
  await vi.advanceTimersByTimeAsync(0);
  expect(order).toEqual([0, 1, 2]);
  end(0);
  end(2);
  await vi.advanceTimersByTimeAsync(0);
  end(3);
  await Promise.all(all);
  expect(begun()).toBe(4);
});

it('rejects work whose turn does not come in time, and goes on with what comes after it', async () => {
  const inTurn = new InTurn(1, WAIT_MS);
  const { run, begun, end } = work();
  const long = inTurn.run(run);
  const waits = expect(inTurn.run(run)).rejects.toThrow('its turn has not come within 30 s: 1 before it take too long');
  await vi.advanceTimersByTimeAsync(WAIT_MS);
  await waits;
  const later = inTurn.run(run);
  end(0);
  await long;
  await vi.advanceTimersByTimeAsync(0);
  expect(begun()).toBe(2);
  end(1);
  await later;
});

it('gives its place to the next one when it fails', async () => {
  const inTurn = new InTurn(1, WAIT_MS);
  const failing = inTurn.run(() => Promise.reject(new Error('no such file')));
  const next = inTurn.run(async () => 'done');
  await expect(failing).rejects.toThrow('no such file');
  expect(await next).toBe('done');
});
