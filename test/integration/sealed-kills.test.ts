import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { idsOf, type Kpx } from '../fixtures/kpx.js';
import { processesOfUids } from '../fixtures/process.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { accountsIn, answersTo, nameOf, startAccountsRabbitmq, takeClient } from '../fixtures/sealed-accounts.js';
import { publish } from './installed-kpx.js';
import { startSealed } from './installed-sealed.js';

let accounts: RabbitmqServer;
beforeAll(async () => {
  accounts = await startAccountsRabbitmq();
});
afterAll(() => accounts.remove());

const USERS = ['alice', 'bob', 'carol'];
const JOBS_EACH = 40;
/** Answers that come between one fault and the next. */
const STEP = 8;

const pidOf = (kpx: Kpx, user: string) => Number(kpx.done(user).at(-1)?.pid ?? 0);

async function killExecutor(kpx: Kpx, user: string): Promise<void> {
  const pid = pidOf(kpx, user);
  if (pid > 0) process.kill(pid, 'SIGKILL');
}

async function killBroker(kpx: Kpx): Promise<void> {
  await kpx.endBroker('SIGKILL');
  await kpx.startBroker();
}

/** As an administrator closes a connection: of the broker, or of the executor, to the virtual host of an account. */
async function closeConnections(user: string): Promise<void> {
  const all = await accounts.api<{ name: string }[]>('GET', `vhosts/${encodeURIComponent(nameOf(user))}/connections`);
  for (const { name } of all) await accounts.api('DELETE', `connections/${encodeURIComponent(name)}`).catch(() => {});
}

it('no job and no answer is lost when broker, executors and connections are killed, and every job runs as its user', {
  timeout: 180_000,
}, async () => {
  const kpx = await startSealed(accounts, {
    standIn: { BOOT_MS: '20', JOB_MS: '100', PREFETCH: '2' },
    broker: { policy: { backoff_initial: '100ms' } },
  });
  const client = await takeClient(kpx);
  const jobs = USERS.flatMap((user) => Array.from({ length: JOBS_EACH }, (_, index) => ({ user, job: `${user}-${index}` })));
  await publish(
    kpx,
    ...jobs.map(({ user, job }) => {
      const { body, properties } = jobOf(user, job);
      return { body, properties: { ...properties, replyTo: client, correlationId: job } };
    }),
  );
  const answered = async () => (await kpx.vhost.queueDepth(client))?.messages ?? 0;
  const faults = [
    () => killBroker(kpx),
    () => killExecutor(kpx, 'alice'),
    () => closeConnections('bob'),
    () => killBroker(kpx),
    () => killExecutor(kpx, 'bob'),
    () => closeConnections('carol'),
    () => killExecutor(kpx, 'carol'),
    () => killBroker(kpx),
  ];
  for (const [index, fault] of faults.entries()) {
    await eventually(`${(index + 1) * STEP} answers`, async () => (await answered()) >= (index + 1) * STEP, 60_000);
    await fault();
  }
  const answers = new Map<string, unknown>();
  await eventually(
    'every job is answered',
    async () => {
      for (const { json, properties, headers } of await answersTo(kpx, client, 0)) {
        const job = String(properties.correlationId);
        const user = job.split('-')[0] ?? '';
        expect([job, json, headers['x-kpx-account']]).toEqual([job, { job, uid: idsOf(user).uid }, user]);
        answers.set(job, json);
      }
      return answers.size === jobs.length;
    },
    90_000,
  );
  for (const user of USERS) expect(new Set(kpx.done(user).map(({ uid }) => uid))).toEqual(new Set([idsOf(user).uid]));
  // An executor that was killed when it had nothing to do any more is not started again.
  const running = () => USERS.filter((user) => processesOfUids(idsOf(user).uid, idsOf(user).uid).length > 0).map(nameOf);
  await eventually('the users are those of running executors', async () => {
    return (await accountsIn(accounts, 'users')).join() === running().join();
  });
});
