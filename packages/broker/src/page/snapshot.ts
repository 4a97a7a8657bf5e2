import { hostname } from 'node:os';
import manifest from '../../package.json' with { type: 'json' };
import type { Outcome } from '../amqp/relay-observer.js';
import type { Explanation } from '../executors/explanation.js';
import type { Machine } from '../executors/machine.js';
import { STATES, type State, USER_STATES } from '../executors/states.js';
import { absence } from '../host/link.js';
import { entryOf } from '../policy/reasons.js';
import type { Decision } from '../record/decisions.js';
import { type Links, meanwhile, type Standing, standingOf, type Tally, tallyOf } from '../record/standing.js';
import { executorsOf, type Sources, type Status } from '../record/status.js';
import { factsOf, type Verdict, verdictOf } from '../record/verdict.js';
import { REFUSED_FOR, type RefusedFor } from '../sealed/rules.js';
import type { SealedTally } from '../sealed/standing.js';

/** Rows of each table; what is beyond is counted. */
const EXECUTOR_ROWS_MAX = 200;
const WAITING_ROWS_MAX = 50;
const DECISION_ROWS_MAX = 50;

/** Counts and states, without names. */
export interface Now {
  readonly verdict: Verdict;
  readonly host: string;
  readonly version: string;
  /** When the broker was started, ISO 8601. */
  readonly since: string;
  readonly queue: string;
  readonly queues: Standing['queues'];
  readonly rabbitmq: boolean;
  readonly helper: boolean;
  /** Since when there is no connection, why, and what comes next; null: there is one. */
  readonly absent: { readonly rabbitmq: string | null; readonly helper: string | null };
  readonly draining: boolean;
  readonly drain: Standing['drain'];
  readonly sick: boolean;
  readonly capacity: Standing['capacity'];
  readonly executors: Tally['executors'];
  /** Accounts with a virtual host, and what they were refused, the most frequent reason first; null: executors are not sealed. */
  readonly sealed:
    | (Pick<SealedTally, 'accounts' | 'shared' | 'vhosts_max' | 'jobs_waiting'> & {
        readonly refused: readonly { readonly reason: string; readonly meaning: string; readonly messages: number }[];
      })
    | null;
  /** How many users are in each state in which somebody is. */
  readonly users: readonly { readonly state: State; readonly meaning: string; readonly users: number }[];
  /** Jobs that have left the broker since it was started. */
  readonly jobs: Readonly<Record<Outcome, number>>;
  /** The parked ones of these, the most frequent reason first. */
  readonly parked: readonly { readonly reason: string; readonly advice: string; readonly jobs: number }[];
}

/** The host. */
export interface People {
  readonly executors: Status['executors'];
  readonly executorsBeyond: number;
  /** Users who have jobs that wait, or whose executor cannot be started; those with the most jobs first. */
  readonly waiting: readonly Pick<Explanation, 'user' | 'state' | 'held' | 'why'>[];
  readonly waitingBeyond: number;
}

/** The data of the status page, by the name of the event; null: names are not told. */
export interface Snapshot {
  readonly now: Now;
  readonly people: People | null;
  /** The latest first. */
  readonly decisions: readonly Decision[] | null;
}

/** The meaning of a reason, and the next step. */
function adviceOn(reason: string): string {
  const entry = entryOf(reason);
  return entry === undefined ? '' : `${entry.meaning} ${entry.advice}`;
}

const STARTED_AT = new Date(performance.timeOrigin).toISOString();

/** Everything that the status page shows. Its size is bounded, whatever there is. */
export function snapshotOf(sources: Sources): Snapshot {
  const { config, machine, links, decisions } = sources;
  const names = config.http.user_labels;
  return {
    now: nowOf(sources),
    people: names ? peopleOf(machine, links) : null,
    decisions: names ? decisions.slice(-DECISION_ROWS_MAX).reverse() : null,
  };
}

function nowOf({ machine, config, links, outcomes }: Sources): Now {
  const { jobs, parked } = outcomes;
  const { rabbitmq, helper, draining, drain, sick, queues, capacity, sealed } = standingOf(machine, links);
  const { executors, users } = tallyOf(machine);
  return {
    verdict: verdictOf(factsOf(machine, links, outcomes)),
    host: hostname(),
    version: manifest.version,
    since: STARTED_AT,
    queue: config.amqp.queue,
    queues,
    rabbitmq: rabbitmq.connected,
    helper: helper.connected,
    absent: {
      rabbitmq: rabbitmq.connected ? null : absence('RabbitMQ', rabbitmq),
      helper: helper.connected ? null : absence('kpx-privhelper', helper),
    },
    draining,
    drain,
    sick: sick !== null,
    capacity,
    executors,
    sealed: sealed && sealedOf(sealed),
    users: USER_STATES.filter((state) => users[state] > 0).map((state) => ({ state, meaning: STATES[state].meaning, users: users[state] })),
    jobs,
    parked: [...parked].sort(([, a], [, b]) => b - a).map(([reason, jobs]) => ({ reason, advice: adviceOn(reason), jobs })),
  };
}

function sealedOf({ accounts, shared, vhosts_max, jobs_waiting, refused }: SealedTally): Now['sealed'] {
  const counted = (Object.entries(refused) as [RefusedFor, number][]).filter(([, messages]) => messages > 0).sort(([, a], [, b]) => b - a);
  const rows = counted.map(([reason, messages]) => ({ reason, meaning: REFUSED_FOR[reason], messages }));
  return { accounts, shared, vhosts_max, jobs_waiting, refused: rows };
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
