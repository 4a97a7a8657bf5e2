import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { walk } from '../../packages/broker/src/amqp/wire/table.js';
import {
  array,
  bytes,
  EVERY_TYPE,
  type Field,
  int64,
  type Properties,
  propertyBytes,
  table,
  text,
  uint32,
  uint64,
} from '../../packages/broker/test-fixtures/wire.js';
import { withChannel } from '../fixtures/amqp.js';
import { type RawMessage, withSocket } from '../fixtures/amqp-socket.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { declareKnimeTopology, KNIME_EXCHANGE, KNIME_QUEUE, KNIME_ROUTING_KEY } from '../fixtures/knime/topology.js';
import { checkout, Kpx, type KpxOptions } from '../fixtures/kpx.js';
import { publish, runKpxctl } from './installed-kpx.js';
import { sharedRabbitmq } from './shared-rabbitmq.js';

/** Where forwarded jobs go in these tests: a queue that no executor takes from, so that what is in it can be looked at as bytes. */
const SINK = 'header-bytes-sink';
/** How much later 100 jobs of others may be done because of one that is odd. */
const LATER_MS_MAX = 5_000;
const DEAD_LETTERS = 'kpx.dead-letter';
/** Types that RabbitMQ takes, and writes in another way when it adds a header itself: when a message has waited, or was given back. */
const REWRITTEN_BY_RABBITMQ: Field[] = [
  ['int64 by another tag', 'L', int64(-1n)],
  ['true in another way', 't', bytes(7)],
];

/** Where RabbitMQ adds a header itself, it writes the table anew: of entries with one key one may be left. */
const unchangedByRabbitmq = ([key]: Field) => key !== 'twice' && key !== 'table';

/** kpx with an executor for everybody that is ready at once and does nothing, and jobs that go to {@link SINK}. */
async function startWithSink({ broker = {} }: KpxOptions = {}, queueArguments: Record<string, unknown> = {}): Promise<Kpx> {
  const vhost = await sharedRabbitmq().createVhost();
  onTestFinished(() => vhost.delete());
  await declareKnimeTopology(vhost.url('admin'), queueArguments);
  await withChannel(vhost.url('admin'), async (channel) => {
    await channel.assertQueue(SINK, { durable: true });
    await channel.assertExchange(SINK, 'direct', { durable: true });
    await channel.bindQueue(SINK, SINK, 'job');
  });
  await vhost.setPermissions('broker', { configure: '^kpx\\.', write: '.*', read: '.*' });
  const kpx = new Kpx(vhost, {
    helper: { executor: { command: ['/usr/bin/sleep', 'infinity'] } },
    broker: {
      ...broker,
      // RabbitMQ 4 has a limit for each quorum queue.
      amqp: { exchange: SINK, routing_key: 'job', delivery_limit: 'accept', ...broker.amqp },
      executors: { ready: 'delay', ready_delay: '1ms', watch: false, ...broker.executors },
    },
  });
  onTestFinished(() => kpx.stop());
  return await kpx.start();
}

const rawJob = (user: string, properties: Properties): RawMessage => ({
  properties: propertyBytes(properties),
  body: Buffer.from(JSON.stringify({ user, job: 'raw' })),
});

const publishRaw = (kpx: Kpx, ...jobs: RawMessage[]) =>
  withSocket(kpx.vhost.url('publisher'), async (client) => {
    for (const job of jobs) await client.publish(KNIME_EXCHANGE, KNIME_ROUTING_KEY, job);
  });

const takenFrom = (kpx: Kpx, queue: string) =>
  withSocket(kpx.vhost.url('admin'), (client) => eventually(`a message in ${queue}`, () => client.get(queue)));

/** A message's entries that were there before kpx, those that were not, and all that is no header; as bytes, in their order. */
function apart(message: RawMessage, before: readonly Buffer[]) {
  const headers = headerTable(message);
  const isTheirs = (entry: Buffer) => before.some((known) => known.equals(entry));
  const entries = entriesOf(headers);
  const at = message.properties.indexOf(headers);
  return {
    theirs: entries.filter(isTheirs),
    ours: entries.filter((entry) => !isTheirs(entry)),
    others: Buffer.concat([message.properties.subarray(2, at - 4), message.properties.subarray(at + headers.length)]),
  };
}

/** It writes each header table anew: sorted by keys, with the first of the entries that have the same key, and with its own tags. */
async function isRabbitmq4(): Promise<boolean> {
  const { rabbitmq_version: version } = await sharedRabbitmq().api<{ rabbitmq_version: string }>('GET', 'overview');
  return Number.parseInt(version, 10) >= 4;
}

