import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { drainQueue, jobOf, publishJobs } from '../fixtures/jobs.js';
import { Kpx, type KpxOptions } from '../fixtures/kpx.js';
import { doneJobs, takeStock } from '../fixtures/ledger.js';
import { addMachineAddress, MACHINE_ADDRESS, OwnHost } from '../fixtures/own-host.js';
import type { Vhost } from '../fixtures/rabbitmq-access.js';
import { type RabbitmqCluster, startRabbitmqCluster } from '../fixtures/rabbitmq-cluster.js';

/** A host that falls silent is noticed by RabbitMQ after two of them. */
const HEARTBEAT_S = 3;
const USERS = ['alice', 'bob'];
/** Jobs that are published at once until all executors are ready. */
const BATCH = 8;
/** Quick enough not to be what is waited for. */
const STAND_IN = { BOOT_MS: '100', JOB_MS: '2', PREFETCH: '16', RETRY_MS: '120000' };
/**
 * RabbitMQ 4.3 gives deliveries of a node that was killed out again after 60 s. A message that was on its way to the leader of a queue when that was killed is
 * refused after 65 s, or never answered, which kpx bears for 90 s. One may come after the other.
 */
const ALL_DONE_TIMEOUT_MS = 240_000;
const CLUSTER_TEST = { timeout: 480_000 };

let cluster: RabbitmqCluster;
beforeAll(async () => {
  addMachineAddress();
  cluster = await startRabbitmqCluster({ settings: { heartbeat: HEARTBEAT_S }, address: MACHINE_ADDRESS });
}, 180_000);
afterAll(() => cluster.remove());

/** KNIME's queue as a quorum queue with a member on each node, and without the limit that RabbitMQ 4 has there. */
async function quorumVhost(): Promise<Vhost> {
  const vhost = await cluster.nodes[0]?.createVhost();
  if (vhost === undefined) throw new Error('there is no node');
  await vhost.declareUnlimitedQuorumQueue();
  await cluster.policiesTold(vhost.vhost);
  return vhost;
}

const installed = (vhost: Vhost, options: KpxOptions = {}) =>
  new Kpx(vhost, {
    standIn: STAND_IN,
    msgq: cluster.urls(vhost, 'executor', { withPassword: true }).join(),
    ...options,
    broker: {
      amqp: { urls: cluster.urls(vhost, 'broker'), management_urls: cluster.managementUrls() },
      log: { level: 'debug' },
      ...options.broker,
    },
  });

const idsOf = (count: number, from = 0) => Array.from({ length: count }, (_, index) => `job-${from + index}`);
const someJobs = (count: number, from = 0) => idsOf(count, from).map((id, index) => jobOf(USERS[index % USERS.length] ?? '', id));
const allDone = (hosts: Kpx[], count: number) =>
  eventually(`${count} jobs are done`, () => new Set(doneJobs(hosts, USERS)).size === count, ALL_DONE_TIMEOUT_MS);

describe('three nodes of RabbitMQ', () => {
  it('are killed one at a time under load: the broker goes to the next one, nothing is lost', CLUSTER_TEST, async () => {
    const vhost = await quorumVhost();
    const kpx = await installed(vhost).start();
    onTestFinished(() => kpx.stop());
    const perNode = 40;
    for (const [index, node] of cluster.nodes.entries()) {
      const living = cluster.seenFrom((index + 1) % cluster.nodes.length, vhost);
      await cluster.inStep(vhost.vhost);
      await publishJobs(living.url('publisher'), someJobs(perNode, index * perNode));
      await node.kill();
      const from = performance.now();
      await allDone([kpx], (index + 1) * perNode);
      console.log(`node ${index + 1} killed: ${perNode} jobs done ${Math.round(performance.now() - from)} ms later`);
      await node.start();
    }
    await kpx.stop();
    const stock = await takeStock(idsOf(perNode * cluster.nodes.length), [kpx], USERS, vhost.url('admin'));
    console.log(`three kills: 0 lost, ${stock.doneAgain} done again`);
    expect(stock.lost).toEqual([]);
    expect(stock.parked.size).toBe(0);
  });
});

describe('two of three nodes of RabbitMQ', () => {
  it('are killed while jobs are held: nothing is confirmed, jobs wait, and are done when there is a majority', CLUSTER_TEST, async () => {
    const vhost = await quorumVhost();
    const kpx = await installed(vhost, { standIn: { ...STAND_IN, BOOT_MS: '3000' } }).start();
    onTestFinished(() => kpx.stop());
    await cluster.inStep(vhost.vhost);
    await publishJobs(vhost.url('publisher'), someJobs(40));
    await kpx.brokerLog.line({ user: 'alice', state: 'booting' });
    const away = cluster.nodes.slice(1);
    await Promise.all(away.map((node) => node.kill()));
    await kpx.brokerLog.line({ user: 'alice', state: 'ready' });
    const done = doneJobs([kpx], USERS).length;
    await Promise.all(away.map((node) => node.start()));
    await allDone([kpx], 40);
    console.log(`majority lost and found: ${done} of 40 jobs were done without it`);
    await kpx.stop();
    const { lost, parked } = await takeStock(idsOf(40), [kpx], USERS, vhost.url('admin'));
    expect(lost).toEqual([]);
    expect(parked.size).toBe(0);
  });
});

