// Twenty users' first jobs at once: from publishing until the last executor runs, and until the last job is done. The floor, measured in the
// same run: the same executors started by a bare loop, without queue, broker, helper, account checks, directories and ACLs.
import { spawn } from 'node:child_process';
import { chownSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { CROWD, createAccounts } from '../fixtures/accounts.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf, publishJobs } from '../fixtures/jobs.js';
import { checkout, idsOf, Kpx, node } from '../fixtures/kpx.js';
import { type RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';

const USAGE = `npm run bench [-- --rounds N] [-- --json]

Prints, in milliseconds after publishing: when the last of 20 executors was exec'd and when the last of 20 jobs was done, with an executor
boot of 500 ms; and the floor, when a bare loop has exec'd the same 20 programs.
`;
const BOOT_MS = 500;
const ROUNDS_DEFAULT = 5;
const ROUNDS_MAX = 100;

interface Round {
  readonly lastExecMs: number;
  readonly lastDoneMs: number;
  readonly floorExecMs: number;
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: String(ROUNDS_DEFAULT) },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean' },
  },
});
const rounds = Number(values.rounds);
if (values.help || !(Number.isInteger(rounds) && rounds >= 1 && rounds <= ROUNDS_MAX)) {
  process.stdout.write(USAGE);
  process.exit(values.help ? 0 : 64);
}

async function round(rabbitmq: RabbitmqServer): Promise<Round> {
  for (const user of CROWD) rmSync(`/home/${user}`, { recursive: true, force: true });
  const vhost = await rabbitmq.createKnimeVhost();
  const policy = { max_starting: CROWD.length, max_executors: CROWD.length };
  const kpx = await new Kpx(vhost, { standIn: { BOOT_MS: String(BOOT_MS) }, broker: { policy } }).start();
  try {
    const published = Date.now();
    await publishJobs(
      vhost.url('publisher'),
      CROWD.map((user) => jobOf(user)),
    );
    await eventually('all jobs are done', () => CROWD.every((user) => kpx.done(user).length > 0));
    const lastExecMs = Math.max(...CROWD.map((user) => execdAt(`${kpx.workspaces}/${user}`))) - published;
    const lastDoneMs = Math.max(...CROWD.map((user) => kpx.done(user)[0]?.at ?? 0)) - published;
    return { lastExecMs, lastDoneMs, floorExecMs: await floor(vhost.url('executor')) };
  } finally {
    await kpx.stop();
    await vhost.delete();
    kpx.removeDirectories();
  }
}

/** The stand-in's own record of when it began. */
const execdAt = (workspace: string): number => JSON.parse(readFileSync(`${workspace}/started.json`, 'utf8')).execdAt;

async function floor(msgq: string): Promise<number> {
  const parent = '/srv/kpx-bench-floor';
  rmSync(parent, { recursive: true, force: true });
  const users = CROWD.map((user) => ({ user, workspace: `${parent}/${user}`, ...idsOf(user) }));
  for (const { workspace, uid, gid } of users) {
    mkdirSync(workspace, { recursive: true });
    chownSync(workspace, uid, gid);
  }
  const began = Date.now();
  const children = users.map(({ user, workspace, uid, gid }) => {
    const env = {
      HOME: '/tmp',
      KNIME_EXECUTOR_RESERVATION: `(user = '${user}')`,
      KNIME_EXECUTOR_MSGQ: msgq,
      KNIME_EXECUTOR_TEMP_DIR: workspace,
    };
    const drop = [
      '--reuid',
      `${uid}`,
      '--regid',
      `${gid}`,
      '--init-groups',
      '--no-new-privs',
      '--bounding-set=-all',
      '--inh-caps=-all',
      '--',
    ];
    const command = [node(), `${checkout()}/test/fixtures/knime/executor.mjs`, '-data', workspace];
    return spawn('/usr/bin/setpriv', [...drop, ...command], { env, stdio: 'ignore' });
  });
  const started = () => users.every(({ workspace }) => exists(`${workspace}/started.json`));
  await eventually('the floor’s executors run', started);
  for (const child of children) child.kill('SIGKILL');
  return Math.max(...users.map(({ workspace }) => execdAt(workspace))) - began;
}

function exists(file: string): boolean {
  try {
    readFileSync(file);
    return true;
  } catch {
    return false;
  }
}

const median = (numbers: number[]) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;

createAccounts();
const rabbitmq = await startRabbitmq();
const results: Round[] = [];
for (let count = 0; count < rounds; count++) results.push(await round(rabbitmq));
await rabbitmq.remove();

const figures = {
  users: CROWD.length,
  bootMs: BOOT_MS,
  rounds,
  burst20LastExecMs: Math.round(median(results.map(({ lastExecMs }) => lastExecMs))),
  burst20LastDoneMs: Math.round(median(results.map(({ lastDoneMs }) => lastDoneMs))),
  burst20FloorExecMs: Math.round(median(results.map(({ floorExecMs }) => floorExecMs))),
};
if (values.json) process.stdout.write(`${JSON.stringify({ ...figures, results })}\n`);
else {
  const list = (pick: (result: Round) => number) => results.map((result) => Math.round(pick(result))).join(' ');
  process.stdout.write(`
First jobs of ${figures.users} users at once, executors boot in ${BOOT_MS} ms, ${rounds} rounds, median (all rounds), ms after publishing:
  last executor exec'd   ${figures.burst20LastExecMs} (${list(({ lastExecMs }) => lastExecMs)})
  last job done          ${figures.burst20LastDoneMs} (${list(({ lastDoneMs }) => lastDoneMs)})
  floor: bare exec       ${figures.burst20FloorExecMs} (${list(({ floorExecMs }) => floorExecMs)})
  ratio to the floor     ${(figures.burst20LastExecMs / figures.burst20FloorExecMs).toFixed(2)}
`);
}
