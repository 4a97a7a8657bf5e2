import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { Provisioning } from '../../packages/broker/src/rabbitmq/provisioning.js';
import { openConnection, withChannel } from '../fixtures/amqp.js';
import { treesToTest } from '../fixtures/debian/trees.mjs';
import { eventually } from '../fixtures/eventually.js';
import { type RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';

const THEIRS = '^(?!kpx\\.)';

function hashOf(password: string): string {
  const salt = randomBytes(4);
  return Buffer.concat([salt, createHash('sha256').update(salt).update(password).digest()]).toString('base64');
}

describe.each([undefined, ...treesToTest()])('making virtual hosts and users, on RabbitMQ of %s', (tree) => {
  let rabbitmq: RabbitmqServer;
  let api: Provisioning;
  beforeAll(async () => {
    rabbitmq = await startRabbitmq(tree === undefined ? {} : { tree });
    api = as('admin');
  });
  afterAll(() => rabbitmq.remove());

  function as(role: 'admin' | 'broker', password = rabbitmq.users[role].password): Provisioning {
    const url = `http://${rabbitmq.host}:${rabbitmq.managementPort}`;
    return new Provisioning({
      name: 'sealed.management_url',
      url,
      user: rabbitmq.users[role].name,
      password: async () => password,
      files: async () => ({}),
    });
  }

  const urlOf = (vhost: string, user: string, password: string) =>
    `amqp://${encodeURIComponent(user)}:${password}@${rabbitmq.host}:${rabbitmq.amqpPort}/${encodeURIComponent(vhost)}`;

  /** A virtual host of a name that needs escaping, gone with the test. */
  async function takeVhost(): Promise<string> {
    const vhost = `kpx.t.DOM\\a b/c-${randomUUID().slice(0, 8)}`;
    await api.putVhost(vhost, 'of a test');
    onTestFinished(() => api.deleteVhost(vhost));
    await api.putPermissions(vhost, rabbitmq.users.admin.name, { configure: '.*', write: '.*', read: '.*' });
    return vhost;
  }

  async function takeUser(vhost: string): Promise<{ user: string; password: string; url: string }> {
    const [user, password] = [vhost, randomBytes(16).toString('base64url')];
    await api.putUser(user, hashOf(password));
    onTestFinished(() => api.deleteUser(user));
    await api.putPermissions(vhost, user, { configure: THEIRS, write: THEIRS, read: THEIRS });
    return { user, password, url: urlOf(vhost, user, password) };
  }

  it('a user logs in by the password of its hash, touches its own objects alone, and is out when it is deleted', async () => {
    const vhost = await takeVhost();
    const { user, url } = await takeUser(vhost);
    const connection = await openConnection(url);
    const closed = new Promise((resolve) => connection.once('close', resolve));
    const channel = await connection.createChannel();
    await channel.assertQueue('own');
    expect(await api.connectionsOf(user)).toBe(1);
    await expect(withChannel(url, (other) => other.assertQueue('kpx.up'))).rejects.toThrow(/ACCESS_REFUSED/);
    await api.deleteUser(user);
    await closed;
    await eventually('nobody is connected', async () => (await api.connectionsOf(user)) === 0);
    await expect(openConnection(url)).rejects.toThrow(/ACCESS.REFUSED/);
  });

  it('a user with an empty hash logs in by no password, and has its rights and limits when it gets one', async () => {
    const vhost = await takeVhost();
    const { user, password, url } = await takeUser(vhost);
    await api.putUser(user, '');
    await api.limitUser(user, { 'max-connections': 1 });
    for (const tried of [password, '', 'x']) await expect(openConnection(urlOf(vhost, user, tried))).rejects.toThrow(/ACCESS.REFUSED/);
    await api.putUser(user, hashOf(password));
    const connection = await openConnection(url);
    await (await connection.createChannel()).assertQueue('own');
    await expect(openConnection(url)).rejects.toThrow(/Expected ConnectionOpenOk/);
    await connection.close();
  });

  it('says what somebody has declared, by the pattern of its name, and how much there is beyond one answer', async () => {
    const vhost = await takeVhost();
    const { url } = await takeUser(vhost);
    await withChannel(url, async (channel) => {
      await channel.assertQueue('gateway-%/ä "1"', { durable: false, exclusive: true });
      await channel.assertQueue('jobs', { durable: true, autoDelete: true });
      for (let each = 0; each < 501; each += 1) await channel.assertExchange(`x${each}`, 'topic', { durable: false });
      expect(await api.queuesLike(vhost, `${THEIRS}(?!jobs$)`)).toEqual({
        items: [{ name: 'gateway-%/ä "1"', durable: false, auto_delete: false, exclusive: true }],
        total: 1,
      });
      expect((await api.queuesLike(vhost, THEIRS)).items).toContainEqual({
        name: 'jobs',
        durable: true,
        auto_delete: true,
        exclusive: false,
      });
      const { items, total } = await api.exchangesLike(vhost, '^(?!kpx\\.|amq\\.|$)');
      expect([items.length, total, items[0]]).toEqual([500, 501, { name: 'x0', durable: false, auto_delete: false, type: 'topic' }]);
    });
    expect(await api.queuesLike('kpx.t.nowhere', THEIRS)).toEqual({ items: [], total: 0 });
  });

  it('everything can be asked for twice, and a deletion of what is not there is one', async () => {
    const vhost = await takeVhost();
    const { user, password } = await takeUser(vhost);
    for (const _ of ['once', 'twice']) {
      await api.putVhost(vhost, 'of a test');
      await api.putUser(user, hashOf(password));
      await api.limitVhost(vhost, { 'max-queues': 3 });
      await api.limitUser(user, { 'max-connections': 2, 'max-channels': 20 });
      await api.putPolicy(vhost, 'kpx.window', {
        pattern: '^jobs$',
        appliesTo: 'queues',
        definition: { 'max-length': 1, overflow: 'reject-publish' },
      });
      await api.putOperatorPolicy(vhost, 'kpx.bounds', { pattern: THEIRS, appliesTo: 'queues', definition: { 'max-length': 10 } });
    }
    expect(await api.hasUser(user)).toBe(true);
    for (const _ of ['once', 'twice']) await api.deleteUsers([user, 'kpx.t.was-never-there']);
    expect(await api.hasUser(user)).toBe(false);
  });

  it('queues without a type are classic, also where the virtual host had another default', async () => {
    const vhost = await takeVhost();
    await rabbitmq.api('PUT', `vhosts/${encodeURIComponent(vhost)}`, { default_queue_type: 'quorum' });
    await api.putVhost(vhost, 'of a test');
    await withChannel(urlOf(vhost, rabbitmq.users.admin.name, rabbitmq.users.admin.password), (channel) => channel.assertQueue('plain'));
    const { type } = await rabbitmq.api<{ type: string }>('GET', `queues/${encodeURIComponent(vhost)}/plain`);
    expect(type).toBe('classic');
  });

  it('lists by prefix what is there, also names that need escaping, and queues with what they were declared with', async () => {
    const vhost = await takeVhost();
    const { user } = await takeUser(vhost);
    expect(await api.vhosts('kpx.t.')).toContainEqual({ name: vhost, description: 'of a test' });
    await api.putVhost(vhost, 'otherwise');
    expect(await api.vhosts('kpx.t.')).toContainEqual({ name: vhost, description: 'otherwise' });
    expect(await api.vhosts('kpx.other.')).toEqual([]);
    expect(await api.users('kpx.t.')).toContain(user);
    await withChannel(urlOf(vhost, rabbitmq.users.admin.name, rabbitmq.users.admin.password), async (channel) => {
      await channel.assertQueue('plain');
      await channel.assertQueue('noted', { arguments: { 'x-kpx-reply-to': 'client' } });
    });
    const queues = await api.queues(vhost);
    expect(queues.map(({ name }) => name).sort()).toEqual(['noted', 'plain']);
    expect(queues.find(({ name }) => name === 'noted')?.arguments).toMatchObject({ 'x-kpx-reply-to': 'client' });
    expect(queues.find(({ name }) => name === 'plain')?.arguments).not.toHaveProperty('x-kpx-reply-to');
  });

  it('limits hold: of queues, of connections; a full queue refuses what is published', async () => {
    const vhost = await takeVhost();
    const { user, url } = await takeUser(vhost);
    await api.limitVhost(vhost, { 'max-queues': 1 });
    await api.limitUser(user, { 'max-connections': 1 });
    await api.putPolicy(vhost, 'kpx.window', {
      pattern: '^jobs$',
      appliesTo: 'queues',
      definition: { 'max-length': 1, overflow: 'reject-publish' },
    });
    await withChannel(url, async (channel) => {
      await channel.assertQueue('jobs');
      const published = async () =>
        await new Promise<boolean>((resolve) => channel.publish('', 'jobs', Buffer.from('job'), {}, (error) => resolve(error === null)));
      await eventually('the policy is in force', async () => !(await published()));
      await expect(openConnection(url)).rejects.toThrow(/Expected ConnectionOpenOk/);
    });
    await expect(withChannel(url, (channel) => channel.assertQueue('more'))).rejects.toThrow(/queue limit/);
  });

  it('says what to do about a wrong password, and a user who is no administrator', async () => {
    expect(await api.administrator()).toBe(rabbitmq.users.admin.name);
    await expect(as('admin', 'wrong').administrator()).rejects.toThrow(
      /refuses the login of "fixtures-admin".*is the password the right one/,
    );
    await expect(as('broker').administrator()).rejects.toThrow(/administrator/);
    await rabbitmq.api('PUT', `users/${rabbitmq.users.broker.name}`, { password: rabbitmq.users.broker.password, tags: 'management' });
    await expect(as('broker').administrator()).rejects.toThrow('rabbitmqctl set_user_tags kpx-broker administrator');
    await expect(as('broker').putVhost('kpx.t.not-allowed', '')).rejects.toThrow(
      /refuses the login of "kpx-broker", or what it asks.*administrator/,
    );
  });
});
