import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type BootedKpx, BROKER, TEMPS, WORKSPACES } from '../fixtures/booted/kpx.js';
import { drainQueue, jobOf } from '../fixtures/jobs.js';
import { LEAST_PERMISSIONS } from '../fixtures/rabbitmq-access.js';
import { withKpx } from './kpx-of-file.js';
import { bootedMachine, bootedRabbitmq, dropIn } from './shared-machine.js';

/* kpxctl doctor on a set-up that is well, and then broken in one way after another. Each test fixes what it has broken. */

const machine = bootedMachine();

/** For the package and its first start, whatever else the machine does meanwhile. */
const INSTALL_TIMEOUT_MS = 300_000;
const DOCTOR_TIMEOUT_MS = 90_000;
const RABBITMQ = `RabbitMQ at 127.0.0.1:${bootedRabbitmq().amqpPort}`;
const RABBITMQCTL_TIMEOUT_MS = 60_000;
const CONFIGURATION_WRONG = 78;

interface Finding {
  readonly name: string;
  readonly result: 'ok' | 'warn' | 'fail' | 'skipped';
  readonly seen: string;
  readonly fix?: string;
}

let kpx: BootedKpx;
let end: (() => Promise<void>) | undefined;

beforeAll(async () => {
  end = await withKpx({}, async (started) => {
    kpx = started;
    await kpx.start();
  });
}, INSTALL_TIMEOUT_MS);
afterAll(() => end?.());

async function doctor(args: string[] = [], user?: string) {
  const options = { timeoutMs: DOCTOR_TIMEOUT_MS, allowFailure: true, ...(user === undefined ? {} : { user }) };
  const { exitCode, stdout, stderr } = await machine.run(['/usr/bin/kpxctl', 'doctor', '--json', ...args], options);
  expect(stderr).toBe('');
  for (const { password } of Object.values(bootedRabbitmq().users)) expect(stdout).not.toContain(password);
  const { result, checks } = JSON.parse(stdout) as { result: string; checks: Finding[] };
  expect(exitCode).toBe(result === 'fail' ? CONFIGURATION_WRONG : 0);
  return { exitCode, checks, failed: checks.filter((check) => check.result === 'fail') };
}

const run = (...argv: string[]) => machine.run(argv, { timeoutMs: RABBITMQCTL_TIMEOUT_MS });

// What breaks something, and fixes it when the test is finished.

async function configured(options: Parameters<BootedKpx['configure']>[0] = {}): Promise<void> {
  onTestFinished(() => kpx.configure());
  await kpx.configure(options);
}

async function written(path: string, text: string): Promise<void> {
  onTestFinished(() => kpx.configure());
  await machine.writeFile(path, text, { mode: 0o600 });
}

async function removed(path: string): Promise<void> {
  onTestFinished(() => kpx.configure());
  await machine.remove(path);
}

async function missing(what: 'queue' | 'exchange'): Promise<void> {
  for (const role of ['broker', 'executor'] as const) await permitted(role, LEAST_PERMISSIONS.admin);
  await configured({ broker: { amqp: { [what]: 'missing' } } });
}

async function mode(path: string, broken: string): Promise<void> {
  const before = (await run('/usr/bin/stat', '--format=%a', '--', path)).stdout.trim();
  onTestFinished(() => run('/usr/bin/chmod', before, path).then(() => {}));
  await run('/usr/bin/chmod', broken, path);
}

async function permitted(role: 'broker' | 'executor', changed: Partial<(typeof LEAST_PERMISSIONS)['broker']>): Promise<void> {
  onTestFinished(() => kpx.vhost.setPermissions(role, LEAST_PERMISSIONS[role]));
  await kpx.vhost.setPermissions(role, { ...LEAST_PERMISSIONS[role], ...changed });
}

async function mounted(type: 'tmpfs' | 'ramfs', at: string, options: string): Promise<void> {
  onTestFinished(() => run('/usr/bin/umount', '--lazy', at).then(() => {}));
  await run('/usr/bin/mount', '-t', type, '-o', `mode=755,${options}`, 'kpx-test', at);
}

async function made(path: string, owner: string): Promise<void> {
  onTestFinished(() => machine.remove(path));
  await run('/usr/bin/install', '-d', '-m', '0700', '-o', owner, path);
}

