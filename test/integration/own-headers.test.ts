import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { describe, expect, it } from 'vitest';
import { withChannel } from '../fixtures/amqp.js';
import { eventually } from '../fixtures/eventually.js';
import { drainQueue, jobOf, type TestJob } from '../fixtures/jobs.js';
import { type Kpx, MAC_KEY } from '../fixtures/kpx.js';
import { deadLetters, explain, installKpx, jobsDone, publish, runBroker, runKpxctl, startKpx } from './installed-kpx.js';

/* Headers of kpx's own, x-kpx-…, count only where a broker has written them: everybody who may publish a job may write any header. */

const QUICK = { BOOT_MS: '50' };
const DEBUG = { log: { level: 'debug' } };
const FORGED = {
  'x-kpx-hops': 50,
  'x-kpx-seen-at': 1_000,
  'x-kpx-expiration': '1',
  'x-kpx-user-id': 'root',
  'x-kpx-replayed-at': '2026-01-01T00:00:00.000Z',
  'x-kpx-handed-back': 360,
  'x-kpx-failed-on': 'one two three four five six seven',
  'x-kpx-reason': 'USER_DENIED',
  'x-kpx-other': true,
  'x-kpx-mac': 'A'.repeat(44),
};
const NOT_WRITTEN_BY_KPX = { msg: 'headers that kpx has not written count as absent, and are removed from this job' };

const forged = (user: string, job: string, headers: Record<string, unknown> = FORGED): TestJob => ({ ...jobOf(user, job), headers });

interface Done {
  readonly job: string;
  readonly pid: number;
  readonly headers: Record<string, unknown>;
}
const done = async (kpx: Kpx, user: string, count: number) => (await jobsDone(kpx, user, count)) as unknown as Done[];

const listed = async (kpx: Kpx): Promise<Record<'id' | 'job' | 'reason' | 'verified', string>[]> => {
  const { code, stdout } = await runKpxctl(['dead-letters', 'list', '--json', '--config', kpx.brokerConfigFile]);
  expect(code).toBe(0);
  return stdout
    .split('\n')
    .filter((line: string) => line !== '')
    .map((line: string) => JSON.parse(line));
};

describe('headers that no broker has written', () => {
  it('change nothing, and are removed from the job that an executor gets', async () => {
    const kpx = await startKpx({ standIn: QUICK, broker: { policy: { job_max_age: '1h' } } });
    const from = Date.now();
    await publish(kpx, forged('alice', 'a1', { ...FORGED, theirs: 1 }));
    const [job] = await done(kpx, 'alice', 1);
    expect(Object.keys(job?.headers ?? {}).sort()).toEqual([
      ...['canHandle', 'theirs', 'x-kpx-hops', 'x-kpx-id', 'x-kpx-mac', 'x-kpx-ref', 'x-kpx-seen-at'],
    ]);
    expect(job?.headers.theirs).toBe(1);
    expect(job?.headers['x-kpx-hops']).toBeLessThan(10);
    expect(Number(job?.headers['x-kpx-seen-at'])).toBeGreaterThanOrEqual(from);
    await kpx.brokerLog.line(NOT_WRITTEN_BY_KPX);
  });

  it('of another job are no better: they hold for its body alone', async () => {
    const kpx = await startKpx({ standIn: QUICK });
    await publish(kpx, jobOf('alice', 'a1'));
    const [job] = await done(kpx, 'alice', 1);
    const { canHandle: _, ...own } = job?.headers ?? {};
    await publish(kpx, forged('alice', 'a2', own), forged('alice', 'a1', own));
    const [, other, same] = await done(kpx, 'alice', 3);
    const firstSeen = Number(own['x-kpx-seen-at']);
    const seen = new Map([other, same].map((job) => [job?.job, Number(job?.headers['x-kpx-seen-at'])]));
    expect(seen.get('a2')).toBeGreaterThan(firstSeen);
    expect(seen.get('a1')).toBe(firstSeen);
  });

  it('do not have a job parked as one that all hosts have failed', async () => {
    const kpx = await installKpx({ broker: { ...DEBUG, policy: { rule: [{ name: 'analysts', groups: ['root'] }] } } });
    await kpx.startHelper();
    await kpx.startBroker({ wrap: kpx.inPlaceOf('/usr/bin/id', 'exit 1') });
    await publish(kpx, forged('alice', 'a1'));
    const queue = 'kpx.delay.knime-jobs.2000ms';
    await eventually('it waits', async () => (await kpx.vhost.queueDepth(queue))?.messages === 1);
    const [job] = await drainQueue(kpx.vhost.url('admin'), queue);
    expect(job?.headers).toMatchObject({ 'x-kpx-handed-back': 1, 'x-kpx-failed-on': hostname() });
    expect(Object.keys(job?.headers ?? {}).filter((name) => ['x-kpx-reason', 'x-kpx-other'].includes(name))).toEqual([]);
  });

  it('do not have a user tried at once whose start has just failed', async () => {
    const kpx = await startKpx({
      helper: { executor: { command: ['/usr/bin/false'] } },
      broker: { policy: { backoff_initial: '5m' } },
    });
    await publish(kpx, jobOf('alice', 'a1'));
    await kpx.brokerLog.line({ user: 'alice', state: 'backoff' });
    await publish(kpx, forged('alice', 'a2', { 'x-kpx-replayed-at': '2026-01-01T00:00:00.000Z' }));
    await eventually('the second job is held', async () => (await explain(kpx, 'alice')).held === 2);
    expect(kpx.helperLog.lines.filter(({ event, verb }) => event === 'request' && verb === 'spawnExecutor')).toHaveLength(1);
  });
});

