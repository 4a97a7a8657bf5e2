import { nameOf } from '../fixtures/accounts-rabbitmq.js';
import { withChannel } from '../fixtures/amqp.js';
import { eventually } from '../fixtures/eventually.js';
import { drainQueue, jobOf, publishJobs } from '../fixtures/jobs.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import type { Kpx } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';

const JOBS_EACH = 3;
const CLIENT = 'client-of-the-demo';
const TIMEOUT_MS = 60_000;

/** Jobs of these users for somebody's own worker, the executor of each account; resolves with whether all were acknowledged. */
export async function tryWorker(
  kpx: Kpx,
  accounts: RabbitmqServer,
  users: readonly string[],
  say: (text: string) => void,
): Promise<boolean> {
  await withChannel(kpx.vhost.url('admin'), (channel) => channel.assertQueue(CLIENT, { durable: true }));
  const jobs = users.flatMap((user) =>
    Array.from({ length: JOBS_EACH }, (_, index) => {
      const { body, properties } = jobOf(user, `${user}-${index + 1}`);
      return { body, properties: { ...properties, replyTo: CLIENT, correlationId: `${user}-${index + 1}` } };
    }),
  );
  await publishJobs(kpx.vhost.url('publisher'), jobs);
  const acknowledged = async (user: string) => {
    const queue = `queues/${encodeURIComponent(nameOf(user))}/${KNIME_QUEUE}`;
    const told = await accounts.api<{ message_stats?: { ack?: number } }>('GET', queue).catch(() => undefined); // it is not there yet
    return told?.message_stats?.ack ?? 0;
  };
  const each = () => Promise.all(users.map(acknowledged));
  const all = async () => (await each()).every((count) => count >= JOBS_EACH);
  const isDone = await eventually('all jobs are acknowledged', all, TIMEOUT_MS).catch((error: Error) => say(error.message));
  const counts = await each();
  for (const [index, user] of users.entries()) say(`  ${user}: ${counts[index]} of ${JOBS_EACH} jobs acknowledged`);
  for (const { properties, headers, text } of await drainQueue(kpx.vhost.url('admin'), CLIENT))
    say(`  answer to ${properties.correlationId} from the account ${headers['x-kpx-account']}: ${text.slice(0, 200)}`);
  return isDone === true;
}