async function restartedAfterwards(): Promise<void> {
  onTestFinished(async () => {
    await kpx.mark();
    await machine.systemctl('restart', BROKER);
    await kpx.inUse();
  });
}

const queuePath = (queue: string) => `queues/${encodeURIComponent(kpx.vhost.vhost)}/${queue}`;
const rabbitmqctl = (...args: string[]) => run('/usr/sbin/rabbitmqctl', '--quiet', ...args);

it('of a set-up that is well, nothing fails, and every check could be made', async () => {
  const { checks, failed, exitCode } = await doctor(['--user', 'ada']);
  expect(failed).toEqual([]);
  expect(exitCode).toBe(0);
  expect(checks.filter(({ result }) => result === 'skipped')).toEqual([]);
  // Whether somebody keeps the clock is the machine's below.
  expect(checks.filter(({ name, result }) => result === 'warn' && name !== 'clock')).toEqual([]);
  expect(checks.length).toBeGreaterThan(35);
});

it('says it to people, too, with a line of what to do below what is not well', async () => {
  await mode('/etc/kpx/executor-msgq', '0644');
  const { stdout, exitCode } = await machine.run(['/usr/bin/kpxctl', 'doctor'], { timeoutMs: DOCTOR_TIMEOUT_MS, allowFailure: true });
  expect(exitCode).toBe(CONFIGURATION_WRONG);
  expect(stdout).toMatch(/^fail +executor-msgq +\/etc\/kpx\/executor-msgq has mode 644, expected 600\n +-> .*chmod 0600/m);
  expect(stdout).toMatch(/^1 fail, \d+ warn, \d+ skipped, \d+ ok: fix what has failed/m);
});

it('as somebody else than root, what needs root is skipped, and nothing fails', async () => {
  const { checks, failed } = await doctor([], 'ada');
  expect(failed).toEqual([]);
  for (const name of ['privhelper.toml', 'executor-msgq', 'environment files', 'workspace ACLs'])
    expect(checks.find((check) => check.name === name)).toMatchObject({ result: 'skipped', seen: expect.stringMatching(/root/) });
});

type Row = [how: string, breakIt: () => Promise<unknown>, check: string, fix: string, args?: string[]];

