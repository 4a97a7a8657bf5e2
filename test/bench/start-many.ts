// First jobs of many users at once in a booted machine: all executors start, at a rate that does not fall; and PID 1's processor time while the broker
// watches them and one more user waits.
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { bootedFacts } from '../fixtures/booted/facts.mjs';
import { BootedKpx, BROKER, WORKSPACES } from '../fixtures/booted/kpx.js';
import { BootedMachine } from '../fixtures/booted/machine.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { newUsers, RabbitmqAccess } from '../fixtures/rabbitmq-access.js';

const FIRST_UID = 26_001;
const ACCOUNTS_TIMEOUT_MS = 120_000;
const STARTS_TIMEOUT_MS = 600_000;
/** Starts at the beginning and at the end whose rates are compared. */
const EDGE = 50;
const WATCHED_MS = 60_000;
/** Each look is a program in the machine, which takes time from what is measured. */
const LOOK_EVERY_MS = 1_000;
/** Of /proc/PID/stat, per second. Source: sysconf(3), _SC_CLK_TCK of Linux. */
const TICKS_PER_S = 100;

const { values } = parseArgs({ options: { users: { type: 'string', default: '300' } } });
const count = Number(values.users);

const facts = bootedFacts();
if (facts?.rabbitmq === undefined) throw new Error('This needs a booted machine: npm run bench:start -- --users N');
const machine = new BootedMachine(facts);
const { admin, ...server } = facts.rabbitmq;
const rabbitmq = new RabbitmqAccess({ ...server, users: { ...newUsers(), admin } });
await rabbitmq.createUsers();
await BootedKpx.install(machine, await BootedKpx.packageFile(machine));
const users = Array.from({ length: count + 1 }, (_, index) => `many${index + 1}`);
const add = 'uid=$1; shift; for name; do useradd --uid $uid --no-create-home "$name"; uid=$((uid + 1)); done';
await machine.run(['/bin/sh', '-e', '-c', add, '-', String(FIRST_UID), ...users], { timeoutMs: ACCOUNTS_TIMEOUT_MS });

const kpx = new BootedKpx(machine, await rabbitmq.createKnimeVhost());
const policy = { max_executors: count, max_starting: 8, evict_idle_after: '1h' };
await kpx.configure({ standIn: { BOOT_MS: '0' }, helper: { executor: { max_executors: count } }, broker: { policy } });
await kpx.start();
const others = users.slice(0, count);
const last = users[count] ?? '';
const published = Date.now();
await kpx.publish(...others.map((user) => jobOf(user, 'first')));
const allDone = async () => {
  await delay(LOOK_EVERY_MS);
  const argv = ['/usr/bin/find', WORKSPACES, '-maxdepth', '2', '-name', 'jobs-done.jsonl'];
  // Directories are made meanwhile, under names that go again.
  return (await machine.run(argv, { allowFailure: true })).stdout.split('\n').filter(Boolean).length >= count;
};
await eventually(`${count} executors have done a job`, allDone, STARTS_TIMEOUT_MS);
const { stdout } = await machine.run(['/usr/bin/find', WORKSPACES, '-name', 'started.json', '-exec', 'cat', '{}', '+']);
const starts = [...stdout.matchAll(/"execdAt":\s*(\d+)/g)].map(([, ms]) => Number(ms)).sort((one, other) => one - other);
const rate = (from: number, to: number) => ((to - from) * 1_000) / ((starts[to] ?? 0) - (starts[from] ?? 0));
const rates = { first: rate(0, EDGE - 1), last: rate(count - EDGE, count - 1) };
const running = (await machine.run(['/usr/bin/systemctl', 'list-units', '--plain', '--no-legend', '--state=active', 'kpx-executor@*']))
  .stdout;
const failed = (await machine.run(['/usr/bin/systemctl', 'list-units', '--plain', '--no-legend', '--state=failed', 'kpx-*'])).stdout;
const { NRestarts: restarts } = await machine.show(BROKER, 'NRestarts');

/** Processor time of PID 1, in seconds. */
async function managerCpu(): Promise<number> {
  const fields = (await machine.readFile('/proc/1/stat')).replace(/^.*\) /, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
}

async function shareWhile(): Promise<number> {
  const before = await managerCpu();
  const began = Date.now();
  await delay(WATCHED_MS);
  return ((await managerCpu()) - before) / ((Date.now() - began) / 1_000);
}
const quiet = await shareWhile();
await kpx.mark();
await kpx.publish(jobOf(last, 'waits'));
const queued = async () => (await machine.run(['/usr/bin/kpxctl', 'list', '--state', 'queued', '--json'])).stdout.includes(`"${last}"`);
await eventually(`${last} waits`, queued);
const watched = await shareWhile();
const lists = (await kpx.helperLines()).filter(({ verb }) => verb === 'listExecutors').length;

const seconds = ((starts.at(-1) ?? 0) - published) / 1_000;
const percent = (share: number) => `${(share * 100).toFixed(2)} % of a processor`;
process.stdout.write(
  [
    `\nFirst jobs of ${count} users at once, max_starting 8, an executor that boots at once:`,
    `  executors that run / failed units / restarts of the broker: ${running.split('\n').filter(Boolean).length} / ${failed.split('\n').filter(Boolean).length} / ${restarts}`,
    `  the last program runs after ${seconds.toFixed(1)} s`,
    `  starts a second, the first ${EDGE} / the last ${EDGE}: ${rates.first.toFixed(1)} / ${rates.last.toFixed(1)}`,
    `  PID 1 while nobody waits: ${percent(quiet)}`,
    `  PID 1 while one more user waits: ${percent(watched)}; lists of the helper in that minute: ${lists}`,
    '',
  ].join('\n'),
);
