import type { JobQueue } from '../amqp/job-queue.js';
import type { Outcome } from '../amqp/relay.js';
import type { Config } from '../config.js';
import { policyOf } from '../config.js';
import { type Explanation, type Links, meanwhile } from '../executors/explanation.js';
import type { Machine } from '../executors/machine.js';
import { type Executor, stateOf } from '../executors/roster.js';
import { countedBy, EXECUTOR_STATES, type ExecutorState } from '../executors/states.js';
import type { LinkStatus } from '../link.js';
import { idleStopMsOf, profileOf, ruleOf } from '../policy/policy.js';
import type { Decision } from './decisions.js';
import type { Change, Histories, History, JobCounts } from './histories.js';
import type { Standing } from './metrics.js';

/** What the running broker says of itself. */
export interface Status {
  /** One line for people. */
  readonly doing: string;
  readonly draining: boolean;
  /** This host starts no executor because those of several users in a row failed; null: it does. */
  readonly sick: { readonly since: string; readonly why: string; readonly next_try: string } | null;
  readonly rabbitmq: LinkStatus;
  readonly helper: LinkStatus;
  /** What RabbitMQ says of the queue that jobs come from; null: it was not seen yet. */
  readonly job_queue: JobQueue | null;
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
  /** In force; times in milliseconds, memory in bytes. */
  readonly policy: Config['policy'];
  readonly executors: readonly ExecutorStatus[];
  /** What a job of each user who is known here would meet now. */
  readonly users: readonly UserStatus[];
  /** Jobs that have left the broker since it started; those that are `returned` found no place, and are in the queue again. */
  readonly jobs: Readonly<Record<Outcome, number>>;
  /** The latest ones, the oldest first. */
  readonly decisions: readonly Decision[];
}

/** A running executor. */
export interface ExecutorStatus {
  readonly os_user: string;
  readonly uid: number;
  readonly pid: number;
  /** The KNIME name that it was started for. */
  readonly user: string;
  readonly state: ExecutorState;
  /** When its process started, in ISO 8601. */
  readonly since: string;
  readonly profile: string;
  readonly rule: string;
  /** Share of one processor that it takes at present; null: not known. */
  readonly cpu: number | null;
}

export interface UserStatus extends Explanation {
  /** Since when the state is this one, in ISO 8601; null: not known. */
  readonly since: string | null;
  /** The account whose executor this user's jobs go to; null: there is none. */
  readonly os_user: string | null;
}

/** All that the broker knows of one user. */
export interface UserDetail extends UserStatus {
  readonly process: ExecutorStatus | null;
  /** Where the executor runs, or ran last; null: not known. */
  readonly account: { readonly os_user: string; readonly uid: number } | null;
  /** In force for this user; times in milliseconds, null: no limit. */
  readonly limits: {
    readonly max_executors_of_rule: number | null;
    readonly priority: number;
    readonly held: number;
    readonly start_attempts: number;
    readonly idle_stop: number | null;
    readonly job_max_age: number | null;
  };
  /** Held now, and what became of the others since the broker started, as far back as it remembers this user. */
  readonly jobs: JobCounts & { readonly held: number };
  /** Of the state, the oldest first. */
  readonly changes: readonly Change[];
  /** Starts that failed or were refused, the oldest first. */
  readonly failures: readonly Change[];
  readonly last_parked: NonNullable<History['lastParked']> | null;
}

/** The last moment that a Date can name, in milliseconds since the epoch; the wire takes later ones. */
const DATE_MS_MAX = 8_640_000_000_000_000;

const NO_JOBS: JobCounts = { forwarded: 0, deferred: 0, parked: 0 };

export type { Links };

/** Who has one. */
export const executorsOf = (machine: Machine): readonly ExecutorStatus[] => [...machine.running()].map(executorStatus);

