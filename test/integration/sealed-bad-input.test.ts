import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Channel } from 'amqplib';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { KNIME_EXCHANGE, KNIME_QUEUE, KNIME_ROUTING_KEY } from '../fixtures/knime/topology.js';
import { idsOf } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import {
  accountsIn,
  answersTo,
  asExecutor,
  installSealedAt,
  letAdminister,
  nameOf,
  startAccountsRabbitmq,
  takeClient,
} from '../fixtures/sealed-accounts.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { rawAccounts } from './installed-helper.js';
import { deadLetters, explain, jobsDone, publish, runKpxctl } from './installed-kpx.js';
import { installSealed, startSealed } from './installed-sealed.js';
import { takeKnimeVhost } from './shared-rabbitmq.js';

/* What a RabbitMQ of accounts, its management API and the code of an account may do to kpx: no other account is affected, and the reason is said. */

/** Debian's libfaketime: see resilience-clock.test.ts. */
const LIBRARY = '/usr/$LIB/faketime/libfaketime.so.1';
const DAY_S = 86_400;
/** A line of the broker's log. */
/** Jobs that an account has its own queue drop: many more than the broker takes back at once. */
const DROPPED = 1_000;
const TAKEN_BACK = "a job is taken back that the accounts' RabbitMQ has dropped at its start: the queue was full";
const LEFT = 'the virtual host of an account is left: all that was published is carried';
/** Jobs in the queue of an account. */
const WINDOW = 4;
/** Those, and the one in the executor's hands. */
const LOST_MAX = WINDOW + 1;

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
    await expect.poll(async () => JSON.stringify(await explain(kpx, 'bob'))).toContain('SEALED_UNAVAILABLE');
    await jobsDone(kpx, 'alice', 2);
    expect(kpx.done('bob')).toEqual([]);
    api.misbehaves = HELPFUL;
    await jobsDone(kpx, 'bob', 1);
    expect(await accountsIn(accounts, 'users')).toEqual([nameOf('alice'), nameOf('bob')]);
  });
});

describe('a broker that is killed', () => {
  it.each([
    ['before', false],
    ['after', true],
  ])('%s any call of a start does the job all the same, for which one user is left', { timeout: 240_000 }, async (_, isAnswered) => {
    const api = await startApi();
    const kpx = await startSealed(accounts, { broker: { sealed: { management_url: api.url } } });
    for (let at = 0, isReached = true; isReached; at++) {
      isReached = false;
      const reached = new Promise<void>((resolve) => {
        let passed = 0;
        api.misbehaves = (asked, answer) => {
          if (!asked.url?.includes('bob') || passed++ < at) return false;
          isReached = true;
          if (isAnswered) answer.once('pipe', () => resolve());
          else resolve();
          return !isAnswered;
        };
      });
      await publish(kpx, jobOf('bob', `b${at}`));
      const done = eventually(`b${at} is done`, () => kpx.done('bob').find(({ job }) => job === `b${at}`), 60_000);
      await Promise.race([reached, done]);
      if (isReached) await kpx.endBroker('SIGKILL');
      api.misbehaves = HELPFUL;
      if (isReached) await kpx.startBroker();
      const { pid } = await done;
      expect(await accountsIn(accounts, 'users')).toEqual([nameOf('bob')]);
      if (!isReached) expect(at).toBeGreaterThan(12);
      const from = kpx.brokerLog.lines.length;
      process.kill(pid, 'SIGKILL');
      await kpx.brokerLog.line({ account: 'bob', msg: LEFT }, { from });
      const { code, stderr } = await runKpxctl(['sealed', 'purge', 'bob', '--apply', '--config', kpx.brokerConfigFile]);
      expect([code, stderr]).toEqual([0, '']);
      expect([await accountsIn(accounts, 'users'), await accountsIn(accounts, 'vhosts')]).toEqual([[], []]);
    }
  });

  it.each([
    ['before', false],
    ['after', true],
  ])('%s any call of an end loses no job that the executor has left, and no user stays', { timeout: 240_000 }, async (_, isAnswered) => {
    const api = await startApi();
    const kpx = await startSealed(accounts, {
      standIn: { BOOT_MS: '50', PREFETCH: '1' },
      broker: { sealed: { management_url: api.url }, log: { level: 'debug' } },
    });
    const doneBy = async (job: string) =>
      await eventually(`${job} is done`, () => kpx.done('bob').find((done) => done.job === job), 60_000);
    await publish(kpx, jobOf('bob', 'first'));
    let { pid } = await doneBy('first');
    for (let at = 0, isReached = true; isReached; at++) {
      isReached = false;
      process.kill(pid, 'SIGSTOP');
      const from = kpx.brokerLog.lines.length;
      await publish(kpx, jobOf('bob', `in hand ${at}`), jobOf('bob', `left ${at}`));
      await kpx.brokerLog.line({ msg: 'job forwarded', job: `left ${at}` }, { from });
      const reached = new Promise<void>((resolve) => {
        let passed = 0;
        api.misbehaves = ({ url }, answer) => {
          if (!url?.includes('bob') || passed++ < at) return false;
          isReached = true;
          if (isAnswered) answer.once('pipe', () => resolve());
          else resolve();
          return !isAnswered;
        };
      });
      process.kill(pid, 'SIGKILL');
      await Promise.race([reached, kpx.brokerLog.line({ account: 'bob', msg: LEFT }, { from })]);
      api.misbehaves = HELPFUL;
      if (isReached) {
        await kpx.endBroker('SIGKILL');
        await kpx.startBroker();
      } else expect(at).toBeGreaterThan(2);
      await doneBy(`in hand ${at}`);
      ({ pid } = await doneBy(`left ${at}`));
      expect(await accountsIn(accounts, 'users')).toEqual([nameOf('bob')]);
    }
  });
});

