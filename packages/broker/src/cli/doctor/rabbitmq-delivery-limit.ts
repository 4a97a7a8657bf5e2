import type { ChannelModel } from 'amqplib';
import { lookAtJobQueue } from '../../amqp/job-queue.js';
import { type Check, fail, ok, warn } from './check.js';
import type { Amqp } from './scene.js';

/** Whether RabbitMQ removes jobs from the job queue that were given back too often. */
export const deliveryLimit = (amqp: Amqp, first: () => Promise<ChannelModel>, password: () => Promise<string>): Check => ({
  name: 'delivery limit',
  mend: `The broker's user needs the read right on "${amqp.queue}", and the queue has to be there: see the checks "permissions" and "job queue".`,
  look: async () => {
    const { type, version, danger, fix = '' } = await lookAtJobQueue(await first(), amqp.urls[0] ?? '', amqp, password);
    if (danger === undefined) return ok(`none: "${amqp.queue}" is a ${type} queue of RabbitMQ ${version}`);
    const mend = `${fix.replace(/^./, (letter) => letter.toUpperCase())}. It takes amqp.management_url for the broker to see policies.`;
    if (amqp.delivery_limit === 'accept') return warn(`${danger}; delivery_limit = "accept"`, mend);
    return fail(`the broker takes no jobs: ${danger}`, mend);
  },
});
