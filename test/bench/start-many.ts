// First jobs of many users at once in a booted machine: all executors start, at a rate that does not fall; and PID 1's processor time while the broker
// watches them and one more user waits.
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { BROKER, WORKSPACES } from '../fixtures/booted/kpx.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { EDGE, kpxWithUsers, managerCpu } from './many-users.js';

const STARTS_TIMEOUT_MS = 600_000;
const WATCHED_MS = 60_000;
/** Each look is a program in the machine, which takes time from what is measured. */
const LOOK_EVERY_MS = 1_000;

const { values } = parseArgs({ options: { users: { type: 'string', default: '300' } } });
const count = Number(values.users);
const { machine, users, kpx } = await kpxWithUsers(count + 1);
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
