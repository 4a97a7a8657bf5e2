import { lookAtJobQueue } from '@kpx/broker/amqp/job-queue';
import type { ChannelModel } from 'amqplib';
import { type Check, fail, ok, Skipped, warn } from './check.js';
import type { Amqp } from './scene.js';

/** Whether RabbitMQ removes jobs from the job queue that were given back too often. */
export const deliveryLimit = (amqp: Amqp, first: () => Promise<ChannelModel>, password: () => Promise<string>): Check => ({
  name: 'delivery limit',
  fix: 'See whether RabbitMQ has an alarm, or is about to start.',
  look: async () => {
    const connection = await first();
    const looked = lookAtJobQueue(connection, amqp.urls[0] ?? '', amqp, password).catch(saidByAnother);
    const { type, version, limit, danger, fix: command = '' } = await looked;
    if (danger === undefined) return ok(`none: "${amqp.queue}" is a ${type} queue of RabbitMQ ${version}`);
    const step = `${command.replace(/^./, (letter) => letter.toUpperCase())}.`;
    if (limit === undefined) return fail(`the broker takes no jobs: ${danger}`, step);
    const fix = `${step} It takes amqp.management_urls for the broker to see policies.`;
    if (amqp.delivery_limit === 'accept') return warn(`${danger}; delivery_limit = "accept"`, fix);
    return fail(`the broker takes no jobs: ${danger}`, fix);
  },
});

/** A queue that is missing, or that the broker may not read: another check fails by that, and says what to do. */
function saidByAnother(error: Error): never {
  if (/NOT_FOUND|ACCESS_REFUSED/.test(error.message)) throw new Skipped(`the job queue cannot be seen: ${error.message}`);
  throw error;
}
