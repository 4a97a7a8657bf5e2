import { ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED } from '@kpx/broker/amqp/reply-codes';
import { DEAD_LETTER_QUEUE, ownQueues } from '@kpx/broker/amqp/topology';
import type { ChannelModel } from 'amqplib';
import { type Check, fail, ok, warn } from './check.js';
import { refusal } from './rabbitmq-answers.js';
import type { Amqp } from './scene.js';

/** KNIME's queue and exchange, and kpx's own queues. */
export const queueChecks = (amqp: Amqp, first: () => Promise<ChannelModel>): Check[] => [
  queue(amqp, first),
  exchange(amqp, first),
  ownQueuesAsDeclared(amqp, first),
];

const KNIMES =
  'KNIME Server makes it when it starts with distributed executors: see amqp.queue, amqp.exchange and the virtual host in amqp.urls; rabbitmqctl -p VHOST list_queues, list_exchanges.';

/** From RabbitMQ 4.3 on whether something is there is told only to those who have a right on it; it names "configure", and any right will do. */
const RIGHTS = 'The check "permissions" has the command. Whether the name is right cannot be seen without a right on it.';

const queue = ({ queue: name, declare }: Amqp, first: () => Promise<ChannelModel>): Check => ({
  name: 'job queue',
  fix: KNIMES,
  look: async () => {
    let counts = '';
    const code = await refusal(await first(), async (channel) => {
      const { messageCount, consumerCount } = await channel.checkQueue(name);
      counts = `${messageCount} jobs wait, ${consumerCount} consumers`;
    });
    if (code === NOT_FOUND && declare) return ok(`there is no queue "${name}" yet: the broker makes it (declare)`);
    if (code === ACCESS_REFUSED) return fail(`the broker's user has no right on the queue "${name}"`, RIGHTS);
    if (code !== undefined) throw new Error(`there is no queue "${name}" (${code})`);
    return ok(`"${name}": ${counts}`);
  },
});

const exchange = ({ exchange: name, declare }: Amqp, first: () => Promise<ChannelModel>): Check => ({
  name: 'job exchange',
  fix: KNIMES,
  look: async () => {
    if (name === '') return ok('none: jobs are published to the queue itself');
    const code = await refusal(await first(), (channel) => channel.checkExchange(name));
    if (code === NOT_FOUND && declare) return ok(`there is no exchange "${name}" yet: the broker makes it (declare)`);
    if (code === ACCESS_REFUSED) return fail(`the broker's user has no right on the exchange "${name}"`, RIGHTS);
    if (code !== undefined) throw new Error(`there is no exchange "${name}" (${code})`);
    return ok(`"${name}"`);
  },
});

/** Declares the queues that exist once more: where they are as expected, that changes nothing. */
const ownQueuesAsDeclared = ({ queue: name }: Amqp, first: () => Promise<ChannelModel>): Check => ({
  name: "kpx's queues",
  fix: 'Somebody else has made it otherwise. When it is empty (rabbitmqctl -p VHOST list_queues), delete it, and the broker makes it anew: rabbitmqctl -p VHOST delete_queue NAME, then systemctl restart kpx-broker.',
  look: async () => {
    const connection = await first();
    const missing: string[] = [];
    let parked = 0;
    for (const [own, options] of ownQueues(name)) {
      const absent = await refusal(connection, async (channel) => {
        const { messageCount } = await channel.checkQueue(own);
        if (own === DEAD_LETTER_QUEUE) parked = messageCount;
      });
      if (absent === NOT_FOUND) missing.push(own);
      else if (absent !== undefined) throw new Error(`${own} is not usable (${absent})`);
      else if ((await refusal(connection, (channel) => channel.assertQueue(own, options))) === PRECONDITION_FAILED)
        throw new Error(`${own} is there with other properties than kpx gives it`);
    }
    if (parked > 0) return warn(`${parked} jobs are parked in ${DEAD_LETTER_QUEUE}`, 'kpxctl dead-letters list says why.');
    return ok(missing.length === 0 ? 'all there, none parked' : 'the broker makes those that are missing when it starts');
  },
});
