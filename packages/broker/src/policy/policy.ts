import { type KnimeUser, type ProfileName, profileNameSchema } from '@kpx/protocol';
import { durationText } from '../output/duration.js';
import { groupsDecide, type Rule, ruleFor } from './rules.js';

/*
 * The decisions that operators tune, as pure functions: from the policy, a user, and the load of the machine to a decision and its reason in words. The
 * same words are in the log, with parked and deferred jobs, and in `kpxctl explain`.
 */

/** `[policy]`, `[jobs]` and `[executors]`; times in milliseconds, memory in bytes. */
export interface Policy {
  /** Each account has a virtual host of its own in RabbitMQ, which is made before its executor starts. */
  readonly sealed: boolean;
  /** Jobs in the queue of an account with sealed executors, at most. */
  readonly window: number;
  readonly maxExecutors: number;
  readonly maxStarting: number;
  readonly startAttempts: number;
  /** A failed start counts for this long. */
  readonly startWindowMs: number;
  readonly backoffInitialMs: number;
  readonly backoffMaxMs: number;
  /** KNIME names, folded to lower case. */
  readonly deny: ReadonlySet<string>;
  readonly rules: readonly Rule[];
  readonly whenFull: 'wait' | 'evict-idle';
  /** How long an executor must have been without work before it is ended in favour of another. */
  readonly evictIdleAfterMs: number;
  /** The fate of an executor whose account would be refused one now. */
  readonly accountLost: 'end' | 'warn';
  /** An executor without work for this long is ended; undefined: never. */
  readonly idleStopMs: number | undefined;
  /** Share of one processor up to which an executor counts as being without work. */
  readonly idleCpuShare: number;
  /** The memory that an executor is expected to take; 0: memory is not looked at. */
  readonly executorMemory: number;
  /** The memory to leave for others. */
  readonly minAvailableMemory: number;
  /** Core tokens of the licence, and how many an executor takes; 0: not limited. */
  readonly coreTokens: number;
  readonly tokensPerExecutor: number;
  /** The age beyond which jobs are parked; undefined: no job is too old. */
  readonly jobMaxAgeMs: number | undefined;
  readonly heldPerUser: number;
  readonly heldInAll: number;
  readonly startTimeoutMs: number;
  /** Undefined: an executor is ready when it is connected. */
  readonly readyDelayMs: number | undefined;
  /** How long a connection to RabbitMQ must have lasted before its executor is ready. */
  readonly readyForMs: number;
  /** An executor that RabbitMQ has not served for so long is ended; undefined: connections are not watched. */
  readonly lostAfterMs: number | undefined;
}

/** The machine's facts at the moment of a decision. */
export interface Load {
  /** Running executors and those that are being started, one an account. */
  readonly executors: number;
  /** Executors started or being started that are not ready yet. */
  readonly starting: number;
  /** Executors by the rule of the users that they were started for. */
  readonly byRule: ReadonlyMap<Rule, number>;
  /** Of the host, in bytes; undefined: not known, or not looked at. */
  readonly availableMemory: number | undefined;
  /** A host that is to be emptied starts nothing. */
  readonly draining: boolean;
  /** For people, where there is more to say of it. */
  readonly drainedWhy?: string | undefined;
}

/** The resources that one more executor needs; for metrics. */
export const LIMITS = ['draining', 'max_executors', 'rule', 'core_tokens', 'memory', 'host_sick'] as const;
export type Limit = (typeof LIMITS)[number];

export type Verdict = { readonly ok: true } | { readonly ok: false; readonly why: string; readonly limit?: Limit };
const OK: Verdict = { ok: true };
const no = (why: string): Verdict => ({ ok: false, why });
const full = (limit: Limit, why: string): Verdict => ({ ok: false, why, limit });

export const DRAINED = 'the host is being drained';
const DEFAULT_PROFILE = profileNameSchema.parse('default');

/** May this user have an executor at all? */
export function admits(policy: Policy, user: KnimeUser, rule: Rule | undefined): Verdict {
  if (policy.deny.has(user.toLowerCase())) return no(`"${user}" is in policy.deny`);
  if (rule?.action === 'deny') return no(`${rule.label} denies "${user}"`);
  return OK;
}

export const ruleOf = (policy: Policy, user: KnimeUser, groups: readonly string[]) => ruleFor(policy.rules, user, groups);

/** Somebody who has a rule, by groups that may not be known yet. */
interface Grouped {
  readonly user: KnimeUser;
  /** OS groups; undefined: nobody has asked for them. */
  readonly groups: readonly string[] | undefined;
  readonly rule: Rule | undefined;
}

/** Nobody can say which rule it is before the groups are known. */
export const isUndecided = ({ rules }: Policy, { user, groups }: Omit<Grouped, 'rule'>) =>
  groups === undefined && groupsDecide(rules, user);
