import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../fixtures/eventually.js';
import { HelperConnection } from '../fixtures/helper-connection.js';
import type { Section } from '../fixtures/helper-installation.js';
import type { LogLine } from '../fixtures/json-log.js';
import { idsOf } from '../fixtures/kpx.js';
import { processesOfUids } from '../fixtures/process.js';
import type { Cancellation } from './causes.js';
import type { HelperWay } from './helper-way.js';
import type { Installation } from './installation.js';
import { cancelOne, drainFor, start, stopAllWhenIdle } from './operator.js';
import type { Fault, FaultKind, HELPER_ERRORS, MUTE_METHODS, QUEUE_POLICIES, RELOADS, SLOWNESSES, WAYS } from './plan.js';
import type { Sent } from './publisher.js';

const REFUSED = 'the configuration is refused; the old one stays in force';
const DRAINING = 'draining: no executor is started any more';
const DRAINED_ENOUGH = 'executors are started again';
const DRAINED_BEFORE = 'this host was being drained before the restart; the time of that is over';
/** Of what passes the proxy, each way, in milliseconds. */
const SLOW_MS = 150;
const WATERMARK_OF_AN_ALARM = '0.00001';
const WATERMARK = '0.4';

const MINUTE_MS = 60_000;

const configurations = (): Record<(typeof RELOADS)[number], Record<string, Section>> => ({
  'prefetch 8': { amqp: { prefetch: 8 } },
  'max_executors 2': { policy: { max_executors: 2 } },
  'max_starting 1': { policy: { max_starting: 1 } },
  'dave denied': { policy: { deny: ['mallory', 'dave'] } },
  // Of a minute ago: started at once.
  'bob started before the job': {
    policy: { rule: [{ users: ['bob'], prestart: new Date(Date.now() - MINUTE_MS).toTimeString().slice(0, 'hh:mm'.length) }] },
  },
  'all kept warm': { policy: { rule: [{ users: ['*'], keep_warm: '1h', max_age: '5s' }] } },
  'two jobs of each user held': { policy: { rule: [{ users: ['*'], jobs_max: 2 }] } },
  'a hook that hangs': { hook: { command: ['/usr/bin/sleep', '20'] } },
  'a hook that floods': { hook: { command: ['/usr/bin/yes'] } },
});

const POLICIES: Record<(typeof QUEUE_POLICIES)[number], { pattern: string; definition: Section }> = {
  'delay queues take one job': { pattern: '^kpx\\.delay\\.', definition: { 'max-length': 1 } },
  'the job queue takes one job': { pattern: '^knime-jobs$', definition: { 'max-length': 1 } },
  'the job queue is lazy': { pattern: '^knime-jobs$', definition: { 'queue-mode': 'lazy' } },
};

/** Class and method, by the specification of AMQP 0-9-1. */
const METHODS: Record<(typeof MUTE_METHODS)[number], [number, number]> = {
  'queue.declare': [50, 10],
  'confirm.select': [85, 10],
  'basic.consume': [60, 20],
};

const SLOW: Record<(typeof SLOWNESSES)[number], Parameters<HelperWay['be']>[0]> = {
  'some seconds': { how: 'late', ms: 3_000 },
  'beyond the deadline': { how: 'too late' },
};

/** A program that has lost its log ends: what it does, nobody could follow. */
const LOG_LOST_MS_MAX = 20_000;

async function endOf(what: string, child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  await once(child, 'exit', { signal: AbortSignal.timeout(LOG_LOST_MS_MAX) }).catch(() => {
    throw new Error(`the ${what} lives on ${LOG_LOST_MS_MAX} ms after it has lost its log`);
  });
}

/** What there has been of a run. */
export interface Seen {
  readonly sent: readonly Sent[];
  readonly cancelled: Cancellation[];
}

/** Begins a fault, and ends it when its time is over. */
type Inflict = (on: Installation, fault: Fault, seen: Seen) => Promise<void>;

