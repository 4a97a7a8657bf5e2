import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { ownQueues } from '../../packages/broker/src/amqp/topology.js';
import { withChannel } from '../fixtures/amqp.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { idsOf, type Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { LEAST_PERMISSIONS } from '../fixtures/rabbitmq-access.js';
import {
  accountsIn,
  answeredAll,
  answersTo,
  asExecutor,
  letAdminister,
  managementWay,
  nameOf,
  startAccountsRabbitmq,
  takeClient,
} from '../fixtures/sealed-accounts.js';
import { deadLetters, explain, jobsDone, publish, runKpxctl } from './installed-kpx.js';
import { installSealed, startSealed } from './installed-sealed.js';

let accounts: RabbitmqServer;
beforeAll(async () => {
  accounts = await startAccountsRabbitmq();
});
afterAll(() => accounts.remove());

/** A job that is to be answered. */
const asked = (user: string, job: string, replyTo: string) => {
  const { body, properties } = jobOf(user, job);
  return { body, properties: { ...properties, replyTo, correlationId: `id-of-${job}` } };
};

const environmentOf = (kpx: Kpx, osUser: string) => (kpx.started(osUser) as unknown as { env: Record<string, string> }).env;

describe('sealed, a job', () => {
  it('runs under the account of its submitter, who is alone in a virtual host', async () => {
    const kpx = await startSealed(accounts);
    await publish(kpx, jobOf('alice', 'a1'), jobOf('bob', 'b1'));
    for (const user of ['alice', 'bob']) {
      const [done] = await jobsDone(kpx, user, 1);
      expect(done).toMatchObject({ job: `${user[0]}1`, uid: idsOf(user).uid, headers: { canHandle: true } });
      const { username, password, pathname } = new URL(environmentOf(kpx, user).KNIME_EXECUTOR_MSGQ ?? '');
      expect([username, decodeURIComponent(pathname.slice(1))]).toEqual([nameOf(user), nameOf(user)]);
      expect(password).toHaveLength(43);
    }
    expect(environmentOf(kpx, 'alice')).toMatchObject({ KPX_USER: 'alice', KPX_AMQP_URL: environmentOf(kpx, 'alice').KNIME_EXECUTOR_MSGQ });
    expect(environmentOf(kpx, 'alice').KNIME_EXECUTOR_MSGQ).not.toBe(environmentOf(kpx, 'bob').KNIME_EXECUTOR_MSGQ);
    expect(await accountsIn(accounts, 'vhosts')).toEqual([nameOf('alice'), nameOf('bob')]);
    expect(await kpx.vhost.connections('executor')).toEqual([]);
    const states = kpx.brokerLog.lines.filter(({ msg, user }) => msg === 'executor' && user === 'alice').map(({ state }) => state);
    expect(states).toEqual(expect.arrayContaining(['booting', 'ready']));
  });

  it('is answered to its client, with the correlation id that it has, and the account in a header', async () => {
    const kpx = await startSealed(accounts);
    const [client, long] = [await takeClient(kpx), await takeClient(kpx, `client-${'x'.repeat(248)}`)];
    await publish(kpx, asked('alice', 'a1', client), asked('alice', 'a2', long), asked('bob', 'b1', client));
    const answers = await answersTo(kpx, client, 2);
    expect(answers.map(({ json, properties, headers }) => [json, properties.correlationId, headers['x-kpx-account']]).sort()).toEqual([
      [{ job: 'a1', uid: idsOf('alice').uid }, 'id-of-a1', 'alice'],
      [{ job: 'b1', uid: idsOf('bob').uid }, 'id-of-b1', 'bob'],
    ]);
    const [answer] = await answersTo(kpx, long, 1);
    expect(answer).toMatchObject({ json: { job: 'a2' }, properties: { correlationId: 'id-of-a2' } });
  });

  it('waits in the broker while the queue of its account is full, and is done', async () => {
    const kpx = await startSealed(accounts, {
      standIn: { BOOT_MS: '50', PREFETCH: '1' },
      broker: { sealed: { window: 2 }, log: { level: 'debug' } },
    });
    await publish(kpx, jobOf('alice', 'first'));
    const pid = Number((await jobsDone(kpx, 'alice', 1))[0]?.pid);
    process.kill(pid, 'SIGSTOP');
    const jobs = Array.from({ length: 10 }, (_, index) => `a${index}`);
    await publish(kpx, ...jobs.map((job) => jobOf('alice', job)));
    await kpx.brokerLog.line({ msg: 'job not taken' });
    process.kill(pid, 'SIGCONT');
    const done = await jobsDone(kpx, 'alice', 1 + jobs.length);
    expect(done.map(({ job }) => job).sort()).toEqual([...jobs, 'first'].sort());
  });

  it('goes back to the server when its executor has ended, whose user goes, and the next one does it', async () => {
    const kpx = await startSealed(accounts, { standIn: { BOOT_MS: '50', JOB_MS: '400', PREFETCH: '1' } });
    const client = await takeClient(kpx);
    const jobs = ['1', '2', '3', '4', '5'];
    await publish(kpx, ...jobs.map((job) => asked('alice', job, client)));
    const [first] = await jobsDone(kpx, 'alice', 1);
    process.kill(Number(first?.pid), 'SIGKILL');
    await kpx.brokerLog.line({ msg: 'the virtual host of an account is left: all that was published is carried' });
    await answeredAll(
      kpx,
      client,
      jobs.map((job) => `id-of-${job}`),
    );
    const done = kpx.done('alice');
    expect(new Set(done.map(({ job }) => job))).toEqual(new Set(jobs));
    expect(new Set(done.map(({ pid }) => pid)).size).toBe(2);
  });

  it('of two KNIME users with one account is done by one executor', async () => {
    const kpx = await startSealed(accounts, { helper: { accounts: { map: { 'alice.smith': 'alice', alice2: 'alice' } } } });
    await publish(kpx, jobOf('alice.smith', 's'), jobOf('alice2', '2'), jobOf('alice', 'a'));
    const done = await jobsDone(kpx, 'alice', 3);
    expect(new Set(done.map(({ pid }) => pid)).size).toBe(1);
    expect(await accountsIn(accounts, 'users')).toEqual([nameOf('alice')]);
  });
});