it('a job that waits, is replayed and is given back by being published anew keeps what kpx knows of it, and costs nobody their channel', async () => {
  const kpx = await startKpx({ standIn: { ...QUICK, GIVE_BACK: 'republish' }, broker: { jobs: { held_per_user: 1 } } });
  const sender = kpx.vhost.server.users.publisher.name;
  const sent = (user: string, job: string): TestJob => {
    const { properties, ...rest } = jobOf(user, job);
    return { ...rest, properties: { ...properties, userId: sender } };
  };
  mkdirSync(`${kpx.workspaces}/alice`); // root's: the helper refuses alice
  const users = ['alice', 'bob', 'carol', 'dave'];
  await publish(kpx, ...users.flatMap((user) => [1, 2, 3, 4].map((number) => sent(user, `${user}-${number}`))));
  await eventually('the jobs of alice are parked', () => kpx.brokerLog.lines.filter(({ msg }) => msg === 'job parked').length === 4);
  rmdirSync(`${kpx.workspaces}/alice`);
  const replay = await runKpxctl(['dead-letters', 'replay', '--all', '--config', kpx.brokerConfigFile]);
  expect(replay).toMatchObject({ code: 0, stdout: expect.stringMatching(/Replayed: 4 of 4 dead letters\.\n$/) });
  for (const user of users) {
    const jobs = await done(kpx, user, 4);
    expect(new Set(jobs.map(({ job }) => job))).toEqual(new Set([1, 2, 3, 4].map((number) => `${user}-${number}`)));
    expect(new Set(jobs.map(({ pid }) => pid)).size).toBe(1);
    for (const { headers } of jobs) expect(headers).toMatchObject({ 'x-kpx-user-id': sender, 'x-kpx-mac': expect.any(String) });
    expect(jobs.every(({ headers }) => (headers['x-kpx-replayed-at'] !== undefined) === (user === 'alice'))).toBe(true);
  }
  expect(kpx.brokerLog.lines.filter(({ msg }) => msg === NOT_WRITTEN_BY_KPX.msg)).toEqual([]);
});