const FAILING: Row[] = [
  [
    'a misspelt key in broker.toml',
    () => configured({ broker: { policy: { max_executers: 1 } } }),
    'broker.toml',
    'kpx-broker --config /etc/kpx/broker.toml --check',
  ],
  ['broker.toml that others can write', () => mode('/etc/kpx/broker.toml', '0660'), 'broker.toml', 'chmod 0640'],
  ['broker.toml that the broker cannot read', () => mode('/etc/kpx/broker.toml', '0600'), 'broker.toml', 'chown root:kpx-broker'],
  [
    'a misspelt key in privhelper.toml',
    () => configured({ helper: { accounts: { min_uidd: 1 } } }),
    'privhelper.toml',
    'kpx-privhelper --config /etc/kpx/privhelper.toml --check',
  ],
  ['privhelper.toml that others can write', () => mode('/etc/kpx/privhelper.toml', '0666'), 'privhelper.toml', 'chmod 0600'],
  ['a password that others can read', () => mode('/etc/kpx/amqp-password', '0644'), 'amqp-password', 'chmod 0600'],
  ['a missing password', () => removed('/etc/kpx/amqp-password'), 'amqp-password', 'kpxctl setup-rabbitmq'],
  ['a wrong password', () => written('/etc/kpx/amqp-password', 'wrong\n'), RABBITMQ, 'kpxctl setup-rabbitmq --admin NAME'],
  ['a key of headers that others can read', () => mode('/etc/kpx/job-mac-key', '0644'), 'job-mac-key', 'chmod 0600'],
  ['a missing key of headers', () => removed('/etc/kpx/job-mac-key'), 'job-mac-key', 'copy it from another host'],
  ['a key of headers that is none', () => written('/etc/kpx/job-mac-key', 'short\n'), 'job-mac-key', 'head -c 32'],
  [
    'a key of headers that the broker has not read yet',
    () => written('/etc/kpx/job-mac-key', 'x'.repeat(32)),
    'job-mac-key',
    'systemctl restart kpx-broker',
  ],
  ['a missing executor-msgq', () => removed('/etc/kpx/executor-msgq'), 'executor-msgq', 'KNIME_EXECUTOR_MSGQ'],
  [
    'an executor-msgq that is no URL',
    () => written('/etc/kpx/executor-msgq', 'rabbitmq.example.org\n'),
    'executor-msgq',
    'amqp://USER:PASSWORD@HOST/VHOST',
  ],
  [
    "a wrong password of the executors'",
    () => written('/etc/kpx/executor-msgq', `${kpx.vhost.url('executor').replace(/:[^:@]+@/, ':wrong@')}\n`),
    "executors' login",
    'percent-encoded',
  ],
  [
    'a port where nobody listens',
    () => configured({ broker: { amqp: { urls: ['amqp://kpx-broker@127.0.0.1:1/knime'] } } }),
    'RabbitMQ at 127.0.0.1:1',
    'firewall',
  ],
  [
    'a host without an address',
    () => configured({ broker: { amqp: { urls: ['amqp://kpx-broker@rabbitmq.invalid/knime'] } } }),
    'RabbitMQ at rabbitmq.invalid',
    'DNS',
  ],
  [
    'a virtual host that is not there',
    () => configured({ broker: { amqp: { urls: [kpx.vhost.urlWithoutPassword('broker').replace(/[^/]+$/, 'nowhere')] } } }),
    RABBITMQ,
    'rabbitmqctl list_vhosts',
  ],
  [
    'TLS where RabbitMQ speaks none',
    () => configured({ broker: { amqp: { urls: [kpx.vhost.urlWithoutPassword('broker').replace('amqp:', 'amqps:')] } } }),
    RABBITMQ,
    '5671',
  ],
  ['a missing job queue', () => missing('queue'), 'job queue', 'KNIME Server makes it'],
  ['a missing job exchange', () => missing('exchange'), 'job exchange', 'KNIME Server makes it'],
  [
    'no permission to read the queue',
    () => permitted('broker', { read: '^kpx\\.' }),
    'permissions',
    "'^kpx\\.' '^kpx\\.|^(knime-server2executorknime-jobs|amq\\.default)$' '^kpx\\.|^(knime-jobs)$'",
  ],
  ['no permission to write', () => permitted('broker', { write: '^kpx\\.' }), 'permissions', 'rabbitmqctl set_permissions -p'],
  ["no permission to make kpx's queues", () => permitted('broker', { configure: '^$' }), 'permissions', 'rabbitmqctl set_permissions -p'],
  ['executors that may not read the queue', () => permitted('executor', { read: '^$' }), "executors' login", 'rabbitmqctl set_permissions'],
  ["a queue of kpx's that somebody else has made", otherQueue, "kpx's queues", 'rabbitmqctl -p VHOST delete_queue'],
  ['an alarm of RabbitMQ', alarm, 'RabbitMQ alarms', 'memory or disk'],
  [
    'an address that the unit of the broker does not allow',
    () => dropIn(machine, BROKER, '[Service]\nIPAddressAllow=\nIPAddressAllow=192.0.2.0/24\n'),
    'broker may reach RabbitMQ',
    'IPAddressAllow=',
  ],
  ['a stopped broker', stoppedBroker, 'broker', 'systemctl status kpx-broker'],
  ['a broker that hangs', hangingBroker, 'broker', 'systemctl restart kpx-broker'],
  ['a helper that does not start', brokenHelper, 'helper', 'journalctl -t kpx-privhelper'],
  [
    'a socket for everybody',
    () => mode('/run/kpx/privhelper.sock', '0666'),
    'helper socket file',
    'systemctl restart kpx-privhelper.socket',
  ],
  [
    'a program that is not there',
    () => dropIn(machine, 'kpx-executor@.service', '[Service]\nExecStart=\nExecStart=/opt/knime/missing\n'),
    'executor program',
    '10-all.conf',
  ],
  [
    'a working directory that is not there',
    () => dropIn(machine, 'kpx-executor@.service', '[Service]\nWorkingDirectory=/nowhere\n'),
    'executor program',
    'WorkingDirectory=',
  ],
  ['another account', () => dropIn(machine, 'kpx-executor@.service', '[Service]\nUser=nobody\n'), 'executor program', 'User='],
  [
    'a drop-in with a second ExecStart=',
    () => dropIn(machine, 'kpx-executor@.service', '[Service]\nExecStart=/opt/knime/another\n'),
    'units',
    'systemd-analyze verify',
  ],
  ['an environment file that others can read', readableEnvironment, 'environment files', 'chmod 0600'],
  ['a workspace parent that everybody can write to', () => mode(WORKSPACES, '0777'), 'workspace parent', 'chmod go-w'],
  [
    'a temp parent that is not there',
    () => configured({ helper: { directories: { temp_parent: '/srv/kpx/none' } } }),
    'temp parent',
    'install -d -m 0755',
  ],
  ['a file system without ACLs', () => mounted('ramfs', TEMPS, ''), 'temp ACLs', 'POSIX ACLs'],
  ['a full file system', () => mounted('tmpfs', TEMPS, 'size=1m'), 'temp space', 'kpxctl orphans'],
  ['homes where the helper may not write', homesElsewhere, 'helper may write', 'ReadWritePaths='],
  ['SSSD that does not run', stoppedSssd, 'name service', 'systemctl status sssd'],
  ['SSSD without its directory', offlineSssd, 'name service', 'getent passwd'],
  ['SSSD that hangs', hangingSssd, 'name service', 'getent passwd'],
  ['a user without an account', async () => {}, 'user account', '[accounts.map]', ['--user', 'somebody.else']],
  ['a user who must not have an executor', async () => {}, 'user account', 'min_uid', ['--user', 'root']],
  ['a home of somebody else', () => made('/home/yan', 'root'), 'user home', "the account's own", ['--user', 'yan']],
  ['a workspace of somebody else', () => made(`${WORKSPACES}/yan`, '54321'), 'user directories', 'kpxctl orphans', ['--user', 'yan']],
  [
    'a program that the user may not execute',
    () => mode('/opt/knime', '0700'),
    'user may run the executor',
    'runuser -u',
    ['--user', 'yan'],
  ],
];