const INFLICT: Record<FaultKind, Inflict> = {
  'broker: kill -9': async (on, { forMs }) => {
    await on.kpx.endBroker('SIGKILL');
    await sleep(forMs);
    await on.startBroker();
  },
  'broker: SIGTERM': async (on, { forMs }) => {
    const code = await on.kpx.endBroker('SIGTERM');
    if (code !== 0) throw new Error(`the broker ended with ${code} after SIGTERM\n${on.kpx.brokerLog.stderr}`);
    await sleep(forMs);
    await on.startBroker();
  },
  'broker: another configuration': async (on, { what, forMs }) => {
    const reload = async (configuration: Record<string, Section>) => {
      on.configure(configuration);
      await on.kpx.signal('SIGHUP', { msg: 'another configuration is in force' });
    };
    await reload(configurations()[what as (typeof RELOADS)[number]]);
    await sleep(forMs);
    await reload({});
  },
  'broker: a wrong configuration': async (on) => {
    writeFileSync(on.kpx.brokerConfigFile, '[policy]\nmax_executers = 3\n');
    await on.kpx.signal('SIGHUP', { msg: REFUSED });
    on.configure({});
  },
  'broker: drained': async (on, { forMs }) => {
    await on.kpx.signal('SIGUSR2', { msg: DRAINING });
    await sleep(forMs);
    await on.kpx.signal('SIGUSR2', { msg: DRAINED_ENOUGH });
  },
  'broker: drained until': async (on, { forMs }) => {
    const from = on.kpx.brokerLog.lines.length;
    await drainFor(on, forMs);
    await on.kpx.brokerLog.line({ msg: DRAINED_ENOUGH }, { from });
  },
  'broker: drained over a restart': async (on, { forMs }) => {
    const before = on.kpx.brokerLog;
    const from = before.lines.length;
    await drainFor(on, forMs);
    await on.kpx.endBroker('SIGTERM');
    await on.startBroker();
    // The time may have been over while the old one was ending.
    const isOver = ({ msg }: LogLine) => msg === DRAINED_ENOUGH || msg === DRAINED_BEFORE;
    const lines = () => [...before.lines.slice(from), ...on.kpx.brokerLog.lines];
    await eventually('this host is not drained any more', () => lines().some(isOver));
  },
  'broker: log lost': async (on, { forMs }) => {
    const ended = endOf('broker', on.kpx.broker);
    on.kpx.broker?.stdout?.destroy();
    on.kpx.broker?.kill('SIGHUP'); // has it say something
    await ended;
    await sleep(forMs);
    await on.startBroker();
  },
  'executor: kill -9': async (_, { what }) => {
    const { uid } = idsOf(what);
    for (const pid of processesOfUids(uid, uid)) process.kill(pid, 'SIGKILL');
  },
  'executor: installation broken': async (on, { what, forMs }) => {
    on.break(what);
    await sleep(forMs);
    on.fix(what);
  },
  'helper: kill -9': async (on, { forMs }) => {
    await on.kpx.endHelper('SIGKILL');
    await sleep(forMs);
    await on.startHelper();
  },
  'helper: SIGSTOP': async (on, { forMs }) => {
    on.kpx.helper?.kill('SIGSTOP');
    await sleep(forMs);
    on.kpx.helper?.kill('SIGCONT');
  },
  'helper: log lost': async (on, { forMs }) => {
    const ended = endOf('helper', on.kpx.helper);
    on.kpx.helper?.stdout?.destroy();
    // A connection is a line of the audit log.
    const connection = await HelperConnection.open(on.kpx.socket).catch(() => undefined);
    await ended;
    connection?.close();
    await sleep(forMs);
    await on.startHelper();
  },
  'helper: answers with errors': async ({ helperWay }, { what, forMs }) => {
    helperWay.be({ how: 'error', code: what as (typeof HELPER_ERRORS)[number] });
    await sleep(forMs);
    helperWay.heal();
  },
  'systemctl: slow': async ({ helperWay }, { what, forMs }) => {
    helperWay.be(SLOW[what as (typeof SLOWNESSES)[number]]);
    await sleep(forMs);
    helperWay.heal();
  },
  'RabbitMQ: all connections closed': async ({ rabbitmq }) => {
    await rabbitmq.ctl('close_all_connections', '--global', 'maintenance');
  },
  'RabbitMQ: app stopped': async ({ rabbitmq }, { forMs }) => {
    await rabbitmq.ctl('stop_app');
    await sleep(forMs);
    await rabbitmq.ctl('start_app');
  },
  'RabbitMQ: kill -9': async ({ rabbitmq }, { forMs }) => {
    await rabbitmq.kill();
    await sleep(forMs);
    await rabbitmq.start();
  },
  'RabbitMQ: memory alarm': async ({ rabbitmq }, { forMs }) => {
    await rabbitmq.ctl('set_vm_memory_high_watermark', WATERMARK_OF_AN_ALARM);
    await sleep(forMs);
    await rabbitmq.ctl('set_vm_memory_high_watermark', WATERMARK);
  },
  'RabbitMQ: queue policy': async (on, { what, forMs }) => {
    const { pattern, definition } = POLICIES[what as keyof typeof POLICIES];
    await on.setQueuePolicy('fault', pattern, definition);
    await sleep(forMs);
    await on.removeQueuePolicy('fault');
  },
  'network: cut': async (on, fault) => {
    wayOf(on, fault).cut();
  },
  'network: refusing': async (on, fault) => {
    wayOf(on, fault).refuse();
    wayOf(on, fault).cut();
    await sleep(fault.forMs);
    wayOf(on, fault).heal();
  },
  'network: slow': async (on, fault) => {
    wayOf(on, fault).delay(SLOW_MS);
    await sleep(fault.forMs);
    wayOf(on, fault).heal();
  },
  'network: half-open': async (on, fault) => {
    wayOf(on, fault).halfOpen();
    await sleep(fault.forMs);
    wayOf(on, fault).heal();
  },
  'RabbitMQ: mute': async ({ ways: { broker } }, { what, forMs }) => {
    broker.muteFrom(...METHODS[what as (typeof MUTE_METHODS)[number]]);
    broker.cut();
    await sleep(forMs);
    broker.heal();
  },
  'executors: without RabbitMQ': async ({ ways: { executors } }, { forMs }) => {
    executors.refuse();
    executors.cut();
    await sleep(forMs);
    executors.heal();
  },
  'operator: cancel': async (on, _, { sent, cancelled }) => {
    const cancellation = await cancelOne(on, sent);
    if (cancellation) cancelled.push(cancellation);
  },
  'operator: start': async (on, { what }) => {
    await start(on, what);
  },
  'operator: stop --all --when-idle': async (on) => {
    await stopAllWhenIdle(on);
  },
  'operator: audit log rotated': async (on) => {
    on.rotateAudit();
  },
};

const wayOf = ({ ways }: Installation, { what }: Fault) => ways[what as (typeof WAYS)[number]];

/** Resolves when the fault is over and what was ended is started again. Rejects when the installation does not do what it must. */
export async function inflict(on: Installation, fault: Fault, seen: Seen): Promise<void> {
  await INFLICT[fault.kind](on, fault, seen);
}
