import { chmodSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { deadLetters, installKpx, jobsDone, publish } from './installed-kpx.js';

/** Debian's libfaketime: the program that it is loaded into sees another wall clock. ld.so puts the machine's own directory for $LIB. */
const LIBRARY = '/usr/$LIB/faketime/libfaketime.so.1';
const HOUR_MS = 3_600_000;
const DAY_S = 86_400;

it('a wall clock that jumps a day ahead and two back starts, ends and expires nothing', async () => {
  const kpx = await installKpx({ standIn: { BOOT_MS: '1500' }, broker: { executors: { start_timeout: '20s' } } });
  const clock = `/srv/clock-${process.pid}`;
  // In place, a few bytes at once: libfaketime reads it at every look at the clock.
  const setClock = (aheadS: number) => writeFileSync(clock, `${aheadS < 0 ? '' : '+'}${aheadS}\n`);
  setClock(0);
  chmodSync(clock, 0o644);
  // A real clock that is set leaves the monotonic one alone.
  const env = { LD_PRELOAD: LIBRARY, FAKETIME_TIMESTAMP_FILE: clock, FAKETIME_NO_CACHE: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1' };
  await kpx.startHelper({ wrap: ['/usr/bin/env', ...Object.entries(env).map(([name, value]) => `${name}=${value}`)] });
  await kpx.startBroker({ env });

  /** How far the broker's wall clock is ahead, by its own word. */
  const aheadMs = async () => {
    await publish(kpx, { body: { nobody: true } });
    const [letter] = await deadLetters(kpx, 1);
    return Date.parse(String(letter?.headers['x-kpx-parked-at'])) - Date.now();
  };
  expect(Math.abs(await aheadMs())).toBeLessThan(HOUR_MS);

  const from = performance.now();
  await publish(kpx, jobOf('alice', 'a1'));
  await kpx.brokerLog.line({ user: 'alice', state: 'booting' });
  setClock(DAY_S);
  expect(await aheadMs()).toBeGreaterThan(23 * HOUR_MS);
  setClock(-DAY_S);
  expect(await aheadMs()).toBeLessThan(-23 * HOUR_MS);
  const [first] = await jobsDone(kpx, 'alice', 1);
  expect(performance.now() - from).toBeLessThan(10_000);
  setClock(DAY_S);
  await publish(kpx, jobOf('alice', 'a2'), jobOf('bob', 'b1'));
  const [, second] = await jobsDone(kpx, 'alice', 2);
  await jobsDone(kpx, 'bob', 1);
  expect(second?.pid).toBe(first?.pid);
  const said = kpx.brokerLog.lines.filter(({ level }) => Number(level) > 30).map(({ msg }) => msg);
  expect(said).toEqual(['job parked', 'job parked', 'job parked']);
});
