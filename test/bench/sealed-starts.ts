// What a sealed executor takes beside a shared one: at its start, and for one job at a time.
import { openConnection, withChannel } from '../fixtures/amqp.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf, publishJobs } from '../fixtures/jobs.js';
import { KNIME_EXCHANGE, KNIME_ROUTING_KEY } from '../fixtures/knime/topology.js';
import type { Kpx } from '../fixtures/kpx.js';
import { execdAt } from './bursts.js';
import { median, percentile, round } from './figures.js';
import { type Servers, withKpx } from './sealed.js';

const STARTS = 15;
/** After its first start, of each account. */
const FURTHER_STARTS = 4;
/** Longer than a start takes until its job comes: an executor that has none ends by itself. */
const IDLE_MS = 1_000;
const LEFT = 'the virtual host of an account is left: all that was published is carried';

export interface SealedStarts {
  readonly starts: number;
  /** From publishing until the executor is exec'd, in milliseconds, medians: of an account that has never had one, and of one that has. */
  readonly newShared: number;
  readonly newSealed: number;
  readonly knownShared: number;
  readonly knownSealed: number;
}

/** Users one after the other, whose executors end when they have nothing to do. */
export async function sealedStarts(servers: Servers): Promise<SealedStarts> {
  const [shared, sealed] = [await startsOf(servers, false), await startsOf(servers, true)];
  return { starts: STARTS, newShared: shared.first, newSealed: sealed.first, knownShared: shared.again, knownSealed: sealed.again };
}

async function startsOf(servers: Servers, sealed: boolean): Promise<{ first: number; again: number }> {
  const users = Array.from({ length: STARTS }, (_, index) => `${sealed ? 'sealed' : 'shared'}start${index}`);
  return await withKpx(servers, { users, sealed, options: { standIn: { BOOT_MS: '0', IDLE_MS: String(IDLE_MS) } } }, async (kpx) => {
    const first = await startEach(kpx, users, sealed);
    const again: number[] = [];
    for (let count = 0; count < FURTHER_STARTS; count++) again.push(...(await startEach(kpx, users, sealed)));
    return { first: round(median(first)), again: round(median(again)) };
  });
}

async function startEach(kpx: Kpx, users: readonly string[], sealed: boolean): Promise<number[]> {
  const times: number[] = [];
  for (const user of users) {
    const [from, before] = [kpx.brokerLog.lines.length, kpx.done(user).length];
    const published = Date.now();
    await publishJobs(kpx.vhost.url('publisher'), [jobOf(user)]);
    await eventually('the job is done', () => kpx.done(user).length > before);
    times.push(execdAt(kpx, user) - published);
    await kpx.brokerLog.line({ user, state: 'idle' }, { from });
    if (sealed) await kpx.brokerLog.line({ account: user, msg: LEFT }, { from });
  }
  return times;
}

const JOBS = 500;
const WARM_UP = 50;

export interface OneAtATime {
  readonly jobs: number;
  /** From publishing until the executor has done it: a mean, as it writes whole milliseconds. */
  readonly sharedDoneMs: number;
  readonly sealedDoneMs: number;
  /** From publishing until the client has the answer. */
  readonly sharedAnswerP50Ms: number;
  readonly sealedAnswerP50Ms: number;
  readonly sharedAnswerP99Ms: number;
  readonly sealedAnswerP99Ms: number;
}

/** A job that takes no time, and the next one when the client has its answer. */
export async function oneAtATime(servers: Servers): Promise<OneAtATime> {
  const [shared, sealed] = [await answersOf(servers, false), await answersOf(servers, true)];
  return {
    jobs: JOBS,
    sharedDoneMs: shared.done,
    sealedDoneMs: sealed.done,
    sharedAnswerP50Ms: shared.p50,
    sealedAnswerP50Ms: sealed.p50,
    sharedAnswerP99Ms: shared.p99,
    sealedAnswerP99Ms: sealed.p99,
  };
}

async function answersOf(servers: Servers, sealed: boolean): Promise<{ done: number; p50: number; p99: number }> {
  const [user, client] = [sealed ? 'sealedone' : 'sharedone', 'client'];
  return await withKpx(servers, { users: [user], sealed, options: { standIn: { BOOT_MS: '0', JOB_MS: '0' } } }, async (kpx) => {
    await withChannel(kpx.vhost.url('admin'), (channel) => channel.assertQueue(client, { durable: true }));
    const connection = await openConnection(kpx.vhost.url('admin'));
    const channel = await connection.createChannel();
    let answered: () => void = () => {};
    await channel.consume(client, () => answered(), { noAck: true });
    const sent = new Map<string, number>();
    const answers: number[] = [];
    for (let count = 0; count < WARM_UP + JOBS; count++) {
      const { body, properties } = jobOf(user, `one-${count}`);
      const isAnswered = new Promise<void>((resolve) => {
        answered = resolve;
      });
      const options = { persistent: true, ...properties, replyTo: client, correlationId: `${count}` };
      const [began, beganAt] = [performance.now(), performance.timeOrigin + performance.now()];
      channel.publish(KNIME_EXCHANGE, KNIME_ROUTING_KEY, Buffer.from(JSON.stringify(body)), options);
      await isAnswered;
      if (count < WARM_UP) continue;
      answers.push(performance.now() - began);
      sent.set(`one-${count}`, beganAt);
    }
    await connection.close();
    const times = kpx.done(user).flatMap(({ job, at }) => (sent.has(job) ? [at - (sent.get(job) ?? 0)] : []));
    const mean = times.reduce((sum, ms) => sum + ms, 0) / times.length;
    return { done: round(mean, 2), p50: round(median(answers), 2), p99: round(percentile(answers, 0.99), 2) };
  });
}
