import { writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { withChannel } from '../fixtures/amqp.js';
import { eventually } from '../fixtures/eventually.js';
import type { Section } from '../fixtures/helper-installation.js';
import { drainQueue, jobOf } from '../fixtures/jobs.js';
import type { Kpx } from '../fixtures/kpx.js';
import { explain, installKpx, jobsDone, publish, runBroker, startKpx } from './installed-kpx.js';

const QUICK = { BOOT_MS: '50' };
const USERS = ['alice', 'bob', 'carol', 'dave'];
const JOBS = 200;
const BURST_TIMEOUT_MS = 90_000;
const SIGNALS = 20;
const ALL_DONE_TIMEOUT_MS = 60_000;

/** A way to RabbitMQ under another port, for as long as the test lasts. */
async function otherPort(kpx: Kpx): Promise<string> {
  const url = new URL(kpx.vhost.urlWithoutPassword('broker'));
  const port = Number(url.port);
  const server = createServer((client) => {
    const target = connect(port, url.hostname);
    client.pipe(target).pipe(client);
    for (const socket of [client, target]) socket.on('error', () => [client, target].forEach((each) => void each.destroy()));
  });
  await new Promise<void>((resolve) => server.listen(0, url.hostname, resolve));
  onTestFinished(() => void server.close());
  url.port = String((server.address() as { port: number }).port);
  return url.href;
}

const BURST = Array.from({ length: JOBS }, (_, count) => jobOf(USERS[count % USERS.length] ?? '', `job-${count}`));

/**
 * Publishes a burst in parts, with each part something else going on, to users whose executors run; resolves with the jobs that were done,
 * sorted, when all have been.
 */
async function burst(kpx: Kpx, beside: readonly (() => Promise<unknown>)[]): Promise<string[]> {
  await publish(kpx, ...USERS.map((user) => jobOf(user, 'warm-up')));
  await Promise.all(USERS.map((user) => jobsDone(kpx, user, 1)));
  const size = Math.ceil(JOBS / beside.length);
  for (const [part, act] of beside.entries()) await Promise.all([publish(kpx, ...BURST.slice(part * size, (part + 1) * size)), act()]);
  const ledger = () => USERS.flatMap((user) => kpx.done(user).map(({ job }) => job)).filter((job) => job !== 'warm-up');
  await eventually('every job is done', () => new Set(ledger()).size === JOBS, ALL_DONE_TIMEOUT_MS);
  return ledger().sort();
}

const everyJobOnce = Array.from({ length: JOBS }, (_, count) => `job-${count}`).sort();

describe('a new configuration', () => {
  it('takes effect without an executor or a job being lost: the one that waits is done, the executor keeps its pid', async () => {
    const kpx = await startKpx({ standIn: QUICK, broker: { policy: { max_executors: 1 } } });
    await publish(kpx, jobOf('alice', 'a1'));
    const [first] = await jobsDone(kpx, 'alice', 1);
    await publish(kpx, jobOf('bob', 'b1'));
    await expect.poll(() => explain(kpx, 'bob')).toMatchObject({ state: 'queued', held: 1 });
    expect(await kpx.reload({ policy: { max_executors: 2 } })).toMatchObject({ changed: ['policy.max_executors: 1 -> 2'] });
    await jobsDone(kpx, 'bob', 1);
    await publish(kpx, jobOf('alice', 'a2'));
    expect((await jobsDone(kpx, 'alice', 2)).at(-1)?.pid).toBe(first?.pid);
    expect(kpx.brokerLog.lines.filter(({ msg }) => msg === 'consuming').length).toBe(1);
  });

  it('parks what waits of a user whom it denies, and starts nothing for it', async () => {
    const kpx = await startKpx({ standIn: QUICK, broker: { policy: { max_executors: 1 } } });
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
    await publish(kpx, jobOf('bob', 'b1'));
    await expect.poll(() => explain(kpx, 'bob')).toMatchObject({ state: 'queued', held: 1 });
    await kpx.reload({ policy: { max_executors: 5, deny: ['bob'] } });
    expect(await kpx.brokerLog.line({ user: 'bob', msg: 'job parked' })).toMatchObject({ reason: 'USER_DENIED' });
    expect(kpx.helperLog.lines.filter(({ verb, os_user }) => verb === 'spawnExecutor' && os_user === 'bob')).toEqual([]);
  });

  it('changes what is logged', async () => {
    const kpx = await startKpx({ standIn: QUICK });
    await kpx.reload({ log: { level: 'debug' } });
    await publish(kpx, jobOf('alice', 'a1'));
    await kpx.brokerLog.line({ msg: 'job forwarded', job: 'a1' });
  });

  it('is refused when it is wrong, with the reason in the log; the old one stays in force', async () => {
    const kpx = await startKpx({ standIn: QUICK, broker: { policy: { deny: ['bob'] } } });
    writeFileSync(kpx.brokerConfigFile, '[amqp]\nurls = ["amqp://u@h"]\n[policy]\nmax_executers = 3\n');
    const refused = await kpx.signal('SIGHUP', { msg: 'the configuration is refused; the old one stays in force' });
    expect(refused).toMatchObject({
      level: 50,
      reason: `${kpx.brokerConfigFile}: line 4, policy.max_executers: unknown key; did you mean "max_executors"?`,
    });
    await publish(kpx, jobOf('alice', 'a1'), jobOf('bob', 'b1'));
    await jobsDone(kpx, 'alice', 1);
    await kpx.brokerLog.line({ user: 'bob', msg: 'job parked', reason: 'USER_DENIED' });
    // What is wrong with the file does not keep the running broker from being asked.
    writeFileSync(kpx.brokerConfigFile, `[policy]\nmax_executers = 3\n[control]\nsocket = "${kpx.controlSocket}"\n`);
    expect(await explain(kpx, 'bob')).toMatchObject({ decision: 'park' });
  });

  it('names what takes effect with a restart only, each time, and goes on with what there is', async () => {
    const kpx = await startKpx({ standIn: QUICK });
    const elsewhere = { helper: { socket: '/run/elsewhere.sock' }, control: { socket: '/run/elsewhere/control.sock' } };
    for (let time = 1; time <= 2; time++) {
      await kpx.reload(elsewhere);
      const later = () => kpx.brokerLog.lines.filter(({ msg }) => msg === 'these take effect with a restart');
      await expect.poll(later).toEqual(Array(time).fill(expect.objectContaining({ level: 40, sections: ['helper', 'control'] })));
    }
    kpx.configureBroker({});
    expect(await explain(kpx, 'alice')).toMatchObject({ decision: 'start' });
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
  });
});

describe('another way to RabbitMQ', () => {
  const OTHER_QUEUE = 'kpx.another-queue';
  it.each<[what: string, change: (kpx: Kpx) => Promise<Section>]>([
    ['another prefetch', async () => ({ prefetch: 8 })],
    ['another URL', async (kpx) => ({ urls: [await otherPort(kpx)] })],
    [
      'another queue and back',
      async (kpx) => {
        await withChannel(kpx.vhost.url('admin'), (channel) => channel.assertQueue(OTHER_QUEUE, { durable: true }));
        return { queue: OTHER_QUEUE };
      },
    ],
  ])(`in the middle of ${JOBS} jobs (%s): each is done exactly once`, { timeout: BURST_TIMEOUT_MS }, async (_, change) => {
    const kpx = await startKpx({ standIn: QUICK });
    const amqp = await change(kpx);
    const reloads = [{ amqp }, {}, { amqp }, {}].map((configuration) => async () => {
      const from = kpx.brokerLog.lines.length;
      await kpx.reload(configuration);
      await kpx.brokerLog.line({ msg: 'consuming' }, { from });
    });
    expect(await burst(kpx, reloads)).toEqual(everyJobOnce);
    expect(kpx.brokerLog.lines.filter(({ msg }) => msg === 'consuming').length).toBe(reloads.length + 1);
    expect(kpx.brokerLog.lines.filter(({ msg }) => msg === 'lost RabbitMQ; connecting again')).toEqual([]);
    expect(await drainQueue(kpx.vhost.url('admin'), 'kpx.dead-letter')).toEqual([]);
  });

  it(`twenty times in a row in the middle of ${JOBS} jobs, without a look at what becomes of it: each is done exactly once`, async () => {
    const kpx = await startKpx({ standIn: QUICK });
    const signals = Array.from({ length: SIGNALS }, (_, count) => async () => {
      kpx.configureBroker({ amqp: { prefetch: 10 + count }, log: { level: 'debug' } });
      kpx.broker?.kill('SIGHUP');
    });
    expect(await burst(kpx, signals)).toEqual(everyJobOnce);
    await kpx.brokerLog.line({ msg: 'consuming', prefetch: 10 + SIGNALS - 1 });
    expect(await drainQueue(kpx.vhost.url('admin'), 'kpx.dead-letter')).toEqual([]);
  });

  it('is taken at once by a broker that has not found RabbitMQ yet', async () => {
    const kpx = await installKpx({ standIn: QUICK, broker: { amqp: { urls: ['amqp://kpx-broker@127.0.0.1:1/nowhere'] } } });
    await kpx.startHelper();
    await kpx.startBroker({ wait: false });
    // By the third attempt it waits for seconds.
    const attempts = () => kpx.brokerLog.lines.filter(({ msg }) => msg === 'RabbitMQ cannot be used; trying again').length >= 3;
    await eventually('three attempts', attempts);
    await kpx.reload({});
    await kpx.brokerLog.line({ msg: 'consuming' }, { timeoutMs: 1_000 });
  });

  it('tells which connections make an executor ready: those to the new port count', async () => {
    const kpx = await installKpx({ standIn: QUICK });
    const detour = { amqp: { urls: [await otherPort(kpx)] } };
    kpx.configureBroker(detour);
    await kpx.start();
    await publish(kpx, jobOf('alice', 'a1'));
    await kpx.brokerLog.line({ user: 'alice', state: 'booting' });
    await eventually('the executor is connected', async () => (await kpx.vhost.connections('executor')).length > 0);
    expect(await explain(kpx, 'alice')).toMatchObject({ decision: 'hold', why: 'the executor is starting' });
    await kpx.reload({});
    await jobsDone(kpx, 'alice', 1);
  });
});

describe('kpx-broker --check', () => {
  it('tells what would change in the running broker, whoever asks of the two who may', async () => {
    const kpx = await startKpx({ broker: { policy: { max_executors: 1 } } });
    const check = async () => (await runBroker(['--config', kpx.brokerConfigFile, '--check'], {})).stdout;
    expect(await check()).toContain('The running broker has the same configuration.\n');
    kpx.configureBroker({ policy: { max_executors: 2, idle_stop: '30m' }, amqp: { prefetch: 8 } });
    expect(await check()).toBe(
      `${kpx.brokerConfigFile}: no errors in the file; kpxctl doctor looks at the rest.\n` +
        'The running broker has another configuration; with this one would change:\n' +
        '  amqp.prefetch: 1024 -> 8\n  policy.max_executors: 1 -> 2\n  policy.idle_stop: not set -> "30m"\n',
    );
    expect((await runBroker(['--config', kpx.brokerConfigFile, '--check'])).stdout).toBe(await check());
    await kpx.endBroker();
    expect(await check()).toBe(`${kpx.brokerConfigFile}: no errors in the file; kpxctl doctor looks at the rest.\n`);
  });
});
