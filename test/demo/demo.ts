// The demo, inside the private machine. Started by scripts/demo.mjs.
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { BROKER_ACCOUNT, createAccounts } from '../fixtures/accounts.js';
import { startAccountsRabbitmq } from '../fixtures/accounts-rabbitmq.js';
import { eventually } from '../fixtures/eventually.js';
import { drainQueue, jobOf, publishJobs } from '../fixtures/jobs.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import { idsOf, Kpx } from '../fixtures/kpx.js';
import { type RabbitmqServer, SOON_TOLD, startRabbitmq } from '../fixtures/rabbitmq.js';
import { celeryChecks } from './celery.js';
import { type Check, isolationChecks } from './isolation.js';
import { LiveTable } from './live-table.js';
import { sealedChecks } from './sealed.js';
import { tryWorker } from './worker.js';

const JOBS_EACH = 3;
const JOBS_TIMEOUT_MS = 30_000;
const LOOK_EVERY_MS = 100;

/** KNIME user and what is special about them; the account that their jobs run under, if any. */
const USERS = [
  { knimeUser: 'alice', osUser: 'alice', note: 'has never logged in and has no home' },
  { knimeUser: 'bob', osUser: 'bob', note: 'is in the group analysts' },
  { knimeUser: 'carol.smith', osUser: 'carol', note: 'is mapped to the account carol' },
  { knimeUser: 'root', osUser: undefined, note: 'must be refused' },
];

const began = performance.now();
const say = (text: string) => process.stdout.write(`${text}\n`);
const seconds = () => `${((performance.now() - began) / 1000).toFixed(1).padStart(5)} s`;

/** The words of --worker, if it was given. */
const worker: string[] = JSON.parse(process.argv[2] ?? '[]');

async function main(): Promise<boolean> {
  say(`${seconds()}  A private machine: its own accounts, homes, processes and loopback network. Starting two RabbitMQs …`);
  createAccounts();
  const [rabbitmq, accounts] = await Promise.all([startRabbitmq(), startAccountsRabbitmq(SOON_TOLD)]);
  const held = worker.length > 0 ? await withWorker(rabbitmq, accounts) : await withStandIn(rabbitmq, accounts);
  await rabbitmq.remove();
  await accounts.remove();
  return held;
}

/** Somebody's own worker, as a sealed executor. */
async function withWorker(rabbitmq: RabbitmqServer, accounts: RabbitmqServer): Promise<boolean> {
  const kpx = new Kpx(await rabbitmq.createKnimeVhost(), {
    sealed: accounts,
    helper: { executor: { command: worker } },
    environment: { KPX_QUEUE: KNIME_QUEUE },
  });
  await kpx.start();
  const users = ['alice', 'bob'];
  const table = new LiveTable(kpx, [], seconds);
  say(`${seconds()}  kpx runs. Publishing jobs of ${users.join(' and ')}, for an executor each: ${worker.join(' ')}`);
  const looking = setInterval(() => table.showEvents(), LOOK_EVERY_MS);
  const held = await tryWorker(kpx, accounts, users, say);
  clearInterval(looking);
  say(`${seconds()}  ${held ? 'All jobs were acknowledged.' : 'NOT ALL JOBS WERE ACKNOWLEDGED.'}`);
  if (process.argv.includes('--keep')) await keepRunning(kpx, table);
  await kpx.stop();
  return held;
}

