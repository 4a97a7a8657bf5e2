import { ACCESS_REFUSED } from '@kpx/broker/amqp/reply-codes';
import { DEAD_LETTER_QUEUE } from '@kpx/broker/amqp/topology';
import { shellWord } from '@kpx/broker/output/format';
import { brokerPermissions, type Rights } from '@kpx/broker/rabbitmq/permissions';
import type { ChannelModel } from 'amqplib';
import { type Check, fail, ok, type Verdict, warn } from './check.js';
import { consume, late, make, NEW_QUEUE, publish, type Question, refusal } from './rabbitmq-answers.js';
import type { Amqp } from './scene.js';

/** Asks which permissions RabbitMQ gives the broker, and whether it takes messages at all. `another`: a connection for one check alone. */
export const rightsChecks = (config: Rights, another: () => Promise<ChannelModel>): Check[] => [
  permissions(config, another),
  alarms(config.amqp, another),
];

/** The broker's requests, by the permission that each takes. Publishing comes last. */
function requestsOf({ queue, exchange, declare }: Amqp): [right: string, ask: Question][] {
  const requests: [string, Question, boolean][] = [
    ['configure for kpx.*', make(NEW_QUEUE), true],
    [`configure for ${queue}`, make(queue), declare],
    [`read for ${queue}`, consume(queue), true],
    ['read for kpx.*', consume(DEAD_LETTER_QUEUE), true],
    ['write for amq.default', publish(''), true],
    [`write for ${exchange}`, publish(exchange), exchange !== ''],
  ];
  return requests.flatMap(([right, ask, isNeeded]) => (isNeeded ? [[right, ask]] : []));
}

/** On an alarm RabbitMQ reads nothing more of a connection that publishes. So it is one of its own. */
const permissions = (config: Rights, another: () => Promise<ChannelModel>): Check => ({
  name: 'permissions',
  fix: 'See whether RabbitMQ answers others: rabbitmqctl status.',
  look: async () => {
    const connection = await another();
    let alarm: string | undefined;
    const blocked = new Promise<'blocked'>((resolve) => {
      connection.once('blocked', (reason: string) => {
        alarm = reason;
        resolve('blocked');
      });
    });
    const missing: string[] = [];
    const unseen: string[] = [];
    for (const [right, ask] of requestsOf(config.amqp)) {
      const code = alarm === undefined ? await Promise.race([refusal(connection, ask), blocked]) : 'blocked';
      if (code === ACCESS_REFUSED) missing.push(right);
      else if (code === 'blocked') unseen.push(right);
    }
    if (missing.length > 0) return fail(`missing: ${missing.join(', ')}`, permissionsMend(config));
    if (unseen.length > 0) return warn(`not seen because of the alarm: ${unseen.join(', ')}`, 'Ask again when RabbitMQ takes messages.');
    return ok('configure, write and read are as the broker needs them');
  },
});

function permissionsMend(config: Rights): string {
  const { username, pathname } = new URL(config.amqp.urls[0] ?? '');
  const vhost = decodeURIComponent(pathname.slice(1)) || '/';
  const { configure, write, read } = brokerPermissions(config);
  return `On the RabbitMQ machine: rabbitmqctl set_permissions -p ${shellWord(vhost)} ${shellWord(decodeURIComponent(username))} '${configure}' '${write}' '${read}'`;
}

/** RabbitMQ tells of an alarm who publishes. */
const alarms = (amqp: Amqp, another: () => Promise<ChannelModel>): Check => ({
  name: 'RabbitMQ alarms',
  fix: 'See rabbitmqctl status on the RabbitMQ machine.',
  look: async () => {
    const connection = await another();
    const blocked = new Promise<Verdict>((resolve) => {
      connection.once('blocked', (reason: string) =>
        resolve(
          fail(
            `RabbitMQ takes no messages: ${reason}`,
            'On the RabbitMQ machine: rabbitmqctl status says which alarm; give it memory or disk. Jobs wait meanwhile.',
          ),
        ),
      );
    });
    const taken = refusal(connection, publish('')).then(async () => {
      // The news of an alarm comes before or after the refusal of what was published: by the next answer it is there.
      await Promise.race([refusal(connection, (channel) => channel.checkQueue(amqp.queue)), late()]);
      return ok('none');
    });
    return await Promise.race([blocked, taken]);
  },
});
