import { DEAD_LETTER_QUEUE } from '../amqp/topology.js';
import type { Failing } from '../executors/failing.js';
import { WAITS_FOR, type WaitsFor } from '../executors/line.js';
import type { Machine } from '../executors/machine.js';
import type { RestingState } from '../executors/states.js';
import { absence } from '../host/link.js';
import { durationText } from '../output/duration.js';
import { DRAINED } from '../policy/policy.js';
import { entryOf } from '../policy/reasons.js';
import type { Outcomes } from './outcomes.js';
import { type Links, type Standing, standingOf, type Tally, tallyOf } from './standing.js';

/** How long a user may wait for room before that is said, and when KNIME Server gives its first job up, in milliseconds. */
const WAIT_WORTH_SAYING_MS = 10_000;
const SERVER_GIVES_UP_MS = 60_000;
/** The share of the jobs that may be held from which on it is said. */
const HELD_SHARE_WORTH_SAYING = 0.9;

/** `attention`: jobs of some users wait or are parked. `trouble`: jobs of this host do not get through. */
export const LEVELS = ['well', 'attention', 'trouble'] as const;
type Level = (typeof LEVELS)[number];

/** Somebody has to look at it. */
interface Problem {
  readonly code: ProblemCode;
  readonly level: Exclude<Level, 'well'>;
  /** For people, without names of users. */
  readonly what: string;
  /** The operator's next step. */
  readonly next: string;
}

/** Is all well? Status, `kpxctl status --check`, /healthz, metrics, the page and systemd have this one answer. */
export interface Verdict {
  readonly level: Level;
  /** One line: the worst problem, or that all is well. */
  readonly headline: string;
  /** The worst first. */
  readonly problems: readonly Problem[];
}

/** The facts that the verdict is about. */
export interface Facts {
  readonly standing: Standing;
  readonly tally: Tally;
  /** How many users' starts have failed or were refused: by the state that this has led to, and code. */
  readonly failing: Failing;
  /** Of how many users executors end by themselves again and again, soon after they are ready. */
  readonly endSoon: number;
  /** Why this broker has parked a job last; undefined: it has parked none. */
  readonly lastParked: string | undefined;
}

type Found = readonly [level: Problem['level'], what: string, next: string] | undefined;

/** One row a problem, the worst first within its level. */
const PROBLEMS = {
  rabbitmq: ({ standing: { rabbitmq } }) =>
    rabbitmq.connected
      ? undefined
      : ['trouble', absence('RabbitMQ', rabbitmq), 'No job is taken until then. The reason is in journalctl -t kpx-broker; kpxctl doctor'],
  helper: ({ standing: { helper } }) =>
    helper.connected
      ? undefined
      : ['trouble', absence('kpx-privhelper', helper), 'No executor is started until then. systemctl status kpx-privhelper.socket'],
  sick: ({ standing: { sick } }) =>
    sick
      ? [
          'trouble',
          `no executor is started since ${sick.since}: those of several users in a row failed`,
          'kpxctl status has the last failure; kpxctl doctor',
        ]
      : undefined,
  waiting: ({ standing: { draining, sick, capacity, waits } }) => {
    const { waiting, longest_wait } = capacity;
    if (longest_wait < WAIT_WORTH_SAYING_MS || draining || sick) return undefined;
    const line = `${usersWait(waiting)} for room, the longest for ${durationText(longest_wait)}`;
    return [
      longest_wait < SERVER_GIVES_UP_MS ? 'attention' : 'trouble',
      `${line}: ${most(usersBy(waits), (limit) => limitText(limit, capacity))}`,
      'kpxctl list --state queued says who; docs/tune.md has the limits',
    ];
  },
  draining: ({ standing: { drain, capacity } }) =>
    drain !== null
      ? [
          'attention',
          `no executor is started: ${drain}${capacity.waiting === 0 ? '' : `, and ${usersWait(capacity.waiting)}`}`,
          'kpxctl resume ends that',
        ]
      : undefined,
  // One that is refused is why RabbitMQ is not used.
  loses_jobs: ({ standing: { rabbitmq, job_queue } }) =>
    job_queue?.danger === undefined || !rabbitmq.connected
      ? undefined
      : ['attention', `jobs can be lost: ${job_queue.danger}`, job_queue.fix ?? 'kpxctl doctor'],
  given_up: ({ failing }) => startsFail('broken', failing, 'are given up, and jobs parked'),
  not_allowed: ({ failing }) => startsFail('refused', failing, 'are refused, and jobs parked'),
  retrying: ({ failing }) => startsFail('backoff', failing, 'have failed, and are tried again'),
  ends_soon: ({ endSoon }) =>
    endSoon === 0
      ? undefined
      : [
          'attention',
          `executors of ${users(endSoon)} end soon after they are ready, again and again, with exit 0 and without a job`,
          'kpxctl list has these users first, kpxctl logs USER why the executor ends by itself',
        ],
  lost: ({ tally }) =>
    tally.users.lost === 0
      ? undefined
      : [
          'attention',
          `the executors of ${users(tally.users.lost)} have lost RabbitMQ, and their jobs wait`,
          'kpxctl list --state lost, then kpxctl logs USER',
        ],
  sealed: ({ standing: { sealed } }) =>
    !sealed || sealed.lost === 0
      ? undefined
      : [
          'attention',
          `no connection to the virtual hosts of ${sealed.lost === 1 ? '1 account' : `${sealed.lost} accounts`}, and their jobs wait`,
          'kpxctl sealed list; journalctl -t kpx-broker has the reason',
        ],
  letters: ({ standing: { queues }, lastParked }) =>
    !queues || queues.dead_letters === 0
      ? undefined
      : [
          'attention',
          `${queues.dead_letters === 1 ? '1 parked job lies' : `${queues.dead_letters} parked jobs lie`} in ${DEAD_LETTER_QUEUE}${latest(lastParked)}`,
          `kpxctl dead-letters list says why. ${adviceOn(lastParked)}`.trimEnd(),
        ],
  file: ({ standing: { file } }) =>
    file
      ? [
          'attention',
          `${file.path} is not in force: ${file.why}`,
          'kpxctl status says what differs; kpxctl reload, and a restart of kpx-broker where a key needs that',
        ]
      : undefined,
  // With amqp.prefetch = 1 none is held, and each waits in a delay queue.
  held: ({ standing: { capacity } }) =>
    capacity.held_max === 0 || capacity.held < capacity.held_max * HELD_SHARE_WORTH_SAYING
      ? undefined
      : [
          'attention',
          `${capacity.held} of ${capacity.held_max} jobs that may be held are: those of further users wait`,
          'raise amqp.prefetch, or lower jobs.held_per_user',
        ],
} as const satisfies Record<string, (facts: Facts) => Found>;

