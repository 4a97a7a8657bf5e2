import { request } from 'node:http';
import { describe, expect, it } from 'vitest';
import { jobOf, type TestJob } from '../fixtures/jobs.js';
import type { Kpx } from '../fixtures/kpx.js';
import { jobsDone, publish, runKpxctl, startKpx } from './installed-kpx.js';

const QUICK = { BOOT_MS: '50' };
const TRACEPARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
const TRACE = { traceparent: TRACEPARENT, tracestate: 'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE' };
const LONG_ID_CHARS = 64 * 1024;

const run = ({ brokerConfigFile }: Kpx, ...args: string[]) => runKpxctl([...args, '--config', brokerConfigFile]);

interface Told {
  readonly id: string;
  readonly user: string;
  readonly traceparent: string;
  readonly headline: string;
  readonly next: string;
  readonly steps: {
    readonly what: string;
    readonly text: string;
    readonly for_ms: number;
    readonly request?: number;
    readonly executor?: object;
  }[];
}

async function stories(kpx: Kpx, id: string): Promise<Told[]> {
  const { code, stdout, stderr } = await run(kpx, 'job', id, '--json');
  expect([code, stderr]).toEqual([0, '']);
  return JSON.parse(stdout).jobs;
}
async function story(kpx: Kpx, id: string): Promise<Told> {
  const [told, another] = await stories(kpx, id);
  if (!told || another) throw new Error(`${id} is not the id of one job`);
  return told;
}
const stepsOf = async (kpx: Kpx, id: string) => (await story(kpx, id)).steps.map(({ what }) => what).filter((what) => what !== 'user');
async function firstAndLast(kpx: Kpx, id: string, first: number): Promise<string[]> {
  const steps = await stepsOf(kpx, id);
  return [...steps.slice(0, first), ...steps.slice(-1)];
}
const depthOf = async (kpx: Kpx, queue: string) => (await kpx.vhost.queueDepth(queue))?.messages;

const traced = (user: string, job: string, correlationId: string): TestJob => {
  const { body, properties } = jobOf(user, job);
  return { body, headers: TRACE, properties: { ...properties, correlationId } };
};

/** One place, which the executor of alice has: others wait in line. */
async function startFull(): Promise<Kpx> {
  const kpx = await startKpx({ standIn: QUICK, broker: { policy: { max_executors: 1 } } });
  await publish(kpx, jobOf('alice', 'a1'));
  await jobsDone(kpx, 'alice', 1);
  return kpx;
}