async function withStandIn(rabbitmq: RabbitmqServer, accounts: RabbitmqServer): Promise<boolean> {
  const kpx = new Kpx(await rabbitmq.createKnimeVhost(), {
    helper: { accounts: { map: { 'carol.smith': 'carol' } } },
    standIn: { BOOT_MS: '1500', JOB_MS: '300' },
  });
  say(
    `${seconds()}  RabbitMQ runs. Starting kpx-privhelper (root) and kpx-broker (account kpx-broker, uid ${idsOf(BROKER_ACCOUNT).uid}) …`,
  );
  await kpx.start();
  const table = new LiveTable(kpx, USERS, seconds);
  const jobs = USERS.flatMap(({ knimeUser, osUser }) => Array.from({ length: osUser ? JOBS_EACH : 1 }, () => jobOf(knimeUser)));
  say(`${seconds()}  Publishing ${jobs.length} jobs:`);
  for (const { knimeUser, note } of USERS) say(`           ${knimeUser}, who ${note}`);
  await publishJobs(kpx.vhost.url('publisher'), jobs);
  const looking = setInterval(() => table.show(), LOOK_EVERY_MS);
  const finished = () => USERS.every(({ osUser }) => osUser === undefined || kpx.done(osUser).length >= JOBS_EACH) && table.parked() > 0;
  const allDone = await eventually('all jobs are done or parked', finished, JOBS_TIMEOUT_MS).catch((error: Error) => say(error.message));
  clearInterval(looking);
  table.finish();

  say(`\n${seconds()}  What the executors are, and what users can see of each other:\n`);
  const checks = allDone ? [...(await isolationChecks(kpx)), await refusalCheck(kpx)] : [];
  show(checks);
  if (allDone) {
    say(
      `\n${seconds()}  Sealed: a second RabbitMQ, in which each account has a virtual host and a user of its own. The same attempts in both:\n`,
    );
    checks.push(...(await sealed(kpx, rabbitmq, accounts)));
    say(`\n${seconds()}  Celery as the executor of carol, sealed, and a Celery client that adds a header with the user to its tasks:\n`);
    const ofCelery = await celeryChecks(rabbitmq, accounts);
    show(ofCelery);
    checks.push(...ofCelery);
  }
  const failed = checks.filter(({ held }) => !held).length;
  const held = allDone === true && failed === 0;
  say(
    `\n${seconds()}  ${held ? `All held: ${jobs.length - 1} jobs done, 1 parked, ${checks.length} checks ok.` : `NOT ALL HELD: ${failed} checks failed.`}`,
  );

  if (process.argv.includes('--keep')) await keepRunning(kpx, table);
  await kpx.stop();
  return held;
}

function show(checks: readonly Check[]): void {
  for (const { what, held, seen } of checks) say(`  ${held ? 'ok  ' : 'FAIL'}  ${what}${seen === '' ? '' : `: ${seen}`}`);
}

/** The same executors once more, sealed; and what alice's code can do in either. */
async function sealed(shared: Kpx, rabbitmq: RabbitmqServer, accounts: RabbitmqServer): Promise<Check[]> {
  const kpx = new Kpx(await rabbitmq.createKnimeVhost(), { sealed: accounts, standIn: { BOOT_MS: '300' } });
  await kpx.start();
  const checks = await sealedChecks(shared, kpx, accounts);
  show(checks);
  await kpx.stop();
  return checks;
}

async function refusalCheck(kpx: Kpx) {
  const letters = await drainQueue(kpx.vhost.url('admin'), 'kpx.dead-letter');
  const [letter] = letters;
  const held = letters.length === 1 && letter?.headers['x-kpx-reason'] === 'ACCOUNT_DENIED';
  return { what: 'the job of the KNIME user "root" waits in kpx.dead-letter', held, seen: String(letter?.headers['x-kpx-reason']) };
}

async function keepRunning(kpx: Kpx, table: LiveTable): Promise<void> {
  say(`
Kept running. Type the name of a KNIME user and Enter to publish one more job (alice, bob, carol.smith, dave, u01 … u20, or anything else to
see it refused). Ctrl-C ends everything. For a shell in there, in another terminal:
  nsenter --all --target "$(pgrep --newest --full test/demo/demo.ts)"
Workspaces are in ${kpx.workspaces}, the configuration is in ${kpx.etc}, RabbitMQ listens at ${kpx.vhost.server.host}:${kpx.vhost.server.amqpPort}.
`);
  const ended = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  const input = createInterface({ input: process.stdin });
  input.on('line', (line) => {
    const user = line.trim();
    if (user !== '')
      void publishJobs(kpx.vhost.url('publisher'), [jobOf(user)]).then(() => say(`${seconds()}  published a job of ${user}`));
  });
  const looking = setInterval(() => table.showEvents(), LOOK_EVERY_MS);
  await ended;
  clearInterval(looking);
  input.close();
  await delay(0);
}

process.exitCode = (await main()) ? 0 : 1;