/** For metrics. */
export function standingOf(machine: Machine, config: Config, { rabbitmq, helper, jobQueue }: Links): Standing {
  const running = [...machine.running()];
  const notBooted = running.filter(({ booted }) => !booted).length;
  const { starting, held, longestWaitMs } = machine.counts;
  return {
    rabbitmq: rabbitmq.connected,
    helper: helper.connected,
    losesJobs: jobQueue?.danger !== undefined,
    draining: machine.draining,
    sick: machine.health.sickness !== undefined,
    held,
    heldMax: policyOf(config).heldInAll,
    maxExecutors: config.policy.max_executors,
    longestWaitMs,
    executors: {
      ...countedBy(
        EXECUTOR_STATES,
        running.map((executor) => ({ state: stateOf(executor) })),
      ),
      starting: starting - notBooted,
    },
    users: machine.users(),
  };
}

/** What is remembered since the broker started. */
export interface Past {
  readonly histories: Histories;
  readonly decisions: readonly Decision[];
  readonly jobs: Status['jobs'];
}

/** For people and programs that ask. */
export function statusOf(machine: Machine, config: Config, links: Links, doing: string, { histories, decisions, jobs }: Past): Status {
  const { executors, starting, held, waiting, longestWaitMs: longest_wait } = machine.counts;
  const { max_executors, max_starting } = config.policy;
  return {
    doing,
    draining: machine.draining,
    sick: sicknessOf(machine),
    rabbitmq: links.rabbitmq,
    helper: links.helper,
    job_queue: links.jobQueue ?? null,
    capacity: { executors, max_executors, starting, max_starting, held, held_max: policyOf(config).heldInAll, waiting, longest_wait },
    policy: config.policy,
    executors: executorsOf(machine),
    users: machine.explanations().map((explanation) => userStatus(meanwhile(explanation, links), machine, histories)),
    jobs,
    decisions,
  };
}

function sicknessOf({ health: { sickness } }: Machine): Status['sick'] {
  if (!sickness) return null;
  const at = (ms: number) => new Date(performance.timeOrigin + ms).toISOString();
  return { since: at(sickness.since), why: sickness.why, next_try: at(sickness.probeAt) };
}

function executorStatus(executor: Readonly<Executor>): ExecutorStatus {
  const { osUser, uid, pid, user, startedAt, rule, cpuShare } = executor;
  return {
    ...{ os_user: osUser, uid, pid, user, state: stateOf(executor), since: new Date(Math.min(startedAt, DATE_MS_MAX)).toISOString() },
    ...{ profile: profileOf(rule), rule: rule?.label ?? 'none', cpu: cpuShare ?? null },
  };
}

const userStatus = (explanation: Explanation, machine: Machine, histories: Histories): UserStatus => ({
  ...explanation,
  since: histories.since(explanation.user) ?? null,
  os_user: machine.executorOf(explanation.user)?.osUser ?? null,
});

/** For who asks about one user. */
export function userDetailOf(explanation: Explanation, machine: Machine, config: Config, histories: Histories): UserDetail {
  const { user, groups, held } = explanation;
  const policy = policyOf(config);
  const rule = ruleOf(policy, user, groups);
  const executor = machine.executorOf(user);
  const history = histories.of(user);
  return {
    ...userStatus(explanation, machine, histories),
    process: executor ? executorStatus(executor) : null,
    account: executor ? { os_user: executor.osUser, uid: executor.uid } : (history?.account ?? null),
    limits: {
      max_executors_of_rule: rule?.maxExecutors ?? null,
      priority: rule?.priority ?? 0,
      held: policy.heldPerUser,
      start_attempts: policy.startAttempts,
      idle_stop: idleStopMsOf(policy, rule) ?? null,
      job_max_age: policy.jobMaxAgeMs ?? null,
    },
    jobs: { held, ...(history?.jobs ?? NO_JOBS) },
    changes: history?.changes ?? [],
    failures: history?.failures ?? [],
    last_parked: history?.lastParked ?? null,
  };
}
