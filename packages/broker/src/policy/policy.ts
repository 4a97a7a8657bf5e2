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
export const DELAYS_MS = [2_000, 10_000] as const;
export type DelayMs = (typeof DELAYS_MS)[number];

/** The wait of jobs for which there is no room, neither among the executors nor among the held jobs. */
export const NO_ROOM_DELAY_MS: DelayMs = 10_000;
/** The wait of a busy executor's jobs beyond those that are held for it. */
export const BUSY_DELAY_MS: DelayMs = 2_000;

/** A ready executor's job that came back fewer times has only met others who compete for the queue. */
export const HOPS_FREE = 2;

/**
 * How a busy executor's held jobs are offered to it again: so many at a time, after so many milliseconds. RabbitMQ does not tell whether an
 * executor would take one more job; a job that comes back tells that it would not.
 */
export interface Offer {
  readonly jobs: number;
  readonly everyMs: number;
}

const OFFER_EVERY_MS_MIN = 100;
const OFFER_EVERY_MS_MAX = 2_000;
const OFFER_JOBS_MAX = 64;
export const FIRST_OFFER: Offer = { jobs: 4, everyMs: OFFER_EVERY_MS_MIN };

/** Twice as many after an offer that was taken; after one that came back half as many, then one at a time, less and less often. */
export function nextOffer({ jobs, everyMs }: Offer, cameBack: boolean): Offer {
  if (!cameBack) return { jobs: Math.min(jobs * 2, OFFER_JOBS_MAX), everyMs: OFFER_EVERY_MS_MIN };
  if (jobs > 1) return { jobs: Math.floor(jobs / 2), everyMs };
  return { jobs, everyMs: Math.min(everyMs * 2, OFFER_EVERY_MS_MAX) };
}