describe('two executor hosts', () => {
  interface Machine {
    host: OwnHost;
    kpx: Kpx;
  }

  async function startHost(number: number, vhost: Vhost, options: KpxOptions = {}): Promise<Machine> {
    const host = await OwnHost.start(number, `executor-${number}`);
    const kpx = installed(vhost, options);
    onTestFinished(async () => {
      await host.kill();
      await kpx.stop();
    });
    await kpx.startHelper({ wrap: host.enter });
    await kpx.startBroker({ wrap: host.enter });
    return { host, kpx };
  }

  const doneAt = ({ kpx }: Machine) => new Set(doneJobs([kpx], USERS)).size;

  async function twoHosts(first: number, options: KpxOptions = {}) {
    const vhost = await quorumVhost();
    const [one, two] = await Promise.all([startHost(first, vhost, options), startHost(first + 1, vhost, options)]);
    return { vhost, one, two };
  }

  /**
   * Publishes a few jobs at a time, until all executors of both hosts are ready: of many at once the broker that begins first takes all. Resolves with
   * how many there were.
   */
  async function untilAllReady(vhost: Vhost, machines: Machine[]): Promise<number> {
    const isReady = ({ kpx }: Machine, user: string) => kpx.brokerLog.lines.some((line) => line.user === user && line.state === 'ready');
    let published = 0;
    await eventually('all executors are ready', async () => {
      if (machines.every((machine) => USERS.every((user) => isReady(machine, user)))) return true;
      await publishJobs(vhost.url('publisher'), someJobs(BATCH, published));
      published += BATCH;
      await allDone(
        machines.map(({ kpx }) => kpx),
        published,
      );
      return false;
    });
    return published;
  }

  /** Both hosts are in the middle of work. Resolves with how many jobs there are. */
  async function untilBothWork(vhost: Vhost, one: Machine, two: Machine): Promise<number> {
    const first = await untilAllReady(vhost, [one, two]);
    const [before, after] = [doneAt(one), doneAt(two)];
    await publishJobs(vhost.url('publisher'), someJobs(80, first));
    await eventually('both work', () => doneAt(one) > before + 2 && doneAt(two) > after + 2);
    return first + 80;
  }

  /** Every job is somewhere, with both hosts gone. */
  async function expectNothingLost(vhost: Vhost, machines: Machine[], count: number) {
    await Promise.all(machines.map(({ host }) => host.kill()));
    const stock = await takeStock(
      idsOf(count),
      machines.map(({ kpx }) => kpx),
      USERS,
      vhost.url('admin'),
    );
    expect(stock.lost).toEqual([]);
    return stock;
  }

  it('both run executors for the same users and share their jobs; logs and dead letters name the host', CLUSTER_TEST, async () => {
    const { vhost, one, two } = await twoHosts(11);
    const first = await untilAllReady(vhost, [one, two]);
    const count = first + 80;
    await publishJobs(vhost.url('publisher'), someJobs(80, first));
    await allDone([one.kpx, two.kpx], count);
    for (const machine of [one, two]) {
      for (const user of USERS) expect(machine.kpx.done(user).length, `${user} on ${machine.host.name}`).toBeGreaterThan(0);
      expect(machine.kpx.brokerLog.lines.every(({ host }) => host === machine.host.name)).toBe(true);
    }
    console.log(`${count} jobs: ${doneAt(one)} done on one host, ${doneAt(two)} on the other`);
    await publishJobs(
      vhost.url('publisher'),
      Array.from({ length: 20 }, (_, index) => ({ body: { no_user: index } })),
    );
    const parkedBy = new Set<unknown>();
    let parked = 0;
    await eventually('all are parked', async () => {
      const letters = await drainQueue(vhost.url('admin'), 'kpx.dead-letter');
      for (const { headers } of letters) parkedBy.add(headers['x-kpx-host']);
      parked += letters.length;
      return parked === 20;
    });
    expect([...parkedBy].sort()).toEqual([one.host.name, two.host.name]);
    expect((await expectNothingLost(vhost, [one, two], count)).doneAgain).toBe(0);
  });

  it('one is killed: what it held and worked on is done on the other', CLUSTER_TEST, async () => {
    const { vhost, one, two } = await twoHosts(21, { standIn: { ...STAND_IN, JOB_MS: '200' } });
    const count = await untilBothWork(vhost, one, two);
    const from = performance.now();
    await one.host.kill();
    await allDone([one.kpx, two.kpx], count);
    console.log(`a host killed: everything done ${Math.round(performance.now() - from)} ms later`);
    await expectNothingLost(vhost, [one, two], count);
  });

  it('one is cut off: after RabbitMQ has noticed, its jobs are done on the other; back again, it takes part', CLUSTER_TEST, async () => {
    const { vhost, one, two } = await twoHosts(31, { standIn: { ...STAND_IN, JOB_MS: '200' } });
    const count = await untilBothWork(vhost, one, two);
    const from = performance.now();
    one.host.cutOff();
    await allDone([one.kpx, two.kpx], count);
    console.log(`a host cut off, heartbeat ${HEARTBEAT_S} s: everything done ${Math.round(performance.now() - from)} ms later`);
    await one.kpx.brokerLog.line({ msg: 'lost RabbitMQ; connecting again' }, { timeoutMs: 30_000 });
    const lines = one.kpx.brokerLog.lines.length;
    one.host.reconnect();
    await one.kpx.brokerLog.line({ msg: 'consuming' }, { from: lines, timeoutMs: 40_000 });
    const before = doneAt(one);
    await publishJobs(vhost.url('publisher'), someJobs(40, count));
    await allDone([one.kpx, two.kpx], count + 40);
    expect(doneAt(one)).toBeGreaterThan(before);
    const { doneAgain } = await expectNothingLost(vhost, [one, two], count + 40);
    console.log(`cut off and back: 0 lost, ${doneAgain} done again`);
  });
});
