import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { idsOf } from '../fixtures/kpx.js';
import { jobsDone, publish, startKpx } from './installed-kpx.js';

describe('a job on RabbitMQ', () => {
  it('runs under the account of its submitter, who has never logged in', async () => {
    const kpx = await startKpx();
    await publish(kpx, jobOf('bob', 'b1'));
    const [done] = await jobsDone(kpx, 'bob', 1);
    const { uid, gid } = idsOf('bob');
    expect(done).toMatchObject({ job: 'b1', uid });
    const groups = execFileSync('/usr/bin/id', ['-G', 'bob'], { encoding: 'utf8' }).trim().split(' ').map(Number);
    expect(kpx.started('bob')).toMatchObject({
      uids: [uid, uid, uid, uid],
      gids: [gid, gid, gid, gid],
      groups: groups.sort((a, b) => a - b),
      noNewPrivs: true,
      cwd: `${kpx.workspaces}/bob`,
    });
    for (const directory of ['/home/bob', `${kpx.workspaces}/bob`, `${kpx.temps}/bob`]) {
      expect(statSync(directory)).toMatchObject({ uid, gid });
      expect(statSync(directory).mode & 0o7777).toBe(0o700);
    }
  });

  it('keeps its body and properties, and gains the header that lets an executor take it', async () => {
    const kpx = await startKpx();
    const job = jobOf('alice', 'a1', { workflow: 'ümläut', nested: { deep: [1, 2, 3] } });
    await publish(kpx, { ...job, headers: { 'knime-header': 'kept' } });
    const [done] = await jobsDone(kpx, 'alice', 1);
    const bodySha256 = createHash('sha256').update(JSON.stringify(job.body)).digest('hex');
    expect(done).toMatchObject({ messageId: 'a1', bodySha256, headers: { canHandle: true, 'knime-header': 'kept' } });
  });

  it.each(['requeue', 'republish'])('finds its executor among others who give back what is not theirs by %s', async (way) => {
    const kpx = await startKpx({ standIn: { BOOT_MS: '100', GIVE_BACK: way } });
    const users = ['alice', 'bob', 'carol', 'dave'];
    await publish(kpx, ...users.flatMap((user) => [jobOf(user, `${user}-1`), jobOf(user, `${user}-2`), jobOf(user, `${user}-3`)]));
    for (const user of users) {
      await jobsDone(kpx, user, 3);
      expect(new Set(kpx.done(user).map(({ job }) => job))).toEqual(new Set([`${user}-1`, `${user}-2`, `${user}-3`]));
    }
  });

  it('of bob_temp and of bob are kept apart', async () => {
    const kpx = await startKpx();
    await publish(kpx, jobOf('bob', 'b'), jobOf('bob_temp', 't'));
    expect((await jobsDone(kpx, 'bob', 1)).map(({ job }) => job)).toEqual(['b']);
    expect((await jobsDone(kpx, 'bob_temp', 1)).map(({ job }) => job)).toEqual(['t']);
  });
});

describe('users do not wait for each other', () => {
  it('passes the job of a ready user while another’s executor takes a minute to boot', async () => {
    const kpx = await startKpx({ standIn: { BOOT_MS: '100', BOOT_MS_carol: '60000' } });
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
    await publish(kpx, jobOf('carol', 'c1'));
    await kpx.brokerLog.line({ user: 'carol', state: 'booting' });
    const published = performance.now();
    await publish(kpx, jobOf('alice', 'a2'));
    await jobsDone(kpx, 'alice', 2);
    expect(performance.now() - published).toBeLessThan(5_000);
    expect(kpx.done('carol')).toEqual([]);
  });

  it('serves two KNIME users mapped to one account with one executor', async () => {
    const kpx = await startKpx({ helper: { accounts: { map: { 'alice.smith': 'alice', alice2: 'alice' } } } });
    await publish(kpx, jobOf('alice.smith', 's'), jobOf('alice2', '2'), jobOf('alice', 'a'));
    const done = await jobsDone(kpx, 'alice', 3);
    expect(new Set(done.map(({ job }) => job))).toEqual(new Set(['s', '2', 'a']));
    expect(new Set(done.map(({ pid }) => pid)).size).toBe(1);
  });
});

describe('executors', () => {
  it('are used again, and started again when they have ended, which is noticed within a second', async () => {
    const kpx = await startKpx({ standIn: { BOOT_MS: '50' } });
    await publish(kpx, jobOf('alice', 'a1'));
    const [first] = await jobsDone(kpx, 'alice', 1);
    await publish(kpx, jobOf('alice', 'a2'));
    const [, second] = await jobsDone(kpx, 'alice', 2);
    expect(second?.pid).toBe(first?.pid);
    const from = kpx.brokerLog.lines.length;
    const killed = performance.now();
    process.kill(Number(first?.pid), 'SIGKILL');
    await kpx.brokerLog.line({ user: 'alice', state: 'backoff' }, { from });
    expect(performance.now() - killed).toBeLessThan(1_000);
    await publish(kpx, jobOf('alice', 'a3'));
    const [, , third] = await jobsDone(kpx, 'alice', 3);
    expect(third?.pid).not.toBe(first?.pid);
  });

  it('that end by themselves when idle are started again by the next job', async () => {
    const kpx = await startKpx({ standIn: { BOOT_MS: '50', IDLE_MS: '300' } });
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
    await kpx.brokerLog.line({ user: 'alice', state: 'idle' });
    await publish(kpx, jobOf('alice', 'a2'));
    await jobsDone(kpx, 'alice', 2);
  });

  it('that were running before the broker started are taken up by it', async () => {
    const kpx = await startKpx({ standIn: { BOOT_MS: '50' } });
    await publish(kpx, jobOf('alice', 'a1'));
    const [first] = await jobsDone(kpx, 'alice', 1);
    expect(await kpx.endBroker()).toBe(0);
    await kpx.startBroker();
    await publish(kpx, jobOf('alice', 'a2'));
    const [, second] = await jobsDone(kpx, 'alice', 2);
    expect(second?.pid).toBe(first?.pid);
    expect(kpx.helperLog.lines.filter(({ outcome }) => outcome !== undefined).length).toBeGreaterThan(0);
  });
});

describe('a busy executor', () => {
  it('gets its jobs in the end, and they do not spin between queue and broker meanwhile', async () => {
    const kpx = await startKpx({ standIn: { BOOT_MS: '50', JOB_MS: '1500', PREFETCH: '1' }, broker: { log: { level: 'debug' } } });
    await publish(kpx, ...['1', '2', '3'].map((job) => jobOf('alice', job)));
    await jobsDone(kpx, 'alice', 3);
    const sent = kpx.brokerLog.lines.filter(({ msg }) => msg === 'job forwarded' || msg === 'job deferred');
    expect(sent.length).toBeGreaterThan(3);
    // An offer has two jobs, and goes after a third of the time for which the executor has been full: some 20 offers for a job of 1.5 s, and twice as
    // many where RabbitMQ is slow to bring one back. A job that spins makes thousands.
    expect(sent.length).toBeLessThan(240);
  });
});
