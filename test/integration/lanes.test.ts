// Two lanes between two servers, one each way. A server is killed in the middle: to one lane that is its destination, to the other its source.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LaneSpec } from '../../packages/broker/src/amqp/lane.js';
import { JobMac, MAC_KEY_BYTES } from '../../packages/broker/src/amqp/mac.js';
import { Supervisor } from '../../packages/broker/src/amqp/supervisor.js';
import { ownQueues } from '../../packages/broker/src/amqp/topology.js';
import type { WireMessage } from '../../packages/broker/src/amqp/wire/amqplib.js';
import { configSchema } from '../../packages/broker/src/config/config.js';
import { withChannel } from '../fixtures/amqp.js';
import { eventually } from '../fixtures/eventually.js';
import { freePorts } from '../fixtures/free-ports.js';
import { drainQueue, jobOf, publishJobs } from '../fixtures/jobs.js';
import { KNIME_EXCHANGE, KNIME_QUEUE, KNIME_ROUTING_KEY } from '../fixtures/knime/topology.js';
import { type RabbitmqServer, startRabbitmq } from '../fixtures/rabbitmq.js';
import type { Vhost } from '../fixtures/rabbitmq-access.js';

const JOBS = 3_000;
const PREFETCH = 200;
/** As many have passed of each lane when the server is killed. */
const KILLED_AFTER = 200;
/** One in so many is held, as for a user whose executor starts. */
const HELD_OF = 10;
const BACK_MS = 60_000;
/** Two servers start, and one is killed: on a machine that has other work. */
const SCENE_MS = 300_000;

const MAC = new JobMac(randomBytes(MAC_KEY_BYTES));

const directory = mkdtempSync('/tmp/kpx-lanes-');

function configFor(urls: readonly string[], password: string) {
  const file = `${directory}/${password}`;
  writeFileSync(file, password, { mode: 0o600 });
  const knime = { queue: KNIME_QUEUE, exchange: KNIME_EXCHANGE, routing_key: KNIME_ROUTING_KEY };
  return configSchema.parse({ amqp: { urls, password_file: file, prefetch: PREFETCH, ...knime } });
}

const configOf = (vhost: Vhost) => configFor([vhost.urlWithoutPassword('broker')], vhost.server.users.broker.password);

function recordingLog() {
  const lines: Record<string, unknown>[] = [];
  return { lines, log: pino({}, { write: (line: string) => lines.push(JSON.parse(line)) }) };
}

/** Does with each job what a broker does whose users' executors run; but some are held until `hold` is over. */
class Passage {
  forwarded = 0;
  hold = true;
  forward: (message: WireMessage) => void = () => {};
  #taken = 0;
  #held: WireMessage[] = [];
  /** Undefined once every job is published: until then none goes on. */
  #waiting: WireMessage[] | undefined = [];

  constructor(
    readonly from: Vhost,
    readonly to: Vhost,
    readonly onForwarded: () => void,
  ) {}

