import { describe, expect, it } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { rawAccounts } from './installed-helper.js';
import { deadLetters, installKpx, jobsDone, publish, startKpx } from './installed-kpx.js';

const raw = (body: string | Buffer) => ({ body: Buffer.from(body) });
const TEN_MB = 10 * 1024 * 1024;

describe('a job that cannot be run is parked once, readable, with its reason', () => {
  it('whatever is wrong with it, while the jobs of others go on', async () => {
    const kpx = await startKpx({
      helper: { accounts: { denied_users: ['carol'] } },
      broker: { policy: { deny: ['mallory'], start_attempts: 2, backoff_initial: '100ms' } },
      standIn: { BOOT_MS: '50' },
    });
    const cases: [body: string | Buffer, reason: string][] = [
      ['{"user": "alice"', 'BODY_NOT_JSON'],
      [Buffer.from([0xff, 0xfe, 0x00]), 'BODY_NOT_JSON'],
      ['{"job": 1}', 'USER_MISSING'],
      ['{"user": 7}', 'USER_NOT_A_STRING'],
      ['{"user": "0"}', 'USER_NAME_INVALID'],
      ['{"user": "../x"}', 'USER_NAME_INVALID'],
      ['{"user": "a\'b"}', 'USER_NAME_INVALID'],
      ['{"user": "Mu\u0308ller"}', 'USER_NAME_INVALID'],
      ['{"user": "a;rm -rf"}', 'ACCOUNT_DENIED'],
      ['{"user": "Anna Müller"}', 'ACCOUNT_DENIED'],
      ['{"user": "root"}', 'ACCOUNT_DENIED'],
      ['{"user": "ROOT"}', 'ACCOUNT_DENIED'],
      ['{"user": "lowuid"}', 'ACCOUNT_DENIED'],
      ['{"user": "carol"}', 'ACCOUNT_DENIED'],
      ['{"user": "nobody-knows-me"}', 'START_FAILED'],
      ['{"user": "mallory"}', 'USER_DENIED'],
    ];
    await publish(kpx, ...cases.map(([body]) => raw(body)), raw(Buffer.alloc(TEN_MB, ' ')), jobOf('alice', 'good'));
    await jobsDone(kpx, 'alice', 1);
    const parked = await deadLetters(kpx, cases.length + 1);
    const reasonOf = new Map(parked.map(({ body, headers }) => [body.toString('latin1'), headers['x-kpx-reason']]));
    for (const [body, reason] of cases) expect([body, reasonOf.get(Buffer.from(body).toString('latin1'))]).toEqual([body, reason]);
    expect(reasonOf.get(Buffer.alloc(TEN_MB, ' ').toString('latin1'))).toBe('BODY_TOO_LARGE');
    expect(parked.length).toBe(cases.length + 1);
    for (const { headers } of parked) expect(String(headers['x-kpx-detail']).length).toBeGreaterThan(10);
    expect(await kpx.vhost.queueDepth('knime-jobs')).toMatchObject({ messages: 0 });
  });

  it('keeps its own properties and headers', async () => {
    const kpx = await startKpx();
    await publish(kpx, {
      ...raw('nonsense'),
      headers: { theirs: 1 },
      properties: { messageId: 'm', correlationId: 'c', expiration: '100' },
    });
    const [parked] = await deadLetters(kpx, 1);
    expect(parked).toMatchObject({ text: 'nonsense', headers: { theirs: 1, 'x-kpx-expiration': '100' } });
    expect(parked?.properties).toMatchObject({ messageId: 'm', correlationId: 'c' });
  });
});

describe('what is merely unusual is no error', () => {
  it('runs a job without any header or property, and one of exactly 1 MiB', async () => {
    const kpx = await startKpx({ standIn: { BOOT_MS: '50' } });
    const body = `{"user":"alice","job":"big","pad":"${'x'.repeat(1024 * 1024 - 37)}"}`;
    expect(Buffer.byteLength(body)).toBe(1024 * 1024);
    await publish(kpx, raw('{"user":"alice","job":"bare"}'), raw(body));
    const done = await jobsDone(kpx, 'alice', 2);
    expect(new Set(done.map(({ job }) => job))).toEqual(new Set(['bare', 'big']));
  });

  it('runs the job of a user who is written in capitals', async () => {
    const kpx = await startKpx({ standIn: { BOOT_MS: '50' } });
    await publish(kpx, jobOf('Alice', 'capital'));
    expect((await jobsDone(kpx, 'alice', 1))[0]).toMatchObject({ job: 'capital' });
  });
});