/** The rule in force; while that is undecided, the one before. */
export const ruleInForce = (policy: Policy, of: Grouped): Rule | undefined =>
  isUndecided(policy, of) ? of.rule : ruleOf(policy, of.user, of.groups ?? []);
export const profileOf = (rule: Rule | undefined): ProfileName => rule?.profile ?? DEFAULT_PROFILE;
/** Jobs that are held for one user. */
export const heldPerUserOf = ({ heldPerUser }: Policy, rule: Rule | undefined): number => rule?.jobsMax ?? heldPerUser;
export const idleStopMsOf = (policy: Policy, rule: Rule | undefined) => rule?.idleStopMs ?? policy.idleStopMs;

/** As many executors of this rule run as its own max_executors lets. */
export const isFull = ({ byRule }: Load, rule: Rule): boolean =>
  rule.maxExecutors !== undefined && (byRule.get(rule) ?? 0) >= rule.maxExecutors;

/** Is there room for one more executor, of a user of this rule? If not, its jobs wait until one has ended. */
export function hasRoom(policy: Policy, load: Load, rule: Rule | undefined): Verdict {
  if (load.draining) return full('draining', load.drainedWhy ?? DRAINED);
  if (load.executors >= policy.maxExecutors)
    return full('max_executors', `${load.executors} of ${policy.maxExecutors} executors run (max_executors)`);
  if (rule && isFull(load, rule))
    return full('rule', `${load.byRule.get(rule) ?? 0} of ${rule.maxExecutors} executors of ${rule.label} run`);
  const { coreTokens, tokensPerExecutor } = policy;
  const tokens = load.executors * tokensPerExecutor;
  if (coreTokens > 0 && tokens + tokensPerExecutor > coreTokens)
    return full('core_tokens', `${tokens} of ${coreTokens} core tokens are taken, an executor takes ${tokensPerExecutor}`);
  return hasMemory(policy, load);
}

function hasMemory({ executorMemory, minAvailableMemory }: Policy, { availableMemory, starting }: Load): Verdict {
  if (executorMemory === 0 && minAvailableMemory === 0) return OK;
  if (availableMemory === undefined) return full('memory', 'the available memory of the host is not known');
  // Executors that start have not taken their memory yet.
  const promised = starting * executorMemory;
  const left = availableMemory - promised - executorMemory;
  if (left >= minAvailableMemory) return OK;
  return full(
    'memory',
    `${mib(availableMemory)} of memory are available, of which ${mib(promised)} are promised to executors that start; ` +
      `one more takes ${mib(executorMemory)}, and ${mib(minAvailableMemory)} are to be left`,
  );
}

const mib = (bytes: number) => `${Math.round(bytes / 1024 / 1024)} MiB`;

/** May one more executor be started now? Booting is what costs: at most maxStarting at once. */
export const mayStart = (policy: Policy, load: Load): Verdict =>
  load.starting < policy.maxStarting ? OK : no(`${load.starting} of ${policy.maxStarting} executors are starting (max_starting)`);

/** The facts that decide whether an executor may be ended for want of work. */
export interface Idleness {
  /** Since when it has had no job from kpx and hardly any processor time, as far as has been seen. */
  readonly quietSince: number;
  /** Until when that has been seen; undefined: its processor time is not known. */
  readonly seenUntil: number | undefined;
  readonly ready: boolean;
  readonly ending: boolean;
}

/** For how long, in milliseconds, an executor is known to have had nothing to do. 0 when that is not known: never take the unknown for idle. */
export function idleForMs({ quietSince, seenUntil, ready, ending }: Idleness): number {
  if (!ready || ending || seenUntil === undefined) return 0;
  return Math.max(0, Math.floor(seenUntil - quietSince));
}

/** Those of an executor that was started for a user of this rule. */
type Ruled = Idleness & {
  readonly rule: Rule | undefined;
  /** Since when its user has had no job from kpx, where that began with the executor before this one, which was older than max_age. */
  readonly unusedSince?: number | undefined;
};

/** As {@link idleForMs}, with the time of the executor before. */
const unusedForMs = (executor: Ruled): number => idleForMs({ ...executor, quietSince: executor.unusedSince ?? executor.quietSince });

/** Why an executor is to end for want of work; undefined: it is not. */
export function idleForTooLong(policy: Policy, executor: Ruled): string | undefined {
  const [idleStopMs, idleMs, keepWarmMs] = [idleStopMsOf(policy, executor.rule), idleForMs(executor), executor.rule?.keepWarmMs ?? 0];
  if (idleStopMs === undefined || idleMs < idleStopMs || warmForMs(executor) > 0) return undefined;
  const bound = keepWarmMs > idleStopMs ? `keep_warm is ${durationText(keepWarmMs)}` : `idle_stop is ${durationText(idleStopMs)}`;
  return `idle for ${durationText(idleMs)} (${bound})`;
}