describe('sealed executors', () => {
  it('live on while the broker is started anew, which takes them over, answers to jobs from before included', async () => {
    const kpx = await startSealed(accounts, { standIn: { BOOT_MS: '50', JOB_MS: '1500' } });
    const client = await takeClient(kpx);
    await publish(kpx, jobOf('alice', 'a1'));
    const [first] = await jobsDone(kpx, 'alice', 1);
    await publish(kpx, asked('alice', 'a2', client));
    await eventually('the account has the job', async () => (await kpx.vhost.queueDepth('knime-jobs'))?.messages === 0);
    await kpx.endBroker('SIGKILL');
    await kpx.startBroker();
    await answeredAll(kpx, client, ['id-of-a2']);
    await publish(kpx, asked('alice', 'a3', client));
    await answeredAll(kpx, client, ['id-of-a3']);
    expect(new Set(kpx.done('alice').map(({ pid }) => pid))).toEqual(new Set([first?.pid]));
    expect(await accountsIn(accounts, 'users')).toEqual([nameOf('alice')]);
  });

  it('live on while the broker goes over to another configuration of RabbitMQ, and answer jobs from before', async () => {
    const kpx = await startSealed(accounts, { standIn: { BOOT_MS: '50', JOB_MS: '1500' } });
    const client = await takeClient(kpx);
    await publish(kpx, jobOf('alice', 'a1'));
    const [first] = await jobsDone(kpx, 'alice', 1);
    await publish(kpx, asked('alice', 'a2', client));
    await kpx.brokerLog.line({ user: 'alice', state: 'ready' });
    const from = kpx.brokerLog.lines.length;
    await kpx.reload({ amqp: { prefetch: 32 } });
    await kpx.brokerLog.line({ msg: 'the virtual host of an account is connected', account: 'alice' }, { from });
    await publish(kpx, asked('alice', 'a3', client));
    const answers = await answersTo(kpx, client, 2);
    expect(answers.map(({ properties }) => properties.correlationId).sort()).toEqual(['id-of-a2', 'id-of-a3']);
    expect(new Set(kpx.done('alice').map(({ pid }) => pid))).toEqual(new Set([first?.pid]));
  });

  it('that have ended while there was no broker leave no user, and their answers and jobs are carried', async () => {
    const kpx = await startSealed(accounts, { standIn: { BOOT_MS: '50', JOB_MS: '300', PREFETCH: '1' } });
    const client = await takeClient(kpx);
    await publish(kpx, ...['1', '2', '3', '4'].map((job) => asked('alice', job, client)));
    const [first] = await jobsDone(kpx, 'alice', 1);
    await kpx.endBroker('SIGKILL');
    await jobsDone(kpx, 'alice', 2);
    process.kill(Number(first?.pid), 'SIGKILL');
    await kpx.startBroker();
    await answeredAll(kpx, client, ['id-of-1', 'id-of-2', 'id-of-3', 'id-of-4']);
  });

  it('of whom nobody knows at the start of the broker keep it from taking jobs, which is said, until their RabbitMQ answers', async () => {
    const management = await managementWay(accounts);
    const kpx = await installSealed(accounts, { broker: { sealed: { management_url: management.url } } });
    management.cut();
    await kpx.startHelper();
    await kpx.startBroker({ wait: false });
    await kpx.brokerLog.line({ msg: "no jobs are taken: the accounts' RabbitMQ cannot be used; trying again" });
    await publish(kpx, jobOf('alice', 'a1'));
    const { stdout } = await runKpxctl(['status', '--config', kpx.brokerConfigFile]);
    expect(stdout).toContain("no jobs are taken, as the accounts' RabbitMQ cannot be used: the accounts' management API at");
    expect((await kpx.vhost.queueDepth('knime-jobs'))?.messages).toBe(1);
    management.heal();
    await jobsDone(kpx, 'alice', 1);
  });

  it('are not started while the management API is away, which is said, and are when it is back; running ones go on', async () => {
    const management = await managementWay(accounts);
    const kpx = await installSealed(accounts, { broker: { sealed: { management_url: management.url } } });
    await kpx.start();
    await publish(kpx, jobOf('alice', 'a1'));
    await jobsDone(kpx, 'alice', 1);
    management.cut();
    await publish(kpx, jobOf('bob', 'b1'), jobOf('alice', 'a2'));
    const { reason } = await kpx.brokerLog.line({ user: 'bob', state: 'backoff' });
    expect(reason).toContain(
      `SEALED_UNAVAILABLE: the accounts' management API at ${management.url} (sealed.management_url) cannot be asked`,
    );
    await expect.poll(async () => JSON.stringify(await explain(kpx, 'bob'))).toContain('SEALED_UNAVAILABLE');
    await jobsDone(kpx, 'alice', 2);
    management.heal();
    await jobsDone(kpx, 'bob', 1);
  });

  it('find their user and virtual host again after their RabbitMQ was killed, or has lost all its data', { timeout: 120_000 }, async () => {
    const own = await startAccountsRabbitmq();
    onTestFinished(() => own.remove());
    const kpx = await startSealed(own, { standIn: { BOOT_MS: '50', RETRY_MS: '60000' } });
    await publish(kpx, jobOf('alice', 'a1'));
    const [first] = await jobsDone(kpx, 'alice', 1);
    await own.kill();
    await kpx.brokerLog.line({ account: 'alice', msg: 'the virtual host of an account cannot be used; trying again' });
    await own.start();
    await letAdminister(own);
    await publish(kpx, jobOf('alice', 'a2'));
    await jobsDone(kpx, 'alice', 2);
    const from = kpx.brokerLog.lines.length;
    // The user first: it is made anew when the connection to the virtual host is.
    for (const kind of ['users', 'vhosts']) await own.api('DELETE', `${kind}/${encodeURIComponent(nameOf('alice'))}`);
    await kpx.brokerLog.line({ account: 'alice', msg: 'the virtual host of an account is connected' }, { from });
    await publish(kpx, jobOf('alice', 'a3'));
    const done = await jobsDone(kpx, 'alice', 3);
    expect(new Set(done.map(({ pid }) => pid))).toEqual(new Set([first?.pid]));
  });
});

