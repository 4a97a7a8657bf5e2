import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openConnection, withChannel } from '../fixtures/amqp.js';
import { eventually } from '../fixtures/eventually.js';
import type { Section } from '../fixtures/helper-installation.js';
import { jobOf } from '../fixtures/jobs.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import type { Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import {
  accountsIn,
  answersTo,
  asExecutor,
  letAdminister,
  letLook,
  nameOf,
  startAccountsRabbitmq,
  takeClient,
} from '../fixtures/sealed-accounts.js';
import { deadLetters, jobsDone, publish, runKpxctl } from './installed-kpx.js';
import { startSealed } from './installed-sealed.js';

let accounts: RabbitmqServer;
beforeAll(async () => {
  accounts = await startAccountsRabbitmq();
});
afterAll(() => accounts.remove());

const reload = async (kpx: Kpx, sealed: Section): Promise<string[]> => {
  const { changed } = (await kpx.reload({ sealed })) as unknown as { changed: string[] };
  return changed;
};

const ofVhost = async <T>(path: string, osUser: string): Promise<T> =>
  await accounts.api<T>('GET', path.replace('VHOST', encodeURIComponent(nameOf(osUser))));

const windowOf = async (osUser: string) =>
  (await ofVhost<{ definition: { 'max-length': number } }>('policies/VHOST/kpx.window.knime-jobs', osUser)).definition['max-length'];

const queuesMaxOf = async (osUser: string) =>
  (await ofVhost<{ value: { 'max-queues': number } }[]>('vhost-limits/VHOST', osUser))[0]?.value['max-queues'];

const isDeclared = (exchange: string, osUser: string) =>
  eventually(`the exchange ${exchange} is in the virtual host of ${osUser}`, async () => {
    const all = await ofVhost<{ name: string }[]>('exchanges/VHOST', osUser);
    return all.some(({ name }) => name === exchange);
  });

/** As its code does, in its virtual host. */
async function publishesAs(kpx: Kpx, osUser: string, exchange: string, texts: readonly string[]): Promise<void> {
  const connection = await asExecutor(kpx, osUser);
  const channel = await connection.createConfirmChannel();
  for (const text of texts) channel.publish(exchange, 'done', Buffer.from(text));
  await channel.waitForConfirms();
}

it('takes each key of [sealed] that can change, while an executor runs that keeps its process and its jobs', async () => {
  const kpx = await startSealed(accounts);
  const client = await takeClient(kpx);
  const asked = (job: string) => {
    const { body, properties } = jobOf('alice', job);
    return { body, properties: { ...properties, replyTo: client, correlationId: job } };
  };
  await publish(kpx, asked('a1'));
  const [first] = await jobsDone(kpx, 'alice', 1);
  await answersTo(kpx, client, 1);

  expect(await reload(kpx, { window: 3, replies_max: 50 })).toEqual(['sealed.window: 256 -> 3', 'sealed.replies_max: 200 -> 50']);
  await kpx.brokerLog.line({ msg: 'the virtual host of an account is connected', account: 'alice' });
  await eventually('another window', async () => (await windowOf('alice')) === 3 && (await queuesMaxOf('alice')) === 150);

  // Which answers are open is known beyond a reload: one that nobody waits for is refused.
  const reply = `kpx.reply.${Buffer.from(client).toString('base64url')}`;
  const channel = await (await asExecutor(kpx, 'alice')).createConfirmChannel();
  channel.publish('', reply, Buffer.from('forged'), { correlationId: 'never-asked' });
  await channel.waitForConfirms();
  const [forged] = await deadLetters(kpx, 1);
  expect(forged?.headers['x-kpx-detail']).toContain('it was given no job with the correlation id "never-asked"');

  await withChannel(kpx.vhost.url('admin'), async (server) => {
    await server.assertExchange('events', 'topic', { durable: true });
    await server.assertQueue('events-seen', { durable: true });
    await server.bindQueue('events-seen', 'events', '#');
  });
  await kpx.vhost.setPermissions('broker', { configure: '^kpx\\.', write: '.*', read: '.*' });
  const up = [{ exchange: 'events', type: 'topic' }];
  await reload(kpx, { up });
  await isDeclared('events', 'alice');
  await publishesAs(kpx, 'alice', 'events', ['e1']);
  await eventually('the server has it', async () => (await kpx.vhost.queueDepth('events-seen'))?.messages === 1);

  await reload(kpx, { up: [{ exchange: 'events', type: 'topic', keys: ['other'] }], refused_per_minute: 3 });
  await publishesAs(kpx, 'alice', 'events', ['e2', 'e3', 'e4', 'e5']);
  await kpx.brokerLog.line({ msg: 'an account publishes more that is refused; for the rest of this minute it is only counted' });
  expect((await deadLetters(kpx, 2)).map(({ headers }) => headers['x-kpx-reason'])).toEqual(['SEALED_REFUSED', 'SEALED_REFUSED']);

  await withChannel(kpx.vhost.url('admin'), (server) => server.assertExchange('tells-all', 'fanout', { durable: true }));
  await reload(kpx, { down: [{ exchange: 'tells-all', type: 'fanout' }] });
  await kpx.brokerLog.line({ msg: 'broadcasts of this exchange reach all accounts', exchange: 'tells-all' });
  await isDeclared('tells-all', 'alice');
  const listening = await (await asExecutor(kpx, 'alice')).createChannel();
  const { queue } = await listening.assertQueue('listens', { exclusive: true });
  await listening.bindQueue(queue, 'tells-all', '');
  const server = await openConnection(kpx.vhost.url('admin'));
  const told = await server.createConfirmChannel();
  // It is carried to accounts that the broker is connected to, and is not kept for one that it connects to anew.
  await eventually('a broadcast', async () => {
    told.publish('tells-all', '', Buffer.from('hear'));
    await told.waitForConfirms();
    return (await listening.checkQueue(queue)).messageCount > 0;
  });
  await server.close();

  await publish(kpx, asked('a2'));
  expect((await jobsDone(kpx, 'alice', 2)).at(-1)?.pid).toBe(first?.pid);
  expect((await answersTo(kpx, client, 1)).map(({ properties }) => properties.correlationId)).toEqual(['a2']);
});