/** For so long an executor must have been idle before it is ended for another reason than idleness, so that no job is cut off: that of evict_idle_after. */
export const isIdleEnough = ({ evictIdleAfterMs }: Policy, executor: Idleness) => idleForMs(executor) >= evictIdleAfterMs;

/** Why an executor that was started at this time is to end and make place for a new one; undefined: it is not. Milliseconds since the epoch. */
export function tooOldToKeep(policy: Policy, executor: Ruled & { readonly startedMs: number }, wallMs: number): string | undefined {
  const [maxAgeMs, ageMs] = [executor.rule?.maxAgeMs, wallMs - executor.startedMs];
  if (maxAgeMs === undefined || ageMs < maxAgeMs || !isIdleEnough(policy, executor)) return undefined;
  return `it has run for ${durationText(ageMs)} (max_age is ${durationText(maxAgeMs)})`;
}

/** For how long its rule has it kept for its user, in milliseconds from now on, though it is idle; 0: not at all. */
export const warmForMs = (executor: Ruled): number => Math.max(0, (executor.rule?.keepWarmMs ?? 0) - unusedForMs(executor));

/** An executor that is at work, as far as has been seen. */
interface AtWork extends Idleness {
  readonly rule: Rule | undefined;
  readonly workedSince: number;
}

/** Why an executor is to end for what it does not finish; undefined: it is not. Where its processor time is not known, nobody can say. */
export function worksForTooLong({ rule, ready, ending, seenUntil, workedSince }: AtWork): string | undefined {
  if (rule?.runTimeMaxMs === undefined || !ready || ending || seenUntil === undefined) return undefined;
  const ms = Math.floor(seenUntil - workedSince);
  if (ms < rule.runTimeMaxMs) return undefined;
  return `at work for ${durationText(ms)} without a pause, and without taking a job (run_time_max of ${rule.label} is ${durationText(rule.runTimeMaxMs)})`;
}

/** How often to look at the executors so that idle ones are ended in time, in milliseconds; undefined: none is. `leaving`: an operator wants some ended. */
export function idleGrainMs({ idleStopMs, evictIdleAfterMs, rules }: Policy, leaving: boolean): number | undefined {
  const aged = ({ maxAgeMs }: Rule) => (maxAgeMs === undefined ? undefined : Math.min(maxAgeMs, evictIdleAfterMs));
  const ofRule = (rule: Rule) => [rule.idleStopMs, rule.runTimeMaxMs, aged(rule)];
  const times = [idleStopMs, leaving ? evictIdleAfterMs : undefined, ...rules.flatMap(ofRule)].filter((time) => time !== undefined);
  return times.length === 0 ? undefined : Math.min(...times) / 2;
}

/** Why a job is not run any more; undefined: it is. */
export function tooOld({ jobMaxAgeMs }: Policy, ageMs: number): string | undefined {
  if (jobMaxAgeMs === undefined || ageMs <= jobMaxAgeMs) return undefined;
  return `the job is ${durationText(ageMs)} old (job_max_age is ${durationText(jobMaxAgeMs)}): its sender has given it up`;
}

/** Which executor to end so that another may start: the one that has been idle for longest, never one that may be at work. */
export function evictable<E extends Ruled>(executors: Iterable<E>, evictIdleAfterMs: number): E | undefined {
  let longest: E | undefined;
  for (const executor of executors) {
    if (idleForMs(executor) < evictIdleAfterMs || warmForMs(executor) > 0) continue;
    if (!longest || idleForMs(executor) > idleForMs(longest)) longest = executor;
  }
  return longest;
}

/** Waits in delay queues, in milliseconds: one queue each. */
export const DELAYS_MS = [200, 2_000, 10_000] as const;
export type DelayMs = (typeof DELAYS_MS)[number];

/** The wait of jobs for which there is no room, neither among the executors nor among the held jobs. */
export const NO_ROOM_DELAY_MS: DelayMs = 10_000;
/** The short wait of a job that another host, or an executor that will be free soon, may take. */
export const SOON_MS: DelayMs = 2_000;

/** How often a host that is drained lets go of a job for a short time only, so that another host takes it; later there seems to be none. */
const LEAVES_QUICKLY = 5;
/** The wait of a job that has to leave a host that starts nothing for it. */
export const leaveDelayMs = (draining: boolean, hops: number): DelayMs => (draining && hops < LEAVES_QUICKLY ? SOON_MS : NO_ROOM_DELAY_MS);

/** A ready executor's job that came back fewer times has only met others who compete for the queue. */
export const HOPS_FREE = 2;
