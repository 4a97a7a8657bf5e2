import { existsSync, readdirSync, statSync } from 'node:fs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { drainQueue, jobOf, publishJobs } from '../fixtures/jobs.js';
import { StandIn, type StandInOptions } from '../fixtures/knime/stand-in.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import type { Vhost } from '../fixtures/rabbitmq-access.js';
import { takeKnimeVhost } from './shared-rabbitmq.js';

const WAIT = { timeout: 15_000, interval: 20 };
const FORWARDED = { canHandle: true };

function startAlice(vhost: Vhost, options: Partial<StandInOptions> = {}): StandIn {
  const { tuning, ...rest } = options;
  const executor = new StandIn('alice', { msgq: vhost.url('executor'), tuning: { BOOT_MS: 0, ...tuning }, ...rest });
  onTestFinished(() => executor.kill());
  return executor;
}

const connected = (executor: StandIn) =>
  vi.waitFor(() => {
    if (executor.started?.connectedAt === undefined) throw new Error(`not connected: ${executor.stderr}`);
    return executor.started;
  }, WAIT);

const jobsOf = (executor: StandIn) => executor.jobsDone.map(({ job }) => job).sort();

describe('the stand-in executor', () => {
  it('takes the jobs of its reservation that kpx has marked, and leaves a record and a temporary file', async () => {
    const vhost = await takeKnimeVhost();
    await publishJobs(
      vhost.url('publisher'),
      ['1', '2', '3'].map((job) => ({ ...jobOf('Alice', job), headers: FORWARDED })),
    );
    const executor = startAlice(vhost);
    await vi.waitFor(() => expect(jobsOf(executor)).toEqual(['1', '2', '3']), WAIT);
    const [first] = executor.jobsDone;
    expect(first).toMatchObject({ messageId: first?.job, headers: FORWARDED, uid: statSync(executor.workspace).uid });
    expect(first?.bodySha256).toMatch(/^[0-9a-f]{64}$/);
    expect(readdirSync(executor.temp)).toHaveLength(3);
    await vi.waitFor(async () => expect(await vhost.queueDepth(KNIME_QUEUE)).toEqual({ messages: 0, consumers: 1 }), WAIT);
  });

  it.each(['requeue', 'republish'])(
    "gives others' jobs and unmarked ones back by %s, with body and properties as they were",
    async (way) => {
      const vhost = await takeKnimeVhost();
      const others = [
        { ...jobOf('bob', 'of bob', { nested: { ü: [1, null] } }), headers: { canHandle: true, 'x-other': 'kept' } },
        {
          ...jobOf('alice', 'not marked'),
          properties: { messageId: 'not marked', correlationId: 'c', replyTo: 'r', priority: 3, type: 't' },
        },
        { body: Buffer.from('no json') },
      ];
      await publishJobs(vhost.url('publisher'), [...others, { ...jobOf('alice', 'mine'), headers: FORWARDED }]);
      // A requeued message goes back to the head: alone with as many foreign jobs as its prefetch, an executor sees nothing else.
      const executor = startAlice(vhost, { tuning: { GIVE_BACK: way, PREFETCH: others.length + 1 } });
      await vi.waitFor(() => expect(jobsOf(executor)).toEqual(['mine']), WAIT);
      executor.process.kill('SIGTERM');
      expect(await executor.exitCode).toBe(143);

      const left = await drainQueue(vhost.url('admin'), KNIME_QUEUE);
      expect(left.map(({ text }) => text).sort()).toEqual(
        others.map(({ body }) => (Buffer.isBuffer(body) ? String(body) : JSON.stringify(body))).sort(),
      );
      const ofBob = left.find(({ text }) => text.includes('of bob'));
      expect(ofBob).toMatchObject({
        headers: { canHandle: true, 'x-other': 'kept' },
        properties: { contentType: 'application/json', deliveryMode: 2 },
      });
      const unmarked = left.find(({ text }) => text.includes('not marked'));
      expect(unmarked?.properties).toMatchObject({ messageId: 'not marked', correlationId: 'c', replyTo: 'r', priority: 3, type: 't' });
    },
  );

  it('takes the jobs of every user that shares the account', async () => {
    const vhost = await takeKnimeVhost();
    const jobs = ['ann', 'ann2', 'bob'].map((user) => ({ ...jobOf(user, user), headers: FORWARDED }));
    await publishJobs(vhost.url('publisher'), jobs);
    const executor = startAlice(vhost, { reservation: "(user = 'ann' OR user = 'ann2')" });
    await vi.waitFor(() => expect(jobsOf(executor)).toEqual(['ann', 'ann2']), WAIT);
  });

  it('works on as many jobs at once as its prefetch', async () => {
    const vhost = await takeKnimeVhost();
    const executor = startAlice(vhost, { tuning: { PREFETCH: 3, JOB_MS: 500 } });
    await connected(executor);
    await publishJobs(
      vhost.url('publisher'),
      ['1', '2', '3', '4'].map((job) => ({ ...jobOf('alice', job), headers: FORWARDED })),
    );
    await vi.waitFor(() => expect(executor.jobsDone).toHaveLength(3), WAIT);
    await vi.waitFor(() => expect(executor.jobsDone).toHaveLength(4), WAIT);
    const times = executor.jobsDone.map(({ at }) => at);
    expect(Math.max(...times.slice(0, 3)) - Math.min(...times.slice(0, 3))).toBeLessThan(400);
  });

  it('says what it is before it has booted, and connects only after', async () => {
    const vhost = await takeKnimeVhost();
    const executor = startAlice(vhost, { tuning: { BOOT_MS: 700 } });
    await vi.waitFor(() => expect(executor.started).toBeDefined(), WAIT);
    expect(executor.started?.connectedAt).toBeUndefined();
    expect(await vhost.connections('executor')).toEqual([]);
    const started = await connected(executor);
    expect(started.connectedAt).toBeGreaterThanOrEqual(started.execdAt + 700);
    expect(started).toMatchObject({ pid: executor.process.pid, ppid: process.pid, cwd: executor.workspace, umask: expect.any(String) });
    expect(started.uid).toBe(statSync(executor.workspace).uid);
    expect(started.env.KNIME_EXECUTOR_RESERVATION).toBe("(user = 'alice')");
    expect(started.capabilities.CapEff).toMatch(/^0{16}$/);
  });

  it('finishes a short job on SIGTERM and gives a long one back', async () => {
    const vhost = await takeKnimeVhost();
    for (const [jobMs, done, left] of [
      [600, 1, 0],
      [60_000, 0, 1],
    ] as const) {
      const executor = startAlice(vhost, { tuning: { JOB_MS: jobMs } });
      await connected(executor);
      await publishJobs(vhost.url('publisher'), [{ ...jobOf('alice'), headers: FORWARDED }]);
      await vi.waitFor(async () => expect((await vhost.queueDepth(KNIME_QUEUE))?.messages).toBe(0), WAIT);
      executor.process.kill('SIGTERM');
      expect(await executor.exitCode).toBe(143);
      expect(executor.jobsDone).toHaveLength(done);
      expect(await drainQueue(vhost.url('admin'), KNIME_QUEUE)).toHaveLength(left);
    }
  });

  it('ends by itself when idle, not while it works', async () => {
    const vhost = await takeKnimeVhost();
    await publishJobs(vhost.url('publisher'), [{ ...jobOf('alice'), headers: FORWARDED }, jobOf('bob')]);
    const executor = startAlice(vhost, { tuning: { IDLE_MS: 1_000, JOB_MS: 1_500 } });
    expect(await executor.exitCode).toBe(0);
    expect(executor.jobsDone).toHaveLength(1);
    expect(executor.stderr).toContain('idle for 1000 ms');
  });

  it('connects again when its connection is closed', async () => {
    const vhost = await takeKnimeVhost();
    const executor = startAlice(vhost);
    await connected(executor);
    expect(await vhost.closeConnections('executor')).toBe(1);
    await publishJobs(vhost.url('publisher'), [{ ...jobOf('alice', 'after'), headers: FORWARDED }]);
    await vi.waitFor(() => expect(jobsOf(executor)).toEqual(['after']), WAIT);
  });

  it('tries the hosts of its list in turn', async () => {
    const vhost = await takeKnimeVhost();
    const { port, pathname, username, password } = new URL(vhost.url('executor'));
    const executor = startAlice(vhost, { msgq: `amqp://${username}:${password}@127.0.0.1:1${pathname},amqp://localhost:${port}` });
    await connected(executor);
  });

  it('ends with 69 when RabbitMQ is gone for good', async () => {
    const vhost = await takeKnimeVhost();
    const executor = startAlice(vhost, { msgq: 'amqp://a:b@127.0.0.1:1/v', tuning: { RETRY_MS: 300 } });
    expect(await executor.exitCode).toBe(69);
    expect(executor.stderr).toContain('127.0.0.1:1');
  });

  it.each([
    ['a HOME that is no directory', { HOME: '/home/nowhere' }, 10],
    ['no HOME', { HOME: undefined }, 10],
    ['a reservation it does not understand', { KNIME_EXECUTOR_RESERVATION: 'alice' }, 78],
    ['no temporary directory', { KNIME_EXECUTOR_TEMP_DIR: '/nowhere' }, 78],
    ['an order to fail', { KPX_STANDIN_FAIL: '42' }, 42],
  ])('fails at once with %s', async (_what, env, code) => {
    const vhost = await takeKnimeVhost();
    const executor = startAlice(vhost, { env });
    expect(await executor.exitCode).toBe(code);
    expect(existsSync(`${executor.workspace}/jobs-done.jsonl`)).toBe(false);
  });
});
