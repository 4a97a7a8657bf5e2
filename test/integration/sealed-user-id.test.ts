import { afterAll, beforeAll, expect, it } from 'vitest';
import { publishJobs } from '../fixtures/jobs.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import type { Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { LEAST_PERMISSIONS } from '../fixtures/rabbitmq-access.js';
import { asExecutor, nameOf, startAccountsRabbitmq } from '../fixtures/sealed-accounts.js';
import { jobsDone } from './installed-kpx.js';
import { startSealed } from './installed-sealed.js';

/* Sealed executors with jobs.user_from = "property:user_id": RabbitMQ vouches for who has published a job. */

const PASSWORD = 'of-a-publisher-in-tests';

let accounts: RabbitmqServer;
beforeAll(async () => {
  accounts = await startAccountsRabbitmq();
});
afterAll(() => accounts.remove());

/** Publishes as the user of the server's RabbitMQ with this name, who is made for it. The bodies are for the stand-in alone. */
async function publishAs(kpx: Kpx, name: string, ...jobs: string[]): Promise<void> {
  const { server, vhost } = kpx.vhost;
  await server.api('PUT', `users/${name}`, { password: PASSWORD, tags: '' });
  await server.api('PUT', `permissions/${encodeURIComponent(vhost)}/${name}`, LEAST_PERMISSIONS.publisher);
  const url = Object.assign(new URL(kpx.vhost.url('publisher')), { username: name, password: PASSWORD });
  await publishJobs(
    url.href,
    jobs.map((job) => ({ body: { user: name, job }, properties: { userId: name } })),
  );
}

it('sealed, a job is done by the account of who has published it, and by the same one where its code has published it', async () => {
  const kpx = await startSealed(accounts, { broker: { jobs: { user_from: 'property:user_id' } } });
  await publishAs(kpx, 'alice', 'a1');
  await publishAs(kpx, 'bob', 'b1');
  const [first] = await jobsDone(kpx, 'alice', 1);
  expect((await jobsDone(kpx, 'bob', 1)).map(({ job }) => job)).toEqual(['b1']);

  process.kill(Number(first?.pid), 'SIGSTOP'); // all that is in its queue goes back to the server
  const code = await asExecutor(kpx, 'alice');
  const channel = await code.createConfirmChannel();
  const headers = { 'x-kpx-user-id': 'bob', 'x-kpx-account': 'bob', 'x-kpx-mac': 'A'.repeat(44) };
  const body = (job: string) => Buffer.from(JSON.stringify({ user: 'alice', job }));
  channel.publish('', KNIME_QUEUE, body('of nobody'), { headers });
  channel.publish('', KNIME_QUEUE, body('of her RabbitMQ user'), { headers, userId: nameOf('alice') });
  await channel.waitForConfirms();
  await code.close();
  process.kill(Number(first?.pid), 'SIGKILL');
  await kpx.brokerLog.line({ account: 'alice', taken_back: 2 });
  await publishAs(kpx, 'alice', 'a2');

  const done = await jobsDone(kpx, 'alice', 4);
  expect(done.map(({ job }) => job).sort()).toEqual(['a1', 'a2', 'of her RabbitMQ user', 'of nobody']);
  expect(new Set(done.map(({ uid }) => uid))).toEqual(new Set([first?.uid]));
  expect(kpx.done('bob').map(({ job }) => job)).toEqual(['b1']);
});
