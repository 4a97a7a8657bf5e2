import type { Channel, ConsumeMessage } from 'amqplib';
import { openConnection, withChannel } from '../fixtures/amqp.js';
import { eventually } from '../fixtures/eventually.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import type { Vhost } from '../fixtures/rabbitmq-access.js';

/** Where forwarded jobs go, so that only the way through the broker is measured and no executor. */
export const SINK = 'bench-sink';
const WAIT_MS = 600_000;

/** A virtual host whose broker may publish to the sink. */
export async function vhostWithSink(rabbitmq: RabbitmqServer): Promise<Vhost> {
  const vhost = await rabbitmq.createKnimeVhost();
  await withChannel(vhost.url('admin'), async (channel) => {
    await channel.assertQueue(SINK, { durable: true });
    await channel.assertExchange(SINK, 'direct', { durable: true });
    await channel.bindQueue(SINK, SINK, 'job');
  });
  await vhost.setPermissions('broker', { configure: '^kpx\\.', write: '.*', read: '.*' });
  return vhost;
}

/** Broker configuration for it. */
export const TO_SINK = { exchange: SINK, routing_key: 'job' };

/** Resolves with the time, in milliseconds, when that many messages are in the sink. */
export async function arrived(vhost: Vhost, wanted: number): Promise<number> {
  await eventually(`${wanted} messages`, async () => ((await vhost.queueDepth(SINK))?.messages ?? 0) >= wanted, WAIT_MS);
  return performance.now();
}

/** Milliseconds between the arrival of a tenth of `count` messages in the sink and that of all of them. */
export async function fillingMs(vhost: Vhost, count: number): Promise<number> {
  const began = await arrived(vhost, count / 10);
  return (await arrived(vhost, count)) - began;
}

/** Calls back for each message that arrives, until the answer is called. */
export async function watchSink(vhost: Vhost, arrived: (message: ConsumeMessage) => void): Promise<() => Promise<void>> {
  const connection = await openConnection(vhost.url('admin'));
  const channel: Channel = await connection.createChannel();
  await channel.prefetch(1_000);
  await channel.consume(SINK, (message) => {
    if (!message) return;
    channel.ack(message);
    arrived(message);
  });
  return async () => {
    await channel.close();
    await connection.close();
  };
}