async function otherQueue() {
  const queue = 'kpx.delay.knime-jobs.200ms';
  await restartedAfterwards();
  await kpx.vhost.server.api('DELETE', queuePath(queue));
  onTestFinished(() => kpx.vhost.server.api('DELETE', queuePath(queue)).then(() => {}));
  await kpx.vhost.server.api('PUT', queuePath(queue), { durable: true });
}

async function alarm() {
  onTestFinished(() => rabbitmqctl('set_vm_memory_high_watermark', '0.4').then(() => {}));
  await rabbitmqctl('set_vm_memory_high_watermark', '0.00001');
}

async function stoppedBroker() {
  await restartedAfterwards();
  await machine.systemctl('stop', BROKER);
}

async function hangingBroker() {
  await restartedAfterwards();
  onTestFinished(() => machine.run(['/usr/bin/systemctl', 'kill', '--signal=SIGCONT', BROKER]).then(() => {}));
  await machine.systemctl('kill', '--signal=SIGSTOP', BROKER);
}

async function brokenHelper() {
  onTestFinished(() => kpx.brokerSays({ msg: 'connected to the helper' }).then(() => {}));
  await dropIn(machine, 'kpx-privhelper@.service', '[Service]\nExecStart=\nExecStart=/usr/bin/false\n');
  await kpx.mark();
  await run('/usr/bin/pkill', '--full', 'kpx-privhelper.cjs');
  await kpx.brokerSays({ msg: 'lost the helper; connecting again' });
  await kpx.mark();
}

async function readableEnvironment() {
  const file = '/run/kpx/executors/doctor-test.env';
  onTestFinished(() => machine.remove(file));
  await machine.writeFile(file, '', { mode: 0o644 });
}

async function homesElsewhere() {
  await run('/usr/bin/install', '-d', '/data/home');
  onTestFinished(() => machine.remove('/data'));
  await configured({ helper: { directories: { home_parents: ['/data/home'] } } });
}

async function stoppedSssd() {
  onTestFinished(() => machine.systemctl('start', 'sssd.service').then(() => {}));
  await machine.systemctl('stop', 'sssd.service');
}

async function offlineSssd() {
  onTestFinished(async () => {
    await machine.systemctl('start', 'slapd.service');
    await machine.systemctl('restart', 'sssd.service');
  });
  await machine.systemctl('stop', 'slapd.service');
  await machine.run(['/usr/bin/getent', 'passwd', 'somebody-new'], { allowFailure: true }); // SSSD sees it when it needs it
}

