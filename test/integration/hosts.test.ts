import { execFileSync } from 'node:child_process';
import { symlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { CROWD } from '../fixtures/accounts.js';
import { eventually } from '../fixtures/eventually.js';
import { freePorts } from '../fixtures/free-ports.js';
import { jobOf, publishJobs } from '../fixtures/jobs.js';
import { checkout, Kpx, type KpxOptions, node } from '../fixtures/kpx.js';
import { doneJobs, takeStock } from '../fixtures/ledger.js';
import { addMachineAddress, MACHINE_ADDRESS, OwnHost } from '../fixtures/own-host.js';
import { type RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';
import type { Vhost } from '../fixtures/rabbitmq-access.js';
import { runKpxctl } from './installed-kpx.js';

/* Two executor hosts, one of which can start no executor. */

const USERS = CROWD.slice(0, 15);
const JOBS = 60;
const STAND_IN = { BOOT_MS: '100', JOB_MS: '2', PREFETCH: '16', RETRY_MS: '120000' };
const SICK = 'this host starts no executor: those of several users in a row failed; other hosts get their jobs';
const WELL = 'this host starts executors again';
const TEST = { timeout: 240_000 };

let rabbitmq: RabbitmqServer;
/** Where hosts reach RabbitMQ. */
let port = 0;
beforeAll(async () => {
  addMachineAddress();
  [port = 0] = await freePorts(1);
  rabbitmq = await startRabbitmq({ settings: { 'listeners.tcp.other': `${MACHINE_ADDRESS}:${port}` } });
}, 120_000);
afterAll(() => rabbitmq.remove());

function fromHosts(url: string): string {
  const there = new URL(url);
  there.host = `${MACHINE_ADDRESS}:${port}`;
  return there.href;
}

function installed(vhost: Vhost, options: KpxOptions = {}): Kpx {
  const amqp = { urls: [fromHosts(vhost.urlWithoutPassword('broker'))] };
  return new Kpx(vhost, {
    standIn: STAND_IN,
    msgq: fromHosts(vhost.url('executor')),
    ...options,
    broker: { amqp, policy: { max_starting: 8, backoff_initial: '1s' }, ...options.broker },
  });
}

interface Host {
  readonly host: OwnHost;
  readonly kpx: Kpx;
}

interface Sickness extends KpxOptions {
  /** What is done to the host once it is there. */
  readonly breakIt?: (kpx: Kpx) => void;
  /** What is done to it once its helper runs: the helper does not start with a wrong configuration. */
  readonly breakLater?: () => void;
  /** A command before the helper's. */
  readonly wrap?: (kpx: Kpx) => string[];
  readonly withoutHelper?: boolean;
}

async function startHost(
  number: number,
  vhost: Vhost,
  { breakIt, breakLater, wrap, withoutHelper, ...options }: Sickness = {},
): Promise<Host> {
  const kpx = installed(vhost, options);
  breakIt?.(kpx);
  const host = await OwnHost.start(number, `executor-${number}`);
  onTestFinished(async () => {
    await host.kill();
    await kpx.stop();
  });
  if (!withoutHelper) await kpx.startHelper({ wrap: [...host.enter, ...(wrap?.(kpx) ?? [])] });
  breakLater?.();
  await kpx.startBroker({ wrap: host.enter, wait: false });
  await kpx.brokerLog.line({ msg: 'consuming' });
  return { host, kpx };
}

const allJobs = () => Array.from({ length: JOBS }, (_, index) => jobOf(USERS[index % USERS.length] ?? '', `job-${index}`));

/** A file system on which no directory can be made. */
const fullDisk = (kpx: Kpx) => execFileSync('/usr/bin/mount', ['-t', 'tmpfs', '-o', 'nr_inodes=1,mode=0755', 'tmpfs', kpx.workspaces]);

/** A program of executors that can be taken away. */
const PROGRAM = `/srv/kpx-knime-${process.pid}`;
const install = () => symlinkSync(node(), PROGRAM);
const withProgram: Sickness = {
  helper: { executor: { command: [PROGRAM, join(checkout(), 'test/fixtures/knime/executor.mjs'), '-data', '{workspace}'] } },
  breakIt: install,
  breakLater: () => unlinkSync(PROGRAM),
};

/** For every account but that of the broker, without which the helper does not start. */
const NO_ANSWER = 'case "$*" in *kpx-broker*) exec "$real" "$@";; *) exit 3;; esac';

let hosts = 40;

describe('a sick host beside a healthy one: every job of every user is done, none is parked, where on the sick one', () => {
  it.each<[string, Sickness]>([
    ['the program of executors is missing', withProgram],
    ['the disk is full', { breakIt: fullDisk }],
    ['the name service does not answer', { wrap: (kpx) => kpx.inPlaceOf('/usr/bin/getent', NO_ANSWER) }],
    ['there is no helper', { withoutHelper: true }],
    ['the program of executors ends at once for everybody', { helper: { executor: { command: ['/usr/bin/false'] } } }],
  ])('%s', TEST, async (_, sickness) => {
    const vhost = await rabbitmq.createKnimeVhost();
    hosts += 2;
    const pair = await Promise.all([startHost(hosts, vhost), startHost(hosts + 1, vhost, sickness)]);
    const [healthy, sick] = pair.map(({ kpx }) => kpx) as [Kpx, Kpx];
    const from = performance.now();
    await publishJobs(vhost.url('publisher'), allJobs());
    await sick.brokerLog.line({ msg: SICK }, { timeoutMs: 30_000 });
    expect((await runKpxctl(['status', '--config', sick.brokerConfigFile])).stdout).toMatch(
      /^starts +none since .*: those of several users in a row failed, /m,
    );
    await eventually(`${JOBS} jobs are done`, () => new Set(doneJobs([healthy], USERS)).size === JOBS, 120_000);
    console.log(`${JOBS} jobs of ${USERS.length} users with a sick host: done after ${Math.round(performance.now() - from)} ms`);
    expect(healthy.brokerLog.lines.filter(({ msg }) => msg === SICK)).toEqual([]);
    await Promise.all(pair.map(({ host }) => host.kill()));
    const stock = await takeStock(
      Array.from({ length: JOBS }, (_, index) => `job-${index}`),
      [healthy],
      USERS,
      vhost.url('admin'),
    );
    expect({ lost: stock.lost, parked: stock.parked.size }).toEqual({ lost: [], parked: 0 });
  });

  it('it comes back by itself when its fault is gone', TEST, async () => {
    const vhost = await rabbitmq.createKnimeVhost();
    hosts += 2;
    const { kpx: sick } = await startHost(hosts, vhost, withProgram);
    await publishJobs(vhost.url('publisher'), allJobs());
    await sick.brokerLog.line({ msg: SICK }, { timeoutMs: 30_000 });
    install();
    onTestFinished(() => unlinkSync(PROGRAM));
    await sick.brokerLog.line({ msg: WELL }, { timeoutMs: 60_000 });
    await eventually(`${JOBS} jobs are done`, () => new Set(doneJobs([sick], USERS)).size === JOBS, 120_000);
    expect(sick.brokerLog.lines.filter(({ msg }) => msg === 'job parked')).toEqual([]);
  });
});

it('of the user’s own kind, a failure has the job parked at once, and the list has the host', TEST, async () => {
  const vhost = await rabbitmq.createKnimeVhost();
  hosts += 2;
  const pair = (await Promise.all([startHost(hosts, vhost), startHost(hosts + 1, vhost)])).map(({ kpx }) => kpx);
  await publishJobs(vhost.url('publisher'), [jobOf('root', 'r1')]);
  await eventually('it is parked', () => pair.flatMap(({ brokerLog }) => brokerLog.lines).some(({ msg }) => msg === 'job parked'));
  const [by] = pair.flatMap(({ brokerLog }) => brokerLog.lines).filter(({ msg }) => msg === 'job parked');
  expect(by).toMatchObject({ reason: 'ACCOUNT_DENIED' });
  // A queue that was just made is left alone for a while.
  await eventually('it is in the queue', async () => (await vhost.queueDepth('kpx.dead-letter'))?.messages === 1);
  const { stdout } = await runKpxctl(['dead-letters', 'list', '--direct', '--config', localConfig(pair[0] as Kpx, vhost)]);
  expect(stdout).toMatch(/^ID +PARKED +HOST +REASON/m);
  expect(stdout).toMatch(new RegExp(` ${by?.host} +ACCOUNT_DENIED +root `));
});

/** This test's own process is on the machine itself, where RabbitMQ has its first address. */
function localConfig(kpx: Kpx, vhost: Vhost): string {
  kpx.configureBroker({ amqp: { urls: [vhost.urlWithoutPassword('broker')] } });
  return kpx.brokerConfigFile;
}