it('goes over to another user and password of the accounts’ RabbitMQ, by another file', async () => {
  const kpx = await startSealed(accounts);
  await publish(kpx, jobOf('alice', 'a1'));
  const [first] = await jobsDone(kpx, 'alice', 1);
  await kpx.brokerLog.line({ user: 'alice', state: 'ready' });
  await accounts.api('PUT', 'users/kpx-other', { password: 'another-password', tags: 'administrator' });
  const file = `${kpx.etc}/other-password`;
  writeFileSync(file, 'another-password\n', { mode: 0o644 });
  const from = kpx.brokerLog.lines.length;
  const urls = [`amqp://kpx-other@${accounts.host}:${accounts.amqpPort}`];
  await reload(kpx, { urls, management_password_file: file });
  await kpx.brokerLog.line({ msg: 'the virtual host of an account is connected', account: 'alice' }, { from });
  await publish(kpx, jobOf('alice', 'a2'), jobOf('bob', 'b1'));
  expect((await jobsDone(kpx, 'alice', 2)).at(-1)?.pid).toBe(first?.pid);
  await jobsDone(kpx, 'bob', 1);
  const connected = await accounts.api<{ vhost: string }[]>('GET', 'connections/username/kpx-other');
  expect(new Set(connected.map(({ vhost }) => vhost))).toEqual(new Set([nameOf('alice'), nameOf('bob')]));
  await letAdminister(accounts);
  await reload(kpx, {});
});

it('removes virtual hosts of accounts without executors when `keep` or `vhosts_max` is lowered', async () => {
  const kpx = await startSealed(accounts);
  await publish(kpx, jobOf('alice', 'a1'), jobOf('bob', 'b1'));
  const [done] = await jobsDone(kpx, 'alice', 1);
  await jobsDone(kpx, 'bob', 1);
  process.kill(Number(done?.pid), 'SIGKILL');
  await kpx.brokerLog.line({ msg: 'the virtual host of an account is left: all that was published is carried', account: 'alice' });
  expect(await reload(kpx, { keep: '1s' })).toEqual(['sealed.keep: "168h" -> "1s"']);
  await reload(kpx, { vhosts_max: 1 });
  await eventually('only the one in use is left', async () => (await accountsIn(accounts, 'vhosts')).join() === nameOf('bob'));
});

it('puts back the jobs that lie in a virtual host before it is removed: RabbitMQ may give them out late', async () => {
  const kpx = await startSealed(accounts);
  await publish(kpx, jobOf('alice', 'a1'), jobOf('bob', 'b1'));
  const [done] = await jobsDone(kpx, 'alice', 1);
  await jobsDone(kpx, 'bob', 1);
  process.kill(Number(done?.pid), 'SIGKILL');
  await kpx.brokerLog.line({ msg: 'the virtual host of an account is left: all that was published is carried', account: 'alice' });
  await withChannel(await letLook(accounts, 'alice'), (channel) => {
    channel.sendToQueue(KNIME_QUEUE, Buffer.from(JSON.stringify(jobOf('alice', 'late').body)));
    return channel.checkQueue(KNIME_QUEUE); // RabbitMQ has it
  });
  await reload(kpx, { vhosts_max: 1 });
  await kpx.brokerLog.line({ msg: 'the virtual host of an account is removed: it has had no executor for a while', account: 'alice' });
  expect((await jobsDone(kpx, 'alice', 2)).map(({ job }) => job)).toEqual(['a1', 'late']);
});

it('keeps the whole of [sealed] as it is where a part of it cannot change, with the reasons, and takes the rest of the file', async () => {
  const kpx = await startSealed(accounts);
  await publish(kpx, jobOf('alice', 'a1'));
  const [first] = await jobsDone(kpx, 'alice', 1);
  const sealed = { node: 'elsewhere', window: 3, job_queue: { durable: false } };
  const warned = kpx.brokerLog.line({ msg: 'these take effect with a restart' });
  kpx.configureBroker({ sealed, policy: { deny: ['bob'] } });
  const { stdout } = await runKpxctl(['reload', '--config', kpx.brokerConfigFile]);
  expect(stdout).toMatch(/\nWith a restart only: \[sealed\]\n {2}sealed\.node: .*\n {2}sealed\.job_queue: .*\n$/);
  expect(await warned).toMatchObject({
    level: 40,
    sections: ['sealed'],
    reasons: [expect.stringMatching(/^sealed\.node: /), expect.stringMatching(/^sealed\.job_queue: /)],
  });
  await publish(kpx, jobOf('bob', 'b1'), jobOf('alice', 'a2'));
  await kpx.brokerLog.line({ user: 'bob', msg: 'job parked', reason: 'USER_DENIED' });
  expect((await jobsDone(kpx, 'alice', 2)).at(-1)?.pid).toBe(first?.pid);
  expect(await windowOf('alice')).toBe(256);
});