it('a RabbitMQ of accounts that has lost all its data has lost as many jobs of each account as its window, which are counted', {
  timeout: 180_000,
}, async () => {
  const own = await startAccountsRabbitmq();
  onTestFinished(() => own.remove());
  const kpx = await startSealed(own, {
    standIn: { BOOT_MS: '50', JOB_MS: '200', PREFETCH: '1', RETRY_MS: '120000' },
    broker: { sealed: { window: WINDOW } },
  });
  const client = await takeClient(kpx);
  const asked = (user: string, job: string) => {
    const { body, properties } = jobOf(user, job);
    return { body, properties: { ...properties, replyTo: client, correlationId: `${user}-${job}` } };
  };
  const jobs = Array.from({ length: 20 }, (_, index) => `${index}`);
  const users = ['alice', 'bob'];
  await publish(kpx, ...jobs.flatMap((job) => users.map((user) => asked(user, job))));
  for (const user of users) await jobsDone(kpx, user, 3);
  await own.kill();
  rmSync(`${own.directory}/mnesia`, { recursive: true });
  await own.start();
  await letAdminister(own);
  await publish(kpx, ...users.map((user) => asked(user, 'last')));
  for (const user of users) {
    await eventually(`the last job of ${user} is done`, () => kpx.done(user).find(({ job }) => job === 'last'), 60_000);
    const notDone = () => jobs.filter((job) => !kpx.done(user).some((done) => done.job === job));
    // Earlier ones may still wait for their turn.
    await eventually('no more than that are missing', () => notDone().length <= LOST_MAX, 60_000);
    process.kill(Number(kpx.done(user).at(-1)?.pid), 'SIGKILL');
    const { unanswered } = await kpx.brokerLog.line({ account: user, msg: LEFT });
    // One that was done may have lost its answer.
    expect(Number(unanswered)).toBeLessThanOrEqual(LOST_MAX + 1);
  }
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

  it.each([
    ['alone', []],
    ['that [[sealed.up]] names', [{ exchange: KNIME_EXCHANGE, durable: true }]],
  ])('that takes its job queue off the job exchange %s has its jobs all the same', async (_, up) => {
    const kpx = await startSealed(accounts, { broker: { sealed: { up } } });
    await publish(kpx, jobOf('alice', 'first'));
    await jobsDone(kpx, 'alice', 1);
    const channel = await (await asExecutor(kpx, 'alice')).createChannel();
    await channel.unbindQueue(KNIME_QUEUE, KNIME_EXCHANGE, KNIME_ROUTING_KEY);
    const jobs = Array.from({ length: 30 }, (_, index) => `a${index}`);
    await publish(kpx, ...jobs.map((job) => jobOf('alice', job)));
    const done = (await jobsDone(kpx, 'alice', 31)).map(({ job }) => job);
    expect(done.sort()).toEqual(['first', ...jobs].sort());
    expect(await kpx.vhost.queueDepth('kpx.dead-letter')).toMatchObject({ messages: 0 });
  });

  it('that deletes its job queue, as it may where it declares it, has a new one with the jobs that come', async () => {
    const kpx = await startSealed(accounts, {
      standIn: { BOOT_MS: '50', JOB_MS: '300', PREFETCH: '1' },
      broker: { sealed: { job_queue: { executor_declares: true } } },
    });
    await publish(kpx, jobOf('alice', 'a1'), jobOf('bob', 'b1'));
    await jobsDone(kpx, 'alice', 1);
    const [{ pid } = { pid: 0 }] = kpx.done('alice');
    process.kill(Number(pid), 'SIGSTOP');
    await publish(kpx, jobOf('alice', 'lost'), jobOf('alice', 'lost, too'));
    const channel = await (await asExecutor(kpx, 'alice')).createChannel();
    const waiting = async () => (await channel.checkQueue(KNIME_QUEUE)).messageCount;
    await eventually('a job waits', async () => (await waiting()) > 0);
    await channel.deleteQueue(KNIME_QUEUE);
    const { reason } = await kpx.brokerLog.line({ account: 'alice', msg: 'lost the virtual host of an account; connecting again' });
    expect(reason).toMatch(/the job queue of the account was deleted, with \d+ jobs at the last look/);
    process.kill(Number(pid), 'SIGKILL');
    await publish(kpx, jobOf('alice', 'a2'), jobOf('bob', 'b2'));
    await eventually('the next job of alice is done', () => kpx.done('alice').some(({ job }) => job === 'a2'));
    await jobsDone(kpx, 'bob', 2);
  });

  it('that has its job queue drop all jobs, as it may where it declares it, has a bounded part of them at the server', async () => {
    const kpx = await startSealed(accounts, {
      standIn: { BOOT_MS: '50' },
      broker: { sealed: { job_queue: { executor_declares: true } } },
    });
    await publish(kpx, jobOf('alice', 'a1'), jobOf('bob', 'b1'));
    await jobsDone(kpx, 'alice', 1);
    const connection = await asExecutor(kpx, 'alice');
    process.kill(Number(kpx.done('alice')[0]?.pid), 'SIGSTOP');
    const channel = await connection.createConfirmChannel();
    await channel.deleteQueue(KNIME_QUEUE);
    await channel.assertQueue(KNIME_QUEUE, { durable: true, arguments: { 'x-overflow': 'drop-head', 'x-max-length': 0 } });
    for (let index = 0; index < DROPPED; index++) channel.sendToQueue(KNIME_QUEUE, Buffer.from(JSON.stringify(jobOf('alice', 'own').body)));
    await channel.waitForConfirms();
    await kpx.brokerLog.line({ account: 'alice', msg: TAKEN_BACK });
    await publish(kpx, jobOf('bob', 'b2'));
    await jobsDone(kpx, 'bob', 2);
    const back = () => kpx.brokerLog.lines.filter(({ msg }) => msg === TAKEN_BACK).length;
    expect(back()).toBeLessThan(DROPPED / 2);
  });

  const acknowledges = async (channel: Channel) => {
    const taken = await channel.get(KNIME_QUEUE);
    if (!taken) return 0;
    channel.ack(taken);
    await channel.checkQueue(KNIME_QUEUE); // RabbitMQ has read what came before
    return 1;
  };

  it.each<[what: string, takes: (channel: Channel) => Promise<number>]>([
    ['acknowledges', acknowledges],
    ['purges', async (channel) => (await channel.purgeQueue(KNIME_QUEUE)).messageCount],
  ])('that %s the jobs of its account has lost those alone, which is counted and said, and others have theirs', async (_, takes) => {
    const kpx = await startSealed(accounts, { standIn: { BOOT_MS: '50', JOB_MS: '300', PREFETCH: '1' } });
    const client = await takeClient(kpx);
    const asked = (user: string, job: string) => {
      const { body, properties } = jobOf(user, job);
      return { body, properties: { ...properties, replyTo: client, correlationId: job } };
    };
    await publish(kpx, asked('alice', 'a1'), asked('bob', 'b1'));
    await jobsDone(kpx, 'alice', 1);
    await jobsDone(kpx, 'bob', 1);
    const channel = await (await asExecutor(kpx, 'alice')).createChannel();
    const pid = Number(kpx.done('alice')[0]?.pid);
    process.kill(pid, 'SIGSTOP');
    await publish(kpx, ...['2', '3', '4', '5'].flatMap((job) => [asked('alice', `a${job}`), asked('bob', `b${job}`)]));
    const lost = await eventually('alice has taken jobs', () => takes(channel));
    process.kill(pid, 'SIGCONT');
    await publish(kpx, asked('alice', 'last'));
    await eventually('the last job of alice is done', () => kpx.done('alice').some(({ job }) => job === 'last'));
    await jobsDone(kpx, 'bob', 5);
    expect(new Set(kpx.done('bob').map(({ job }) => job))).toEqual(new Set(['b1', 'b2', 'b3', 'b4', 'b5']));
    const done = new Set(kpx.done('alice').map(({ job }) => job));
    expect(done.size).toBe(6 - lost);
    await answersTo(kpx, client, 5 + done.size);
    process.kill(pid, 'SIGKILL');
    expect(await kpx.brokerLog.line({ account: 'alice', msg: LEFT })).toMatchObject({ taken_back: 0, unanswered: lost });
  });
});

it('an executor that never consumes from its queue is ended with the reason, its job is parked, and others go on', {
  timeout: 120_000,
}, async () => {
  const kpx = await startSealed(accounts, {
    standIn: { BOOT_MS: '50', BOOT_UNTIL_alice: '/srv/there-is-no-such-file' },
  });
  await publish(kpx, jobOf('bob', 'b1'));
  await jobsDone(kpx, 'bob', 1);
  await kpx.reload({ executors: { start_timeout: '2s' }, policy: { start_attempts: 2, backoff_initial: '100ms' } });
  await publish(kpx, jobOf('alice', 'a1'));
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
    await kpx.brokerLog.line({ account: name, msg: LEFT });
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