  get spec(): LaneSpec {
    const [source, destination] = [configOf(this.from), configOf(this.to).amqp];
    return {
      inForce: { config: () => source, mac: () => MAC },
      destination: () => destination,
      handlers: {
        reconnected: () => {},
        opened: () => {},
        delivery: (message) => {
          if (this.#waiting) this.#waiting.push(message);
          else if (this.hold && ++this.#taken % HELD_OF === 0) this.#held.push(message);
          else this.forward(message);
        },
        parked: () => {},
        left: (_, outcome) => {
          if (outcome !== 'forwarded') return;
          this.forwarded += 1;
          this.onForwarded();
        },
        named: () => {},
        problem: () => {},
        release: () => this.#held.splice(0),
        lost: () => {
          this.#held = [];
        },
      },
    };
  }

  async fill(): Promise<void> {
    const jobs = Array.from({ length: JOBS }, (_, index) => jobOf('alice', `job-${index}`));
    await publishJobs(this.from.url('publisher'), jobs);
  }

  go(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const message of waiting) this.forward(message);
  }

  /** How often each job is at the destination, as soon as every one is. */
  async copies(): Promise<number[]> {
    const copies = new Map<string, number>();
    const drain = async () => {
      for (const { json } of await drainQueue(this.to.url('admin'), KNIME_QUEUE)) {
        const { job } = json as { job: string };
        copies.set(job, (copies.get(job) ?? 0) + 1);
      }
      return copies.size;
    };
    await expect.poll(drain, { timeout: BACK_MS }).toBe(JOBS);
    return [...copies.values()];
  }
}

const ready = async (vhost: Vhost) =>
  await withChannel(vhost.url('admin'), async (channel) => (await channel.checkQueue(KNIME_QUEUE)).messageCount);

describe('two lanes, of which one server is killed', () => {
  const { lines, log } = recordingLog();
  let [south, north]: (RabbitmqServer | undefined)[] = [];
  let passages: { northwards: Passage; southwards: Passage };
  let supervisor: Supervisor<'northwards' | 'southwards'>;
  let running: Promise<void>;

  beforeAll(async () => {
    [south, north] = await Promise.all([startRabbitmq(), startRabbitmq()]);
    const [a, b, c, d] = await Promise.all([south, north, north, south].map((server) => server.createKnimeVhost()));
    const killed = new Promise<void>((resolve, reject) => {
      const look = () => {
        const { northwards, southwards } = passages;
        if (!northwards.hold || Math.min(northwards.forwarded, southwards.forwarded) < KILLED_AFTER) return;
        for (const passage of [northwards, southwards]) passage.hold = false;
        (north as RabbitmqServer).kill().then(resolve, reject);
      };
      passages = { northwards: new Passage(a as Vhost, b as Vhost, look), southwards: new Passage(c as Vhost, d as Vhost, look) };
    });
    const { northwards, southwards } = passages;
    supervisor = new Supervisor(log, { northwards: northwards.spec, southwards: southwards.spec });
    for (const name of ['northwards', 'southwards'] as const)
      passages[name].forward = (message) => supervisor.lanes[name].relay?.forward(message, 0);
    running = supervisor.run();
    const own = ownQueues(KNIME_QUEUE).map(([name]) => name);
    await eventually('both lanes consume', () => lines.filter(({ msg }) => msg === 'consuming').length === 2);
    await north.registered(southwards.from.vhost, own);
    await Promise.all([northwards.fill(), southwards.fill()]);
    for (const passage of [northwards, southwards]) passage.go();
    await killed;
  }, SCENE_MS);

  afterAll(async () => {
    await supervisor?.stop();
    await running;
    await Promise.all([south?.remove(), north?.remove()]);
  });

  it('a lost destination gives back to the source what was in hand: its queue has all that has not arrived', async () => {
    const { northwards } = passages;
    expect(northwards.forwarded).toBeLessThan(JOBS);
    await expect.poll(() => ready(northwards.from)).toBe(JOBS - northwards.forwarded);
  });

  it('says which lane has lost which server', async () => {
    const server = `${north?.host}:${north?.amqpPort}`;
    for (const lane of ['northwards', 'southwards'])
      await expect.poll(() => lines).toContainEqual(expect.objectContaining({ msg: 'lost RabbitMQ; connecting again', lane, server }));
  });

  it(
    'no job is lost that was on its way to the killed server, and none is done twice but what was in hand',
    async () => {
      await north?.start();
      const doubled = (await passages.northwards.copies()).filter((count) => count > 1);
      expect(doubled.length).toBeLessThanOrEqual(PREFETCH);
    },
    SCENE_MS,
  );

  // A classic queue that is killed also gives out again what was acknowledged a moment before.
  it(
    'no job is lost that was on its way from the killed server, and none is there more than twice',
    async () => {
      expect(Math.max(...(await passages.southwards.copies()))).toBeLessThanOrEqual(2);
    },
    SCENE_MS,
  );
});

it('a lane that is the only one has no name in the log', async () => {
  const { lines, log } = recordingLog();
  const [nobody] = await freePorts(1);
  const config = configFor([`amqp://kpx-broker@127.0.0.1:${nobody}/`], 'nobody');
  const nothing = () => {};
  const handlers = {
    ...{ reconnected: nothing, opened: nothing, delivery: nothing, left: nothing, parked: nothing, problem: nothing, named: nothing },
    ...{ release: () => [], lost: nothing },
  };
  const supervisor = new Supervisor(log, { jobs: { inForce: { config: () => config, mac: () => MAC }, handlers } });
  const running = supervisor.run();
  await expect.poll(() => lines).toContainEqual(expect.objectContaining({ msg: 'RabbitMQ cannot be used; trying again' }));
  await supervisor.stop();
  await running;
  expect(lines.filter((line) => 'lane' in line)).toEqual([]);
});
