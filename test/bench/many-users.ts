// What both measurements of many users' starts need: a booted machine with kpx and accounts, and PID 1's processor time in there.
import { bootedFacts } from '../fixtures/booted/facts.mjs';
import { BootedKpx } from '../fixtures/booted/kpx.js';
import { BootedMachine } from '../fixtures/booted/machine.js';
import { newUsers, RabbitmqAccess } from '../fixtures/rabbitmq-access.js';

const FIRST_UID = 26_001;
const ACCOUNTS_TIMEOUT_MS = 600_000;
/** Of /proc/PID/stat, per second. Source: sysconf(3), _SC_CLK_TCK of Linux. */
const TICKS_PER_S = 100;

/** Starts at the beginning and at the end that are compared. */
export const EDGE = 50;

/** Installs kpx, and adds that many local accounts. Nothing is configured or started yet. */
export async function kpxWithUsers(count: number) {
  const facts = bootedFacts();
  if (facts?.rabbitmq === undefined) throw new Error('This needs a booted machine: npm run bench:start -- --users N');
  const machine = new BootedMachine(facts);
  const { admin, ...server } = facts.rabbitmq;
  const rabbitmq = new RabbitmqAccess({ ...server, users: { ...newUsers(), admin } });
  await rabbitmq.createUsers();
  await BootedKpx.install(machine, await BootedKpx.packageFile(machine));
  const users = Array.from({ length: count }, (_, index) => `many${index + 1}`);
  const add = 'uid=$1; shift; for name; do useradd --uid $uid --no-create-home "$name"; uid=$((uid + 1)); done';
  await machine.run(['/bin/sh', '-e', '-c', add, '-', String(FIRST_UID), ...users], { timeoutMs: ACCOUNTS_TIMEOUT_MS });
  return { machine, users, kpx: new BootedKpx(machine, await rabbitmq.createKnimeVhost()) };
}

/** Processor time of PID 1, in seconds. */
export async function managerCpu(machine: BootedMachine): Promise<number> {
  const fields = (await machine.readFile('/proc/1/stat')).replace(/^.*\) /, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
}
