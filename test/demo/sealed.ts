import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { nameOf } from '../fixtures/accounts-rabbitmq.js';
import { withChannel } from '../fixtures/amqp.js';
import { eventually } from '../fixtures/eventually.js';
import { drainQueue, jobOf, publishJobs } from '../fixtures/jobs.js';
import { KNIME_EXCHANGE, KNIME_ROUTING_KEY } from '../fixtures/knime/topology.js';
import { checkout, idsOf, type Kpx, node } from '../fixtures/kpx.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import type { Check } from './isolation.js';

const CLIENT = 'client-of-all';
const TAKES_MS = 1_500;
const JOBS_TO_TAKE = 12;

/** What alice's code got by one attempt each, where executors share a RabbitMQ user, or where each account has its own. */
interface Attempts {
  readonly jobsOfBob: number;
  readonly ranAsBob: boolean;
  readonly forged: boolean;
  readonly vhostOfBob: string;
  readonly management: string;
}

/** The same attempts of the same code, in both. Those in shared mode succeed: so a refusal in the other means something. */
export async function sealedChecks(shared: Kpx, sealed: Kpx, accounts: RabbitmqServer): Promise<Check[]> {
  const [before, after] = [await attempts(shared), await attempts(sealed, accounts)];
  const check = (what: string, held: boolean, inSealed: string, inShared: string): Check => ({
    what: `sealed, alice's code ${what}`,
    held,
    seen: `${inSealed}; shared, ${inShared}`,
  });
  return [
    check(
      "takes none of bob's jobs",
      after.jobsOfBob === 0 && before.jobsOfBob > 0,
      `${after.jobsOfBob} of ${JOBS_TO_TAKE}`,
      `${before.jobsOfBob} of ${JOBS_TO_TAKE}`,
    ),
    check(
      "has no job run as bob by publishing it in bob's name",
      !after.ranAsBob && before.ranAsBob,
      after.ranAsBob ? 'it ran' : 'it did not run',
      before.ranAsBob ? 'it ran as bob' : 'it did not run',
    ),
    check(
      'forges no answer to a job of bob',
      !after.forged && before.forged,
      after.forged ? 'it arrived' : 'it did not arrive',
      before.forged ? 'it arrived' : 'it did not arrive',
    ),
    check(
      "cannot enter the virtual host of bob's executor",
      after.vhostOfBob.startsWith('refused') && before.vhostOfBob === 'connected',
      after.vhostOfBob.split(':')[0] ?? '',
      before.vhostOfBob,
    ),
    {
      what: "sealed, alice's code learns nothing from the accounts' management API",
      held: after.management === '401' && (await asksAsBroker(accounts)) === '200',
      seen: `${after.management}; with the broker's own login, 200`,
    },
  ];
}

async function attempts(kpx: Kpx, accounts?: RabbitmqServer): Promise<Attempts> {
  const url = kpx.vhost.url('admin');
  await withChannel(url, (channel) => channel.assertQueue(CLIENT, { durable: true }));
  await doneBy(kpx, 'alice', 'alices-own');
  const jobsOfBob = await taken(kpx);
  await asAlice(kpx, 'publish', KNIME_EXCHANGE, KNIME_ROUTING_KEY, JSON.stringify({ user: 'bob', job: 'in-bobs-name' }), '');
  await doneBy(kpx, 'bob', 'bobs-own');
  // Bob's client waits for an answer to this id. Where alice has answered to the same client before, a queue of hers leads there.
  for (const key of [CLIENT, `kpx.reply.${Buffer.from(CLIENT).toString('base64url')}`])
    await asAlice(kpx, 'publish', '', key, JSON.stringify({ job: 'forged' }), 'bobs-own');
  await doneBy(kpx, 'bob', 'bobs-last');
  const answers = await drainQueue(url, CLIENT);
  return {
    jobsOfBob,
    ranAsBob: kpx.done('bob').some(({ job, uid }) => job === 'in-bobs-name' && uid === idsOf('bob').uid),
    forged: answers.some(({ json }) => (json as { job?: string }).job === 'forged'),
    vhostOfBob: await asAlice(kpx, 'vhost', accounts ? nameOf('bob') : kpx.vhost.vhost),
    management: accounts ? await asAlice(kpx, 'management', `http://${accounts.host}:${accounts.managementPort}`) : '',
  };
}

/** A job of a user that is done and answered. */
async function doneBy(kpx: Kpx, user: string, job: string): Promise<void> {
  const { body, properties } = jobOf(user, job);
  await publishJobs(kpx.vhost.url('publisher'), [{ body, properties: { ...properties, replyTo: CLIENT, correlationId: job } }]);
  await eventually(`${job} is done`, () => kpx.done(user).some((done) => done.job === job));
}

/** How many of bob's jobs alice's code gets; they are done in the end. */
async function taken(kpx: Kpx): Promise<number> {
  const child = accountCode(kpx, ['take', String(TAKES_MS)]);
  const lines: string[] = [];
  const reading = createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  const ended = new Promise((resolve) => reading.once('close', resolve));
  await eventually('it consumes', () => lines.length > 0);
  const jobs = Array.from({ length: JOBS_TO_TAKE }, (_, index) => jobOf('bob', `to-take-${index}`));
  await publishJobs(kpx.vhost.url('publisher'), jobs);
  await ended;
  const done = () => new Set(kpx.done('bob').map(({ job }) => job));
  await eventually("bob's jobs are done", () => jobs.every((_, index) => done().has(`to-take-${index}`)));
  return (
    lines
      .at(-1)
      ?.split(' ')
      .filter((user) => user === 'bob').length ?? 0
  );
}

/** Under alice's account, with the address that stands in her executor's environment. */
function accountCode(kpx: Kpx, argv: readonly string[]) {
  const { uid, gid } = idsOf('alice');
  const { env } = kpx.started('alice') as unknown as { env: Record<string, string> };
  const program = `${checkout()}/test/demo/account-code.mjs`;
  return spawn(node(), [program, ...argv], {
    uid,
    gid,
    env: { KNIME_EXECUTOR_MSGQ: env.KNIME_EXECUTOR_MSGQ },
    cwd: '/',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

async function asAlice(kpx: Kpx, ...argv: string[]): Promise<string> {
  return (await text(accountCode(kpx, argv).stdout)).trim();
}

async function asksAsBroker({ host, managementPort, users: { broker } }: RabbitmqServer): Promise<string> {
  const authorization = `Basic ${btoa(`${broker.name}:${broker.password}`)}`;
  return String((await fetch(`http://${host}:${managementPort}/api/whoami`, { headers: { authorization } })).status);
}
