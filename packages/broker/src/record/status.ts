import type { KnimeUser } from '@kpx/protocol';
import type { Outcome } from '../amqp/relay-observer.js';
import type { Config } from '../config/config.js';
import type { Explanation, Planned } from '../executors/explanation.js';
import type { Machine } from '../executors/machine.js';
import { type Executor, stateOf } from '../executors/roster.js';
import type { ExecutorState } from '../executors/states.js';
import { heldPerUserOf, idleForMs, idleStopMsOf, profileOf, ruleOf } from '../policy/policy.js';
import { shareOf } from '../policy/turn.js';
import type { Decision } from './decisions.js';
import type { Change, Histories, History, JobCounts } from './histories.js';
import type { Outcomes } from './outcomes.js';
import { doingOf, type Links, meanwhile, type Standing, standingOf } from './standing.js';
import { factsOf, type Verdict, verdictOf } from './verdict.js';

/** The running broker's status. */
export interface Status extends Standing {
  /** Is all well? */
  readonly verdict: Verdict;
  /** One line for people. */
  readonly doing: string;
  /** In force; times in milliseconds, memory in bytes. */
  readonly policy: Config['policy'];
  readonly executors: readonly ExecutorStatus[];
  /** Says what a job of each user who is known here would meet now. */
  readonly users: readonly UserStatus[];
  /** Executors that are started at a time that an operator has named, the first one first. */
  readonly planned_starts: readonly (Planned & { readonly user: string })[];
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
  /** Why it was started before there was a job; null: there was one, or it is from before this broker. */
  readonly started_for: string | null;
  /** Share of one processor that it takes at present; null: not known. */
  readonly cpu: number | null;
  /** Bytes that its unit takes at present; null: not known. */
  readonly memory: number | null;
  /** For how long it has had nothing to do, in milliseconds; null: it works, is not ready, or nobody can tell. */
  readonly idle: number | null;
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
    readonly share: number;
    readonly held: number;
    readonly start_attempts: number;
    readonly idle_stop: number | null;
    readonly keep_warm: number | null;
    readonly max_age: number | null;
    readonly run_time_max: number | null;
    /** When the executor is started before the job. */
    readonly prestart: string | null;
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

const NO_RULE = { label: 'none' };
const NO_JOBS: JobCounts = { forwarded: 0, deferred: 0, parked: 0 };

/** The users who have one. */
export const executorsOf = (machine: Machine): readonly ExecutorStatus[] => [...machine.running()].map(executorStatus);

/** The present state, and the memory since the broker started. */
export interface Sources {
  readonly machine: Machine;
  readonly config: Config;
  readonly links: Links;
  readonly planned: ReadonlyMap<KnimeUser, Planned>;
  readonly histories: Histories;
  readonly decisions: readonly Decision[];
  readonly outcomes: Outcomes;
}

/** For people and programs that ask. */
export function statusOf({ machine, config, links, planned, histories, decisions, outcomes }: Sources): Status {
  const standing = standingOf(machine, links);
  return {
    verdict: verdictOf(factsOf(machine, links, outcomes)),
    doing: doingOf(standing, config.amqp.queue),
    ...standing,
    policy: config.policy,
    executors: executorsOf(machine),
    users: machine.explanations().map((explanation) => userStatus(meanwhile(explanation, links), machine, histories)),
    planned_starts: [...planned].map(([user, start]) => ({ user, ...start })).sort((one, other) => (one.at < other.at ? -1 : 1)),
    jobs: outcomes.jobs,
    decisions,
  };
}

function executorStatus(executor: Readonly<Executor>): ExecutorStatus {
  const { osUser: os_user, uid, pid, user, startedAt: since, rule: { label: rule } = NO_RULE } = executor;
  const { cpuShare: cpu = null, memoryBytes: memory = null, startedFor: started_for = null } = executor;
  const idle = idleForMs(executor) || null;
  return {
    os_user,
    uid,
    pid,
    user,
    state: stateOf(executor),
    since,
    profile: profileOf(executor.rule),
    rule,
    started_for,
    cpu,
    memory,
    idle,
  };
}

/** Each field by its name: a copy with `...` takes most of the time of a status of 1,000 users. */
function userStatus(explanation: Explanation, machine: Machine, histories: Histories): UserStatus {
  const { user, groups, rule, profile, executor, held, state, decision, why, cause, place } = explanation;
  const since = histories.since(user) ?? null;
  const os_user = machine.executorOf(user)?.osUser ?? null;
  const status = { user, groups, rule, profile, executor, held, state, decision, why, since, os_user };
  if (cause === undefined && place === undefined) return status;
  return { ...status, ...(cause !== undefined && { cause }), ...(place !== undefined && { place }) };
}

/** For who asks about one user. */
export function userDetailOf(explanation: Explanation, machine: Machine, histories: Histories): UserDetail {
  const { user, groups, held } = explanation;
  const { policy } = machine;
  const rule = ruleOf(policy, user, groups);
  const executor = machine.executorOf(user);
  const history = histories.of(user);
  return {
    ...userStatus(explanation, machine, histories),
    ...(explanation.turn && { turn: explanation.turn }),
    ...(explanation.planned && { planned: explanation.planned }),
    process: executor ? executorStatus(executor) : null,
    account: executor ? { os_user: executor.osUser, uid: executor.uid } : (history?.account ?? null),
    limits: {
      max_executors_of_rule: rule?.maxExecutors ?? null,
      priority: rule?.priority ?? 0,
      share: shareOf(rule),
      held: heldPerUserOf(policy, rule),
      start_attempts: policy.startAttempts,
      idle_stop: idleStopMsOf(policy, rule) ?? null,
      keep_warm: rule?.keepWarmMs ?? null,
      max_age: rule?.maxAgeMs ?? null,
      run_time_max: rule?.runTimeMaxMs ?? null,
      prestart: rule?.prestart?.schedule.text ?? null,
      job_max_age: policy.jobMaxAgeMs ?? null,
    },
    jobs: { held, ...(history?.jobs ?? NO_JOBS) },
    changes: history?.changes ?? [],
    failures: history?.failures ?? [],
    last_parked: history?.lastParked ?? null,
  };
}