async function hangingSssd() {
  const signal = (name: string) => machine.systemctl('kill', '--kill-whom=all', `--signal=${name}`, 'sssd.service');
  onTestFinished(() => signal('SIGCONT').then(() => {}));
  await signal('SIGSTOP');
}

describe('of a set-up with one fault that is no way to work, that check fails and no other:', () => {
  it.each(FAILING)('%s', async (_how, breakIt, check, fix, args = []) => {
    await breakIt();
    const { failed } = await doctor(args);
    // RabbitMQ 4.3 tells nobody without a right what is there. Checks that need to know it lead to the one that is meant.
    const ownFaults = failed.filter((other) => !other.fix?.startsWith(`The check "${check}" has the command.`));
    expect(ownFaults).toEqual([expect.objectContaining({ name: check, fix: expect.stringContaining(fix) })]);
  });
});

const WARNING: Row[] = [
  [
    "the broker's own account for executors",
    () => written('/etc/kpx/executor-msgq', `${kpx.vhost.url('broker')}\n`),
    'executor-msgq',
    'a user of their own',
  ],
  ['another virtual host for executors', otherVhost, 'executor-msgq', 'the same virtual host'],
  [
    'a broker.toml that is not in force',
    () => configured({ broker: { policy: { max_executors: 7 } } }),
    'broker.toml in force',
    'kpxctl reload',
  ],
  [
    'a profile without the drop-in for all',
    copiedUnit,
    'profile drop-ins',
    'ln -s /etc/systemd/system/kpx-executor@.service.d/10-test.conf',
  ],
  ['a misspelt key in a drop-in', () => dropIn(machine, 'kpx-executor@.service', '[Service]\nMemoryMx=8G\n'), 'unit settings', 'spelling'],
  ['a unit that has changed on disk', changedOnDisk, 'units', 'systemctl daemon-reload'],
  ['a program that others can change', () => mode('/opt/knime/knime', '0777'), 'executor program', 'chmod go-w'],
  ['ageing that is switched off', noAgeing, 'temp ageing', '/etc/tmpfiles.d/kpx-temp.conf'],
  ['jobs that are parked', parkedJob, "kpx's queues", 'kpxctl dead-letters list'],
  ['a consumer timeout below the time that jobs are held', shortConsumerTimeout, 'consumer timeout', 'rabbitmq.conf'],
  [
    'more executors than memory',
    () => configured({ broker: { policy: { max_executors: 4_000, executor_memory: '1GiB' } } }),
    'memory',
    'policy.max_executors = ',
  ],
  [
    'more executors than licences',
    () => configured({ broker: { policy: { core_tokens: 9, tokens_per_executor: 4 } } }),
    'licence',
    'policy.max_executors = 2',
  ],
  [
    'a lower limit of the helper',
    () => configured({ helper: { executor: { max_executors: 3 } } }),
    'executor limits',
    'executor.max_executors',
  ],
  [
    'a start timeout beyond KNIME Server’s',
    () => configured({ broker: { executors: { start_timeout: '5m' } } }),
    'waiting times',
    'default_load_timeout',
  ],
  [
    'jobs that are too old too soon',
    () => configured({ broker: { policy: { job_max_age: '30s' } } }),
    'waiting times',
    'policy.job_max_age',
  ],
  ['a broker that cannot be asked', mute, 'broker', 'control.socket'],
  ['a helper with the network of the machine', helperWithNetwork, 'helper namespaces', 'CAP_NET_ADMIN'],
  ['a drained host', drained, 'broker', 'kpxctl resume'],
];

async function changedOnDisk() {
  const unit = '/usr/lib/systemd/system/kpx-executors.slice';
  onTestFinished(() => machine.systemctl('daemon-reload').then(() => {}));
  await machine.systemctl('start', 'kpx-executors.slice'); // known to PID 1
  await run('/usr/bin/touch', '--date=now + 1 hour', unit);
}

async function otherVhost() {
  const other = await bootedRabbitmq().createKnimeVhost();
  onTestFinished(() => other.delete());
  await written('/etc/kpx/executor-msgq', `${other.url('executor')}\n`);
}

async function noAgeing() {
  const own = '/etc/tmpfiles.d/kpx-temp.conf';
  onTestFinished(() => machine.remove(own));
  await run('/usr/bin/ln', '--symbolic', '/dev/null', own);
}

