import { setTimeout as sleep } from 'node:timers/promises';
import { ID_HEADER } from '../../packages/broker/src/amqp/headers.js';
import { EXIT } from '../../packages/broker/src/output/exit.js';
import { eventually } from '../fixtures/eventually.js';
import { KNIME_QUEUE } from '../fixtures/knime/topology.js';
import { idOf, JOB_QUEUES, takeStock } from '../fixtures/ledger.js';
import { runKpxctl } from '../fixtures/programs.js';
import { type Audited, type Balance, balance } from './balance.js';
import type { Cancellation, Done, Move, Occurrence, Parked } from './causes.js';
import { inflict } from './faults.js';
import { Installation } from './installation.js';
import { storiesOf } from './operator.js';
import { type Fault, type Plan, type Publication, planOf, USERS } from './plan.js';
import { Publisher, type Sent } from './publisher.js';
import type { Told } from './stories.js';

/** After the last fault: until every job is where it stays, in milliseconds. */
const SETTLE_TIMEOUT_MS = 300_000;
/** One fault with what it takes to begin and to end, or one publication while RabbitMQ is away, takes so long at most, in milliseconds. */
const STEP_TIMEOUT_MS = 240_000;
/** An orderly end of broker and helper, in milliseconds. */
const STOP_TIMEOUT_MS = 30_000;
/** What a run that is given up shows of the broker's and of the helper's log; of RabbitMQ's it shows the end. */
const TAIL_LINES = 25;
/** A job queue with so many jobs is longer than this machine can work off beside the faults: what would be published then is left out. */
const WAITING_MAX = 500;
/** Steps that do not say where a job goes. */
const ASIDE: readonly string[] = ['user', 'problem', 'to be cancelled'];
const CUT = 'cut by kill';
const MOVES: readonly unknown[] = ['job forwarded', 'job deferred', 'job parked'];

/** Of what `kpxctl audit verify --json` prints. */
interface Verified {
  readonly parts: readonly string[];
  readonly lines: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly findings: readonly { readonly kind: string; readonly text: string }[];
}

/**
 * One run: jobs are published and faults happen as the seed has it, then everything may settle, then the books are balanced. Needs the private
 * machine, with accounts. `say` gets a line for each fault when it begins. Rejects when a part does not do what it must, or does not come back.
 */
export async function chaos(seed: number, durationMs: number, say: (line: string) => void): Promise<Balance> {
  const plan = planOf(seed, durationMs);
  const on = await Installation.start();
  try {
    const begunAt = Date.now();
    const saySo = (what: string) => say(`${((Date.now() - begunAt) / 1_000).toFixed(1).padStart(6)} s  ${what}`);
    const seen = await carryOut(plan, on, begunAt, saySo);
    saySo('the faults are over');
    await settled(on);
    saySo('every job is where it stays');
    const stories = await storiesOfAll(on, seen.sent);
    await within(STOP_TIMEOUT_MS, 'SIGTERM to broker and helper', on.kpx.stop());
    return balance({ begunAt, ...seen, ...(await ledger(on, seen.sent)), moves: movesOf(on), stories, audit: await audited(on) });
  } catch (error) {
    for (const log of [on.kpx.brokerLog, on.kpx.helperLog]) for (const line of log.lines.slice(-TAIL_LINES)) say(JSON.stringify(line));
    say(on.rabbitmq.logTail());
    throw error;
  } finally {
    await on.remove();
  }
}

/** Rejects when this takes longer. */
async function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  const over = new AbortController();
  const late = sleep(ms, undefined, { signal: over.signal }).then(() => {
    throw new Error(`${what}: not over after ${ms} ms`);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    over.abort();
  }
}

/** Publishes and inflicts, everything at its time. What has been done is what the publisher has sent and when the faults really were. */
async function carryOut({ faults, publications }: Plan, on: Installation, begunAt: number, say: (what: string) => void) {
  const publisher = new Publisher(on.kpx.vhost.url('publisher'));
  const occurred: Occurrence[] = [];
  const cancelled: Cancellation[] = [];
  let failed = false;
  const inOrder = async <T extends { readonly atMs: number }>(planned: readonly T[], act: (one: T) => Promise<void>) => {
    try {
      for (const one of planned) {
        await sleep(Math.max(0, begunAt + one.atMs - Date.now()));
        if (failed) return;
        await act(one);
      }
    } catch (error) {
      failed = true; // what is under way comes to its end, nothing more is begun
      throw error;
    }
  };
  const act = async (fault: Fault) => {
    say(inWords(fault));
    const from = Date.now();
    await within(STEP_TIMEOUT_MS, inWords(fault), inflict(on, fault, { sent: publisher.sent, cancelled }));
    occurred.push({ ...fault, from, to: Date.now() });
  };
  let leftOut = 0;
  const publish = async ({ jobs }: Publication) => {
    if (await isLong(on)) leftOut += jobs.length;
    else await within(STEP_TIMEOUT_MS, 'a publication', publisher.publish(jobs));
  };
  const all = [inOrder(publications, publish), ...faults.map((planned) => inOrder(planned, act))];
  const outcomes = await Promise.allSettled(all);
  await publisher.close();
  if (leftOut > 0) say(`${leftOut} jobs were not published, because more than ${WAITING_MAX} were waiting`);
  const reasons = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as Error] : []));
  if (reasons.length > 0) throw new AggregateError(reasons, reasons.map(({ message }) => message).join('\n'));
  return { sent: publisher.sent, faults: occurred, cancelled };
}