export type ProblemCode = keyof typeof PROBLEMS;
export const PROBLEM_CODES = Object.keys(PROBLEMS) as ProblemCode[];

export const factsOf = (machine: Machine, links: Links, { lastParked }: Outcomes): Facts => ({
  standing: standingOf(machine, links),
  tally: tallyOf(machine),
  failing: machine.failing(),
  endSoon: machine.endedSoon.users,
  lastParked,
});

/** Computed in one place, from facts without names. */
export function verdictOf(facts: Facts): Verdict {
  const found = PROBLEM_CODES.flatMap((code): Problem[] => {
    const problem: Found = PROBLEMS[code](facts);
    if (!problem) return [];
    const [level, what, next] = problem;
    return [{ code, level, what, next }];
  });
  const problems = LEVELS.toReversed().flatMap((level) => found.filter((problem) => problem.level === level));
  const [worst] = problems;
  return { level: worst?.level ?? 'well', headline: worst ? headline(worst, problems.length - 1) : well(facts), problems };
}

function well({ standing: { capacity } }: Facts): string {
  const { executors, max_executors, waiting } = capacity;
  return `all is well: ${executors} of ${max_executors} executors, ${waiting === 0 ? 'nobody waits' : `${users(waiting)} in line for a moment`}`;
}

const headline = ({ what }: Problem, others: number) =>
  others === 0 ? what : `${what}; and ${others === 1 ? 'one more problem' : `${others} more problems`}`;

const usersWait = (count: number) => `${users(count)} ${count === 1 ? 'waits' : 'wait'}`;
const users = (count: number) => (count === 1 ? '1 user' : `${count} users`);

function startsFail(state: RestingState, failing: Failing, become: string): Found {
  const codes = failing[state];
  if (codes.size === 0) return undefined;
  const count = [...codes.values()].reduce((sum, one) => sum + one, 0);
  const [code] = [...codes].sort(([, a], [, b]) => b - a)[0] ?? [''];
  const next = `kpxctl list --state ${state} says who. ${adviceOn(code)}`.trimEnd();
  return ['attention', `starts of executors ${become}, of ${users(count)}: ${most(codes, String)}`, next];
}

const latest = (reason: string | undefined) => (reason === undefined ? '' : `, the latest of this broker: ${reason}`);
const adviceOn = (code: string | undefined) => (code === undefined ? '' : (entryOf(code)?.advice ?? ''));

/** The most frequent first. */
function most<K>(counts: ReadonlyMap<K, number>, text: (key: K) => string): string {
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  return sorted.map(([key, count]) => (sorted.length === 1 ? text(key) : `${text(key)} ${count}×`)).join(', ');
}

const usersBy = (waits: Standing['waits']): Map<WaitsFor, number> =>
  new Map(WAITS_FOR.flatMap((limit) => (waits[limit].users === 0 ? [] : [[limit, waits[limit].users]])));

function limitText(limit: WaitsFor, { max_executors, max_starting }: Standing['capacity']): string {
  if (limit === 'max_executors') return `max_executors ${max_executors}`;
  if (limit === 'max_starting') return `max_starting ${max_starting}`;
  return LIMIT_TEXTS[limit];
}

const LIMIT_TEXTS: Readonly<Record<Exclude<WaitsFor, 'max_executors' | 'max_starting'>, string>> = {
  draining: DRAINED,
  rule: 'max_executors of a rule',
  core_tokens: 'core_tokens',
  memory: 'memory',
  host_sick: 'starts fail',
};
