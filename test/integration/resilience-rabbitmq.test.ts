import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { isAtLeast } from '../../packages/broker/src/amqp/job-queue.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { declareKnimeTopology } from '../fixtures/knime/topology.js';
import { Kpx, type KpxOptions } from '../fixtures/kpx.js';
import { paddedJob, publishLarge } from '../fixtures/large-jobs.js';
import { doneJobs, takeStock } from '../fixtures/ledger.js';
import { type RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';
import { jobsDone, publish } from './installed-kpx.js';

const CANNOT = 'RabbitMQ cannot be used; trying again';
const ALARM = 'RabbitMQ takes no messages (alarm); jobs wait';
const ALARM_OVER = 'RabbitMQ takes messages again';
const USERS = ['alice', 'bob'];
/** How long an alarm is looked at, in milliseconds, and the share of it that the broker may spend on a core. */
const ALARM_WATCHED_MS = 3_000;
const ALARM_CPU_SHARE_MAX = 0.15;
/** STOP_TIMEOUT_MS and CLOSE_TIMEOUT_MS of the broker, and a little. */
const STOP_MS_MAX = 9_000;
/** sysconf(_SC_CLK_TCK) on every Linux. */
const CLOCK_TICKS_PER_S = 100;
/** Quick enough not to be what is waited for. */
const STAND_IN = { BOOT_MS: '100', JOB_MS: '2', PREFETCH: '32' };

let rabbitmq: RabbitmqServer;
beforeAll(async () => {
  rabbitmq = await startRabbitmq();
});
afterAll(() => rabbitmq.remove());

const evaluate = (erlang: string) => rabbitmq.ctl('eval', `${erlang}.`);

async function start(options: KpxOptions = {}): Promise<Kpx> {
  const kpx = await new Kpx(await rabbitmq.createKnimeVhost(), { standIn: STAND_IN, ...options }).start();
  onTestFinished(() => kpx.stop());
  return kpx;
}

const idsOf = (count: number, from = 0) => Array.from({ length: count }, (_, index) => `job-${from + index}`);
const someJobs = (count: number, from = 0) => idsOf(count, from).map((id, index) => jobOf(USERS[index % USERS.length] ?? '', id));
const allDone = (kpx: Kpx, count: number) =>
  eventually(`${count} jobs are done`, () => new Set(doneJobs([kpx], USERS)).size === count, 60_000);

async function expectNothingLost(kpx: Kpx, count: number) {
  await kpx.stop();
  const stock = await takeStock(idsOf(count), [kpx], USERS, kpx.vhost.url('admin'));
  expect(stock.lost).toEqual([]);
  return stock;
}

/** Time that the broker has spent on a core so far, in milliseconds. Source: proc_pid_stat(5), utime and stime. */
function cpuMs({ broker }: Kpx): number {
  const stat = readFileSync(`/proc/${broker?.pid}/stat`, 'utf8');
  const [utime = 0, stime = 0] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
    .map(Number);
  return ((utime + stime) * 1000) / CLOCK_TICKS_PER_S;
}

describe('an administrator of RabbitMQ', () => {
  it('closes all connections in the middle of a burst: nothing is lost', async () => {
    const kpx = await start();
    await publish(kpx, ...someJobs(60));
    await jobsDone(kpx, 'alice', 5);
    await rabbitmq.ctl('close_all_connections', '--global', 'maintenance');
    await kpx.brokerLog.line({ msg: 'lost RabbitMQ; connecting again' });
    await allDone(kpx, 60);
    await expectNothingLost(kpx, 60);
  });

  it('stops the app and starts it again: the broker says so and comes back, nothing is lost', { timeout: 120_000 }, async () => {
    const kpx = await start();
    await publish(kpx, ...someJobs(60));
    await jobsDone(kpx, 'alice', 5);
    await rabbitmq.ctl('stop_app');
    await kpx.brokerLog.line({ msg: CANNOT });
    const from = kpx.brokerLog.lines.length;
    await rabbitmq.ctl('start_app');
    await kpx.brokerLog.line({ msg: 'consuming' }, { from, timeoutMs: 30_000 });
    await allDone(kpx, 60);
    await expectNothingLost(kpx, 60);
  });

  it('restarts it in order: executors live on or are started again, nothing is lost', { timeout: 120_000 }, async () => {
    const kpx = await start();
    await publish(kpx, ...someJobs(60));
    await jobsDone(kpx, 'alice', 5);
    await rabbitmq.stop();
    await rabbitmq.start();
    await allDone(kpx, 60);
    await expectNothingLost(kpx, 60);
  });

  it('changes the password and closes connections: the broker says whose login was refused and where to look', async () => {
    const kpx = await start();
    const { name, password } = rabbitmq.users.broker;
    onTestFinished(() => rabbitmq.createUsers());
    await rabbitmq.api('PUT', `users/${name}`, { password: `${password}-new`, tags: '' });
    await publish(kpx, ...someJobs(20));
    await allDone(kpx, 20); // a connection that exists is not asked again
    await kpx.vhost.closeConnections('broker');
    const { reason } = await kpx.brokerLog.line({ msg: CANNOT });
    expect(reason).toContain(`the login of the RabbitMQ user "${name}" was refused`);
    expect(reason).toContain(`${kpx.etc}/amqp-password`);
    expect(JSON.stringify(kpx.brokerLog.lines)).not.toContain(password);
  });

  it('deletes the queue with jobs in it and makes it again: those jobs are the only ones that are gone', async () => {
    const kpx = await start({ standIn: { ...STAND_IN, BOOT_MS_bob: '600000' } });
    await publish(kpx, jobOf('bob', 'of-bob'));
    await kpx.brokerLog.line({ user: 'bob', state: 'booting' });
    await rabbitmq.api('DELETE', `queues/${encodeURIComponent(kpx.vhost.vhost)}/knime-jobs`);
    await kpx.brokerLog.line({
      msg: 'lost RabbitMQ; connecting again',
      reason: 'RabbitMQ ended the consumer of "knime-jobs"; probably the queue was deleted, or its node is away',
    });
    const from = kpx.brokerLog.lines.length;
    await declareKnimeTopology(kpx.vhost.url('admin'));
    await kpx.brokerLog.line({ msg: 'consuming' }, { from });
    await publish(kpx, ...idsOf(20).map((id) => jobOf('alice', id)));
    await allDone(kpx, 20);
    await expectNothingLost(kpx, 20);
  });
});

describe('a delivery that is held for longer than consumer_timeout', () => {
  afterEach(() =>
    evaluate('application:set_env(rabbit, consumer_timeout, 1800000), application:set_env(rabbit, channel_tick_interval, 60000)'),
  );

  it('costs the broker its channel, where RabbitMQ has that for a classic queue: it says why, takes the jobs again, and they are done', async () => {
    await evaluate('application:set_env(rabbit, consumer_timeout, 1500), application:set_env(rabbit, channel_tick_interval, 250)');
    const kpx = await start({ standIn: { ...STAND_IN, BOOT_MS: '5000' } });
    await publish(kpx, ...someJobs(20));
    await allDone(kpx, 20);
    const lost = kpx.brokerLog.lines.filter(({ msg }) => msg === 'lost RabbitMQ; connecting again').map(({ reason }) => reason);
    const { rabbitmq_version: version } = await rabbitmq.api<{ rabbitmq_version: string }>('GET', 'overview');
    if (isAtLeast(version, 4, 3))
      expect(lost).toEqual([]); // a quorum queue's: rabbitmq-versions.test.ts
    else expect(lost[0]).toMatch(/PRECONDITION_FAILED - delivery acknowledgement on channel \d+ timed out/);
    expect(lost.length).toBeLessThan(8);
    await expectNothingLost(kpx, 20);
  });
});

describe.each([
  {
    alarm: 'memory',
    raise: ['set_vm_memory_high_watermark', '0.00001'],
    clear: ['set_vm_memory_high_watermark', '0.4'],
    says: 'low on memory',
    alsoStop: true,
  },
  {
    alarm: 'disk',
    raise: ['set_disk_free_limit', '100000GB'],
    clear: ['set_disk_free_limit', '50MB'],
    says: 'low on disk',
    alsoStop: false,
  },
])('an alarm of RabbitMQ: $alarm', ({ raise, clear, says, alsoStop }) => {
  afterEach(() => rabbitmq.ctl(...clear));

  /** kpx with jobs of a user whose executor becomes ready during the alarm: what it then forwards goes nowhere. */
  async function startAlarmed(): Promise<Kpx> {
    const booted = `/srv/alarm-booted-${process.pid}`;
    onTestFinished(() => rmSync(booted, { force: true }));
    const kpx = await start({ standIn: { ...STAND_IN, BOOT_UNTIL: booted } });
    await publish(kpx, ...someJobs(40));
    await kpx.brokerLog.line({ user: 'alice', state: 'booting' });
    await rabbitmq.ctl(...raise);
    writeFileSync(booted, '');
    const { reason } = await kpx.brokerLog.line({ msg: ALARM });
    expect(reason).toBe(says);
    return kpx;
  }

  it('is said, jobs wait, nothing spins, and they are done when it is over', async () => {
    const kpx = await startAlarmed();
    const [cpu, lines] = [cpuMs(kpx), kpx.brokerLog.lines.length];
    await new Promise((resolve) => setTimeout(resolve, ALARM_WATCHED_MS));
    const share = (cpuMs(kpx) - cpu) / ALARM_WATCHED_MS;
    console.log(`during the alarm: ${(share * 100).toFixed(1)} % of a core, ${kpx.brokerLog.lines.length - lines} log lines`);
    expect(share).toBeLessThan(ALARM_CPU_SHARE_MAX);
    expect(kpx.brokerLog.lines.length - lines).toBeLessThan(10);
    await rabbitmq.ctl(...clear);
    await kpx.brokerLog.line({ msg: ALARM_OVER });
    await allDone(kpx, 40);
    expect((await expectNothingLost(kpx, 40)).doneAgain).toBe(0);
  });

  it('fills the memory for jobs in hand: no further ones are taken until half of it is free, and all are done', async () => {
    const LARGE = 12;
    const kpx = new Kpx(await rabbitmq.createKnimeVhost(), { standIn: STAND_IN, broker: { amqp: { held_bytes_max: '4MiB' } } });
    onTestFinished(() => kpx.stop());
    await publishLarge(kpx, LARGE, paddedJob('alice', 1024 * 1024));
    await rabbitmq.ctl(...raise);
    await kpx.start();
    await kpx.brokerLog.line({ msg: 'jobs in hand take all of amqp.held_bytes_max: no further ones until half of it is free' });
    await rabbitmq.ctl(...clear);
    await kpx.brokerLog.line({ msg: 'half of amqp.held_bytes_max is free: jobs are taken again' });
    await jobsDone(kpx, 'alice', LARGE, 60_000);
  });

  if (alsoStop)
    it('lasts while the broker is asked to end: it ends in time, nothing is lost', async () => {
      const kpx = await startAlarmed();
      const from = performance.now();
      expect(await kpx.endBroker('SIGTERM')).toBe(0);
      console.log(`ended ${Math.round(performance.now() - from)} ms after SIGTERM during an alarm`);
      expect(performance.now() - from).toBeLessThan(STOP_MS_MAX);
      await rabbitmq.ctl(...clear);
      await kpx.startBroker();
      await allDone(kpx, 40);
      await expectNothingLost(kpx, 40);
    });
});
