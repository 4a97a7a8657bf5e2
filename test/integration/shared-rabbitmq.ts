import { inject, onTestFinished } from 'vitest';
import { ownQueues } from '../../packages/broker/src/amqp/topology.js';
import { withChannel } from '../fixtures/amqp.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import { RabbitmqAccess, type Vhost } from '../fixtures/rabbitmq-access.js';

/** The RabbitMQ that global-setup.ts has started. Do not stop it: take startRabbitmq() for that. */
export function sharedRabbitmq(): RabbitmqAccess {
  return new RabbitmqAccess(inject('rabbitmq'));
}

/** A virtual host with KNIME's topology for one test, and with kpx's queues, gone when it is finished. A broker that makes queues lets jobs wait for a while. */
export async function takeKnimeVhost(): Promise<Vhost> {
  const vhost = await sharedRabbitmq().createKnimeVhost();
  onTestFinished(() => vhost.delete());
  await withChannel(vhost.url('admin'), async (channel) => {
    for (const [name, options] of ownQueues(KNIME_QUEUE)) await channel.assertQueue(name, options);
  });
  return vhost;
}
