import { afterEach, expect, it, vi } from 'vitest';
import { Alarm } from './alarm.js';

afterEach(() => vi.restoreAllMocks());

it('rings at once, and asks Node for no negative time, when the moment has passed', async () => {
  const timers = vi.spyOn(globalThis, 'setTimeout');
  await new Promise<void>((resolve) => new Alarm(resolve).set(performance.now() - 5_000));
  expect(timers.mock.calls.map(([, ms]) => ms)).toEqual([0]);
});

it('rings once, at the earliest of the moments that it was set to', async () => {
  const rung: number[] = [];
  const alarm = new Alarm(() => rung.push(performance.now()));
  const began = performance.now();
  for (const ms of [60_000, 20, 30_000]) alarm.set(began + ms);
  await vi.waitFor(() => expect(rung).toHaveLength(1));
  expect(rung[0]).toBeGreaterThan(began + 10); // Node reckons timers in whole milliseconds of its own clock
  alarm.set(performance.now());
  await vi.waitFor(() => expect(rung).toHaveLength(2));
});

it('does not ring once it was turned off, whatever it is set to', async () => {
  const ring = vi.fn();
  const alarm = new Alarm(ring);
  alarm.set(performance.now());
  alarm.off();
  alarm.set(performance.now());
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(ring).not.toHaveBeenCalled();
});
