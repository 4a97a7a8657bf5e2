// One user's first job after the other in a booted machine: from publishing until the executor's program runs, by way of RabbitMQ, the broker,
// the socket, the helper and PID 1. The floor, in the same run: `systemctl start` of the same units alone, from inside.
import { parseArgs } from 'node:util';
import { bootedFacts } from '../fixtures/booted/facts.mjs';
import { BootedKpx, BROKER, SOCKET, unitOf, WORKSPACES } from '../fixtures/booted/kpx.js';
import { Ldap } from '../fixtures/booted/ldap.js';
import { BootedMachine } from '../fixtures/booted/machine.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { newUsers, RabbitmqAccess } from '../fixtures/rabbitmq-access.js';

const USAGE = `npm run bench:start [-- --json]

Prints median and maximum of 20 users, in milliseconds: from publishing a user's first job until their executor's program runs (home, workspace
and temp directory have to be made), the same when only the executor is missing, and \`systemctl start\` of the same units alone.
`;
const USERS = 20;
const FIRST_UID = 25_001;
const FLOOR_TIMEOUT_MS = 120_000;

const { values } = parseArgs({ options: { json: { type: 'boolean', default: false }, help: { type: 'boolean' } } });
if (values.help) {
  process.stdout.write(USAGE);
  process.exit();
}

/** For the floor: each unit started in turn, its environment file being there; prints what each took. */
const START_ALL = `
  const { execFileSync } = require('node:child_process');
  const { readFileSync, rmSync } = require('node:fs');
  const [parent, ...users] = process.argv.slice(1);
  console.log(JSON.stringify(users.map((user) => {
    const record = parent + '/' + user + '/started.json';
    rmSync(record, { force: true });
    const began = Date.now();
    execFileSync('/usr/bin/systemctl', ['start', '--', 'kpx-executor@' + user + '.service']);
    for (;;) {
      try {
        return JSON.parse(readFileSync(record, 'utf8')).execdAt - began;
      } catch {}
    }
  })));
`;

async function timeJob(kpx: BootedKpx, user: string, job: string): Promise<number> {
  const published = Date.now();
  await kpx.publish(jobOf(user, job));
  await kpx.jobDone(user, job);
  const { execdAt } = await kpx.started(user);
  return Number(execdAt) - published;
}

async function endExecutor(kpx: BootedKpx, user: string): Promise<void> {
  await kpx.mark();
  await kpx.machine.systemctl('stop', unitOf(user));
  await kpx.brokerSays({ user, state: 'idle' });
}

const facts = bootedFacts();
if (facts?.rabbitmq === undefined) throw new Error('This needs a booted machine: npm run bench:start');
const machine = new BootedMachine(facts);
const { admin, ...server } = facts.rabbitmq;
const rabbitmq = new RabbitmqAccess({ ...server, users: { ...newUsers(), admin } });
await rabbitmq.createUsers();
await BootedKpx.install(machine, await BootedKpx.packageFile(machine));
const ldap = new Ldap(machine);
const users = Array.from({ length: USERS }, (_, index) => `bench${index + 1}`);
for (const [index, user] of users.entries()) await ldap.addUser(user, { uid: FIRST_UID + index });

const kpx = new BootedKpx(machine, await rabbitmq.createKnimeVhost());
await kpx.configure({ standIn: { BOOT_MS: '0' } });
await kpx.start();
const first: number[] = [];
const warm: number[] = [];
for (const user of users) {
  first.push(await timeJob(kpx, user, 'first'));
  await endExecutor(kpx, user);
  warm.push(await timeJob(kpx, user, 'warm'));
  await endExecutor(kpx, user);
}
await machine.systemctl('stop', BROKER, SOCKET);
await eventually(
  'the helper has ended',
  async () => (await machine.run(['/usr/bin/pgrep', '--full', 'kpx-privhelper.cjs'], { allowFailure: true })).exitCode !== 0,
);
const { stdout } = await machine.run(['/usr/bin/node', '--eval', START_ALL, WORKSPACES, ...users], { timeoutMs: FLOOR_TIMEOUT_MS });
const floor: number[] = JSON.parse(stdout);

const median = (numbers: number[]) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
const summary = (numbers: number[]) => ({ medianMs: Math.round(median(numbers)), maxMs: Math.round(Math.max(...numbers)) });
const figures = { users: USERS, firstStart: summary(first), warmStart: summary(warm), floor: summary(floor) };
if (values.json) process.stdout.write(`${JSON.stringify({ ...figures, first, warm, floorStarts: floor })}\n`);
else {
  const row = (name: string, { medianMs, maxMs }: { medianMs: number; maxMs: number }) =>
    `  ${name.padEnd(40)} ${String(medianMs).padStart(6)} ${String(maxMs).padStart(8)} ${(medianMs / figures.floor.medianMs).toFixed(2).padStart(8)}\n`;
  process.stdout.write(
    `\nFrom publishing a job until the executor's program runs, ${USERS} users one after the other, ms:\n` +
      `  ${''.padEnd(40)} median      max    ratio\n` +
      row('first job: directories are made', figures.firstStart) +
      row('warm: only the executor is missing', figures.warmStart) +
      row('floor: systemctl start alone', figures.floor),
  );
}
