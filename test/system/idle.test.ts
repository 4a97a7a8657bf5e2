import { expect, it } from 'vitest';
import { unitOf } from '../fixtures/booted/kpx.js';
import { jobOf } from '../fixtures/jobs.js';
import { startKpx } from './installed-kpx.js';

/** Less than any interpreter takes. */
const MEMORY_BYTES_MIN = 1_000_000;
/** Of the broker's connection to the helper, and at the end of an executor. A list for each look at what executors do would be one a second. */
const LISTS_MAX = 4;

it('an idle executor is ended, and one that computes is not, by what the kernel says of them: PID 1 is not asked', async () => {
  const policy = { idle_stop: '2s', rule: [{ users: ['uma'], idle_stop: '8s' }] };
  const kpx = await startKpx({ standIn: { SPIN_tess: '50' }, broker: { policy } });
  await kpx.publish(jobOf('tess', 'long'), jobOf('uma', 'short'));
  const idle = await kpx.brokerSays({ msg: 'ending an executor' }, 60_000);
  expect(idle).toMatchObject({ user: 'uma', reason: expect.stringMatching(/^idle for \d+s \(idle_stop is 8s\)$/) });
  await kpx.brokerSays({ user: 'uma', state: 'idle' });
  const { stdout } = await kpx.machine.run(['/usr/bin/kpxctl', 'list', '--json']);
  const rows = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  const tess = rows.find(({ user }) => user === 'tess');
  expect(tess).toMatchObject({ state: 'ready' });
  expect(tess.cpu).toBeGreaterThan(0.05);
  expect(tess.idle).toBeNull();
  // Not each kernel gives a container the controller of memory.
  const isCounted = await kpx.machine.exists(`/sys/fs/cgroup/kpx.slice/kpx-executors.slice/${unitOf('tess')}/memory.current`);
  expect(tess.memory).toEqual(isCounted ? expect.toSatisfy((bytes: number) => bytes > MEMORY_BYTES_MIN) : null);
  const lists = (await kpx.helperLines()).filter(({ verb }) => verb === 'listExecutors');
  expect(lists.length).toBeGreaterThan(0);
  expect(lists.length).toBeLessThanOrEqual(LISTS_MAX);
});

it('an executor that is at work for longer than run_time_max, without a pause and without taking a job, is ended', async () => {
  const policy = { rule: [{ name: 'loops', users: ['tess'], run_time_max: '6s' }] };
  const kpx = await startKpx({ standIn: { SPIN_tess: '50' }, broker: { policy } });
  await kpx.publish(jobOf('tess', 'endless'));
  const ended = await kpx.brokerSays({ msg: 'ending an executor', user: 'tess' }, 60_000);
  expect(ended.reason).toMatch(/^at work for \d+s without a pause, and without taking a job \(run_time_max of rule 1 "loops" is 6s\)$/);
  await kpx.brokerSays({ user: 'tess', state: 'idle' });
});
