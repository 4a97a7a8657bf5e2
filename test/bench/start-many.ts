// First jobs of many users at once in a booted machine: all executors start, at a rate that does not fall; and PID 1's processor time while the broker
// watches them and one more user waits.
import { availableParallelism } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { BROKER, WORKSPACES } from '../fixtures/booted/kpx.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { configureSealed, EDGE, kpxWithUsers, letExecutorsSleep, managerCpu, type Spent, sample } from './many-users.js';

const STARTS_TIMEOUT_MS = 600_000;
const WATCHED_MS = 60_000;
/** Each look is a program in the machine, which takes time from what is measured. */
const LOOK_EVERY_MS = 1_000;

const flag = { type: 'boolean', default: false } as const;
const { sealed, sleep, ...values } = parseArgs({
  options: { users: { type: 'string', default: '300' }, sealed: flag, sleep: flag },
}).values;
const count = Number(values.users);
const { machine, users, kpx } = await kpxWithUsers(count + 1);
const policy = { max_executors: count, max_starting: 8, evict_idle_after: '1h' };
// One that sleeps has no connection, and takes no job.
const executors = sleep ? { ready: 'delay', ready_delay: '100ms', watch: false } : {};
const options = { standIn: { BOOT_MS: '0' }, helper: { executor: { max_executors: count } }, broker: { policy, executors } };
await (sealed ? configureSealed(kpx, options) : kpx.configure(options));
if (sleep) await letExecutorsSleep(machine);
await kpx.start();
const others = users.slice(0, count);
const last = users[count] ?? '';
/** By the clock of systemd's timestamps, in microseconds: CLOCK_MONOTONIC. */
const published = Number(process.hrtime.bigint() / 1_000n);
await kpx.publish(...others.map((user) => jobOf(user, 'first')));
const samples = [await sample(machine)];
const linesOf = async (...argv: string[]) => (await machine.run(argv, { allowFailure: true })).stdout.split('\n').filter(Boolean);
const allDone = async () => {
  await delay(LOOK_EVERY_MS);
  const now = await sample(machine);
  samples.push(now);
  if (sleep) return now.started >= count;
  // Directories are made meanwhile, under names that go again.
  return (await linesOf('/usr/bin/find', WORKSPACES, '-maxdepth', '2', '-name', 'jobs-done.jsonl')).length >= count;
};
await eventually(`${count} executors have ${sleep ? 'started' : 'done a job'}`, allDone, STARTS_TIMEOUT_MS);
const times = await linesOf('/usr/bin/systemctl', 'show', 'kpx-executor@*', '--property=ExecMainStartTimestampMonotonic', '--value');
const starts = times.map((us) => Number(us) / 1_000).sort((one, other) => one - other);
const rate = (from: number, to: number) => ((to - from) * 1_000) / ((starts[to] ?? 0) - (starts[from] ?? 0));
const rates = { first: rate(0, EDGE - 1), last: rate(count - EDGE, count - 1) };
const running = (await machine.run(['/usr/bin/systemctl', 'list-units', '--plain', '--no-legend', '--state=active', 'kpx-executor@*']))
  .stdout;
const failed = (await machine.run(['/usr/bin/systemctl', 'list-units', '--plain', '--no-legend', '--state=failed', 'kpx-*'])).stdout;
const { NRestarts: restarts } = await machine.show(BROKER, 'NRestarts');

/** Of a start, in milliseconds: of those from the first sample with `from` until the first one with `to`. */
function perStart(from: number, to: number): string {
  const [began, ended] = [from, to].map((least) => samples.find(({ started }) => started >= least) ?? samples[0]);
  if (began === undefined || ended === undefined) throw new Error('nothing was looked at');
  const perStart = (seconds: number) => ((seconds * 1_000) / (ended.started - began.started)).toFixed(0);
  const each = (part: keyof Spent) => perStart(ended.spent[part] - began.spent[part]);
  const whole = `this host ${each('everything')} of ${perStart((ended.at - began.at) * availableParallelism())}`;
  return `executors ${each('executors')}, helper ${each('helper')}, broker ${each('broker')}, RabbitMQ ${each('rabbitmq')}, PID 1 ${each('manager')}, ${whole}`;
}

async function shareWhile(): Promise<number> {
  const before = await managerCpu(machine);
  const began = Date.now();
  await delay(WATCHED_MS);
  return ((await managerCpu(machine)) - before) / ((Date.now() - began) / 1_000);
}
const quiet = await shareWhile();
await kpx.mark();
await kpx.publish(jobOf(last, 'waits'));
const queued = async () => (await machine.run(['/usr/bin/kpxctl', 'list', '--state', 'queued', '--json'])).stdout.includes(`"${last}"`);
await eventually(`${last} waits`, queued);
const watched = await shareWhile();
const lists = (await kpx.helperLines()).filter(({ verb }) => verb === 'listExecutors').length;

const seconds = ((starts.at(-1) ?? 0) - published / 1_000) / 1_000;
const percent = (share: number) => `${(share * 100).toFixed(2)} % of a processor`;
process.stdout.write(
  [
    `\nFirst jobs of ${count} users at once, ${sealed ? 'sealed' : 'shared'}, max_starting 8, an executor that ${sleep ? 'sleeps' : 'boots at once'}:`,
    `  executors that run / failed units / restarts of the broker: ${running.split('\n').filter(Boolean).length} / ${failed.split('\n').filter(Boolean).length} / ${restarts}`,
    `  the last program runs after ${seconds.toFixed(1)} s`,
    `  starts a second, the first ${EDGE} / the last ${EDGE}: ${rates.first.toFixed(1)} / ${rates.last.toFixed(1)}`,
    `  processor time a start, ms, the first ${EDGE}: ${perStart(0, EDGE)}`,
    `  processor time a start, ms, the last ${EDGE}: ${perStart(count - EDGE, count)}`,
    `  PID 1 while nobody waits: ${percent(quiet)}`,
    `  PID 1 while one more user waits: ${percent(watched)}; lists of the helper in that minute: ${lists}`,
    '',
  ].join('\n'),
);
