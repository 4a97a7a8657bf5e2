import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { dirname } from 'node:path';
import { json } from 'node:stream/consumers';
import { describe, expect, it, onTestFinished } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { idsOf, type Kpx } from '../fixtures/kpx.js';
import { installKpx, jobsDone, publish, runKpxctl, startKpx } from './installed-kpx.js';

const QUICK = { BOOT_MS: '50' };
const ADMIN_GROUP = 'kpx-admin';

interface Answer {
  readonly status: number | undefined;
  readonly body: Record<string, unknown>;
}

async function ask({ controlSocket: socketPath }: Kpx, method: 'GET' | 'POST', path: string, body = ''): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const asked = request({ socketPath, method, path, agent: false, headers: { 'content-length': body.length } }, (response) => {
      json(response).then((answer) => resolve({ status: response.statusCode, body: answer as Record<string, unknown> }), reject);
    });
    asked.once('error', reject);
    asked.end(body);
  });
}

const tell = (kpx: Kpx, path: string) => ask(kpx, 'POST', path);

describe('GET /status', () => {
  it('has executors, users and why their jobs wait, capacity, the policy in force, and recent decisions in words', async () => {
    const kpx = await startKpx({ standIn: QUICK, broker: { policy: { max_executors: 1, deny: ['mallory'] } } });
    await publish(kpx, jobOf('alice', 'a1'));
    const [done] = await jobsDone(kpx, 'alice', 1);
    await publish(kpx, jobOf('bob', 'b1'), jobOf('mallory', 'm1'));
    await kpx.brokerLog.line({ user: 'mallory', msg: 'job parked' });
    await expect.poll(async () => (await ask(kpx, 'GET', '/status')).body.capacity).toMatchObject({ held: 1 });
    const { status, body } = await ask(kpx, 'GET', '/status');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      draining: false,
      rabbitmq: { connected: true },
      helper: { connected: true },
      capacity: { executors: 1, max_executors: 1, starting: 0, max_starting: 4, held: 1, held_max: 512, waiting: 1 },
      policy: { max_executors: 1, deny: ['mallory'] },
      executors: [{ os_user: 'alice', uid: idsOf('alice').uid, pid: done?.pid, user: 'alice', state: 'ready' }],
      users: [
        { user: 'alice', state: 'ready', held: 0, decision: 'forward' },
        { user: 'bob', state: 'queued', held: 1, decision: 'wait', why: '1 of 1 executors run (max_executors)' },
      ],
    });
    const decisions = (body.decisions as { at: string; user: string; what: string }[]).map(({ user, what }) => `${user}: ${what}`);
    expect(decisions).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^alice: an executor is started, profile "default": 1 of 1 executors/),
        expect.stringMatching(/^alice: ready: uid \d+, pid \d+$/),
        'bob: queued: 1 of 1 executors run (max_executors)',
        'mallory: a job is parked: USER_DENIED: "mallory" is in policy.deny',
      ]),
    );
  });
});

describe('GET /user', () => {
  it('has state, executor, limits, jobs and history of one user, and the same of one who was never heard of', async () => {
    const kpx = await startKpx({ standIn: QUICK });
    await publish(kpx, jobOf('alice', 'a1'));
    const [done] = await jobsDone(kpx, 'alice', 1);
    const { uid } = idsOf('alice');
    expect((await ask(kpx, 'GET', '/user?user=alice')).body).toMatchObject({
      ...{ user: 'alice', state: 'ready', decision: 'forward', account: { os_user: 'alice', uid } },
      process: { os_user: 'alice', uid, pid: done?.pid, state: 'ready', since: expect.any(String) },
      limits: { held: 256, start_attempts: 5, priority: 0, max_executors_of_rule: null, idle_stop: null, job_max_age: null },
      changes: [{ state: 'queued' }, { state: 'starting' }, { state: 'booting' }, { state: 'ready', why: `uid ${uid}, pid ${done?.pid}` }],
    });
    expect((await ask(kpx, 'GET', '/user?user=carol')).body).toMatchObject({
      ...{ user: 'carol', state: 'idle', since: null, process: null, account: null, changes: [], failures: [], last_parked: null },
      jobs: { held: 0, forwarded: 0, deferred: 0, parked: 0 },
    });
  });
});

