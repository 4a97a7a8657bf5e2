import { afterAll, beforeAll, expect, it } from 'vitest';
import { openConnection, withChannel } from '../fixtures/amqp.js';
import { jobOf } from '../fixtures/jobs.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import type { Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { answersTo, asExecutor, letLook, nameOf, startAccountsRabbitmq, takeClient } from '../fixtures/sealed-accounts.js';
import { jobsDone, publish, runKpxctl } from './installed-kpx.js';
import { startSealed } from './installed-sealed.js';

/* Which answers of an account reach which clients: sealed.answers. The attempts of its code are in test/security/sealed.test.ts. */

let accounts: RabbitmqServer;
beforeAll(async () => {
  accounts = await startAccountsRabbitmq();
});
afterAll(() => accounts.remove());

const asked = (user: string, job: string, replyTo: string) => {
  const { body, properties } = jobOf(user, job);
  return { body, properties: { ...properties, replyTo, correlationId: `id-of-${job}` } };
};

/** Messages that the code of alice publishes by the default exchange in her virtual host. RabbitMQ has them. */
async function published(kpx: Kpx, ...messages: { to: string; text: string; replyTo?: string; correlationId: string }[]): Promise<void> {
  const channel = await (await asExecutor(kpx, 'alice')).createConfirmChannel();
  for (const { to, text, ...properties } of messages) channel.publish('', to, Buffer.from(text), properties);
  await channel.waitForConfirms();
}

const LEFT = 'the virtual host of an account is left: all that was published is carried';

/** The queue in the virtual host of an account that stands in for a client. */
const standInFor = (client: string) => `kpx.reply.${Buffer.from(client).toString('base64url')}`;

const idsAnswered = async (kpx: Kpx, client: string, count: number) =>
  (await answersTo(kpx, client, count)).map(({ properties }) => properties.correlationId).sort();

it('sealed.answers = "clients": an account answers the clients of its jobs with any id, also by their own names, and no other client', async () => {
  const kpx = await startSealed(accounts, { broker: { sealed: { answers: 'clients' } } });
  const [own, bobs] = [await takeClient(kpx), await takeClient(kpx)];
  await publish(kpx, asked('alice', 'a1', own), asked('bob', 'b1', bobs));
  expect([await idsAnswered(kpx, own, 1), await idsAnswered(kpx, bobs, 1)]).toEqual([['id-of-a1'], ['id-of-b1']]);
  const channel = await (await asExecutor(kpx, 'alice')).createConfirmChannel();
  await channel.assertQueue(bobs, { durable: true });
  await published(
    kpx,
    { to: bobs, text: 'forged', correlationId: 'id-of-b1' },
    { to: standInFor(bobs), text: 'forged', correlationId: 'id-of-b1' },
    { to: own, text: 'by its name', correlationId: 'child 1' },
    { to: standInFor(own), text: 'by the name that it was told', correlationId: 'child 2' },
  );
  expect(await idsAnswered(kpx, own, 2)).toEqual(['child 1', 'child 2']);
  await publish(kpx, asked('bob', 'b2', bobs));
  expect(await idsAnswered(kpx, bobs, 1)).toEqual(['id-of-b2']);
});

it('sealed.answers = "clients": a client whose name the account has taken already is answered all the same, by the other name', async () => {
  const kpx = await startSealed(accounts, { broker: { sealed: { answers: 'clients' } } });
  const client = await takeClient(kpx);
  await publish(kpx, jobOf('alice', 'a1'));
  await jobsDone(kpx, 'alice', 1);
  const channel = await (await asExecutor(kpx, 'alice')).createConfirmChannel();
  await channel.assertQueue(client, { durable: false, exclusive: true });
  await publish(kpx, asked('alice', 'a2', client), asked('alice', 'a3', client));
  expect(await idsAnswered(kpx, client, 2)).toEqual(['id-of-a2', 'id-of-a3']);
  expect(kpx.brokerLog.lines.filter(({ msg }) => String(msg).includes('cannot answer to this client by its name'))).toHaveLength(1);
  expect(kpx.brokerLog.lines.filter(({ msg }) => String(msg).includes('connecting again'))).toEqual([]);
});

