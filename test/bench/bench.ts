// `npm run bench`: everything that is measured in the private machine, each figure beside its limit where there is one, in the same run.
import { cpus } from 'node:os';
import { createAccounts } from '../fixtures/accounts.js';
import { startRabbitmq } from '../fixtures/rabbitmq.js';
import { burst, warmStart } from './bursts.js';
import { busy } from './busy.js';
import { round, table } from './figures.js';
import { largeBodies } from './large.js';
import { fullExecutor, offers } from './offers.js';
import { pages } from './page.js';
import { relayLatency, relayRate } from './relay.js';
import { scrapes } from './scrape.js';
import { sealedFigures, sealedSections } from './sealed-figures.js';
import { statuses } from './status-record.js';
import { heldJobs, steadyState } from './steady.js';

const KIB = 1_024;

/** From scripts/bench.mjs. */
const { rounds, only, json }: { rounds: number; only: string[]; json: boolean } = JSON.parse(process.argv[2] ?? '');
const wanted = (part: string) => only.includes(part);
const say = (text: string) => process.stderr.write(`${text}\n`);

createAccounts();
const rabbitmq = await startRabbitmq();
const relay = [];
if (wanted('relay')) {
  for (const [prefetch, bodyBytes] of [
    [200, KIB],
    [1, KIB],
    [20, KIB],
    [2_000, KIB],
    [200, 64 * KIB],
  ] as const) {
    say(`relay, prefetch ${prefetch}, ${bodyBytes} bytes …`);
    relay.push(await relayRate(rabbitmq, prefetch, bodyBytes, prefetch === 200 && bodyBytes === KIB ? rounds : 1));
  }
}
if (wanted('latency')) say('latency …');
const latency = wanted('latency') ? await relayLatency(rabbitmq) : undefined;
const offered = [];
if (wanted('offers')) {
  for (const users of [1, 4]) {
    say(`jobs of 20 ms of ${users} users, beside a spinner …`);
    offered.push(await offers(rabbitmq, users, rounds));
  }
}
if (wanted('offers')) say('an executor that is full for a minute …');
const full = wanted('offers') ? await fullExecutor(rabbitmq) : undefined;
const busyExecutors = [];
if (wanted('busy') || wanted('offers')) {
  for (const users of [1, 4]) {
    say(`short jobs of ${users} users …`);
    busyExecutors.push(await busy(rabbitmq, users, rounds));
  }
}
const bursts = [];
if (wanted('burst')) {
  for (const users of [1, 20, 200]) {
    say(`first jobs of ${users} users …`);
    bursts.push(await burst(rabbitmq, users, users > 20 ? 1 : rounds));
  }
}
if (wanted('warm')) say('warm starts …');
const warm = wanted('warm') ? await warmStart(rabbitmq) : undefined;
const steady = [];
if (wanted('steady')) {
  for (const executors of [10, 100, 1_000]) {
    say(`${executors} running executors …`);
    steady.push(await steadyState(rabbitmq, executors));
  }
}
if (wanted('held')) say('10,000 held jobs …');
const held = wanted('held') ? await heldJobs(rabbitmq) : undefined;
if (wanted('large')) say('large bodies …');
const large = wanted('large') ? await largeBodies(rabbitmq) : [];
if (wanted('scrape')) say('scrapes with 1,000 users …');
const scraped = wanted('scrape') ? await scrapes(rabbitmq) : [];
if (wanted('status')) say('statuses of 1,000 users …');
const status = wanted('status') ? statuses() : undefined;
if (wanted('page')) say('the status page with 100 executors …');
const page = wanted('page') ? await pages(rabbitmq) : [];
const sealed = wanted('sealed') ? await sealedFigures(rabbitmq, rounds, say) : undefined;
await rabbitmq.remove();

const [few, , many] = steady;
const figures = {
  machine: { node: process.version, cpus: cpus().length, cpu: cpus()[0]?.model },
  rounds,
  relayRatio: relay[0]?.ratio,
  burst20LastExecMs: bursts[1]?.lastExecMs,
  warmStartMs: warm?.warmStartMs,
  brokerResidentMb: held?.residentMb,
  brokerPrivateMb: held?.privateMb,
  cpuPerJobRatio: few && many ? round(many.cpuUsPerJob / few.cpuUsPerJob, 2) : undefined,
  relay,
  latency,
  offers: offered,
  full,
  busy: busyExecutors,
  bursts,
  warm,
  steady,
  held,
  large,
  scrapes: scraped,
  status,
  page,
  sealed,
};

