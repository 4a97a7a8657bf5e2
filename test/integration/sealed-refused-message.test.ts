import { afterAll, beforeAll, expect, it } from 'vitest';
import { ownQueues } from '../../packages/broker/src/amqp/topology.js';
import { withChannel } from '../fixtures/amqp.js';
import { jobOf } from '../fixtures/jobs.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import { type RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';
import { answersTo, asExecutor, installSealedAt, startAccountsRabbitmq, takeClient } from '../fixtures/sealed-accounts.js';
import { deadLetters, publish } from './installed-kpx.js';

/* An answer for which the server's RabbitMQ ends the connection of all accounts. */

const SERVER_BYTES_MAX = 100_000;
const LOST = 'what accounts publish waits: lost RabbitMQ; connecting again';

let [server, accounts]: RabbitmqServer[] = [];
beforeAll(async () => {
  [server, accounts] = [await startRabbitmq({ settings: { max_message_size: SERVER_BYTES_MAX } }), await startAccountsRabbitmq()];
});
afterAll(async () => {
  await server?.remove();
  await accounts?.remove();
});

it('an answer above the max_message_size of the server is parked without its body, and others have theirs', {
  timeout: 120_000,
}, async () => {
  if (!server || !accounts) throw new Error('not started');
  const vhost = await server.createKnimeVhost();
  await withChannel(vhost.url('admin'), async (channel) => {
    for (const [name, options] of ownQueues(KNIME_QUEUE)) await channel.assertQueue(name, options);
  });
  const kpx = installSealedAt(vhost, accounts, { broker: { sealed: { answers: 'clients' } } });
  await kpx.start();
  const client = await takeClient(kpx);
  const asked = (user: string) => {
    const { body, properties } = jobOf(user, user);
    return { body, properties: { ...properties, replyTo: client, correlationId: user } };
  };
  await publish(kpx, asked('alice'));
  await answersTo(kpx, client, 1);
  const channel = await (await asExecutor(kpx, 'alice')).createConfirmChannel();
  const standIn = `kpx.reply.${Buffer.from(client).toString('base64url')}`;
  for (const correlationId of ['large', 'large too']) channel.publish('', standIn, Buffer.alloc(2 * SERVER_BYTES_MAX), { correlationId });
  channel.publish('', standIn, Buffer.from('small'), { correlationId: 'small' });
  await channel.waitForConfirms();
  await publish(kpx, asked('bob'));
  const answered = await answersTo(kpx, client, 2);
  expect(answered.map(({ properties }) => properties.correlationId).toSorted()).toEqual(['bob', 'small']);
  for (const letter of await deadLetters(kpx, 2)) {
    expect(letter.headers).toMatchObject({
      'x-kpx-reason': 'SEALED_REFUSED',
      'x-kpx-account': 'alice',
      'x-kpx-detail': expect.stringMatching(
        /200000 bytes, and the server does not take it .*message size 200000 is larger than .*max size 100000/,
      ),
    });
  }
  expect(kpx.brokerLog.lines.filter(({ msg }) => msg === LOST)).toHaveLength(1);
});
