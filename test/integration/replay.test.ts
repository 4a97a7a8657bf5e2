import { mkdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { checkout, type Kpx, node } from '../fixtures/kpx.js';
import { jobsDone, publish, runKpxctl, startKpx } from './installed-kpx.js';

/* The cause is fixed, and the job is replayed at once: not half a minute, or five, later. */

const QUICK = { BOOT_MS: '50' };

async function replay(kpx: Kpx, ...args: string[]): Promise<void> {
  const answer = await runKpxctl(['dead-letters', 'replay', '--all', '--config', kpx.brokerConfigFile, ...args]);
  expect(answer).toMatchObject({ code: 0, stdout: expect.stringMatching(/Replayed: 2 of 2 dead letters\.\n$/) });
}

const parked = (kpx: Kpx) => kpx.brokerLog.lines.filter(({ msg }) => msg === 'job parked').length;

it.each([
  ['by the broker', []],
  ['by kpxctl itself', ['--direct']],
])('is done by a user whom the helper has refused: replayed %s', async (_, how) => {
  const kpx = await startKpx({ standIn: QUICK });
  mkdirSync(`${kpx.workspaces}/alice`); // root's
  await publish(kpx, jobOf('alice', 'a1'), jobOf('alice', 'a2'));
  await expect.poll(() => parked(kpx)).toBe(2);
  expect(await kpx.brokerLog.line({ msg: 'job parked' })).toMatchObject({ user: 'alice', reason: 'DIRECTORY_UNSAFE' });
  rmdirSync(`${kpx.workspaces}/alice`);
  await replay(kpx, ...how);
  await jobsDone(kpx, 'alice', 2);
  expect(parked(kpx)).toBe(2);
});

it('is done by a user whose starts have failed as often as they may', async () => {
  const [broken, wrapper] = [`/srv/kpx-broken-${process.pid}`, `/srv/kpx-wrapper-${process.pid}`];
  const standIn = `${node()} ${checkout()}/test/fixtures/knime/executor.mjs`;
  writeFileSync(wrapper, `#!/bin/sh\n[ -e ${broken} ] && exit 3\nexec ${standIn} "$@"\n`, { mode: 0o755 });
  writeFileSync(broken, '');
  const kpx = await startKpx({
    standIn: QUICK,
    helper: { executor: { command: [wrapper, '-data', '{workspace}'] } },
    broker: { policy: { start_attempts: 2, backoff_initial: '1s' } },
  });
  await publish(kpx, jobOf('alice', 'a1'), jobOf('alice', 'a2'));
  await expect.poll(() => parked(kpx), { timeout: 15_000 }).toBe(2);
  expect(await kpx.brokerLog.line({ msg: 'job parked' })).toMatchObject({ user: 'alice', reason: 'START_FAILED' });
  rmSync(broken);
  await replay(kpx);
  await jobsDone(kpx, 'alice', 2);
  expect(parked(kpx)).toBe(2);
});
