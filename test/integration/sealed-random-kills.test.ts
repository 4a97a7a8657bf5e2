import { setTimeout as delay } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { CROWD } from '../fixtures/accounts.js';
import { eventually } from '../fixtures/eventually.js';
import { type DrainedMessage, drainQueue, jobOf } from '../fixtures/jobs.js';
import { idsOf, type Kpx } from '../fixtures/kpx.js';
import { doneJobs, JOB_QUEUES } from '../fixtures/ledger.js';
import { startRabbitmq } from '../fixtures/rabbitmq.js';
import { killAllOf, killsOf, partOf } from '../fixtures/random-kills.js';
import { accountsIn, installSealedAt, startAccountsRabbitmq, takeClient } from '../fixtures/sealed-accounts.js';
import { publish } from './installed-kpx.js';

const USERS = CROWD.slice(0, 10);
/** `npm run test:kills -- --sealed` has 300. */
const KILLS = Number(process.env.KPX_TEST_SEALED_KILLS ?? 5);
const JOBS_A_KILL = 10;
const JOBS = KILLS * JOBS_A_KILL;
/** A kill comes so long after the jobs before it at most, in milliseconds: in the middle of them, or of what the last kill has begun. */
const BETWEEN_MS_MAX = 400;
/** A kill, what is started again, and what comes between two. RabbitMQ takes the longest, and longer where much else goes on. */
const KILL_TIMEOUT_MS = 15_000;
const SETTLED_WITHIN_MS = 240_000;

/** What clients have been answered so far, by correlation id. */
class Answers {
  readonly byId = new Map<string, DrainedMessage[]>();
  count = 0;
  #problem = '';

  constructor(
    readonly kpx: Kpx,
    readonly client: string,
  ) {}

  /** Where RabbitMQ is away, there is nothing to read. */
  async read(): Promise<number> {
    const all = await drainQueue(this.kpx.vhost.url('admin'), this.client).catch((error: Error) => {
      if (error.message !== this.#problem) console.log(`answers cannot be read: ${error.message}`);
      this.#problem = error.message;
      return [];
    });
    for (const answer of all) {
      const id = String(answer.properties.correlationId);
      this.byId.set(id, [...(this.byId.get(id) ?? []), answer]);
      this.count += 1;
    }
    return this.count;
  }
}

it(`sealed, nothing is lost by ${KILLS} kills of broker, helper, executors and either RabbitMQ while ${JOBS} jobs pass, and each job runs as its user`, {
  timeout: KILLS * KILL_TIMEOUT_MS + 2 * SETTLED_WITHIN_MS,
}, async () => {
  const [server, accounts] = await Promise.all([startRabbitmq(), startAccountsRabbitmq()]);
  onTestFinished(async () => {
    await Promise.all([server.remove(), accounts.remove()]);
  });
  const kpx = installSealedAt(await server.createKnimeVhost(), accounts, {
    standIn: { BOOT_MS: '50', JOB_MS: '100', PREFETCH: '2' },
    broker: { policy: { backoff_initial: '100ms', backoff_max: '1s', start_attempts: 1_000, max_starting: 10 } },
  });
  const client = await takeClient(kpx);
  // RabbitMQ 3.10 that is killed in the first seconds after may come back without the queue. What it ends in order with, it has.
  await server.stop();
  await server.start();
  await kpx.start();
  // RabbitMQ, killed before that, comes back with quorum queues that do not work.
  await server.registered(
    kpx.vhost.vhost,
    JOB_QUEUES.filter((queue) => queue.startsWith('kpx.')),
  );
  const ids = Array.from({ length: JOBS }, (_, index) => `${USERS[index % USERS.length]}-${index}`);
  const userOf = (id: string) => id.split('-')[0] ?? '';
  const jobs = ids.map((id) => {
    const { body, properties } = jobOf(userOf(id), id);
    return { body, properties: { ...properties, replyTo: client, correlationId: id } };
  });
  const answers = new Answers(kpx, client);
  const kills = killsOf(kpx, server, accounts, USERS, Math.random);
  const killed: Record<string, number> = {};
  const from = performance.now();
  for (let count = 0; count < KILLS; count++) {
    await publish(kpx, ...jobs.slice(count * JOBS_A_KILL, (count + 1) * JOBS_A_KILL));
    await delay(Math.random() * BETWEEN_MS_MAX);
    const part = partOf(count, Math.random);
    await kills[part]();
    killed[part] = (killed[part] ?? 0) + 1;
  }
  const seconds = Math.round((performance.now() - from) / 1_000);
  const isEach = async () => (await answers.read()) >= JOBS && ids.every((id) => answers.byId.has(id));
  await eventually('each job is answered', isEach, SETTLED_WITHIN_MS).catch((error: Error) => console.log(error.message));
  const done = doneJobs([kpx], USERS);
  const ofAnother = USERS.flatMap((user) => kpx.done(user).filter(({ job, uid }) => userOf(job) !== user || uid !== idsOf(user).uid));
  const wrong = [...answers.byId].flatMap(([id, all]) =>
    all.filter(({ json, headers }) => headers['x-kpx-account'] !== userOf(id) || (json as { job?: string }).job !== id),
  );
  // All executors end, and with them their users.
  for (const user of USERS) killAllOf(user);
  const isGone = async () => (await accountsIn(accounts, 'users')).length === 0;
  await eventually('no user of an executor is left', isGone, SETTLED_WITHIN_MS).catch(() => {}); // what is left is shown below
  const depthOf = (queue: string) => kpx.vhost.queueDepth(queue).catch((error: Error) => error.message);
  const waiting = await Promise.all([client, ...JOB_QUEUES].map(depthOf));
  console.log(`at the server, the client's queue first: ${JSON.stringify(waiting)}`);
  const lost = { jobs: ids.filter((id) => !done.includes(id)), answers: ids.filter((id) => !answers.byId.has(id)) };
  const [doneAgain, answeredAgain] = [done.length - new Set(done).size, answers.count - answers.byId.size];
  console.log(
    `${KILLS} kills (${JSON.stringify(killed)}) in ${seconds} s, ${JOBS} jobs: ${lost.jobs.length} jobs and ${lost.answers.length} answers lost, ` +
      `${doneAgain} done again, ${answeredAgain} answered again`,
  );
  expect({ ...lost, letters: await letters(kpx) }).toEqual({ jobs: [], answers: [], letters: [] });
  expect([ofAnother, wrong]).toEqual([[], []]);
  expect(await accountsIn(accounts, 'users')).toEqual([]);
});

const letters = async (kpx: Kpx): Promise<string[]> =>
  (await drainQueue(kpx.vhost.url('admin'), 'kpx.dead-letter')).map(({ headers }) => String(headers['x-kpx-detail']));