it.each([
  ['makes no passwords', { sealed: false }, 'the helper makes no passwords: executor.sealed = true is missing in privhelper.toml'],
  ['has another node', { node: 'there' }, 'sealed.node is "here" here and "there" in the helper (executor.node in privhelper.toml)'],
])('sealed, a helper that %s is named, and nothing is lost', async (_, executor, why) => {
  const msgq = 'sealed' in executor ? { msgq: 'amqp://x:y@127.0.0.1/z' } : {};
  const kpx = await startSealed(accounts, { helper: { executor }, ...msgq });
  await publish(kpx, jobOf('alice', 'a1'));
  const { reason } = await kpx.brokerLog.line({ user: 'alice', state: 'backoff' });
  expect(reason).toContain(`SEALED_UNAVAILABLE: ${why}`);
  await kpx.endBroker();
  const waiting = async () => {
    const depths = await Promise.all(
      ['knime-jobs', ...ownQueues('knime-jobs').map(([name]) => name)].map((name) => kpx.vhost.queueDepth(name)),
    );
    return depths.reduce((sum, depth) => sum + (depth?.messages ?? 0), 0);
  };
  await eventually('the job waits', async () => (await waiting()) === 1);
  expect(await accountsIn(accounts, 'users')).toEqual([]);
});

