import { describe, expect, it, onTestFinished } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { declareKnimeTopology } from '../fixtures/knime/topology.js';
import { Kpx } from '../fixtures/kpx.js';
import { doneJobs, takeStock } from '../fixtures/ledger.js';
import { statusOf } from '../fixtures/process.js';
import type { Vhost } from '../fixtures/rabbitmq-access.js';
import { installKpx, jobsDone, publish, startKpx } from './installed-kpx.js';
import { sharedRabbitmq } from './shared-rabbitmq.js';

const USERS = ['alice', 'bob'];
/** Quick enough not to be what is waited for. */
const STAND_IN = { BOOT_MS: '100', JOB_MS: '2', PREFETCH: '32' };
/**
 * What 10,000 jobs of 1 KiB may take beside what a broker takes that has done one job, with room for what Node has not collected yet: Node 24 of sid
 * lets more lie than Node 20. A broker without jobs takes 64 to 83 MiB, as its Node is.
 */
const MORE_RESIDENT_KIB_MAX = 100 * 1024;
const FILLING = 'x'.repeat(900);

const idsOf = (count: number, from = 0) => Array.from({ length: count }, (_, index) => `job-${from + index}`);
const someJobs = (count: number, from = 0) => idsOf(count, from).map((id, index) => jobOf(USERS[index % USERS.length] ?? '', id));
const allDone = (kpx: Kpx, count: number) =>
  eventually(`${count} jobs are done`, () => new Set(doneJobs([kpx], USERS)).size === count, 60_000);
const residentKib = ({ broker }: Kpx) => Number.parseInt(statusOf(broker?.pid ?? 0)?.VmRSS ?? '0', 10);

async function expectNothingLost(kpx: Kpx, published: readonly string[], accounts: readonly string[] = USERS) {
  await kpx.stop();
  const stock = await takeStock(published, [kpx], accounts, kpx.vhost.url('admin'));
  expect(stock.lost).toEqual([]);
  return stock;
}

describe('SIGTERM in the middle of a burst', () => {
  it('loses nothing and does nothing twice, eight times over', async () => {
    const kpx = await installKpx({ standIn: STAND_IN });
    await kpx.startHelper();
    const rounds = 8;
    for (let round = 0; round < rounds; round++) {
      await kpx.startBroker();
      await publish(kpx, ...someJobs(40, round * 40));
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 50));
      expect(await kpx.endBroker('SIGTERM')).toBe(0);
    }
    await kpx.startBroker();
    await allDone(kpx, rounds * 40);
    const { doneAgain } = await expectNothingLost(kpx, idsOf(rounds * 40));
    expect(doneAgain).toBe(0);
  });
});

describe('10,000 jobs of a user whose executor does not come up', () => {
  it('keep nobody else waiting, and the broker’s memory within bounds', { timeout: 120_000 }, async () => {
    const kpx = await startKpx({ standIn: { ...STAND_IN, BOOT_MS_carol: '600000' } });
    await publish(kpx, jobOf('alice', 'first'));
    await jobsDone(kpx, 'alice', 1);
    const before = residentKib(kpx);
    const ofCarol = idsOf(10_000);
    await publish(kpx, ...ofCarol.map((id) => jobOf('carol', id, { filling: FILLING })));
    const from = performance.now();
    const ofAlice = idsOf(20, 20_000);
    await publish(kpx, ...ofAlice.map((id) => jobOf('alice', id)));
    await eventually('alice’s jobs are done', () => kpx.done('alice').length > ofAlice.length, 60_000);
    const waitedMs = Math.round(performance.now() - from);
    let most = 0;
    await eventually('the 10,000 have come round once more', async () => {
      most = Math.max(most, residentKib(kpx));
      return performance.now() - from > 12_000; // NO_ROOM_DELAY_MS and a little
    });
    console.log(
      `alice waited ${waitedMs} ms behind 10,000 jobs; resident ${Math.round(before / 1024)} MiB before, ${Math.round(most / 1024)} at most`,
    );
    expect(most - before).toBeLessThan(MORE_RESIDENT_KIB_MAX);
    const { queued, parked, done } = await expectNothingLost(kpx, ['first', ...ofCarol, ...ofAlice], ['alice', 'carol']);
    expect([queued.size + parked.size, done.size]).toEqual([10_000, 21]);
  });
});

const declared = (queueArguments: Record<string, unknown>) => async (vhost: Vhost) => {
  await declareKnimeTopology(vhost.url('admin'), queueArguments);
  return {};
};

describe.each([
  ['classic', declared({})],
  ['quorum', (vhost: Vhost) => vhost.declareUnlimitedQuorumQueue()],
  ['lazy', declared({ 'x-queue-mode': 'lazy' })],
])('a %s queue of KNIME’s', (_, declare) => {
  it('is served, and loses nothing when the broker is killed five times', async () => {
    const vhost = await sharedRabbitmq().createVhost();
    onTestFinished(() => vhost.delete());
    const kpx = new Kpx(vhost, { standIn: STAND_IN, broker: { amqp: await declare(vhost) } });
    onTestFinished(() => kpx.stop());
    await kpx.startHelper();
    for (let kill = 0; kill < 5; kill++) {
      await kpx.startBroker();
      await publish(kpx, ...someJobs(20, kill * 20));
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 50));
      await kpx.endBroker('SIGKILL');
    }
    await kpx.startBroker();
    await allDone(kpx, 100);
    const { parked } = await expectNothingLost(kpx, idsOf(100));
    expect(parked.size).toBe(0);
  });
});
