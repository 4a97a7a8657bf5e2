import { rmSync, writeFileSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { noise, paddedJob, peakMib, publishLarge, takeLarge } from '../fixtures/large-jobs.js';
import { installKpx, jobsDone, publish, runKpxctl, startKpx } from './installed-kpx.js';

const MIB = 1024 * 1024;
const DEAD_LETTERS = 'kpx.dead-letter';
/** For the broker, whatever the bodies are. `npm run bench -- --only large` has 256 of 1 MiB, 14 of 100 MB and 256 of 16 MiB. */
const PEAK_MIB_MAX = 400;

describe('bodies that are too large', () => {
  it.each([
    [3, 100_000_000],
    [32, 16 * MIB],
  ])('are parked whole and are never whole in the broker: %d of %d bytes', { timeout: 300_000 }, async (count, bytes) => {
    const kpx = await installKpx({ standIn: { BOOT_MS: '50' } });
    const digests = await publishLarge(kpx, count, noise(bytes));
    await kpx.start();
    await publish(kpx, jobOf('alice', 'small'));
    expect(await takeLarge(kpx, DEAD_LETTERS, count)).toEqual(digests);
    await jobsDone(kpx, 'alice', 1);
    const peak = peakMib(kpx);
    console.log(`${count} bodies of ${bytes} bytes: the broker's peak is ${peak} MiB`);
    expect(peak).toBeGreaterThan(20);
    expect(peak).toBeLessThan(PEAK_MIB_MAX);
    expect((await kpx.vhost.queueDepth('knime-jobs'))?.messages).toBe(0);
  });

  it('are back in the queue, whole, when the broker is killed while one is under way', { timeout: 120_000 }, async () => {
    const kpx = await installKpx();
    const digests = await publishLarge(kpx, 2, noise(100_000_000));
    await kpx.startHelper();
    await kpx.startBroker();
    await kpx.endBroker('SIGKILL');
    expect((await kpx.vhost.queueDepth(DEAD_LETTERS))?.messages).toBeLessThan(2);
    await kpx.startBroker();
    expect(new Set(await takeLarge(kpx, DEAD_LETTERS, 2))).toEqual(new Set(digests));
  });
});

it('jobs of 1 MiB that wait for an executor leave room for those of others, and are done', { timeout: 120_000 }, async () => {
  const booted = `/srv/large-jobs-booted-${process.pid}`;
  onTestFinished(() => rmSync(booted, { force: true }));
  const kpx = await startKpx({
    standIn: { BOOT_MS: '50', BOOT_UNTIL_carol: booted },
    broker: { amqp: { held_bytes_max: '16MiB', prefetch: 400 }, jobs: { held_per_user: 200 } },
  });
  await publishLarge(kpx, 60, paddedJob('carol', MIB));
  await publish(kpx, jobOf('alice', 'small'));
  await jobsDone(kpx, 'alice', 1);
  const { stdout } = await runKpxctl(['show', 'carol', '--json', '--config', kpx.brokerConfigFile]);
  const { held } = JSON.parse(stdout).jobs;
  expect(held).toBeGreaterThan(0);
  expect(held).toBeLessThanOrEqual(8);
  writeFileSync(booted, '');
  await jobsDone(kpx, 'carol', 60, 60_000);
  expect(kpx.brokerLog.lines.filter(({ msg }) => String(msg).includes('held_bytes_max'))).toEqual([]);
  expect((await runKpxctl(['dead-letters', 'list', '--config', kpx.brokerConfigFile])).stdout).toBe('No dead letters.\n');
});
