import { rmSync, writeFileSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { drainQueue, jobOf, type TestJob } from '../fixtures/jobs.js';
import { Kpx } from '../fixtures/kpx.js';
import { isGone } from '../fixtures/process.js';
import { deadLetters, explain, installKpx, jobsDone, publish, runKpxctl, startKpx } from './installed-kpx.js';

const QUICK = { BOOT_MS: '50' };
const DEBUG = { log: { level: 'debug' } };

/** What the log says of a user's first job that has had to wait in a delay queue. */
const deferral = async (kpx: Kpx, user: string) => (await kpx.brokerLog.line({ user, msg: 'job deferred' })).reason;

/** Two jobs: the first keeps the user's place in line, the second goes to a delay queue, which the log has a reason for. */
const twoJobs = (user: string): [TestJob, TestJob] => [jobOf(user, `${user}-1`), jobOf(user, `${user}-2`)];

/** The account's executor, once it has done a job. */
const pidOf = async (kpx: Kpx, user: string, jobs = 1) => Number((await jobsDone(kpx, user, jobs)).at(-1)?.pid);

const spawned = (kpx: Kpx) =>
  kpx.helperLog.lines.filter(({ event, verb }) => event === 'request' && verb === 'spawnExecutor').map(({ os_user }) => os_user);

describe('rules', () => {
  it('deny the members of a group, whom nobody has named, and nobody else', async () => {
    const rule = [{ name: 'no analysts', groups: ['analysts'], action: 'deny' }];
    const kpx = await startKpx({ standIn: QUICK, broker: { policy: { rule } } });
    await publish(kpx, jobOf('bob', 'b'), jobOf('alice', 'a'));
    await jobsDone(kpx, 'alice', 1);
    const [parked] = await deadLetters(kpx, 1);
    const why = 'rule 1 "no analysts" denies "bob"';
    expect(parked?.headers).toMatchObject({ 'x-kpx-reason': 'USER_DENIED', 'x-kpx-detail': why });
    expect(await explain(kpx, 'bob')).toMatchObject({ decision: 'park', why: `USER_DENIED: ${why}`, groups: ['bob', 'analysts'] });
    expect(await explain(kpx, 'bob', '--group', 'staff')).toMatchObject({ decision: 'start', rule: 'none', groups: ['staff'] });
  });

  it('bound how many executors their users have at once: further ones wait, and others do not', async () => {
    const rule = [{ name: 'crowd', users: ['u0*'], max_executors: 1 }];
    const kpx = await startKpx({ standIn: QUICK, broker: { ...DEBUG, policy: { rule } } });
    await publish(kpx, jobOf('u01', '1'));
    await jobsDone(kpx, 'u01', 1);
    await publish(kpx, ...twoJobs('u02'), jobOf('alice', 'a'));
    const why = '1 of 1 executors of rule 1 "crowd" run';
    expect(await deferral(kpx, 'u02')).toBe(why);
    expect(await explain(kpx, 'u02')).toMatchObject({ decision: 'wait', why, state: 'queued', held: 1, rule: 'rule 1 "crowd"' });
    await jobsDone(kpx, 'alice', 1);
    expect(kpx.done('u02')).toEqual([]);
    await runKpxctl(['stop', 'u01', '--config', kpx.brokerConfigFile]);
    await jobsDone(kpx, 'u02', 2);
  });

  it('hold for an executor of a group that ran before the broker did', async () => {
    const rule = [{ groups: ['analysts'], max_executors: 1 }];
    const kpx = await startKpx({ standIn: QUICK, broker: { policy: { rule } } });
    await publish(kpx, jobOf('bob', 'b'));
    await jobsDone(kpx, 'bob', 1);
    await kpx.endBroker();
    await kpx.startBroker();
    await expect
      .poll(() => explain(kpx, 'alice', '--group', 'analysts'))
      .toMatchObject({ decision: 'wait', why: '1 of 1 executors of rule 1 run' });
  });

  it('let some start before others who came first', async () => {
    const rule = [{ users: ['svc-*'], priority: 10 }];
    const booted = `/srv/policy-booted-${process.pid}`;
    onTestFinished(() => rmSync(booted, { force: true }));
    const kpx = await startKpx({ standIn: { ...QUICK, BOOT_UNTIL_alice: booted }, broker: { policy: { max_starting: 1, rule } } });
    await publish(kpx, jobOf('alice', 'a'));
    await kpx.brokerLog.line({ user: 'alice', state: 'booting' });
    for (const [user, job] of Object.entries({ bob: 'b', dave: 'd', 'svc-report': 's' })) {
      await publish(kpx, jobOf(user, job));
      await expect.poll(() => explain(kpx, user)).toMatchObject({ held: 1 });
    }
    writeFileSync(booted, '');
    for (const user of ['svc-report', 'bob', 'dave']) await jobsDone(kpx, user, 1);
    expect(spawned(kpx)).toEqual(['alice', 'svc-report', 'bob', 'dave']);
  });

  it('name a profile that the direct launcher does not have: the job is parked, and says so', async () => {
    const kpx = await startKpx({ broker: { policy: { rule: [{ users: ['alice'], profile: 'big' }] } } });
    await publish(kpx, jobOf('alice', 'a'));
    const [parked] = await deadLetters(kpx, 1);
    expect(parked?.headers).toMatchObject({
      'x-kpx-reason': 'PROFILE_UNKNOWN',
      'x-kpx-detail': 'there is no executor profile "big"',
    });
    expect(await explain(kpx, 'alice')).toMatchObject({ decision: 'park', profile: 'big', state: 'refused' });
  });
});

describe('what the host and the licence have room for', () => {
  it('is bounded by core tokens', async () => {
    const policy = { core_tokens: 9, tokens_per_executor: 4 };
    const kpx = await startKpx({ standIn: QUICK, broker: { ...DEBUG, policy } });
    await publish(kpx, jobOf('alice', 'a'), jobOf('bob', 'b'));
    await Promise.all([jobsDone(kpx, 'alice', 1), jobsDone(kpx, 'bob', 1)]);
    await publish(kpx, ...twoJobs('carol'));
    const why = '8 of 9 core tokens are taken, an executor takes 4';
    expect(await deferral(kpx, 'carol')).toBe(why);
    expect(await explain(kpx, 'carol')).toMatchObject({ decision: 'wait', why });
  });

  it.each(['executor_memory', 'min_available_memory'])('is bounded by memory: nothing starts with a %s that is not there', async (key) => {
    const kpx = await startKpx({ standIn: QUICK, broker: { ...DEBUG, policy: { [key]: '900TiB' } } });
    await publish(kpx, ...twoJobs('alice'));
    const why = /^\d+ MiB of memory are available, of which 0 MiB are promised to executors that start; one more takes \d+ MiB, and /;
    expect(await deferral(kpx, 'alice')).toMatch(why);
    expect(await explain(kpx, 'alice')).toMatchObject({ decision: 'wait', why: expect.stringMatching(why), executor: 'none' });
    expect(spawned(kpx)).toEqual([]);
    await kpx.reload(DEBUG);
    await jobsDone(kpx, 'alice', 1);
  });
});

describe('job_max_age', () => {
  it('parks a job that KNIME Server has given up, by the time at which it was sent, and runs one that is younger', async () => {
    const kpx = await startKpx({ standIn: QUICK, broker: { policy: { job_max_age: '1h' } } });
    const sentAgo = (job: string, minutes: number): TestJob => {
      const { properties, ...rest } = jobOf('alice', job);
      return { ...rest, properties: { ...properties, timestamp: Math.round(Date.now() / 1_000) - minutes * 60 } };
    };
    await publish(kpx, sentAgo('old', 61), sentAgo('young', 59), jobOf('alice', 'no timestamp'));
    expect(new Set((await jobsDone(kpx, 'alice', 2)).map(({ job }) => job))).toEqual(new Set(['young', 'no timestamp']));
    const [parked] = await deadLetters(kpx, 1);
    expect(parked).toMatchObject({ json: { job: 'old' }, headers: { 'x-kpx-reason': 'JOB_TOO_OLD' } });
    expect(parked?.headers['x-kpx-detail']).toMatch(/^the job is 1h0\dm old \(job_max_age is 1h00m\)/);
  });
});

describe('an executor without work', () => {
  it('is ended after idle_stop and started again by the next job; one that computes without any job is not', async () => {
    const rule = [{ users: ['carol'], idle_stop: '1h' }];
    const kpx = await startKpx({ standIn: { ...QUICK, SPIN_dave: '50' }, broker: { policy: { idle_stop: '2s', rule } } });
    await publish(kpx, jobOf('alice', 'a1'), jobOf('dave', 'd1'), jobOf('carol', 'c1'));
    const [alice, dave, carol] = [await pidOf(kpx, 'alice'), await pidOf(kpx, 'dave'), await pidOf(kpx, 'carol')];
    const why = /^idle for \d+s \(idle_stop is 2s\)$/;
    expect(await kpx.brokerLog.line({ user: 'alice', msg: 'ending an executor' })).toMatchObject({ reason: expect.stringMatching(why) });
    await kpx.brokerLog.line({ user: 'alice', state: 'idle' });
    await publish(kpx, jobOf('alice', 'a2'));
    expect(await pidOf(kpx, 'alice', 2)).not.toBe(alice);
    // Once more: the others have been there for twice the time by then.
    const from = kpx.brokerLog.lines.length;
    await kpx.brokerLog.line({ user: 'alice', msg: 'ending an executor' }, { from });
    const ended = kpx.brokerLog.lines.filter(({ msg }) => msg === 'ending an executor').map(({ user }) => user);
    expect(ended).toEqual(['alice', 'alice']);
    expect([dave, carol].map(isGone)).toEqual([false, false]);
  });

  it('is ended in favour of a user who waits unless told otherwise, one that is at work is not', async () => {
    const kpx = await startKpx({
      standIn: { ...QUICK, SPIN_dave: '50' },
      broker: { ...DEBUG, policy: { max_executors: 2, evict_idle_after: '3s' } },
    });
    await publish(kpx, jobOf('dave', 'd1'));
    const dave = await pidOf(kpx, 'dave');
    await publish(kpx, jobOf('alice', 'a1'));
    const alice = await pidOf(kpx, 'alice');
    await publish(kpx, jobOf('bob', 'b1'));
    const doing = async () => (await runKpxctl(['status', '--config', kpx.brokerConfigFile])).stdout;
    await expect.poll(doing).toMatch(/; users who wait for room: 1, the longest for \d+s$/m);
    const { reason } = await kpx.brokerLog.line({ msg: 'ending an executor' });
    expect(reason).toMatch(/^idle for [3-9]s, and "bob" waits: 2 of 2 executors run \(max_executors\)$/);
    await jobsDone(kpx, 'bob', 1);
    expect([alice, dave].map(isGone)).toEqual([true, false]);
  });
});

describe('a host that is drained', () => {
  const DRAINING = 'draining: no executor is started any more';

  it('starts nothing, serves those whose executors run, says so, and starts again after a second signal', async () => {
    const kpx = await startKpx({ standIn: QUICK, broker: DEBUG });
    await publish(kpx, jobOf('alice', 'a1'));
    const alice = await pidOf(kpx, 'alice');
    await kpx.signal('SIGUSR2', { msg: DRAINING });
    await publish(kpx, jobOf('bob', 'b1'), jobOf('alice', 'a2'));
    expect(await pidOf(kpx, 'alice', 2)).toBe(alice);
    expect(await deferral(kpx, 'bob')).toBe('the host is being drained');
    expect(await explain(kpx, 'bob')).toMatchObject({ decision: 'wait', why: 'the host is being drained', held: 0 });
    expect(await explain(kpx, 'alice')).toMatchObject({ decision: 'forward' });
    expect(spawned(kpx)).toEqual(['alice']);
    await kpx.signal('SIGUSR2', { msg: 'executors are started again' });
    await jobsDone(kpx, 'bob', 1);
  });

  it('leaves its waiting jobs to another host', async () => {
    const kpx = await installKpx({ standIn: QUICK });
    const other = new Kpx(kpx.vhost, { standIn: QUICK });
    onTestFinished(() => other.stop());
    await kpx.start();
    await kpx.signal('SIGUSR2', { msg: DRAINING });
    await publish(kpx, ...twoJobs('bob'), ...twoJobs('alice'));
    await other.start();
    // Who of the two gets a job is RabbitMQ's choice, each time anew.
    await Promise.all([jobsDone(other, 'bob', 2, 50_000), jobsDone(other, 'alice', 2, 50_000)]);
    expect(spawned(kpx)).toEqual([]);
    expect(await drainQueue(kpx.vhost.url('admin'), 'kpx.dead-letter')).toEqual([]);
  });
});