describe('a dead letter', () => {
  it('is marked where no broker has parked it, and is replayed without what it says of itself', async () => {
    const kpx = await startKpx({ standIn: QUICK, broker: { policy: { deny: ['mallory'] } } });
    const large = { body: Buffer.alloc(1024 * 1024 + 1), properties: { messageId: 'large' } };
    await publish(kpx, forged('mallory', 'm1'), large);
    await eventually('two letters', async () => (await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages === 2);
    const { 'x-kpx-mac': _, ...parked } = FORGED;
    await withChannel(kpx.vhost.url('admin'), async (channel) => {
      channel.sendToQueue('kpx.dead-letter', Buffer.from(JSON.stringify(jobOf('alice', 'a1').body)), { headers: parked, messageId: 'a1' });
      await channel.waitForConfirms();
    });
    const letters = await listed(kpx);
    expect(new Map(letters.map(({ job, reason, verified }) => [job, `${reason} ${verified}`]))).toEqual(
      new Map([...[['m1', 'USER_DENIED true'] as const], ['large', 'BODY_TOO_LARGE true'], ['a1', 'USER_DENIED false']]),
    );
    const list = await runKpxctl(['dead-letters', 'list', '--config', kpx.brokerConfigFile]);
    expect(list.stdout.match(/USER_DENIED \(unverified\)/g)).toHaveLength(1);
    const { id = '' } = letters.find(({ job }) => job === 'a1') ?? {};
    expect(await runKpxctl(['dead-letters', 'replay', id, '--config', kpx.brokerConfigFile])).toMatchObject({ code: 0 });
    const [job] = await done(kpx, 'alice', 1);
    expect(Object.keys(job?.headers ?? {}).sort()).toEqual([
      ...['canHandle', 'x-kpx-hops', 'x-kpx-id', 'x-kpx-mac', 'x-kpx-ref', 'x-kpx-replayed-at', 'x-kpx-seen-at'],
    ]);
    const rest = await deadLetters(kpx, 2);
    expect(rest.flatMap(({ headers }) => ['x-kpx-user-id', 'x-kpx-other', 'x-kpx-hops'].filter((name) => name in headers))).toEqual([]);
    // The large one was parked while it came in.
    for (const { headers, properties } of rest) {
      const { stdout } = await runKpxctl(['job', String(headers['x-kpx-id']), '--json', '--config', kpx.brokerConfigFile]);
      expect(JSON.parse(stdout)).toMatchObject({ jobs: [{ message_id: properties.messageId }] });
    }
  });
});

describe('the key', () => {
  it.each([
    [
      'is missing',
      undefined,
      /job-mac-key-wrong: there is no such file\. It has the key of kpx's own headers; .*copy it from another host/,
    ],
    ['is too short', Buffer.alloc(31), /job-mac-key-wrong: has 31 bytes: expected 32, or 64/],
    ['is in hex', Buffer.alloc(65, 'a'), /job-mac-key-wrong: has 65 bytes/],
  ])('that %s ends the broker and --check with what to do', async (_, content, message) => {
    const kpx = await installKpx();
    const file = `${kpx.etc}/job-mac-key-wrong`;
    if (content) writeFileSync(file, content, { mode: 0o644 });
    kpx.configureBroker({ jobs: { mac_key_file: file } });
    const config = ['--config', kpx.brokerConfigFile];
    expect(await runBroker(config)).toMatchObject({ code: 78, stderr: expect.stringMatching(message) });
    expect(await runBroker([...config, '--check'])).toMatchObject({ code: 78, stderr: expect.stringMatching(message) });
  });

  it('is in no line of the log, and another one takes effect with a reload, with both for as long as they are exchanged', async () => {
    const kpx = await startKpx({ standIn: QUICK, broker: { log: { level: 'trace' } } });
    await publish(kpx, jobOf('alice', 'a1'));
    const [job] = await done(kpx, 'alice', 1);
    const { canHandle: _, ...own } = job?.headers ?? {};
    const [key, both] = [`${kpx.etc}/job-mac-key-2`, `${kpx.etc}/job-mac-key-3`];
    writeFileSync(both, Buffer.concat([Buffer.alloc(32, 'new'), MAC_KEY]), { mode: 0o644 });
    writeFileSync(key, Buffer.alloc(32, 'new'), { mode: 0o644 });
    await kpx.reload({ jobs: { mac_key_file: both } });
    await publish(kpx, forged('alice', 'a1', own));
    expect((await done(kpx, 'alice', 2)).at(-1)?.headers['x-kpx-seen-at']).toBe(own['x-kpx-seen-at']);
    await kpx.reload({ jobs: { mac_key_file: key } });
    await publish(kpx, forged('alice', 'a1', own));
    expect((await done(kpx, 'alice', 3)).at(-1)?.headers['x-kpx-seen-at']).not.toBe(own['x-kpx-seen-at']);
    const said = kpx.brokerLog.lines.map((line) => JSON.stringify(line)).join('\n');
    for (const written of ['utf8', 'base64', 'hex'] as const) expect(said).not.toContain(MAC_KEY.toString(written).slice(0, 16));
  });
});
