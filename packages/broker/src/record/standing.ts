import type { Depths } from '../amqp/depths.js';
import type { JobQueue } from '../amqp/job-queue.js';
import type { Explanation } from '../executors/explanation.js';
import type { Wait, WaitsFor } from '../executors/line.js';
import type { Machine } from '../executors/machine.js';
import { stateOf } from '../executors/roster.js';
import { countedBy, EXECUTOR_STATES, type ExecutorState, type State, USER_STATES } from '../executors/states.js';
import { absence, type LinkStatus } from '../host/link.js';
import { durationText } from '../output/duration.js';
import { DRAINED } from '../policy/policy.js';
import type { SealedTally } from '../sealed/standing.js';
import type { Verdict } from './verdict.js';

/** The configuration file is another one than the one in force. */
export interface StaleFile {
  readonly path: string;
  /** How it differs, for people. */
  readonly why: string;
}

/** The connections that the broker needs to do anything. */
export interface Links {
  readonly rabbitmq: LinkStatus;
  readonly helper: LinkStatus;
  /** As it was seen last; undefined: not yet. */
  readonly jobQueue?: JobQueue | undefined;
  /** Undefined: not known at the moment. */
  readonly depths?: Depths | undefined;
  /** Undefined: executors are not sealed. */
  readonly sealed?: SealedTally | undefined;
  /** Undefined: the configuration file is in force. */
  readonly file?: StaleFile | undefined;
}

/** The state at the moment. Status, metrics and the page have it in this one spelling. */
export interface Standing {
  readonly draining: boolean;
  /** The same for people, with its end and reason; null: this host is not drained. */
  readonly drain: string | null;
  /** This host starts no executor because those of several users in a row failed; null: it does. */
  readonly sick: { readonly since: string; readonly why: string; readonly next_try: string } | null;
  readonly rabbitmq: LinkStatus;
  readonly helper: LinkStatus;
  /** RabbitMQ's facts about the queue that jobs come from; null: it was not seen yet. */
  readonly job_queue: JobQueue | null;
  /** Messages in the server's queues; null: not known at the moment. */
  readonly queues: Depths | null;
  /** The accounts' virtual hosts; null: executors are not sealed. */
  readonly sealed: SealedTally | null;
  /** The configuration file is another one than is in force; null: it is not. */
  readonly file: StaleFile | null;
  readonly capacity: {
    readonly executors: number;
    readonly max_executors: number;
    readonly starting: number;
    readonly max_starting: number;
    readonly held: number;
    readonly held_max: number;
    /** Users who wait for room, and for how long the first of them, in milliseconds. */
    readonly waiting: number;
    readonly longest_wait: number;
  };
  /** The same users by the limit that they wait for. */
  readonly waits: Readonly<Record<WaitsFor, Wait>>;
}

/** How many are in each state. */
export interface Tally {
  readonly executors: Readonly<Record<ExecutorState, number>>;
  readonly users: Readonly<Record<State, number>>;
}

export function standingOf(machine: Machine, { rabbitmq, helper, jobQueue, depths, sealed, file }: Links): Standing {
  const { executors, starting, held, waiting, longestWaitMs: longest_wait } = machine.counts;
  const { maxExecutors: max_executors, maxStarting: max_starting, heldInAll: held_max } = machine.policy;
  const capacity = { executors, max_executors, starting, max_starting, held, held_max, waiting, longest_wait };
  const sick = sicknessOf(machine);
  const seen = { job_queue: jobQueue ?? null, queues: depths ?? null, sealed: sealed ?? null, file: file ?? null };
  const drain = machine.draining ? (machine.drainedWhy ?? DRAINED) : null;
  return { draining: machine.draining, drain, sick, rabbitmq, helper, ...seen, capacity, waits: machine.waitsFor() };
}

function sicknessOf({ health: { sickness } }: Machine): Standing['sick'] {
  if (!sickness) return null;
  const at = (ms: number) => new Date(performance.timeOrigin + ms).toISOString();
  return { since: at(sickness.since), why: sickness.why, next_try: at(sickness.probeAt) };
}

export function tallyOf(machine: Machine): Tally {
  const running = [...machine.running()].map((executor) => ({ state: stateOf(executor) }));
  const starting = machine.counts.executors - running.length; // the helper has been asked for these
  return { executors: { ...countedBy(EXECUTOR_STATES, running), starting }, users: countedBy(USER_STATES, machine.users()) };
}

/** One line for people: what is going on. `queue`: where jobs come from. */
export function doingOf(standing: Standing, queue: string): string {
  const { draining, sick, rabbitmq, helper } = standing;
  const consuming = rabbitmq.connected ? `consuming "${queue}"` : absence('RabbitMQ', rabbitmq);
  const withoutHelper = helper.connected ? '' : `, ${absence('kpx-privhelper', helper)}`;
  const failing = sick ? ', starts no executor because those of several users in a row failed' : '';
  return `${consuming}${withoutHelper}${draining ? ', draining' : ''}${failing}; ${workOf(standing)}`;
}

function workOf({ capacity: { executors, starting, held, waiting, longest_wait } }: Standing): string {
  const line = waiting === 0 ? '' : `; users who wait for room: ${waiting}, the longest for ${durationText(longest_wait)}`;
  return `executors: ${executors}, of which starting: ${starting}; jobs held: ${held}${line}`;
}

/** One line for systemd: is all well, and what is going on. */
export const lineOf = (standing: Standing, { level, headline }: Verdict, queue: string): string =>
  level === 'well' ? `all is well: ${doingOf(standing, queue)}` : `${level}: ${headline}; ${workOf(standing)}`;

/** The same where what it takes is not connected: without RabbitMQ no job comes, without the helper none starts an executor. */
export function meanwhile<E extends Explanation>(explanation: E, { rabbitmq, helper }: Links): E {
  if (!rabbitmq.connected) return { ...explanation, decision: 'stay', why: absence('RabbitMQ', rabbitmq), cause: 'rabbitmq' };
  if (explanation.decision === 'start' && !helper.connected)
    return { ...explanation, decision: 'hold', why: absence('kpx-privhelper', helper), cause: 'helper' };
  return explanation;
}