describe('the story of a job', () => {
  it('that is done: seen, held, given to the executor with pid and request of the audit log, and its trace context unchanged', async () => {
    const kpx = await startKpx({ standIn: QUICK });
    await publish(kpx, traced('alice', 'm-1', 'c-1'));
    const [done] = await jobsDone(kpx, 'alice', 1);
    expect(done).toMatchObject({ headers: TRACE });
    const told = await story(kpx, 'm-1');
    expect(told).toMatchObject({ user: 'alice', message_id: 'm-1', correlation_id: 'c-1', traceparent: TRACEPARENT });
    // Between these it may have come back to the broker, which takes from the same queue.
    for (const id of ['c-1', told.id]) expect(await firstAndLast(kpx, id, 2)).toEqual(['seen', 'held', 'offered']);
    expect(told.steps.findLast(({ what }) => what === 'offered')?.executor).toEqual({ os_user: 'alice', uid: done?.uid, pid: done?.pid });
    const booting = told.steps.find(({ text }) => text.startsWith("the user's state is booting"));
    const audit = await kpx.helperLog.line({ event: 'request', verb: 'spawnExecutor', knime_user: 'alice' });
    expect(booting).toMatchObject({ request: audit.id, text: expect.stringContaining(`pid ${done?.pid}`) });
    await expect
      .poll(async () => (await story(kpx, 'm-1')).headline)
      .toMatch(new RegExp(`^taken \\d+s ago by the executor of "alice" \\(uid ${done?.uid}, pid ${done?.pid}\\): it has not come back$`));
    const { stdout } = await run(kpx, 'job', 'm-1');
    expect(stdout).toMatch(/^the job {8}taken \d+s ago by [\s\S]*\nmessage id {5}m-1\ncorrelation id c-1\ntraceparent {4}00-4bf92/);
    expect(stdout).toMatch(/\nkpx keeps the last 10,000 jobs, for up to 1h00m\.\n$/);
    await run(kpx, 'stop', 'alice', '--kill');
    await expect.poll(async () => (await story(kpx, 'm-1')).headline).toContain('has ended since');
  });

  it('that is parked and replayed is one story, with the same id and trace context', async () => {
    const kpx = await startKpx({ standIn: QUICK, broker: { policy: { deny: ['alice'] } } });
    await publish(kpx, traced('alice', 'm-1', 'c-1'));
    await expect.poll(() => depthOf(kpx, 'kpx.dead-letter')).toBe(1);
    const parked = await story(kpx, 'm-1');
    expect(parked.headline).toMatch(/^parked \d+s ago: USER_DENIED: "alice" is in policy.deny$/);
    expect(parked.next).toMatch(/^Allow the user in broker.toml, .* kpxctl dead-letters list$/);
    await kpx.reload({});
    expect((await run(kpx, 'dead-letters', 'replay', '--all')).code).toBe(0);
    const [done] = await jobsDone(kpx, 'alice', 1);
    expect(done).toMatchObject({ headers: { ...TRACE, 'x-kpx-id': parked.id } });
    expect(await firstAndLast(kpx, parked.id, 4)).toEqual(['seen', 'parked', 'replayed', 'held', 'offered']);
  });

  it('that waits says why, and what to do', async () => {
    const kpx = await startFull();
    await publish(kpx, jobOf('bob', 'b1'));
    await expect.poll(() => stepsOf(kpx, 'b1')).toEqual(['seen', 'held']);
    const { stdout } = await run(kpx, 'job', 'b1');
    expect(stdout).toMatch(
      /^the job {8}waits since \d+s: 1 of 1 executors run \(max_executors\)\nnext step {6}Wait until an executor ends, or raise policy\.max_ex/,
    );
    expect(stdout).toMatch(/\n\d\d:\d\d:\d\d\.\d{3}Z +\d+s +the user's state is queued: 1 of 1 executors run \(max_executors\)\n/);
    await kpx.endBroker();
    await kpx.startBroker();
    await expect.poll(async () => (await run(kpx, 'job', 'b1')).code).toBe(0); // it came again, and the story begins anew
  });

  it('is shown for each of two jobs that share an id, and neither is cancelled by it', async () => {
    const kpx = await startFull();
    await publish(kpx, jobOf('bob', 'same'), jobOf('carol', 'same'));
    await expect.poll(async () => (await run(kpx, 'job', 'same')).stdout).toMatch(/^2 jobs have this id, /);
    const told = await stories(kpx, 'same');
    expect(told.map(({ user }) => user).sort()).toEqual(['bob', 'carol']);
    const refused = await run(kpx, 'cancel', 'same');
    expect([refused.code, refused.stderr]).toEqual([64, expect.stringContaining('2 jobs have this id, and none is cancelled')]);
    for (const { id } of told) expect(refused.stderr).toContain(id);
    expect(await run(kpx, 'cancel', told[0]?.id ?? '')).toMatchObject({ code: 0 });
  });
});

describe('a job that is cancelled', () => {
  it('while it waits in line is parked with the reason, and waits again when it is replayed', async () => {
    const kpx = await startFull();
    await publish(kpx, jobOf('bob', 'b1'));
    await expect.poll(() => stepsOf(kpx, 'b1')).toEqual(['seen', 'held']);
    expect(await run(kpx, 'cancel', 'b1')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Cancelled: job \S+ goes to kpx/) });
    expect(await kpx.brokerLog.line({ msg: 'job parked', job: 'b1' })).toMatchObject({ user: 'bob', reason: 'CANCELLED' });
    expect(await kpx.brokerLog.line({ msg: 'an operator cancels a job', job: 'b1' })).toMatchObject({ level: 40, user: 'bob' });
    await expect.poll(() => depthOf(kpx, 'kpx.dead-letter')).toBe(1);
    expect((await story(kpx, 'b1')).headline).toMatch(/^parked \d+s ago: CANCELLED: an operator has cancelled it/);
    expect((await run(kpx, 'dead-letters', 'replay', '--all')).code).toBe(0);
    await expect.poll(() => stepsOf(kpx, 'b1')).toEqual(['seen', 'held', 'parked', 'replayed', 'held']);
    await run(kpx, 'stop', 'alice');
    await jobsDone(kpx, 'bob', 1);
  });

  it('while it is in a delay queue is parked when it comes back, and the one that keeps the place in line stays', async () => {
    const kpx = await startFull();
    await publish(kpx, jobOf('bob', 'b1'), jobOf('bob', 'b2'));
    await expect.poll(() => stepsOf(kpx, 'b2')).toContain('delayed');
    const answer = await run(kpx, 'cancel', 'b2');
    expect(answer).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/waits in a delay queue, or is in the job queue again\. It goes to kpx\.dead-letter/),
    });
    expect((await story(kpx, 'b2')).headline).toMatch(/; it is cancelled, and parked when it is here again$/);
    expect(await kpx.brokerLog.line({ msg: 'job parked', job: 'b2' })).toMatchObject({ reason: 'CANCELLED' });
    await run(kpx, 'stop', 'alice');
    expect((await jobsDone(kpx, 'bob', 1)).map(({ job }) => job)).toEqual(['b1']);
  });

  it('while an executor has it goes on, and kpxctl says who has it', async () => {
    const kpx = await startKpx({ standIn: { ...QUICK, JOB_MS: '3000' } });
    await publish(kpx, jobOf('alice', 'a1'));
    await expect.poll(() => stepsOf(kpx, 'a1')).toContain('offered');
    const refused = await run(kpx, 'cancel', 'a1');
    expect([refused.code, refused.stderr]).toEqual([
      69,
      expect.stringMatching(
        /^It is not cancelled, because it does not wait here: (offered|taken) .* the executor of "alice" \(uid \d+, pid \d+\)/,
      ),
    ]);
    await jobsDone(kpx, 'alice', 1);
    expect(kpx.brokerLog.lines.filter(({ msg }) => msg === 'job parked')).toEqual([]);
  });
});

