import type { KnimeUser } from '@kpx/protocol';

/** The limits that operators tune: `[policy]`, `[jobs]` and `[executors]`, times in milliseconds. */
export interface Policy {
  readonly maxExecutors: number;
  readonly maxStarting: number;
  readonly startAttempts: number;
  readonly backoffInitialMs: number;
  readonly backoffMaxMs: number;
  /** Folded to lower case. */
  readonly deny: ReadonlySet<string>;
  readonly heldPerUser: number;
  readonly heldInAll: number;
  readonly startTimeoutMs: number;
  /** Undefined: an executor is ready when it is connected. */
  readonly readyDelayMs: number | undefined;
}

/** What the machine knows at the moment of a decision. */
export interface Load {
  /** Running executors and those about to be started, one an account. */
  readonly executors: number;
  /** Executors started or being started that are not ready yet. */
  readonly starting: number;
}

export const isDenied = (user: KnimeUser, policy: Policy) => policy.deny.has(user.toLowerCase());

/** May one more executor be planned? Otherwise jobs wait in the delay queue until one has ended. */
export const hasRoom = (load: Load, policy: Policy) => load.executors < policy.maxExecutors;

/** May one more planned executor be started now? Booting is what costs: at most maxStarting at once. */
export const mayStart = (load: Load, policy: Policy) => load.starting < policy.maxStarting;

/** Waits in delay queues, in milliseconds: one queue each. */
export const DELAYS_MS = [100, 500, 2_000, 10_000] as const;
export type DelayMs = (typeof DELAYS_MS)[number];

/** The wait of jobs for which there is no room, neither among the executors nor among the held jobs. */
export const NO_ROOM_DELAY_MS: DelayMs = 10_000;

/** A ready executor's job that comes back so few times has only met others who compete for the queue. */
const HOPS_FREE = 2;

/** Waits of a busy executor's job, in turn; the last one is for all further rounds. */
const BUSY_DELAYS_MS: readonly DelayMs[] = [100, 100, 500, 500, 2_000, 2_000, 2_000, 2_000, 10_000];

/**
 * The wait before a job of a ready executor is offered again: none at first, then longer and longer, since an executor that does not take its
 * job is busy. Without it the job would spin between queue and broker. Only every second time, because RabbitMQ deals to its consumers in turn:
 * back from a wait, the job is as likely to meet the broker as the executor; sent on at once, it meets the executor next.
 */
export function busyDelayMs(hops: number): DelayMs | 0 {
  const round = hops - HOPS_FREE;
  if (round < 0 || round % 2 === 1) return 0;
  return BUSY_DELAYS_MS[Math.min(round / 2, BUSY_DELAYS_MS.length - 1)] as DelayMs;
}
