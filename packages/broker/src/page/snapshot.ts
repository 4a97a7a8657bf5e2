import { hostname } from 'node:os';
import { ERRORS } from '@kpx/protocol';
import manifest from '../../package.json' with { type: 'json' };
import type { Outcome } from '../amqp/relay.js';
import type { Config } from '../config.js';
import { type Explanation, meanwhile } from '../executors/explanation.js';
import type { Machine } from '../executors/machine.js';
import { countedBy, STATES, type State, USER_STATES } from '../executors/states.js';
import { absence } from '../link.js';
import { REASONS } from '../reasons.js';
import type { Decision } from '../record/decisions.js';
import type { Metrics, Standing } from '../record/metrics.js';
import { executorsOf, type Links, type Status, standingOf } from '../record/status.js';

/** Rows of each table; what is beyond is counted. */
const EXECUTOR_ROWS_MAX = 200;
const WAITING_ROWS_MAX = 50;
const DECISION_ROWS_MAX = 50;

/** Counts and states, without names. */
export interface Now {
  readonly host: string;
  readonly version: string;
  /** When the broker was started, ISO 8601. */
  readonly since: string;
  readonly queue: string;
  readonly rabbitmq: boolean;
  readonly helper: boolean;
  /** Since when there is no connection, why, and what comes next; null: there is one. */
  readonly absent: { readonly rabbitmq: string | null; readonly helper: string | null };
  readonly draining: boolean;
  readonly sick: boolean;
  readonly executors: Standing['executors'];
  readonly maxExecutors: number;
  readonly maxStarting: number;
  /** Users in line. */
  readonly waiting: number;
  /** For how long a user has waited for room, in milliseconds; 0: nobody waits. */
  readonly longestWaitMs: number;
  readonly held: number;
  readonly heldMax: number;
  /** How many users are in each state in which somebody is. */
  readonly users: readonly { readonly state: State; readonly meaning: string; readonly users: number }[];
  /** Jobs that have left the broker since it was started. */
  readonly jobs: Readonly<Record<Outcome, number>>;
  /** The parked ones of these, the most frequent reason first. */
  readonly parked: readonly { readonly reason: string; readonly advice: string; readonly jobs: number }[];
}

/** Who it is. */
export interface People {
  readonly executors: Status['executors'];
  readonly executorsBeyond: number;
  /** Users who have jobs that wait, or whose executor cannot be started; those with the most jobs first. */
  readonly waiting: readonly Pick<Explanation, 'user' | 'state' | 'held' | 'why'>[];
  readonly waitingBeyond: number;
}

/** What the status page is told, by the name of the event; null: names are not told. */
export interface Snapshot {
  readonly now: Now;
  readonly people: People | null;
  /** The latest first. */
  readonly decisions: readonly Decision[] | null;
}

/** What is known of each reason that a job can be parked for. */
const ADVICE = new Map<string, string>([
  ...Object.entries(REASONS),
  ...Object.entries(ERRORS).map(([code, { advice }]) => [code, advice] as const),
]);

const STARTED_AT = new Date(performance.timeOrigin).toISOString();

interface Sources {
  readonly machine: Machine;
  readonly config: Config;
  readonly links: Links;
  readonly metrics: Metrics;
  readonly decisions: readonly Decision[];
}

/** Everything that the status page shows. Its size is bounded, whatever there is. */
export function snapshotOf({ decisions, ...sources }: Sources): Snapshot {
  const names = sources.config.http.user_labels;
  return {
    now: nowOf(sources),
    people: names ? peopleOf(sources.machine, sources.links) : null,
    decisions: names ? decisions.slice(-DECISION_ROWS_MAX).reverse() : null,
  };
}

function nowOf({ machine, config, links, metrics }: Omit<Sources, 'decisions'>): Now {
  const { users, ...standing } = standingOf(machine, config, links);
  const byState = countedBy(USER_STATES, users);
  const { jobs, parked } = metrics.sinceStart;
  return {
    host: hostname(),
    version: manifest.version,
    since: STARTED_AT,
    queue: config.amqp.queue,
    ...standing,
    absent: {
      rabbitmq: links.rabbitmq.connected ? null : absence('RabbitMQ', links.rabbitmq),
      helper: links.helper.connected ? null : absence('kpx-privhelper', links.helper),
    },
    maxStarting: config.policy.max_starting,
    waiting: machine.counts.waiting,
    users: USER_STATES.filter((state) => byState[state] > 0).map((state) => ({
      state,
      meaning: STATES[state].meaning,
      users: byState[state],
    })),
    jobs,
    parked: [...parked].sort(([, a], [, b]) => b - a).map(([reason, jobs]) => ({ reason, advice: ADVICE.get(reason) ?? '', jobs })),
  };
}

function peopleOf(machine: Machine, links: Links): People {
  const executors = executorsOf(machine);
  const waiting = machine
    .users()
    .filter(({ state, held }) => held > 0 || (state !== 'idle' && state !== 'ready'))
    .sort((a, b) => b.held - a.held);
  const shown = waiting.slice(0, WAITING_ROWS_MAX).map(({ user }) => user);
  return {
    executors: executors.slice(0, EXECUTOR_ROWS_MAX),
    executorsBeyond: Math.max(0, executors.length - EXECUTOR_ROWS_MAX),
    waiting: machine.explanations(shown).map((each) => {
      const { user, state, held, why } = meanwhile(each, links);
      return { user, state, held, why };
    }),
    waitingBeyond: waiting.length - shown.length,
  };
}