async function parkedJob() {
  onTestFinished(() => kpx.vhost.server.api('DELETE', `${queuePath('kpx.dead-letter')}/contents`).then(() => {}));
  await kpx.publish({ body: { user: 'no  name' } });
  await kpx.brokerSays({ reason: 'USER_NAME_INVALID' });
}

async function shortConsumerTimeout() {
  const { stdout } = await rabbitmqctl('eval', 'application:get_env(rabbit, consumer_timeout).');
  const [before = '1800000'] = /\d+/.exec(stdout) ?? [];
  const set = (timeout: string) => rabbitmqctl('eval', `application:set_env(rabbit, consumer_timeout, ${timeout}).`);
  onTestFinished(() => set(before).then(() => {}));
  await set('60000');
}

async function mute() {
  await restartedAfterwards();
  await configured({ broker: { control: { socket: '' } } });
  await kpx.mark();
  await machine.systemctl('restart', BROKER);
  await kpx.inUse();
}

async function helperWithNetwork() {
  await restartedAfterwards();
  await dropIn(machine, 'kpx-privhelper@.service', '[Service]\nPrivateNetwork=no\n');
  await kpx.mark();
  await machine.systemctl('restart', BROKER);
  await kpx.inUse();
}

async function drained() {
  onTestFinished(() => run('/usr/bin/kpxctl', 'resume').then(() => {}));
  await run('/usr/bin/kpxctl', 'drain');
}

/** As a plain copy of the packaged unit is: without what the drop-in for all users says. */
async function copiedUnit() {
  await dropIn(machine, 'kpx-executor@.service', '[Service]\nTasksMax=1234\n');
  const copy = '/etc/systemd/system/kpx-executor-small@.service';
  onTestFinished(() => machine.remove(copy));
  await run('/usr/bin/cp', '/usr/lib/systemd/system/kpx-executor@.service', copy);
  await machine.systemctl('daemon-reload');
  await configured({ helper: { executor: { profiles: { small: 'kpx-executor-small@' } } } });
}

describe('of a set-up that works and has a fault, nothing fails and that check warns:', () => {
  it.each(WARNING)('%s', async (_how, breakIt, check, fix) => {
    await breakIt();
    const { failed, checks } = await doctor();
    expect(failed).toEqual([]);
    expect(checks.find(({ name }) => name === check)).toMatchObject({ result: 'warn', fix: expect.stringContaining(fix) });
  });
});

it('does not wait for what hangs: who needs it says so, and all others are as before', async () => {
  await run('/usr/sbin/sss_cache', '--everything');
  await hangingSssd();
  const { checks, failed } = await doctor(['--user', 'yan']);
  expect(failed.map(({ name }) => name)).toEqual(['name service', 'user account']);
  expect(checks.filter(({ result }) => result === 'skipped').map(({ name }) => name)).toEqual(
    expect.arrayContaining(['user home', 'user directories', 'user may run the executor']),
  );
  expect(checks.filter(({ result }) => result === 'ok').length).toBeGreaterThan(25);
});

it('asks a helper itself where no broker runs, as the broker’s account', async () => {
  await stoppedBroker();
  const { checks } = await doctor();
  expect(checks.find(({ name }) => name === 'helper')).toMatchObject({ result: 'ok', seen: expect.stringContaining('said hello') });
  await kpx.mark();
});

it('takes no job: what waits in the queue is neither gone nor redelivered', async () => {
  await stoppedBroker();
  await kpx.publish(jobOf('ada', 'kept'));
  expect((await doctor()).checks.find(({ name }) => name === 'permissions')).toMatchObject({ result: 'ok' });
  const waiting = await drainQueue(kpx.vhost.url('admin'), 'knime-jobs');
  expect(waiting.map(({ json, redelivered }) => ({ json, redelivered }))).toEqual([
    { json: { user: 'ada', job: 'kept' }, redelivered: false },
  ]);
});

it('leaves everything as it was: no queue and no directory more', async () => {
  const look = async () => ({
    queues: (await kpx.vhost.server.api<{ name: string }[]>('GET', `queues/${kpx.vhost.vhost}?disable_stats=true&enable_queue_totals=true`))
      .map(({ name }) => name)
      .sort(),
    directories: (await run('/usr/bin/ls', '-A', WORKSPACES, TEMPS)).stdout,
  });
  const before = await look();
  expect((await doctor()).failed).toEqual([]);
  expect(await look()).toEqual(before);
});
