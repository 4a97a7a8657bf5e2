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

  it('acknowledges the job that it has finished, however often it is told to end meanwhile', async () => {
    const vhost = await takeKnimeVhost();
    await publishJobs(vhost.url('publisher'), [{ ...jobOf('alice', 'mine'), headers: FORWARDED }]);
    const executor = startAlice(vhost, { tuning: { JOB_MS: 1_000 } });
    await vi.waitFor(() => expect(executor.started?.connectedAt).toBeDefined(), WAIT);
    await vi.waitFor(async () => expect(await vhost.queueDepth(KNIME_QUEUE)).toEqual({ messages: 0, consumers: 1 }), WAIT);
    executor.process.kill('SIGTERM');
    await vi.waitFor(async () => expect(await vhost.queueDepth(KNIME_QUEUE)).toEqual({ messages: 0, consumers: 0 }), WAIT);
    executor.process.kill('SIGTERM');
    expect(await executor.exitCode).toBe(143);
    expect(jobsOf(executor)).toEqual(['mine']);
    expect(await drainQueue(vhost.url('admin'), KNIME_QUEUE)).toEqual([]);
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