describe('an id', () => {
  it('that no job has, or none can have, is refused with what to do', async () => {
    const kpx = await startKpx({ standIn: QUICK });
    const unknown = await run(kpx, 'job', 'nobody-s');
    expect([unknown.code, unknown.stderr]).toEqual([
      66,
      expect.stringMatching(
        /^kpx knows no job "nobody-s" on \S+\. It keeps the last 10,000 jobs, for up to 1h00m, .*journalctl -t kpx-broker -g ID/,
      ),
    ]);
    expect(await run(kpx, 'cancel', 'nobody-s')).toMatchObject({ code: 66 });
    const long = await run(kpx, 'job', 'x'.repeat(LONG_ID_CHARS));
    expect([long.code, long.stderr]).toEqual([
      64,
      expect.stringMatching(new RegExp(`^This is no id of a job: it has ${LONG_ID_CHARS} characters, .*\\n$`)),
    ]);
    expect(await statusOfJob(kpx, 'x'.repeat(LONG_ID_CHARS))).toBe(431);
    expect(await statusOfJob(kpx, 'x'.repeat(4 * 1024))).toBe(400);
    expect(await statusOfJob(kpx, 'x')).toBe(410);
  });

  it('with control characters is printed as escapes, and found by them', async () => {
    const kpx = await startKpx({ standIn: QUICK });
    const id = 'a\u001b[31m\u202e\nb';
    await publish(kpx, jobOf('alice', id));
    await expect.poll(async () => (await run(kpx, 'job', id)).code).toBe(0);
    const { stdout } = await run(kpx, 'job', 'a\\u001b[31m\\u202e\\u000ab');
    expect(stdout).toContain('\nmessage id     a\\u001b[31m\\u202e\\u000ab\n');
    for (const character of ['\u001b', '\u202e']) expect(stdout).not.toContain(character);
  });
});

/** Of HTTP, by hand. */
async function statusOfJob({ controlSocket: socketPath }: Kpx, id: string): Promise<number | undefined> {
  return await new Promise((resolve, reject) => {
    const asked = request({ socketPath, path: `/job?id=${id}` }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    asked.once('error', reject);
    asked.end();
  });
}