const keyOf = (entry: Buffer) => entry.subarray(1, 1 + (entry[0] ?? 0));

/** As they are after they have been in a queue. */
async function throughRabbitmq(entries: readonly Buffer[]): Promise<readonly Buffer[]> {
  if (!(await isRabbitmq4())) return entries;
  const isFirst = (entry: Buffer, index: number) => entries.findIndex((other) => keyOf(other).equals(keyOf(entry))) === index;
  return entries.filter(isFirst).toSorted((one, other) => Buffer.compare(keyOf(one), keyOf(other)));
}

/** The table, without its length: behind the content type and encoding, if they are there. */
function headerTable({ properties }: RawMessage): Buffer {
  let at = 2;
  for (const flag of [0x8000, 0x4000]) if ((properties.readUInt16BE() & flag) !== 0) at += 1 + (properties[at] ?? 0);
  return properties.subarray(at + 4, at + 4 + properties.readUInt32BE(at));
}

function entriesOf(headers: Buffer): Buffer[] {
  const entries: Buffer[] = [];
  walk(headers, (from, _tagAt, _valueAt, to) => entries.push(headers.subarray(from, to)));
  return entries;
}

const ALL: Properties = {
  contentType: 'application/json',
  contentEncoding: bytes(0xff, 0xfe),
  headers: table(...EVERY_TYPE, ...REWRITTEN_BY_RABBITMQ),
  deliveryMode: bytes(2),
  priority: bytes(3),
  correlationId: bytes(0xfc, 0xdf),
  replyTo: 'r'.repeat(255),
  messageId: 'm',
  timestamp: uint64(2n ** 64n - 1n),
  type: 't',
  appId: 'a',
  clusterId: 'c',
};
/** The fields of {@link ALL} without flags and headers. */
const OTHERS = (({ headers: _, ...others }) => propertyBytes(others).subarray(2))(ALL);

describe('a header table of every field type that RabbitMQ takes', () => {
  it('arrives behind kpx with the same entries in the same bytes and order, beside kpx’s own, all other properties as they came', async () => {
    const kpx = await startWithSink();
    const headers = (await isRabbitmq4()) ? table(...EVERY_TYPE) : (ALL.headers as Buffer);
    const job = rawJob('alice', { ...ALL, headers });
    await publishRaw(kpx, job);
    const forwarded = await takenFrom(kpx, SINK);
    const sent = entriesOf(headers);
    const { theirs, ours, others } = apart(forwarded, sent);
    expect([theirs, others, forwarded.body]).toEqual([await throughRabbitmq(sent), OTHERS, job.body]);
    const names = ours.map((entry) => keyOf(entry).toString());
    expect(names).toEqual(expect.arrayContaining(['canHandle', 'x-kpx-hops', 'x-kpx-seen-at', 'x-kpx-ref']));
    expect(names.filter((name) => name !== 'canHandle' && !name.startsWith('x-kpx-'))).toEqual([]);
  });

  it('is shown when it is parked, and replayed with the same entries', async () => {
    const kpx = await startWithSink({ broker: { policy: { deny: ['mallory'] } } });
    const fields = EVERY_TYPE.filter(unchangedByRabbitmq);
    await publishRaw(kpx, rawJob('mallory', { ...ALL, headers: table(...fields) }));
    await eventually('it is parked', async () => (await kpx.vhost.queueDepth(DEAD_LETTERS))?.messages === 1);
    const config = ['--config', kpx.brokerConfigFile];
    const { id } = JSON.parse((await runKpxctl(['dead-letters', 'list', '--json', ...config])).stdout);
    const shown = JSON.parse((await runKpxctl(['dead-letters', 'show', id, '--json', ...config])).stdout);
    expect(shown.headers).toMatchObject({ int64: '9007199254740993', double: 2, 'text in Latin-1': 'gr\ufffd\ufffde', decimal: 3 });
    expect(shown.properties).toMatchObject({ messageId: 'm', timestamp: 2 ** 64, priority: 3 });
    await kpx.endBroker();
    const replay = await runKpxctl(['dead-letters', 'replay', id, ...config]);
    expect(replay.stdout).toContain('Replayed: 1 of 1 dead letter.');
    const replayed = await takenFrom(kpx, SINK);
    for (const field of fields) expect([field[0], replayed.properties.includes(table(field))]).toEqual([field[0], true]);
    expect(replayed.properties.includes('x-kpx-reason')).toBe(false);
  });

  it('comes back from a delay queue with the same entries, of the same types, and the same bytes in them', async () => {
    const kpx = await startWithSink({ broker: { policy: { max_executors: 1 }, log: { level: 'debug' } } });
    await publish(kpx, jobOf('bob', 'takes the only place'));
    await takenFrom(kpx, SINK);
    // The first job of alice keeps her place in line, the second one is deferred.
    const { headers: _, ...others } = ALL;
    const fields = EVERY_TYPE.filter(unchangedByRabbitmq);
    await publish(kpx, jobOf('alice', 'in line'));
    await kpx.brokerLog.line({ user: 'alice', state: 'queued' });
    await publishRaw(kpx, rawJob('alice', { ...others, headers: table(...fields) }));
    const name = 'kpx.delay.knime-jobs.10000ms';
    await eventually('it waits', async () => ((await kpx.vhost.queueDepth(name))?.messages ?? 0) > 0);
    await kpx.stop();
    const back = await withSocket(kpx.vhost.url('admin'), (client) =>
      eventually(
        'it is back',
        async () => {
          const message = await client.get(KNIME_QUEUE);
          return message?.properties.includes('x-death') ? message : undefined;
        },
        30_000,
      ),
    );
    for (const field of fields) expect([field[0], back.properties.includes(table(field))]).toEqual([field[0], true]);
  });
});