it('sealed, an account opens no answers for itself by a job that it leaves in its queue', async () => {
  const kpx = await startSealed(accounts, { standIn: { BOOT_MS: '50', JOB_MS: '1000', PREFETCH: '1' } });
  const client = await takeClient(kpx);
  await publish(kpx, asked('alice', 'a1', client));
  await jobsDone(kpx, 'alice', 1);
  expect(await idsAnswered(kpx, client, 1)).toEqual(['id-of-a1']);
  await publish(kpx, asked('alice', 'a2', client));
  await kpx.brokerLog.line({ user: 'alice', state: 'ready' });
  const { pid } = kpx.started('alice') as unknown as { pid: number };
  process.kill(pid, 'SIGSTOP'); // what is in the queue now is left there
  await published(kpx, {
    to: KNIME_QUEUE,
    text: JSON.stringify(jobOf('alice', 'forged').body),
    replyTo: standInFor(client),
    correlationId: 'id-of-somebody-else',
  });
  process.kill(pid, 'SIGKILL');
  const done = await jobsDone(kpx, 'alice', 3);
  expect(done.map(({ job }) => job).sort()).toEqual(['a1', 'a2', 'forged']);
  await publish(kpx, asked('alice', 'a3', client));
  expect(await idsAnswered(kpx, client, 2)).toEqual(['id-of-a2', 'id-of-a3']);
});

const headlineOf = async (kpx: Kpx, job: string) => (await runKpxctl(['job', `id-of-${job}`, '--config', kpx.brokerConfigFile])).stdout;

it('sealed, a job is answered whose queue for answers is deleted while it is done', async () => {
  const kpx = await startSealed(accounts, { standIn: { BOOT_MS: '50' } });
  const client = await takeClient(kpx);
  await publish(kpx, asked('alice', 'a1', client));
  await idsAnswered(kpx, client, 1);
  const { pid } = kpx.started('alice') as unknown as { pid: number };
  process.kill(pid, 'SIGSTOP');
  await publish(kpx, asked('alice', 'a2', client));
  await expect.poll(() => headlineOf(kpx, 'a2')).toMatch('it goes to the executor');
  const from = kpx.brokerLog.lines.length;
  await withChannel(await letLook(accounts, 'alice'), (channel) => channel.deleteQueue(standInFor(client)));
  await kpx.brokerLog.line({ account: 'alice', msg: 'the virtual host of an account is connected' }, { from });
  process.kill(pid, 'SIGCONT');
  expect(await idsAnswered(kpx, client, 1)).toEqual(['id-of-a2']);
});

it('sealed, jobs that somebody else has read from the queue of an account are waited for when its executor has ended, and answered', async () => {
  const kpx = await startSealed(accounts, { standIn: { BOOT_MS: '50', PREFETCH: '1' } });
  const client = await takeClient(kpx);
  await publish(kpx, asked('alice', 'a1', client));
  await idsAnswered(kpx, client, 1);
  const { pid } = kpx.started('alice') as unknown as { pid: number };
  process.kill(pid, 'SIGSTOP');
  const reader = await openConnection(await letLook(accounts, 'alice'));
  const channel = await reader.createChannel();
  await channel.prefetch(1);
  const read = new Promise((resolve) => channel.consume(KNIME_QUEUE, resolve));
  await publish(kpx, asked('alice', 'a2', client), asked('alice', 'a3', client));
  await read;
  process.kill(pid, 'SIGKILL');
  const { reason } = await kpx.brokerLog.line({ account: 'alice', msg: 'lost the virtual host of an account; connecting again' });
  expect(reason).toBe(
    `somebody reads from "${KNIME_QUEUE}" in the virtual host "${nameOf('alice')}", whose user is deleted: jobs may be held there`,
  );
  await reader.close();
  expect(await idsAnswered(kpx, client, 2)).toEqual(['id-of-a2', 'id-of-a3']);
});

it('sealed, a job that RabbitMQ gives out once more after the end of its executor is answered by the next one', async () => {
  const kpx = await startSealed(accounts, { standIn: { BOOT_MS: '50', IDLE_MS: '1000' } });
  const client = await takeClient(kpx);
  await publish(kpx, asked('alice', 'a1', client));
  expect(await idsAnswered(kpx, client, 1)).toEqual(['id-of-a1']);
  await kpx.brokerLog.line({ account: 'alice', msg: LEFT });
  await withChannel(await letLook(accounts, 'alice'), (channel) => {
    const { body } = jobOf('alice', 'a1');
    channel.sendToQueue(KNIME_QUEUE, Buffer.from(JSON.stringify(body)), { replyTo: standInFor(client), correlationId: 'id-of-a1' });
    return channel.checkQueue(KNIME_QUEUE); // RabbitMQ has it
  });
  await publish(kpx, asked('alice', 'a2', client));
  expect(await idsAnswered(kpx, client, 2)).toEqual(['id-of-a1', 'id-of-a2']);
});

it('an answer is in the story of its job', async () => {
  const kpx = await startSealed(accounts, { standIn: { BOOT_MS: '50' } });
  const client = await takeClient(kpx);
  await publish(kpx, asked('alice', 'a1', client));
  await idsAnswered(kpx, client, 1);
  await expect
    .poll(() => headlineOf(kpx, 'a1'))
    .toMatch(/^the job {8}answered \d+s ago\n[\s\S]* it goes to the executor of "alice" \(uid \d+, pid \d+\)\n[\s\S]* it is answered/);
});