it('sealed, a job whose reply_to is a queue of kpx’s own is parked with the reason', async () => {
  const kpx = await startSealed(accounts);
  await publish(kpx, asked('alice', 'a1', 'kpx.dead-letter'));
  const [letter] = await deadLetters(kpx, 1);
  expect(letter?.headers).toMatchObject({ 'x-kpx-reason': 'SEALED_REFUSED', 'x-kpx-detail': expect.stringContaining("kpx's own") });
});

it('sealed, an exchange that is not at the server, or refused to the broker there, keeps no answer of anybody from its client', async () => {
  const up = [
    { exchange: 'not-at-the-server', type: 'fanout' },
    { exchange: 'refused', type: 'fanout' },
  ];
  const kpx = await installSealed(accounts, { broker: { sealed: { up } } });
  await withChannel(kpx.vhost.url('admin'), (channel) => channel.assertExchange('refused', 'fanout'));
  // To RabbitMQ 4.3 an exchange without any right is a refused one, whether it is there or not.
  const least = LEAST_PERMISSIONS.broker;
  await kpx.vhost.setPermissions('broker', { ...least, write: `${least.write}|^not-at-the-server$` });
  await kpx.start();
  const client = await takeClient(kpx);
  await publish(kpx, asked('alice', 'a1', client));
  await answersTo(kpx, client, 1);
  const connection = await asExecutor(kpx, 'alice');
  const channel = await connection.createConfirmChannel();
  for (const { exchange } of up) channel.publish(exchange, '', Buffer.from('an event'));
  await channel.waitForConfirms();
  const [letter] = await deadLetters(kpx, 1);
  expect(letter).toMatchObject({ text: 'an event', headers: { 'x-kpx-reason': 'SEALED_REFUSED', 'x-kpx-account': 'alice' } });
  expect(letter?.headers['x-kpx-detail']).toMatch(/^account alice, exchange "refused", key "": .*ACCESS_REFUSED/);
  await publish(kpx, asked('alice', 'a2', client), asked('bob', 'b1', client));
  expect(await answersTo(kpx, client, 2)).toHaveLength(2);
});