function inWords({ kind, what, forMs }: Fault): string {
  return `${kind}${what === '' ? '' : ` (${what})`}${forMs === 0 ? '' : `, for ${forMs} ms`}`;
}

/** Whether the job queue has more jobs than {@link WAITING_MAX}. One that cannot be asked is not: the publisher waits for it. */
async function isLong({ kpx }: Installation): Promise<boolean> {
  const depth = await within(STEP_TIMEOUT_MS, 'a look at the job queue', kpx.vhost.queueDepth(KNIME_QUEUE)).catch(() => undefined);
  return depth !== undefined && depth.messages > WAITING_MAX;
}

/** Resolves when all queues but the dead letters have been empty twice in a row, of unacknowledged jobs too; in any case after a while. */
async function settled({ rabbitmq, kpx }: Installation): Promise<void> {
  let empty = 0;
  const look = async () => {
    const list = await rabbitmq.ctl('list_queues', '--vhost', kpx.vhost.vhost, '--no-table-headers', 'name', 'messages').catch(() => '');
    if (list === '') return false;
    const waiting = list
      .split('\n')
      .map((line) => line.split('\t'))
      .filter(([name, count]) => JOB_QUEUES.includes(name ?? '') && Number(count) > 0);
    empty = waiting.length === 0 ? empty + 1 : 0;
    return empty >= 2;
  };
  await eventually('all queues are empty', look, SETTLE_TIMEOUT_MS).catch(() => {}); // what is left is counted, and a problem
}

/** What the executors have written, and what RabbitMQ has. */
async function ledger({ kpx }: Installation, sent: readonly Sent[]) {
  const confirmed = sent.filter((job) => job.confirmed).map(({ id }) => id);
  const stock = await takeStock(confirmed, [kpx], USERS, kpx.vhost.url('admin'));
  const done = USERS.flatMap((account) =>
    kpx.done(account).map(({ job, at, headers }): Done => ({ job, account, at, id: String(headers[ID_HEADER] ?? '') })),
  );
  const queued = [...stock.queued].flatMap(([job, times]) => Array<string>(times).fill(job));
  const parked = stock.letters.map((letter): Parked => {
    const { 'x-kpx-reason': reason, 'x-kpx-detail': detail, 'x-kpx-parked-at': at } = letter.headers;
    const id = String(letter.headers[ID_HEADER] ?? '');
    return { job: idOf(letter), reason: String(reason), detail: String(detail), at: Date.parse(String(at)), id };
  });
  return { done, queued, parked };
}

/** How the stories of jobs end that the running broker knows. */
async function storiesOfAll(on: Installation, sent: readonly Sent[]): Promise<Told[]> {
  const told: Told[] = [];
  for (const { id: job } of sent)
    for (const { steps } of await storiesOf(on, job)) {
      const last = steps.findLast(({ what }) => !ASIDE.includes(what));
      if (last) told.push({ job, what: last.what, text: last.text, at: Date.parse(last.at), account: last.executor?.os_user });
    }
  return told;
}

/** What an operator is told of the audit log. The helper has ended: the head is that of its last line. */
async function audited({ auditDirectory, auditHead }: Installation): Promise<Audited> {
  const args = ['audit', 'verify', '--json', '--directory', auditDirectory, '--head', auditHead];
  const { code, stdout, stderr } = await runKpxctl(args);
  if (code !== 0 && code !== EXIT.dataError) throw new Error(`kpxctl audit verify ended with ${code}: ${stderr}`);
  const { parts, lines, counts, findings } = JSON.parse(stdout) as Verified;
  const others = findings.filter(({ kind }) => kind !== CUT).map(({ kind, text }) => `${kind}: ${text}`);
  return { parts: parts.length, lines, cuts: counts[CUT] ?? 0, others };
}

/** The brokers' own word, for where copies come from. */
function movesOf({ brokerLogs }: Installation): Move[] {
  const lines = brokerLogs.flatMap((log) => log.lines).filter(({ msg }) => MOVES.includes(msg));
  return lines.map(({ job, time, delay_ms, msg }) => ({
    job: String(job),
    how: String(msg),
    at: Date.parse(String(time)),
    delayMs: Number(delay_ms ?? 0),
  }));
}