describe('POST', () => {
  it('/drain starts nothing any more, /resume starts what has waited', async () => {
    const kpx = await startKpx({ standIn: QUICK });
    expect(await tell(kpx, '/drain')).toEqual({ status: 200, body: { draining: true } });
    await publish(kpx, jobOf('alice', 'a1'));
    await expect.poll(async () => (await ask(kpx, 'GET', '/explain?user=alice')).body).toMatchObject({ state: 'queued' });
    expect(kpx.helperLog.lines.filter(({ verb }) => verb === 'spawnExecutor')).toEqual([]);
    expect(await tell(kpx, '/resume')).toEqual({ status: 200, body: { draining: false } });
    await jobsDone(kpx, 'alice', 1);
  });

  it('/reload tells what has changed, or why it is refused', async () => {
    const kpx = await startKpx({ broker: { policy: { max_executors: 1 } } });
    kpx.configureBroker({ policy: { max_executors: 2 }, helper: { socket: '/run/elsewhere.sock' } });
    expect(await tell(kpx, '/reload')).toEqual({
      status: 200,
      body: { changed: [expect.stringContaining('helper.socket: '), 'policy.max_executors: 1 -> 2'], restart: ['helper'], reasons: [] },
    });
    writeFileSync(kpx.brokerConfigFile, '[policy]\nmax_executers = 3\n');
    expect(await tell(kpx, '/reload')).toMatchObject({
      status: 422,
      body: { error: expect.stringContaining('did you mean "max_executors"?') },
    });
    expect((await ask(kpx, 'GET', '/status')).body).toMatchObject({ policy: { max_executors: 2 } });
  });

  it('/start starts an executor without a job, and one that the policy tries no more', async () => {
    const kpx = await startKpx({ standIn: QUICK, broker: { policy: { start_attempts: 1, backoff_max: '5m', deny: ['mallory'] } } });
    expect(await tell(kpx, '/start?user=alice')).toMatchObject({ status: 200, body: { user: 'alice', state: 'starting' } });
    await kpx.brokerLog.line({ user: 'alice', state: 'ready' });
    await publish(kpx, jobOf('nobody-has-this-account', 'n1'));
    await kpx.brokerLog.line({ user: 'nobody-has-this-account', state: 'broken' });
    const from = kpx.brokerLog.lines.length;
    expect(await tell(kpx, '/start?user=nobody-has-this-account')).toMatchObject({ status: 200, body: { state: 'starting' } });
    await kpx.brokerLog.line({ user: 'nobody-has-this-account', state: 'broken' }, { from });
    expect(await tell(kpx, '/start?user=mallory')).toMatchObject({
      status: 200,
      body: { decision: 'park', why: 'USER_DENIED: "mallory" is in policy.deny' },
    });
    expect(kpx.helperLog.lines.filter(({ os_user }) => os_user === 'mallory')).toEqual([]);
  });

  it.each(['graceful', 'kill'])('/stop ends an executor (%s), and the next job starts another', async (mode) => {
    const kpx = await startKpx({ standIn: QUICK });
    await publish(kpx, jobOf('alice', 'a1'));
    const [first] = await jobsDone(kpx, 'alice', 1);
    expect(await tell(kpx, `/stop?user=alice&mode=${mode}`)).toMatchObject({ status: 200, body: { why: 'the executor is ending' } });
    await expect
      .poll(() => tell(kpx, '/stop?user=alice'))
      .toEqual({
        status: 409,
        body: { error: 'there is no executor of "alice" on this host' },
      });
    await publish(kpx, jobOf('alice', 'a2'));
    const [, second] = await jobsDone(kpx, 'alice', 2);
    expect(second?.pid).not.toBe(first?.pid);
  });
});

describe('what is asked otherwise', () => {
  it('is refused with what was expected, and changes nothing', async () => {
    const kpx = await startKpx();
    const status = async (method: 'GET' | 'POST', path: string, body = '') => (await ask(kpx, method, path, body)).status;
    for (const path of ['/drain', '/resume', '/reload', '/start?user=alice', '/stop?user=alice'])
      expect(await status('GET', path)).toBe(405);
    for (const path of ['/drain?now=1', '/start', '/start?user=a%20%20b', '/start?user=alice&user=bob', '/start?user=alice&mode=kill'])
      expect([path, await status('POST', path)]).toEqual([path, 400]);
    for (const path of ['/user', '/user?user=a%20%20b', '/user?user=alice&user=bob']) expect(await status('GET', path)).toBe(400);
    expect(await status('POST', '/user?user=alice')).toBe(405);
    for (const path of ['/stop?user=alice&mode=hard', '/stop?mode=kill']) expect(await status('POST', path)).toBe(400);
    expect(await status('POST', '/drain', '{}')).toBe(413);
    expect((await ask(kpx, 'POST', '/stop?user=alice&mode=hard')).body).toEqual({
      error: expect.stringMatching(/^mode: .*graceful.*kill/),
    });
    expect((await ask(kpx, 'GET', '/status')).body).toMatchObject({ draining: false, executors: [], users: [] });
  });
});

describe('who may ask', () => {
  it('is root and the broker’s account, and with the group kpx-admin whoever is in it', async () => {
    const alone = await startKpx();
    expect(statSync(alone.controlSocket)).toMatchObject({ mode: 0o140600, uid: idsOf('kpx-broker').uid });
    const gid = () => Number(execFileSync('/usr/bin/getent', ['group', ADMIN_GROUP], { encoding: 'utf8' }).split(':')[2]);
    execFileSync('/usr/sbin/groupadd', [ADMIN_GROUP]);
    onTestFinished(() => void execFileSync('/usr/sbin/groupdel', [ADMIN_GROUP]));
    const kpx = await installKpx();
    chownSync(dirname(kpx.controlSocket), idsOf('kpx-broker').uid, gid());
    chmodSync(dirname(kpx.controlSocket), 0o2710); // as in systemd/kpx.tmpfiles
    await kpx.start();
    expect(statSync(kpx.controlSocket)).toMatchObject({ mode: 0o140660, gid: gid() });
    writeFileSync(`${kpx.etc}/public.toml`, `[control]\nsocket = "${kpx.controlSocket}"\n`, { mode: 0o644 });
    const asBob = async (group: number) =>
      await runKpxctl(['explain', 'alice', '--config', `${kpx.etc}/public.toml`], { ...idsOf('bob'), gid: group });
    expect(await asBob(gid())).toMatchObject({ code: 0 });
    expect(await asBob(idsOf('bob').gid)).toMatchObject({ code: 69, stderr: expect.stringContaining('no permission') });
  });
});
