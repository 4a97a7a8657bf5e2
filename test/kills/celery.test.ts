import { afterAll, beforeAll, expect, it } from 'vitest';
import { CROWD } from '../fixtures/accounts.js';
import { idsOf } from '../fixtures/kpx.js';
import { type RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';
import { startAccountsRabbitmq } from '../fixtures/sealed-accounts.js';
import { BareCelery, SealedCelery } from './celery-installations.js';
import { type Outcome, TASKS_A_KILL, underKills } from './celery-under-kills.js';

/* Celery as the executors of kpx, and ordinary Celery workers, under kills of the same seed. */

const USERS = CROWD.slice(0, 10);
const KILLS = Number(process.env.KPX_TEST_CELERY_KILLS ?? 300);
const SEED = Number(process.env.KPX_TEST_SEED ?? 1);
/** A kill, what is started again, and what comes between two. */
const KILL_TIMEOUT_MS = 60_000;
const SETTLING_TIMEOUT_MS = 600_000;

let [server, accounts]: RabbitmqServer[] = [];
beforeAll(async () => {
  [server, accounts] = await Promise.all([startRabbitmq(), startAccountsRabbitmq()]);
});
afterAll(() => Promise.all([server?.remove(), accounts?.remove()]));

const losses = ({ tasks, results }: Outcome) => ({ tasks: tasks.length, results: results.length });

it(`Celery loses no more with kpx than without it by ${KILLS} kills while ${KILLS * TASKS_A_KILL} tasks pass`, {
  timeout: 2 * (KILLS * KILL_TIMEOUT_MS + SETTLING_TIMEOUT_MS),
}, async () => {
  if (server === undefined || accounts === undefined) throw new Error('no RabbitMQ');
  const sealed = await SealedCelery.start(server, accounts, USERS);
  const withKpx = await underKills('kpx', sealed, { users: USERS, kills: KILLS, seed: SEED });
  const done = USERS.flatMap((user) => sealed.done(user).map(({ job, uid }) => ({ user, job, uid })));
  await sealed.stop();
  const bare = await BareCelery.start(server, USERS);
  const without = await underKills('bare Celery', bare, { users: USERS, kills: KILLS, seed: SEED });
  await bare.stop();
  expect(done.filter(({ user, job, uid }) => !job.startsWith(`${user}-`) || uid !== idsOf(user).uid)).toEqual([]);
  expect(losses(withKpx).tasks, `tasks lost: ${withKpx.tasks}`).toBeLessThanOrEqual(losses(without).tasks);
  expect(losses(withKpx).results, `results lost: ${withKpx.results}`).toBeLessThanOrEqual(losses(without).results);
});
