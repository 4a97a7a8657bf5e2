import { createHash } from 'node:crypto';
import { mkdirSync, rmdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { isAtLeast } from '../../packages/broker/src/amqp/job-queue.js';
import { bytes, EVERY_TYPE, type Field, propertyBytes, table, text } from '../../packages/broker/test-fixtures/wire.js';
import { openConnection, withChannel } from '../fixtures/amqp.js';
import { withSocket } from '../fixtures/amqp-socket.js';
import { eventually } from '../fixtures/eventually.js';
import { publishJobs, type TestJob } from '../fixtures/jobs.js';
import { KNIME_EXCHANGE, KNIME_ROUTING_KEY } from '../fixtures/knime/topology.js';
import type { Kpx } from '../fixtures/kpx.js';
import { noise, publishLarge, takeLarge } from '../fixtures/large-jobs.js';
import { LEAST_PERMISSIONS } from '../fixtures/rabbitmq-access.js';
import { deadLetters, explain, installKpx, jobsDone, publish, runKpxctl, startKpx } from './installed-kpx.js';

/* jobs.user_from: the user of a job is in a header, or is the one of RabbitMQ that has published it. Nothing is read of the body. */

const HEADER = 'submitter';
const QUICK = { BOOT_MS: '50' };
const IN_HEADER = { standIn: { ...QUICK, USER_HEADER: HEADER }, broker: { jobs: { user_from: `header:${HEADER}` } } };
const IN_USER_ID = { standIn: { ...QUICK, USER_HEADER: 'x-kpx-user-id' }, broker: { jobs: { user_from: 'property:user_id' } } };
const MIB = 1024 * 1024;
const PASSWORD = 'of-a-publisher-in-tests';

/** Bodies that are no JSON, and one that names somebody else. */
const BODIES: [name: string, body: Buffer][] = [
  ['empty', Buffer.alloc(0)],
  ['binary', Buffer.from([0xff, 0x00, 0x7b, 0x80])],
  ['text', Buffer.from('user = bob')],
  ['of another', Buffer.from('{"user":"bob"}')],
  ['large', Buffer.alloc(MIB, 0xfe)],
];

const opaque = (job: string, body: Buffer, headers: Record<string, unknown>, properties: TestJob['properties'] = {}): TestJob => ({
  body,
  headers,
  properties: { messageId: job, contentType: 'application/octet-stream', ...properties },
});
const sha256 = (body: Buffer) => createHash('sha256').update(body).digest('hex');

const listed = async (kpx: Kpx): Promise<Record<'id' | 'user' | 'user_from' | 'job' | 'reason', string | null>[]> => {
  const { code, stdout } = await runKpxctl(['dead-letters', 'list', '--json', '--config', kpx.brokerConfigFile]);
  expect(code).toBe(0);
  return stdout
    .split('\n')
    .filter((line: string) => line !== '')
    .map((line: string) => JSON.parse(line));
};

/** How the user of RabbitMQ with this name publishes, who is there for this test. */
async function publisherUrl(kpx: Kpx, name: string): Promise<string> {
  const { server, vhost } = kpx.vhost;
  await server.api('PUT', `users/${name}`, { password: PASSWORD, tags: '' });
  await server.api('PUT', `permissions/${encodeURIComponent(vhost)}/${name}`, LEAST_PERMISSIONS.publisher);
  const url = new URL(kpx.vhost.url('publisher'));
  Object.assign(url, { username: name, password: PASSWORD });
  return url.href;
}

/** Makes the helper refuse an account, until the answer is called. */
function refuse(kpx: Kpx, osUser: string): () => void {
  const directory = `${kpx.workspaces}/${osUser}`; // root's
  mkdirSync(directory);
  return () => rmdirSync(directory);
}

describe('the user in a header', () => {
  it('gets jobs with any body up to 1 MiB, unchanged', async () => {
    const kpx = await startKpx(IN_HEADER);
    await publish(kpx, ...BODIES.map(([job, body]) => opaque(job, body, { [HEADER]: 'alice' })));
    const done = (await jobsDone(kpx, 'alice', BODIES.length)) as unknown as { job: string; bodySha256: string }[];
    expect(new Map(done.map(({ job, bodySha256 }) => [job, bodySha256]))).toEqual(
      new Map(BODIES.map(([job, body]) => [job, sha256(body)])),
    );
    expect(kpx.done('bob')).toEqual([]);
  });

  it('is read in no other way than as text that is there once: all else is parked with its reason, and the jobs of others go on', async () => {
    const kpx = await startKpx(IN_HEADER);
    const submitter = (value: string): Field => [HEADER, 'S', text(value)];
    const wrong: [job: string, reason: string, headers: Field[]][] = [
      ['absent', 'USER_MISSING', []],
      ['by another case', 'USER_MISSING', [['Submitter', 'S', text('alice')]]],
      ['twice', 'USER_AMBIGUOUS', [submitter('alice'), submitter('alice')]],
      ['twice, and bob', 'USER_AMBIGUOUS', [submitter('alice'), submitter('bob')]],
      ['a path', 'USER_NAME_INVALID', [submitter('../alice')]],
      ['no UTF-8', 'USER_NAME_INVALID', [[HEADER, 'S', bytes(0x61, 0xff)]]],
      ['long', 'USER_NAME_INVALID', [submitter('a'.repeat(64 * 1024))]],
      ...EVERY_TYPE.filter(([, tag]) => tag !== 'S').map(([, tag, value], index): (typeof wrong)[number] => {
        return [`type ${tag} ${index}`, 'USER_NOT_A_STRING', [[HEADER, tag, value]]];
      }),
    ];
    await withSocket(kpx.vhost.url('publisher'), async (client) => {
      for (const [job, , headers] of wrong) {
        const properties = propertyBytes({ headers: table(...headers), messageId: job });
        await client.publish(KNIME_EXCHANGE, KNIME_ROUTING_KEY, { properties, body: Buffer.from('{"submitter":"alice"}') });
      }
    });
    await publish(kpx, opaque('good', Buffer.from('x'), { [HEADER]: 'alice' }));
    // RabbitMQ 4 hands on the first of the headers with one name, so nobody sees that there were two.
    const { rabbitmq_version: version } = await kpx.vhost.server.api<{ rabbitmq_version: string }>('GET', 'overview');
    const parked = wrong.filter(([, reason]) => reason !== 'USER_AMBIGUOUS' || !isAtLeast(version, 4, 0));
    const done = 1 + wrong.length - parked.length;
    await jobsDone(kpx, 'alice', done);
    const letters = await deadLetters(kpx, parked.length);
    expect(new Map(letters.map(({ properties, headers }) => [properties.messageId, headers['x-kpx-reason']]))).toEqual(
      new Map(parked.map(([job, reason]) => [job, reason])),
    );
    expect(kpx.done('alice')).toHaveLength(done);
    expect(kpx.done('bob')).toEqual([]);
  });

  it('is shown with dead letters, and stays with them through a replay, delays and being given back', async () => {
    const kpx = await startKpx({
      ...IN_HEADER,
      standIn: { ...IN_HEADER.standIn, GIVE_BACK: 'republish' },
      broker: { jobs: { ...IN_HEADER.broker.jobs, held_per_user: 1 } },
    });
    const allow = refuse(kpx, 'alice');
    const jobs = ['1', '2', '3', '4'];
    await publish(
      kpx,
      ...['alice', 'bob', 'carol'].flatMap((user) => jobs.map((job) => opaque(job, Buffer.from([0xff]), { [HEADER]: user }))),
    );
    await eventually('the jobs of alice are parked', () => kpx.brokerLog.lines.filter(({ msg }) => msg === 'job parked').length === 4);
    expect((await listed(kpx)).map(({ user, reason }) => [user, reason])).toEqual(jobs.map(() => ['alice', 'DIRECTORY_UNSAFE']));
    allow();
    expect(await runKpxctl(['dead-letters', 'replay', '--user', 'alice', '--config', kpx.brokerConfigFile])).toMatchObject({ code: 0 });
    for (const user of ['alice', 'bob', 'carol'])
      expect(new Set((await jobsDone(kpx, user, 4)).map(({ job }) => job))).toEqual(new Set(jobs));
  });

  it('is what explain, doctor and the commands for dead letters go by, and a body is no JSON for them', async () => {
    const kpx = await startKpx(IN_HEADER);
    refuse(kpx, 'alice');
    expect(await explain(kpx, 'alice')).toMatchObject({ user_from: `the header "${HEADER}"` });
    const doctor = await runKpxctl(['doctor', '--json', '--config', kpx.brokerConfigFile, '--helper-config', kpx.configFile]);
    const { checks } = JSON.parse(doctor.stdout) as { checks: { name: string }[] };
    expect(checks.find(({ name }) => name === 'user of a job')).toMatchObject({
      result: 'ok',
      seen: `it is in the header "${HEADER}": whoever may publish a job may write any name`,
    });
    await publish(kpx, opaque('1', Buffer.from('{"user":"bob"}'), { [HEADER]: 'alice' }), opaque('2', Buffer.from([0xff]), {}));
    await eventually('both are parked', async () => (await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages === 2);
    const place = `the header "${HEADER}"`;
    expect((await listed(kpx)).map(({ job, user, user_from }) => [job, user, user_from]).sort()).toEqual([
      ['1', 'alice', place],
      ['2', null, null],
    ]);
    const [letter] = (await listed(kpx)).filter(({ job }) => job === '1');
    const shown = async (...args: string[]) =>
      (await runKpxctl(['dead-letters', 'show', letter?.id ?? '', '--config', kpx.brokerConfigFile, ...args])).stdout as string;
    for (const direct of [[], ['--direct', '--password-file', `${kpx.etc}/amqp-password`]]) {
      const text = await shown(...direct);
      expect(text).toContain(`\n  named in  ${place}\n`);
      expect(text).toMatch(/\nbody, 14 bytes, which kpx does not read\n\{"user":"bob"\}\n$/);
    }
    const drop = (user: string) => runKpxctl(['dead-letters', 'drop', '--user', user, '--yes', '--config', kpx.brokerConfigFile]);
    expect(await drop('bob')).toMatchObject({ code: 66 });
    expect(await drop('alice')).toMatchObject({ code: 0 });
    expect((await listed(kpx)).map(({ job }) => job)).toEqual(['2']);
  });

  it('is another one after a reload', async () => {
    const kpx = await startKpx({ standIn: { ...QUICK, USER_HEADER: HEADER } });
    const job = (name: string) => opaque(name, Buffer.from('{"user":"nobody-knows-me/"}'), { [HEADER]: 'alice' });
    await publish(kpx, job('1'));
    await kpx.brokerLog.line({ msg: 'job parked', reason: 'USER_NAME_INVALID' });
    await kpx.reload(IN_HEADER.broker);
    await publish(kpx, job('2'));
    expect((await jobsDone(kpx, 'alice', 1)).map(({ job }) => job)).toEqual(['2']);
  });
});

describe('the user of RabbitMQ that has published a job', () => {
  it('gets it, whatever its body is, and nobody publishes under the name of another', async () => {
    const kpx = await startKpx(IN_USER_ID);
    const as = { alice: await publisherUrl(kpx, 'alice'), bob: await publisherUrl(kpx, 'bob') };
    const jobs = BODIES.map(([job, body]) => opaque(job, body, { 'x-kpx-user-id': 'bob', user: 'bob' }, { userId: 'alice' }));
    await publishJobs(as.alice, jobs);
    await publishJobs(as.bob, [opaque('of bob', Buffer.from('x'), {}, { userId: 'bob' })]);
    await jobsDone(kpx, 'alice', jobs.length);
    await jobsDone(kpx, 'bob', 1);
    const connection = await openConnection(as.bob);
    const channel = await connection.createConfirmChannel();
    const refused = new Promise<Error>((resolve) => channel.on('error', resolve));
    channel.publish(KNIME_EXCHANGE, KNIME_ROUTING_KEY, Buffer.from('x'), { userId: 'alice' });
    expect((await refused).message).toMatch(/PRECONDITION_FAILED - user_id property set to 'alice' but authenticated user was 'bob'/);
    await connection.close();
    await publishJobs(as.bob, [
      opaque('unsigned', Buffer.from('{"user":"alice"}'), { 'x-kpx-user-id': 'alice', 'x-kpx-mac': 'A'.repeat(44) }),
    ]);
    const [letter] = await deadLetters(kpx, 1);
    expect(letter?.headers).toMatchObject({ 'x-kpx-reason': 'USER_MISSING' });
    expect([kpx.done('alice').length, kpx.done('bob').length]).toEqual([jobs.length, 1]);
  });

  it('keeps it through delays, dead letters, a replay and executors that publish it anew, and nobody loses a channel', async () => {
    const kpx = await startKpx({
      standIn: { ...IN_USER_ID.standIn, GIVE_BACK: 'republish' },
      broker: { jobs: { ...IN_USER_ID.broker.jobs, held_per_user: 1 } },
    });
    const allow = refuse(kpx, 'alice');
    const users = ['alice', 'bob', 'carol'];
    const jobs = ['1', '2', '3', '4'];
    for (const user of users) {
      const url = await publisherUrl(kpx, user);
      await publishJobs(
        url,
        jobs.map((job) => opaque(job, Buffer.from([0xff]), {}, { userId: user })),
      );
    }
    await eventually('the jobs of alice are parked', () => kpx.brokerLog.lines.filter(({ msg }) => msg === 'job parked').length === 4);
    const recorded = 'x-kpx-user-id, where a broker has recorded the property user_id';
    expect((await listed(kpx)).map(({ user, user_from }) => [user, user_from])).toEqual(jobs.map(() => ['alice', recorded]));
    allow();
    expect(await runKpxctl(['dead-letters', 'replay', '--user', 'alice', '--config', kpx.brokerConfigFile])).toMatchObject({ code: 0 });
    for (const user of users) {
      const done = await jobsDone(kpx, user, 4);
      expect(new Set(done.map(({ job }) => job))).toEqual(new Set(jobs));
      expect(new Set(done.map(({ pid }) => pid)).size).toBe(1);
    }
  });
});

it.each([
  ['a header', IN_HEADER, { headers: { [HEADER]: 'alice' } }],
  ['user_id', IN_USER_ID, { userId: 'alice' }],
])('bodies that are too large are parked whole, and their user in %s is listed', { timeout: 120_000 }, async (_, options, properties) => {
  const kpx = await installKpx(options);
  const url = await publisherUrl(kpx, 'alice');
  const body = noise(3 * MIB)();
  await withChannel(url, async (channel) => {
    channel.publish(KNIME_EXCHANGE, KNIME_ROUTING_KEY, body, { persistent: true, messageId: 'named', ...properties });
    await channel.waitForConfirms();
  });
  const digests = await publishLarge(kpx, 1, noise(20 * MIB));
  await kpx.start();
  await eventually('both are parked', async () => (await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages === 2);
  const letters = await listed(kpx);
  expect(letters.map(({ job, user, reason }) => [job, user, reason]).sort()).toEqual([
    ['large-0', null, 'BODY_TOO_LARGE'],
    ['named', 'alice', 'BODY_TOO_LARGE'],
  ]);
  expect((await takeLarge(kpx, 'kpx.dead-letter', 2)).sort()).toEqual([sha256(body), ...digests].sort());
});
