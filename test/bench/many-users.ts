// What both measurements of many users' starts need: a booted machine with kpx and accounts, and PID 1's processor time in there.
import { bootedFacts } from '../fixtures/booted/facts.mjs';
import { BootedKpx, type BootedKpxOptions } from '../fixtures/booted/kpx.js';
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

const DROP_IN = '/etc/systemd/system/kpx-executor@.service.d/50-sleeps.conf';

/** An executor that takes as little as a process can. */
export async function letExecutorsSleep(machine: BootedMachine): Promise<void> {
  await machine.writeFile(DROP_IN, '[Service]\nExecStart=\nExecStart=/usr/bin/sleep infinity\n');
  await machine.systemctl('daemon-reload');
}

const NODE = 'booted';
const SEALED_PASSWORD = '/etc/kpx/sealed-password';

/** With virtual hosts of the accounts' own, on the same server as the job queue. */
export async function configureSealed(kpx: BootedKpx, { helper, broker, ...others }: BootedKpxOptions): Promise<void> {
  const { host, amqpPort, managementPort, users } = kpx.vhost.server;
  const { name, password } = users.broker;
  await kpx.vhost.server.api('PUT', `users/${name}`, { password, tags: 'administrator' });
  const sealed = {
    enabled: true,
    node: NODE,
    urls: [`amqp://${name}@${host}:${amqpPort}`],
    management_url: `http://${host}:${managementPort}`,
    management_password_file: SEALED_PASSWORD,
  };
  const executor = { ...helper?.executor, sealed: true, node: NODE };
  await kpx.configure({ ...others, helper: { ...helper, executor }, broker: { ...broker, sealed } });
  await kpx.machine.writeFile(SEALED_PASSWORD, `${password}\n`, { mode: 0o640, owner: 'root:kpx-broker' });
  await kpx.machine.writeFile('/etc/kpx/executor-msgq', `amqp://{user}:{password}@${host}:${amqpPort}/{vhost}\n`, { mode: 0o600 });
}

/** Processor time in seconds since boot, of all that runs there and beside it on this host, and what parts of kpx have of it. */
export interface Spent {
  readonly executors: number;
  readonly helper: number;
  readonly broker: number;
  readonly rabbitmq: number;
  readonly manager: number;
  readonly everything: number;
}

const CGROUPS = '/sys/fs/cgroup';
/** Parts, and the control groups that have their time. */
const PARTS = {
  executors: /\/kpx-executors\.slice\//,
  helper: /\/kpx-privhelper@[^/]*\.service\//,
  broker: /\/kpx-broker\.service\//,
  rabbitmq: /\/rabbitmq-server\.service\//,
} as const;
/** Prints `executor` for each executor without a look into its control group, which has some sixty files: with hundreds of executors that would be seen. */
const LOOK = [
  ...['/usr/bin/find', CGROUPS, '-name', 'kpx-executor@*', '-prune', '-printf', 'executor\n', '-o'],
  ...['-regex', String.raw`.*/\(kpx-executors.slice\|\(kpx-privhelper@[^/]*\|kpx-broker\|rabbitmq-server\).service\)/cpu.stat`],
  ...['-exec', 'grep', '--with-filename', '^usage_usec ', '{}', ';'],
];

/** The number of executors and the processor time that was spent until `at`, in seconds of this process's monotonic clock. */
export interface Sample {
  readonly at: number;
  readonly started: number;
  readonly spent: Spent;
}

/** The helper's time is that of all its instances that run. */
export async function sample(machine: BootedMachine): Promise<Sample> {
  // A group may go while it is looked at.
  const lines = (await machine.run(LOOK, { allowFailure: true })).stdout.split('\n');
  const seconds = (group: RegExp) =>
    lines.filter((line) => group.test(line)).reduce((sum, line) => sum + Number(line.split(' ')[1]), 0) / 1_000_000;
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] =
    (await machine.readFile('/proc/stat')).split('\n')[0]?.match(/\d+/g)?.map(Number) ?? [];
  return {
    at: performance.now() / 1_000,
    started: lines.filter((line) => line === 'executor').length,
    spent: {
      executors: seconds(PARTS.executors),
      helper: seconds(PARTS.helper),
      broker: seconds(PARTS.broker),
      rabbitmq: seconds(PARTS.rabbitmq),
      manager: await managerCpu(machine),
      everything: (user + nice + system + irq + softirq) / TICKS_PER_S,
    },
  };
}

/** Processor time of PID 1, in seconds. */
export async function managerCpu(machine: BootedMachine): Promise<number> {
  const fields = (await machine.readFile('/proc/1/stat')).replace(/^.*\) /, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
}