describe('an account that is not there', () => {
  it('is looked for again: a name service that is being restarted costs no job', async () => {
    const kpx = await startKpx({ standIn: { BOOT_MS: '50' }, broker: { policy: { backoff_initial: '200ms' } } });
    await publish(kpx, jobOf('latecomer', 'l1'));
    await kpx.brokerLog.line({ user: 'latecomer', state: 'backoff' });
    rawAccounts().account('latecomer');
    expect((await jobsDone(kpx, 'latecomer', 1))[0]).toMatchObject({ job: 'l1' });
  });

  it('after start_attempts is the reason of the parked jobs', async () => {
    const kpx = await startKpx({ broker: { policy: { start_attempts: 2, backoff_initial: '100ms' } } });
    await publish(kpx, jobOf('nobody-knows-me', 'n1'));
    const [parked] = await deadLetters(kpx, 1);
    expect(parked?.headers).toMatchObject({
      'x-kpx-reason': 'START_FAILED',
      'x-kpx-detail': expect.stringContaining('ACCOUNT_UNKNOWN: there is no account "nobody-knows-me" on this machine'),
    });
  });
});

describe('an executor that does not start', () => {
  it('is tried start_attempts times with growing waits, then the jobs are parked and the helper’s reason with them', async () => {
    const kpx = await startKpx({
      standIn: { FAIL: '3' },
      broker: { policy: { start_attempts: 3, backoff_initial: '100ms', backoff_max: '1m' } },
    });
    await publish(kpx, jobOf('alice', 'a1'), jobOf('alice', 'a2'));
    const parked = await deadLetters(kpx, 2);
    for (const { headers } of parked) {
      expect(headers).toMatchObject({ 'x-kpx-reason': 'START_FAILED' });
      expect(headers['x-kpx-detail']).toMatch(/3 starts failed.*exit 3/);
    }
    expect(kpx.helperLog.lines.filter(({ event }) => event === 'executor ended').length).toBe(3);
  });

  it('of one user does not keep others waiting', async () => {
    const kpx = await startKpx({ standIn: { BOOT_MS: '50', BOOT_MS_carol: '60000' } });
    await publish(kpx, ...Array.from({ length: 300 }, (_, count) => jobOf('carol', `c${count}`)), jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
  });
});

describe('limits of the policy', () => {
  it('keeps to max_executors: the job of one more user waits until there is room', async () => {
    const kpx = await startKpx({
      standIn: { BOOT_MS: '50', IDLE_MS_alice: '1500' },
      broker: { policy: { max_executors: 1 }, log: { level: 'debug' } },
    });
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
    await publish(kpx, jobOf('bob', 'b1'), jobOf('bob', 'b2'));
    // The first job keeps the place in line; the others wait in a delay queue.
    await kpx.brokerLog.line({ user: 'bob', state: 'queued', reason: '1 of 1 executors run (max_executors)' });
    await kpx.brokerLog.line({ user: 'bob', msg: 'job deferred', reason: '1 of 1 executors run (max_executors)' });
    expect((await jobsDone(kpx, 'bob', 2)).map(({ job }) => job)).toEqual(['b1', 'b2']);
    expect(kpx.helperLog.lines.find(({ os_user, event }) => os_user === 'alice' && event === 'executor ended')).toBeDefined();
  });

  it('starts one after the other when max_starting is 1', async () => {
    const kpx = await startKpx({ standIn: { BOOT_MS: '300' }, broker: { policy: { max_starting: 1 } } });
    await publish(kpx, jobOf('alice', 'a'), jobOf('bob', 'b'), jobOf('carol', 'c'));
    for (const user of ['alice', 'bob', 'carol']) await jobsDone(kpx, user, 1);
    const states = kpx.brokerLog.lines.filter(({ state }) => state === 'booting' || state === 'ready').map(({ state }) => state);
    expect(states).toEqual(['booting', 'ready', 'booting', 'ready', 'booting', 'ready']);
  });
});

describe('secrets', () => {
  it('are in no log of either program and in no argument of any process', async () => {
    const kpx = await installKpx({ standIn: { BOOT_MS: '50' }, broker: { log: { level: 'trace' } } });
    await kpx.start();
    await publish(kpx, jobOf('alice', 'a1'), raw('{'));
    const [{ pid } = { pid: 0 }] = await jobsDone(kpx, 'alice', 1);
    const { readFileSync } = await import('node:fs');
    const argvs = [pid, kpx.helper?.pid, kpx.broker?.pid].map((id) => readFileSync(`/proc/${id}/cmdline`, 'utf8'));
    const said = [kpx.brokerLog, kpx.helperLog].flatMap(({ lines, stderr }) => [JSON.stringify(lines), stderr]);
    for (const role of ['broker', 'executor'] as const) {
      for (const text of [...argvs, ...said]) expect(text).not.toContain(kpx.vhost.server.users[role].password);
    }
  });
});