if (json) process.stdout.write(`${JSON.stringify(figures)}\n`);
else {
  const sections: [string, (string | number)[][]][] = [
    [
      'Relay of jobs whose executor runs, jobs a second, beside amqplib alone',
      [
        ['prefetch', 'body', 'kpx', 'bare loop', 'ratio'],
        ...relay.map((row) => [row.prefetch, row.bodyBytes, row.relay, row.bare, row.ratio]),
      ],
    ],
    [
      'From publishing to the executor’s queue, ms, a job every few ms',
      latency
        ? [
            ['jobs', 'every', 'p50', 'p90', 'p99', 'max'],
            [latency.jobs, latency.everyMs, latency.p50Ms, latency.p90Ms, latency.p99Ms, latency.maxMs],
          ]
        : [],
    ],
    [
      '200 jobs of 20 ms a user, one after the other, from their first start on: ms; processor time of broker + RabbitMQ, ms a job',
      [
        ['users', 'kpx', 'spinner', 'floor', 'ratio', 'kpx cpu', 'spinner cpu', 'ratio'],
        ...offered.map((row) => {
          const cpu = ({ own, rabbitmq: server }: typeof row.kpxCpu) => `${own} + ${server}`;
          return [row.users, row.kpxMs, row.spinnerMs, row.floorMs, row.ratio, cpu(row.kpxCpu), cpu(row.spinnerCpu), row.cpuRatio];
        }),
      ],
    ],
    [
      'An executor that is full while 200 jobs wait: processor time, % of a core; goal: 1 % for the broker',
      full
        ? [
            ['seconds', 'broker', 'RabbitMQ'],
            [full.seconds, full.broker, full.rabbitmq],
          ]
        : [],
    ],
    [
      'Jobs of 2 ms, four executors running, jobs a second; the limit: the executors alone',
      [['users', 'kpx', 'limit', 'ratio'], ...busyExecutors.map((row) => [row.users, row.rate, row.limit ?? '–', row.ratio ?? '–'])],
    ],
    [
      'First jobs at once, executors boot in 500 ms, ms after publishing; the floor: a bare loop execs the same programs',
      [
        ['users', 'last exec', 'last main()', 'last done', 'floor: main()', 'ratio'],
        ...bursts.map((row) => [row.users, row.lastExecMs, row.lastMainMs, row.lastDoneMs, row.floorMainMs, row.ratio]),
      ],
    ],
    [
      'A start when the directories are there, ms from publishing until the executor is exec’d; the floor: its main() after a bare spawn',
      warm
        ? [
            ['starts', 'median', 'max', 'floor'],
            [warm.starts, warm.warmStartMs, warm.maxMs, warm.floorMs],
          ]
        : [],
    ],
    [
      'The broker’s processor time per job',
      [['executors', 'µs a job', 'MB resident'], ...steady.map((row) => [row.executors, row.cpuUsPerJob, row.residentMb])],
    ],
    [
      'The broker’s memory with held jobs of 1 KiB',
      held
        ? [
            ['jobs', 'MB resident', 'MB private'],
            [held.jobs, held.residentMb, held.privateMb],
          ]
        : [],
    ],
    [
      'The broker’s peak memory while large bodies pass, MiB resident; goal: 400',
      [['bodies', 'bytes each', 'peak', 'whole'], ...large.map((row) => [row.bodies, row.bytes, row.peakMib, row.whole ? 'yes' : 'no'])],
    ],
    [
      'A scrape of /metrics, ms; goal: 10 ms, 100 KB',
      [
        ['users', 'with names', 'p50', 'max', 'KB'],
        ...scraped.map((row) => [row.users, row.userLabels ? 'yes' : 'no', row.p50Ms, row.maxMs, row.kb]),
      ],
    ],
    [
      'A status of 1,000 users with executors, ms, and the same as JSON; goal: 1 ms',
      status
        ? [
            ['users', 'p50', 'max', 'JSON p50', 'KB'],
            [status.users, status.p50Ms, status.maxMs, status.jsonP50Ms, status.kb],
          ]
        : [],
    ],
    [
      'The status page while there is something new each second: the broker’s processor time without it and beyond that; goal: 1 %',
      [
        ['executors', 'pages', 'without, %', 'beyond, %', 'KB/s sent'],
        ...page.map((row) => [row.executors, row.streams, row.withoutPercent, row.percent, row.kbPerSecond]),
      ],
    ],
    ...(sealed ? sealedSections(sealed) : []),
  ];
  for (const [title, rows] of sections) if (rows.length > 1) process.stdout.write(`\n${title}\n${table(rows)}`);
}
