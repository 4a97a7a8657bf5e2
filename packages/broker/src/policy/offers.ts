import { type DelayMs, SOON_MS } from './policy.js';

/*
 * How a busy executor's held jobs are offered to it. RabbitMQ does not tell whether an executor would take one more job. It goes round its consumers that
 * have room, and the broker is always one of them: so of two offers at once an executor with room gets one. Where both come straight back, it is full. Where
 * one does not come back within the time that offers take to come back, it was taken, and more are offered at once. To a full executor the next offer goes
 * after a part of the time for which it has been full, and of the time that it takes for a job.
 */

/** Offered beyond twice what was taken the last time, and to an executor that was full: for the broker's own turn, and for the executor's. */
export const OFFER_BEYOND = 2;
export const FIRST_OFFER_JOBS = 4;
const OFFER_JOBS_MAX = 64;
/** Of all users together. It bounds the processor time of offers, some 0.1 ms each. */
const OFFERED_PER_MS_MAX = 4;

/** The longest wait between two offers, of few users; and how long what an offer has shown is remembered. */
export const OFFER_EVERY_MS_MAX = 2_000;
/**
 * Executors that jobs for full ones meet in a millisecond, of all users together. Where executors share a queue, each of these jobs may be taken and given
 * back by those of all others before it is back here: their work would grow with the square of their number.
 */
const MET_PER_MS_MAX = 2;
/** The longest wait between two offers, of any number of users. */
const OFFER_EVERY_MS_LONGEST = 60_000;
export const OFFER_EVERY_MS_MIN = 2;
/** A job offered so much later than it could have been costs an executor with room for one job a third of its time, at worst half. */
const OFFER_EVERY_PART = 1 / 3;
/** The longest wait because of how long earlier jobs took: those of another kind may be shorter. */
const OFFER_BY_RATE_MS_MAX = 100;
/** The longest mean time until an offer is back that is reckoned with: through a queue of many jobs, or of a RabbitMQ that is slow. */
const BACK_MS_MAX = 5_000;

/** The pace of an executor, as its offers have shown it. */
export interface Pace {
  /** Jobs that it takes in a millisecond, as a mean of the last {@link PACE_OVER_MS}. */
  readonly perMs: number;
  /** The mean time until an offer that was not taken is back. */
  readonly backMs: number;
}
/** Of an executor that nothing has been offered to: that of short jobs. */
export const FIRST_PACE: Pace = { perMs: 0.5, backMs: 1 };
const PACE_OVER_MS = 300;
/** Weight of one offer in it, at most: however long it was out, it may have met the wrong executor. */
const PACE_WEIGHT_MAX = 1 / 4;
/** Weight of the newest in the mean. */
const BACK_WEIGHT = 1 / 8;
/** The same of one that is back sooner than the mean: the queue that it waited in is as short as that now. */
const SOONER_WEIGHT = 1 / 3;

/** `taken` of an offer that was made `ms` ago. */
export const paceAfterOffer = ({ perMs, backMs }: Pace, taken: number, ms: number): Pace => ({
  perMs: perMs + (taken / Math.max(1, ms) - perMs) * Math.min(PACE_WEIGHT_MAX, ms / PACE_OVER_MS),
  backMs,
});

/** One that was offered `ms` ago is back. A few that take much longer than others, because an executor has kept them, count for little. */
export const paceAfterReturn = ({ perMs, backMs }: Pace, ms: number): Pace => ({
  perMs,
  backMs: backMs + (Math.min(ms, BACK_MS_MAX, 2 * backMs + OFFER_EVERY_MS_MIN) - backMs) * (ms < backMs ? SOONER_WEIGHT : BACK_WEIGHT),
});

/** An executor that has room for all gets half of them, or a little less: the next offer is larger then. */
export const nextOfferJobs = (taken: number): number => Math.min(2 * taken + OFFER_BEYOND, OFFER_JOBS_MAX);

/** The longest wait for what becomes of an offer, where that is told: the account's RabbitMQ answers when it has the jobs on disk. */
export const TOLD_MS_MAX = 1_000;

/** The longest wait for room in a queue that was full, and has taken some jobs. */
export const ROOM_WAIT_MS_MAX = 100;

/** The wait until there is room for `jobs` in a queue that was full, of which `perMs` are taken in a millisecond. */
export const roomWaitMs = (perMs: number, jobs: number): number => Math.min(ROOM_WAIT_MS_MAX, Math.max(OFFER_EVERY_MS_MIN, jobs / perMs));

/** How long the next offer waits for the jobs of this one to come back. `users`: to whose executors jobs are offered. */
export const offerOutMs = ({ backMs }: Pace, jobs: number, users: number): number =>
  Math.max(OFFER_EVERY_MS_MIN, 2 * backMs, (jobs * users) / OFFERED_PER_MS_MAX);

/** The longest wait between two offers, where the executors of so many users share a queue and are offered jobs. */
const offerEveryMsMax = (sharing: number): number =>
  Math.max(OFFER_EVERY_MS_MAX, Math.min(OFFER_EVERY_MS_LONGEST, (OFFER_BEYOND * sharing * sharing) / MET_PER_MS_MAX));

/**
 * The wait after an offer to an executor that has been full for `fullMs`. `sharing`: users whose executors are offered jobs by one queue. Partly left to chance: offers of several users at one pace can meet the wrong
 * executor every time.
 */
export function offerWaitMs({ perMs }: Pace, fullMs: number, random: number, sharing: number): number {
  const perJobMs = Math.min(OFFER_BY_RATE_MS_MAX, OFFER_EVERY_PART / perMs);
  const whole = Math.max(OFFER_EVERY_MS_MIN, fullMs * OFFER_EVERY_PART, perJobMs);
  return Math.min(offerEveryMsMax(sharing), whole) * (0.5 + random / 2);
}

/** The wait of a job that a busy executor will take in a moment. */
export const BUSY_DELAY_MS: DelayMs = 200;
/** How many of a user's jobs wait for {@link SOON_MS} while the executor starts; more would only go round. */
export const START_DELAY_MAX = 256;

/** How many wait for {@link BUSY_DELAY_MS}: what the executor wants beyond the `held` jobs before those are back that wait for longer, and a quarter more. */
export const busyDelayMax = (perMs: number, fullMs: number, held: number): number =>
  fullMs < OFFER_EVERY_MS_MAX ? perMs * SOON_MS * 1.25 - held : 0;
