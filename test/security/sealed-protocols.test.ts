import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ownQueues } from '../../packages/broker/src/amqp/topology.js';
import { withChannel } from '../fixtures/amqp.js';
import { TREES_OF_EVERY_RUN } from '../fixtures/debian/trees.mjs';
import { eventually } from '../fixtures/eventually.js';
import { freePorts } from '../fixtures/free-ports.js';
import { drainQueue, jobOf, publishJobs } from '../fixtures/jobs.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import type { Kpx } from '../fixtures/kpx.js';
import { type RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';
import { installSealedAt, nameOf, startAccountsRabbitmq } from '../fixtures/sealed-accounts.js';
import { mqtt, stomp } from './other-protocols.js';

/* Plugins that an administrator may have turned on at the accounts' RabbitMQ: the user of an account can log in by them, too. */

const PLUGINS = ['rabbitmq_stomp', 'rabbitmq_mqtt', 'rabbitmq_stream', 'rabbitmq_shovel', 'rabbitmq_federation'];

let server: RabbitmqServer;
beforeAll(async () => {
  server = await startRabbitmq();
});
afterAll(() => server.remove());

describe.each([undefined, ...TREES_OF_EVERY_RUN])('the code of alice, where RabbitMQ of %s speaks STOMP and MQTT', (tree) => {
  let accounts: RabbitmqServer;
  let [stompPort, mqttPort, streamPort] = [0, 0, 0];
  beforeAll(async () => {
    [stompPort = 0, mqttPort = 0, streamPort = 0] = await freePorts(3);
    const settings = {
      'stomp.listeners.tcp.1': `127.0.0.1:${stompPort}`,
      'mqtt.listeners.tcp.1': `127.0.0.1:${mqttPort}`,
      'stream.listeners.tcp.1': `127.0.0.1:${streamPort}`,
    };
    accounts = await startAccountsRabbitmq({ plugins: PLUGINS, settings, ...(tree !== undefined && { tree }) });
  });
  afterAll(() => accounts.remove());

  async function start(): Promise<{ kpx: Kpx; alice: { user: string; password: string } }> {
    const vhost = await server.createKnimeVhost();
    await withChannel(vhost.url('admin'), async (channel) => {
      for (const [name, options] of ownQueues(KNIME_QUEUE)) await channel.assertQueue(name, options);
    });
    const kpx = await installSealedAt(vhost, accounts).start();
    await publishJobs(vhost.url('publisher'), [jobOf('alice', 'a1'), jobOf('bob', 'b1')]);
    for (const user of ['alice', 'bob']) await eventually(`the job of ${user} is done`, () => kpx.done(user).length === 1);
    const { env } = kpx.started('alice') as unknown as { env: Record<string, string> };
    const { username, password } = new URL(env.KNIME_EXECUTOR_MSGQ ?? '');
    return { kpx, alice: { user: decodeURIComponent(username), password } };
  }

  it('is in its own virtual host by them, with the same rights as by AMQP, and in no other', { timeout: 120_000 }, async () => {
    const { kpx, alice } = await start();
    const own = { ...alice, vhost: nameOf('alice') };
    const other = { ...alice, vhost: nameOf('bob') };
    expect(await stomp(stompPort, other)).toEqual(['ERROR']);
    expect(await mqtt(mqttPort, other, 'topic')).toMatchObject({ published: false });
    const send = (destination: string) => `SEND\ndestination:${destination}\n\n${JSON.stringify({ user: 'bob', job: 'forged' })}`;
    const listen = (destination: string) => `SUBSCRIBE\nid:1\ndestination:${destination}\n\n`;
    expect(await stomp(stompPort, own, send('/queue/own'), listen('/queue/own'))).toEqual(['CONNECTED', 'RECEIPT', expect.any(String)]);
    for (const frame of [
      listen('/amq/queue/kpx.up'),
      listen('/queue/kpx.up'),
      send('/queue/kpx.up'),
      send('/exchange/kpx.unrouted/x'),
      listen('/exchange/kpx.unrouted/x'),
    ])
      expect([frame, (await stomp(stompPort, own, frame)).at(-1)]).toEqual([frame, 'ERROR']);
    expect(await stomp(stompPort, own, send('/amq/queue/kpx.up'), send('/topic/any'))).toEqual(['CONNECTED', 'RECEIPT', 'RECEIPT']);
    expect(await mqtt(mqttPort, own, 'any/topic')).toEqual({ code: 0, published: true });
    // By its name, and two to amq.topic, of which no [[sealed.up]] is.
    await eventually('all is parked', async () => (await kpx.vhost.queueDepth('kpx.dead-letter'))?.messages === 3);
    const letters = await drainQueue(kpx.vhost.url('admin'), 'kpx.dead-letter');
    for (const { headers } of letters) expect(headers).toMatchObject({ 'x-kpx-reason': 'SEALED_REFUSED', 'x-kpx-account': 'alice' });
    await publishJobs(kpx.vhost.url('publisher'), [jobOf('bob', 'b2')]);
    await eventually('bob works', () => kpx.done('bob').length > 1);
    expect(kpx.done('bob').map(({ job }) => job)).toEqual(['b1', 'b2']);
  });
});
