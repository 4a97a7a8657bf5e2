import { inject, onTestFinished } from 'vitest';
import { RabbitmqAccess, type Vhost } from '../fixtures/rabbitmq-access.js';

/** The RabbitMQ that global-setup.ts has started. Do not stop it: take startRabbitmq() for that. */
export function sharedRabbitmq(): RabbitmqAccess {
  return new RabbitmqAccess(inject('rabbitmq'));
}

/** A virtual host with KNIME's topology for one test, gone when it is finished. */
export async function takeKnimeVhost(): Promise<Vhost> {
  const vhost = await sharedRabbitmq().createKnimeVhost();
  onTestFinished(() => vhost.delete());
  return vhost;
}
