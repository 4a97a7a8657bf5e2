import { rmSync, writeFileSync } from 'node:fs';
import { expect, it, onTestFinished } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import type { Kpx } from '../fixtures/kpx.js';
import { explain, jobsDone, publish, runKpxctl, startKpx } from './installed-kpx.js';

/* Who waits for whom, with a real RabbitMQ. */

const FLOOD = 10_000;
const FLOOD_TIMEOUT_MS = 120_000;

const spawned = (kpx: Kpx) =>
  kpx.helperLog.lines.filter(({ event, verb }) => event === 'request' && verb === 'spawnExecutor').map(({ os_user }) => os_user);

/** The executor of this account boots until the file is there. */
function bootsUntilTold(osUser: string) {
  const file = `/srv/fair-shares-${osUser}-${process.pid}`;
  onTestFinished(() => rmSync(file, { force: true }));
  return { environment: { [`BOOT_UNTIL_${osUser}`]: file }, tell: () => writeFileSync(file, '') };
}

it('the first job of a user comes behind 10,000 of another by one start at most', { timeout: 2 * FLOOD_TIMEOUT_MS }, async () => {
  const alice = bootsUntilTold('alice');
  const standIn = { BOOT_MS: '50', JOB_MS: '20', ...alice.environment };
  const kpx = await startKpx({ standIn, broker: { policy: { max_starting: 1 } } });
  const flood = Array.from({ length: FLOOD }, (_, index) => jobOf('alice', `a${index}`));
  await publish(kpx, ...flood);
  await publish(kpx, jobOf('bob', 'b'));
  const from = performance.now();
  // The broker gets to it though the executor of the others has not started.
  await expect.poll(() => explain(kpx, 'bob'), { timeout: FLOOD_TIMEOUT_MS }).toMatchObject({ state: 'queued', place: 1, held: 1 });
  const seenMs = Math.round(performance.now() - from);
  expect(await explain(kpx, 'alice')).toMatchObject({ state: 'booting' });
  expect(spawned(kpx)).toEqual(['alice']);
  const told = performance.now();
  alice.tell();
  await jobsDone(kpx, 'bob', 1, FLOOD_TIMEOUT_MS);
  const doneMs = Math.round(performance.now() - told);
  console.log(`bob was seen ${seenMs} ms after the flood, and done ${doneMs} ms after alice's executor could start`);
  expect(spawned(kpx)).toEqual(['alice', 'bob']);
  expect(kpx.done('alice').length, 'jobs of alice that bob did not wait for').toBeLessThan(FLOOD / 2);
});

it('of two who wait the one starts who has had less executor time, though the other came first; a larger share makes up for it', {
  timeout: 120_000,
}, async () => {
  const rule = [{ name: 'heavy', users: ['carol'], share: 1_000 }];
  const standIn = { BOOT_MS: '50', IDLE_MS_alice: '8000', IDLE_MS_carol: '8000' };
  const kpx = await startKpx({ standIn, broker: { policy: { max_executors: 2, rule } } });
  await publish(kpx, jobOf('alice', 'a1'), jobOf('carol', 'c1'));
  for (const user of ['alice', 'carol'])
    await expect.poll(async () => [kpx.done(user).length, (await explain(kpx, user)).executor], { timeout: 30_000 }).toEqual([1, 'none']);
  await kpx.reload({ policy: { max_executors: 1, rule } });
  await publish(kpx, jobOf('dave', 'd'));
  await jobsDone(kpx, 'dave', 1);
  for (const user of ['alice', 'carol', 'bob']) {
    await publish(kpx, jobOf(user, `${user}-2`));
    await expect.poll(() => explain(kpx, user)).toMatchObject({ state: 'queued' });
  }
  const places = await Promise.all(['carol', 'bob', 'alice'].map(async (user) => (await explain(kpx, user)).place));
  expect(places).toEqual([1, 2, 3]);
  const { turn } = (await explain(kpx, 'alice')) as { turn: { share: number; recent: number } };
  expect(turn.share).toBe(1);
  expect(turn.recent).toBeGreaterThan(8_000);
  const files = ['--config', kpx.brokerConfigFile];
  expect((await runKpxctl(['list', ...files])).stdout).toMatch(/^alice .* queued, place 3 /m);
  expect((await runKpxctl(['explain', 'carol', ...files])).stdout).toMatch(/^share {6}1000, recent executor time \d+s$/m);
  for (const [user, jobs] of Object.entries({ dave: 1, carol: 2, bob: 1 })) {
    await jobsDone(kpx, user, jobs); // one that it had not acknowledged would have the user come again
    const before = spawned(kpx).length;
    await expect.poll(async () => (await runKpxctl(['stop', user, ...files])).code).toBe(0);
    await expect.poll(() => spawned(kpx).length, { timeout: 30_000 }).toBe(before + 1);
  }
  expect(spawned(kpx).slice(2)).toEqual(['dave', 'carol', 'bob', 'alice']);
});

it('jobs_max bounds the jobs of a user that the broker holds; the others come through a delay queue', { timeout: 60_000 }, async () => {
  const alice = bootsUntilTold('alice');
  const rule = [{ users: ['alice'], jobs_max: 2 }];
  const kpx = await startKpx({ standIn: { BOOT_MS: '50', ...alice.environment }, broker: { policy: { rule } } });
  await publish(kpx, ...Array.from({ length: 6 }, (_, index) => jobOf('alice', `a${index}`)));
  await expect.poll(() => explain(kpx, 'alice')).toMatchObject({ held: 2 });
  const { stdout } = await runKpxctl(['show', 'alice', '--config', kpx.brokerConfigFile, '--helper-config', kpx.configFile]);
  expect(stdout).toMatch(/^limits .*held_per_user 2,/m);
  alice.tell();
  await jobsDone(kpx, 'alice', 6, 40_000);
});