it('sealed, no password is in the log of the broker, nor of the helper', async () => {
  const kpx = await startSealed(accounts);
  await publish(kpx, jobOf('alice', 'a1'));
  await jobsDone(kpx, 'alice', 1);
  const { password } = new URL(environmentOf(kpx, 'alice').KNIME_EXECUTOR_MSGQ ?? '');
  expect(password).toHaveLength(43);
  for (const lines of [kpx.brokerLog.lines, kpx.helperLog.lines]) expect(JSON.stringify(lines)).not.toContain(password);
  expect(execFileSync('/usr/bin/ps', ['-eo', 'args'], { encoding: 'utf8' })).not.toContain(password);
});

it('sealed, a broadcast of the server reaches every executor that listens, and may be answered', async () => {
  // One that is refused keeps nobody from the other.
  const kpx = await installSealed(accounts, { broker: { sealed: { down: [{ exchange: 'not-for-kpx' }, { exchange: 'announcements' }] } } });
  await withChannel(kpx.vhost.url('admin'), async (channel) => {
    for (const exchange of ['not-for-kpx', 'announcements']) await channel.assertExchange(exchange, 'fanout');
  });
  const least = LEAST_PERMISSIONS.broker;
  await kpx.vhost.setPermissions('broker', { ...least, read: `${least.read}|^announcements$` });
  await kpx.start();
  expect(await kpx.brokerLog.line({ exchange: 'not-for-kpx' })).toMatchObject({ reason: expect.stringContaining('ACCESS_REFUSED') });
  await kpx.brokerLog.line({ msg: 'broadcasts of this exchange reach all accounts', exchange: 'announcements' });
  await publish(kpx, jobOf('alice', 'a1'), jobOf('bob', 'b1'));
  for (const user of ['alice', 'bob']) {
    await jobsDone(kpx, user, 1);
    const channel = await (await asExecutor(kpx, user)).createConfirmChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'announcements', '');
    await channel.consume(queue, (message) => {
      const { replyTo = '', correlationId } = message?.properties ?? {};
      channel.publish('', replyTo, Buffer.from(`${user} heard: ${message?.content}`), { correlationId });
    });
  }
  const client = await takeClient(kpx);
  await withChannel(kpx.vhost.url('admin'), async (channel) => {
    channel.publish('announcements', '', Buffer.from('who is there?'), { replyTo: client, correlationId: 'roll call' });
    await channel.waitForConfirms();
  });
  const answers = await answersTo(kpx, client, 2);
  expect(answers.map(({ text, headers, properties }) => [text, headers['x-kpx-account'], properties.correlationId]).sort()).toEqual([
    ['alice heard: who is there?', 'alice', 'roll call'],
    ['bob heard: who is there?', 'bob', 'roll call'],
  ]);
  expect(await kpx.vhost.queueDepth('kpx.dead-letter')).toMatchObject({ messages: 0 });
});

it('sealed, a queue for a client who waits for nothing any more goes, and is there again with the next job', async () => {
  const kpx = await startSealed(accounts, { broker: { sealed: { reply_grace: '1s' } } });
  const client = await takeClient(kpx);
  await publish(kpx, asked('alice', 'a1', client));
  await answersTo(kpx, client, 1);
  const queues = async () => await accounts.api<{ name: string }[]>('GET', `queues/${encodeURIComponent(nameOf('alice'))}?columns=name`);
  await eventually('it is gone', async () => (await queues()).every(({ name }) => !name.startsWith('kpx.reply.')));
  await publish(kpx, asked('alice', 'a2', client));
  expect(await answersTo(kpx, client, 1)).toHaveLength(1);
  expect(await kpx.vhost.queueDepth('kpx.dead-letter')).toMatchObject({ messages: 0 });
});
