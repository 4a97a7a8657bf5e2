import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import { idsOf } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import {
  accountsIn,
  answersTo,
  asExecutor,
  installSealedAt,
  nameOf,
  startAccountsRabbitmq,
  takeClient,
} from '../fixtures/sealed-accounts.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { rawAccounts } from './installed-helper.js';
import { deadLetters, explain, jobsDone, publish } from './installed-kpx.js';
import { installSealed, startSealed } from './installed-sealed.js';
import { takeKnimeVhost } from './shared-rabbitmq.js';

/* What a RabbitMQ of accounts, its management API and the code of an account may do to kpx: no other account is affected, and the reason is said. */

/** Debian's libfaketime: see resilience-clock.test.ts. */
const LIBRARY = '/usr/$LIB/faketime/libfaketime.so.1';
const DAY_S = 86_400;

let accounts: RabbitmqServer;
beforeAll(async () => {
  accounts = await startAccountsRabbitmq();
});
afterAll(() => accounts.remove());

/** Does something else than RabbitMQ would; answers false where it is RabbitMQ's turn. */
type Misbehaviour = (asked: IncomingMessage, answer: ServerResponse) => boolean;
const HELPFUL: Misbehaviour = () => false;

/** The management API behind something that misbehaves when it is told to. */
async function startApi() {
  const api = { misbehaves: HELPFUL, url: '' };
  const server = createServer((asked, answer) => {
    if (api.misbehaves(asked, answer)) return;
    const { method, url: path, headers } = asked;
    const onwards = request({ host: accounts.host, port: accounts.managementPort, method, path, headers }, (real) => {
      answer.writeHead(real.statusCode ?? 502, real.headers);
      real.pipe(answer);
    });
    onwards.on('error', () => answer.destroy());
    asked.pipe(onwards);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  api.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return api;
}

const status =
  (code: number, text: string): Misbehaviour =>
  (_, answer) => {
    answer.writeHead(code, { 'content-type': 'application/json' }).end(text);
    return true;
  };

/** Lets so many requests for bob pass, then resets. */
function stopsAfter(count: number): Misbehaviour {
  let passed = 0;
  return ({ url = '', socket }) => {
    if (!url.includes('bob') || passed++ < count) return false;
    socket.destroy();
    return true;
  };
}

describe('a management API', () => {
  it.each<[what: string, misbehaves: () => Misbehaviour]>([
    ['never answers', () => () => true],
    ['answers 401', () => status(401, '{"error":"not_authorised","reason":"Login failed"}')],
    ['answers 500', () => status(500, 'Internal Server Error')],
    ['answers garbage', () => status(200, '\u0000<html>')],
    ['answers with another kind of JSON', () => status(200, '{"name":7}')],
    [
      'ends in the middle of an answer',
      () => (_, answer) => {
        answer.writeHead(200, { 'content-length': '100', 'content-type': 'application/json' }).write('[{"na');
        setImmediate(() => answer.destroy());
        return true;
      },
    ],
    ['stops after the first request of a start', () => stopsAfter(1)],
    ['stops after the sixth', () => stopsAfter(6)],
    ['stops after the ninth', () => stopsAfter(9)],
  ])('that %s starts no executor, which is said, and is tried again; running ones go on', async (_, misbehaves) => {
    const api = await startApi();
    const kpx = await startSealed(accounts, { broker: { sealed: { management_url: api.url, api_timeout: '1s' } } });
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
    api.misbehaves = misbehaves();
    await publish(kpx, jobOf('bob', 'b1'), jobOf('alice', 'a2'));
    const { reason } = await kpx.brokerLog.line({ user: 'bob', state: 'backoff' });
    expect(reason).toMatch(/SEALED_UNAVAILABLE: .+/);
    expect(JSON.stringify(await explain(kpx, 'bob'))).toContain('SEALED_UNAVAILABLE');
    await jobsDone(kpx, 'alice', 2);
    expect(kpx.done('bob')).toEqual([]);
    api.misbehaves = HELPFUL;
    await jobsDone(kpx, 'bob', 1);
    expect(await accountsIn(accounts, 'users')).toEqual([nameOf('alice'), nameOf('bob')]);
  });
});

describe('the code of an account', () => {
  it('that sends 100 MB, and declares thousands of exchanges, keeps nobody else from their jobs', { timeout: 180_000 }, async () => {
    const up = [{ exchange: 'results', type: 'fanout' }];
    const kpx = await startSealed(accounts, { broker: { sealed: { up } } });
    await publish(kpx, jobOf('alice', 'a1'), jobOf('bob', 'b1'));
    await jobsDone(kpx, 'alice', 1);
    await jobsDone(kpx, 'bob', 1);
    const channel = await (await asExecutor(kpx, 'alice')).createConfirmChannel();
    channel.on('error', () => {}); // RabbitMQ may have a bound of its own for messages
    channel.publish('results', '', Buffer.alloc(100_000_000));
    const declared = async (count: number) => {
      for (let index = 0; index < count; index++) await channel.assertExchange(`many-${index}`, 'fanout');
    };
    await declared(3_000);
    await publish(kpx, jobOf('bob', 'b2'), jobOf('alice', 'a2'));
    expect((await jobsDone(kpx, 'bob', 2)).map(({ job }) => job)).toEqual(['b1', 'b2']);
    await jobsDone(kpx, 'alice', 2);
    const [letter] = await deadLetters(kpx, 1);
    expect(letter).toMatchObject({ text: '', headers: { 'x-kpx-reason': 'SEALED_REFUSED', 'x-kpx-account': 'alice' } });
    expect(letter?.headers['x-kpx-detail']).toContain('its body has 100000000 bytes, at most 16777216 are carried');
  });

  it('that takes and acknowledges the jobs of its account has lost those alone, and others have theirs', async () => {
    const kpx = await startSealed(accounts, { standIn: { BOOT_MS: '50', JOB_MS: '200', PREFETCH: '1' } });
    await publish(kpx, jobOf('alice', 'a1'), jobOf('bob', 'b1'));
    await jobsDone(kpx, 'alice', 1);
    await jobsDone(kpx, 'bob', 1);
    const channel = await (await asExecutor(kpx, 'alice')).createChannel();
    await publish(kpx, ...['2', '3', '4', '5'].flatMap((job) => [jobOf('alice', `a${job}`), jobOf('bob', `b${job}`)]));
    const taken = await eventually('alice has taken a job', () => channel.get(KNIME_QUEUE));
    if (taken) channel.ack(taken);
    await jobsDone(kpx, 'bob', 5);
    expect(new Set(kpx.done('bob').map(({ job }) => job))).toEqual(new Set(['b1', 'b2', 'b3', 'b4', 'b5']));
    await jobsDone(kpx, 'alice', 4);
  });
});

it('an executor that never consumes from its queue is ended with the reason, its job is parked, and others go on', {
  timeout: 120_000,
}, async () => {
  const kpx = await startSealed(accounts, {
    standIn: { BOOT_MS: '50', BOOT_UNTIL_alice: '/srv/there-is-no-such-file' },
    broker: { executors: { start_timeout: '2s' }, policy: { start_attempts: 2, backoff_initial: '100ms' } },
  });
  await publish(kpx, jobOf('alice', 'a1'), jobOf('bob', 'b1'));
  await jobsDone(kpx, 'bob', 1);
  const [letter] = await deadLetters(kpx, 1);
  expect(letter?.json).toMatchObject({ user: 'alice', job: 'a1' });
  expect(['START_FAILED', 'EXECUTOR_WITHOUT_RABBITMQ']).toContain(letter?.headers['x-kpx-reason']);
  expect(String(letter?.headers['x-kpx-detail'])).not.toBe('');
  await publish(kpx, jobOf('bob', 'b2'));
  await jobsDone(kpx, 'bob', 2);
});

it('an answer for which RabbitMQ ends the connection is parked, and others have theirs', async () => {
  const vhost = await takeKnimeVhost();
  const url = new URL(vhost.urlWithoutPassword('broker'));
  const near = { host: '127.0.0.5', port: Number(url.port) };
  const proxy = await TcpProxy.start({ host: url.hostname, port: near.port }, near);
  onTestFinished(() => proxy.close());
  const replyTo = 'amq.rabbitmq.reply-to.somebody';
  proxy.endOnce(replyTo, 541);
  url.hostname = near.host;
  const kpx = await installSealedAt(vhost, accounts, { broker: { amqp: { urls: [url.href] } } });
  await kpx.start();
  const client = await takeClient(kpx);
  const asked = (user: string, to: string) => {
    const { body, properties } = jobOf(user, user);
    return { body, properties: { ...properties, replyTo: to, correlationId: user } };
  };
  await publish(kpx, asked('alice', replyTo));
  const [letter] = await deadLetters(kpx, 1);
  expect(letter?.headers).toMatchObject({
    'x-kpx-reason': 'SEALED_REFUSED',
    'x-kpx-account': 'alice',
    'x-kpx-detail': expect.stringContaining(`RabbitMQ ends the connection when an answer is sent to "${replyTo}"`),
  });
  await publish(kpx, asked('bob', client));
  expect((await answersTo(kpx, client, 1)).map(({ properties }) => properties.correlationId)).toEqual(['bob']);
  const lost = kpx.brokerLog.lines.filter(({ msg }) => msg === 'what accounts publish waits: lost RabbitMQ; connecting again');
  expect(lost).toHaveLength(1);
});

it('users and virtual hosts of other installations in the same RabbitMQ are left alone', async () => {
  const others = ['kpx.elsewhere.alice', 'kpx.here2.bob', 'kpx.her', 'their-own'];
  for (const name of others) {
    await accounts.api('PUT', `vhosts/${name}`);
    await accounts.api('PUT', `users/${name}`, { password: 'x', tags: '' });
  }
  onTestFinished(async () => {
    for (const name of others) for (const kind of ['users', 'vhosts']) await accounts.api('DELETE', `${kind}/${name}`);
  });
  const kpx = await installSealed(accounts, { broker: { sealed: { vhosts_max: 1 } } });
  await kpx.start();
  await publish(kpx, jobOf('alice', 'a1'), jobOf('bob', 'b1'));
  await jobsDone(kpx, 'alice', 1);
  await jobsDone(kpx, 'bob', 1);
  await kpx.endBroker('SIGKILL');
  await kpx.endHelper();
  await kpx.start();
  await eventually('the users of executors that have ended are gone', async () => (await accountsIn(accounts, 'users')).length === 0);
  for (const kind of ['users', 'vhosts']) {
    const names = (await accounts.api<{ name: string }[]>('GET', kind)).map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(others));
  }
});

it.each(['anna@corp.example', 'a_b-c.d', 'dom\\anna'])(
  'an account called %s has a virtual host, answers, and is cleared up',
  async (name) => {
    rawAccounts().account(name, { home: `/home/kpx-test-sealed-name-${process.pid}-${name.length}` });
    const kpx = await startSealed(accounts, { helper: { accounts: { case: 'keep' } } });
    const client = await takeClient(kpx, `client-${'y'.repeat(248)}`);
    const { body, properties } = jobOf(name, 'j1');
    await publish(kpx, { body, properties: { ...properties, replyTo: client, correlationId: 'c' } });
    const [answer] = await answersTo(kpx, client, 1);
    expect(answer).toMatchObject({ json: { job: 'j1', uid: idsOf(name).uid }, headers: { 'x-kpx-account': name } });
    expect(await accountsIn(accounts, 'vhosts')).toEqual([nameOf(name)]);
    process.kill(Number(kpx.done(name)[0]?.pid), 'SIGKILL');
    await kpx.brokerLog.line({ account: name, msg: 'the virtual host of an account is left: all that was published is carried' });
    expect(await accountsIn(accounts, 'users')).toEqual([]);
  },
);

it('a wall clock that is set back and ahead closes no answer and ends no executor', async () => {
  const kpx = await installSealed(accounts, { standIn: { BOOT_MS: '50', JOB_MS: '500' } });
  const clock = `/srv/sealed-clock-${process.pid}`;
  onTestFinished(() => rmSync(clock, { force: true }));
  const setClock = (aheadS: number) => writeFileSync(clock, `${aheadS < 0 ? '' : '+'}${aheadS}\n`);
  setClock(0);
  chmodSync(clock, 0o644);
  const env = { LD_PRELOAD: LIBRARY, FAKETIME_TIMESTAMP_FILE: clock, FAKETIME_NO_CACHE: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1' };
  await kpx.startHelper();
  await kpx.startBroker({ env });
  const client = await takeClient(kpx);
  const asked = (job: string) => {
    const { body, properties } = jobOf('alice', job);
    return { body, properties: { ...properties, replyTo: client, correlationId: job } };
  };
  for (const [index, aheadS] of [-2 * DAY_S, 30 * DAY_S, 0].entries()) {
    await publish(kpx, asked(`a${index}`));
    await eventually('the account has the job', async () => (await kpx.vhost.queueDepth('knime-jobs'))?.messages === 0);
    setClock(aheadS);
    const [answer] = await answersTo(kpx, client, 1);
    expect(answer?.properties.correlationId).toBe(`a${index}`);
  }
  expect(new Set(kpx.done('alice').map(({ pid }) => pid)).size).toBe(1);
  expect(await accountsIn(accounts, 'users')).toEqual([nameOf('alice')]);
  expect(kpx.brokerLog.lines.filter(({ level }) => Number(level) > 30)).toEqual([]);
});