it('a job whose properties leave no room for kpx’s own is parked with its body, shown, and replayed as its body alone', async () => {
  const kpx = await startWithSink();
  const large = table(['large', 'S', Buffer.alloc(131_000, 'x')]);
  const job = rawJob('alice', { headers: large, messageId: 'large' });
  await publishRaw(kpx, job);
  await kpx.brokerLog.line({ msg: 'job parked', reason: 'HEADERS_UNUSABLE', job: 'large' });
  const config = ['--config', kpx.brokerConfigFile];
  // The broker leaves a queue that it has just made alone for a while.
  await eventually('it is parked', async () => (await kpx.vhost.queueDepth(DEAD_LETTERS))?.messages === 1);
  const { id } = JSON.parse((await runKpxctl(['dead-letters', 'list', '--json', ...config])).stdout);
  const { stdout } = await runKpxctl(['dead-letters', 'show', id, ...config]);
  expect(stdout).toMatch(/detail +with kpx's own headers the properties have 13\d{4} bytes, and RabbitMQ takes 131052 \(frame_max\)/);
  expect(stdout).toMatch(/x-kpx-properties +[A-Za-z0-9+/]{999}…\n/);
  const shown = JSON.parse((await runKpxctl(['dead-letters', 'show', id, '--json', ...config])).stdout);
  expect(shown).toMatchObject({ reason: 'HEADERS_UNUSABLE', user: 'alice', body: job.body.toString() });
  const kept = Buffer.from(shown.headers['x-kpx-properties'], 'base64');
  expect([kept.length, job.properties.subarray(0, kept.length).equals(kept)]).toEqual([32 * 1024, true]);
  await runKpxctl(['dead-letters', 'replay', id, ...config]);
  const forwarded = await takenFrom(kpx, SINK);
  expect([forwarded.body, forwarded.properties.includes('x-kpx-properties')]).toEqual([job.body, false]);
});

describe('a job of another client', () => {
  const WITNESS = 'header-bytes-witness';
  const PYTHON = '/usr/bin/python3';

  /** What it publishes, as it came to a second queue that gets the same without kpx. */
  async function publishedBy(kpx: Kpx, script: string, more: object): Promise<RawMessage> {
    const url = kpx.vhost.url('admin');
    await withChannel(url, async (channel) => {
      await channel.assertQueue(WITNESS, { durable: true });
      await channel.bindQueue(WITNESS, KNIME_EXCHANGE, KNIME_ROUTING_KEY);
    });
    const what = { url, exchange: KNIME_EXCHANGE, routing_key: KNIME_ROUTING_KEY, ...more };
    const child = spawn(PYTHON, [join(checkout(), 'test/fixtures/python', script)], { stdio: ['pipe', 'ignore', 'inherit'], env: {} });
    child.stdin.end(`${JSON.stringify(what)}\n`);
    expect(await once(child, 'close')).toEqual([0, null]);
    return await takenFrom(kpx, WITNESS);
  }

  it.each([
    ['pika', 'publish_pika.py', { body: '{"task":"alice"}' }],
    ['Celery', 'publish_celery.py', { protocol: 1 }],
  ])('arrives behind kpx with the bytes of its header table: %s', async (_, script, more) => {
    const kpx = await startWithSink({ broker: { jobs: { user_field: 'task' } } });
    const sent = await publishedBy(kpx, script, more);
    const entries = entriesOf(headerTable(sent));
    expect(entries.length).toBeGreaterThan(4);
    const arrived = await takenFrom(kpx, SINK);
    const { theirs, others } = apart(arrived, entries);
    expect([theirs, others, arrived.body]).toEqual([entries, apart(sent, entries).others, sent.body]);
  });

  it('is parked with all entries where its body is no object: Celery’s own protocol', async () => {
    const kpx = await startWithSink();
    const sent = await publishedBy(kpx, 'publish_celery.py', { protocol: 2 });
    const theirs = entriesOf(headerTable(sent)).map((entry) => Buffer.from(entry.toString('latin1').replace('int64L', 'int64l'), 'latin1'));
    expect(theirs.length).toBeGreaterThan(10);
    const { properties } = await takenFrom(kpx, DEAD_LETTERS);
    // RabbitMQ writes the tag that Celery has for large numbers in another way: REWRITTEN_BY_RABBITMQ.
    expect(theirs.filter((entry) => !properties.includes(entry)).map((entry) => entry.toString('latin1'))).toEqual([]);
  });
});

describe('jobs that are hard to take and to pass on', () => {
  let nested = table(['bottom', 't', bytes(1)]);
  for (let depth = 0; depth < 10_000; depth++) nested = table(['n', 'F', nested]);
  const forms: [form: string, properties: Properties][] = [
    ['headers of 100 KiB', { headers: table(['large', 'S', Buffer.alloc(100 * 1024, 'x')]) }],
    ['10,000 tables within each other', { headers: table(['deep', 'F', nested]) }],
    [
      '10,000 arrays beside each other',
      { headers: table(['wide', 'A', array(...Array.from({ length: 10_000 }, () => ['A', bytes()] as [string, Buffer]))]) },
    ],
    ['a type that few clients know', { headers: table(['L', 'L', int64(5n)]) }],
    [
      'a key and short texts in no UTF-8',
      { headers: table([Buffer.alloc(255, 0xff), 'V', bytes()]), correlationId: Buffer.alloc(255, 0xff), type: bytes(0xff) },
    ],
    ['numbers beyond 2^63', { headers: table(['T', 'T', uint64(2n ** 64n - 1n)]), timestamp: uint64(2n ** 63n) }],
    ['a kept time to live that is no number', { headers: table(['x-kpx-expiration', 'S', text('soon')]) }],
    ['one that is a table', { headers: table(['x-kpx-expiration', 'F', table(['x', 'I', uint32(1)])]) }],
  ];

  it.each([
    ['a classic queue', {}],
    ['a quorum queue with a delivery limit', { 'x-queue-type': 'quorum', 'x-delivery-limit': 20 }],
  ])('keep no job of others waiting, and travel themselves: %s', { timeout: 120_000 }, async (_, queueArguments) => {
    const kpx = await startWithSink({}, queueArguments);
    /** Until 100 jobs of alice and the jobs before them have come through, in milliseconds. */
    const throughMs = async (before: RawMessage, form: string) => {
      const from = performance.now();
      await publishRaw(kpx, before);
      await publish(kpx, ...Array.from({ length: 100 }, (_, count) => jobOf('alice', `${form} ${count}`)));
      await eventually(`101 jobs after ${form}`, async () => (await kpx.vhost.queueDepth(SINK))?.messages === 101, 30_000);
      const ms = performance.now() - from;
      await withChannel(kpx.vhost.url('admin'), (channel) => channel.purgeQueue(SINK));
      return ms;
    };
    const plain = rawJob('bob', {});
    await throughMs(plain, 'the start of both executors');
    const withoutMs = await throughMs(plain, 'nothing odd');
    for (const [form, properties] of forms) {
      const withMs = await throughMs(rawJob('bob', properties), form);
      expect([form, withMs - withoutMs < LATER_MS_MAX]).toEqual([form, true]);
    }
    expect(kpx.brokerLog.lines.filter(({ msg }) => msg === 'lost RabbitMQ; connecting again')).toEqual([]);
    expect((await kpx.vhost.queueDepth(DEAD_LETTERS))?.messages).toBe(0);
  });
});
