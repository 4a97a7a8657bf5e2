import { ERRORS, type ErrorCode } from '@kpx/protocol';
import { durationText } from '../output/duration.js';
import { backoffMs } from '../policy/backoff.js';
import type { Policy } from '../policy/policy.js';
import type { Reason } from '../policy/reasons.js';
import { type Books, enter } from './books.js';
import { handBack, parkHeld, shorten } from './holding.js';
import { RESTING, type RestingState, type State } from './states.js';
import type { User } from './user.js';

/** How long a refusal by the helper is believed before it is asked again, in milliseconds. */
export const REFUSAL_MS = 30_000;

/** A start for this user has failed. */
export function fail(books: Books, user: User, detail: string, code: ErrorCode = 'LAUNCH_FAILED', reason: Reason = 'START_FAILED'): void {
  const { health, policy, now, random } = books;
  const sick = health.failed(user.name, code, detail, now);
  const { state, forMs, jobs, ...why } = countFailure(user, { code, reason, detail, sick }, policy, now, random);
  user.cause = reason === 'START_FAILED' ? code : reason;
  rest(books, user, state, forMs, why.code, why.detail);
  if (jobs === 'handed back') handBack(books, user, user.held.takeAll(), detail, true);
  else if (jobs === 'parked') parkHeld(books, user, why.code, why.detail);
  if (sick) for (const waiting of books.line) shorten(books, waiting);
}

/** The helper will not start an executor for this user. */
export function refuse(books: Books, user: User, code: ErrorCode, detail: string): void {
  user.cause = code;
  rest(books, user, 'refused', REFUSAL_MS, code, detail);
  parkHeld(books, user, code, detail);
}

/** To a state in which no start is tried for so long. */
export function rest(books: Books, user: User, state: RestingState, forMs: number, code: Reason | ErrorCode, detail: string): void {
  user.until = books.now + forMs;
  user.code = code;
  user.detail = detail;
  if (state !== 'backoff') user.wanted = undefined;
  enter(books, user, state, `${detail}; tried again in ${durationText(Math.ceil(forMs / 1_000) * 1_000)}`);
}

/** By the state that failed and refused starts have led to: how many users are in it, by its cause. */
export type Failing = Readonly<Record<RestingState, ReadonlyMap<string, number>>>;

export function failing({ users }: Books): Failing {
  const counts = Object.fromEntries([...RESTING].map((state) => [state, new Map()])) as Record<RestingState, Map<string, number>>;
  for (const { state, cause } of users.values()) {
    if (!isResting(state)) continue;
    counts[state].set(cause, (counts[state].get(cause) ?? 0) + 1);
  }
  return counts;
}

const isResting = (state: State): state is RestingState => RESTING.has(state);

/** A start that has failed. */
interface Failure {
  readonly code: ErrorCode;
  /** The reason of parked jobs when the user is to blame, and has used up all attempts. */
  readonly reason: Reason;
  readonly detail: string;
  /** This host counts as sick. */
  readonly sick: boolean;
}

/** The consequences for the user, and for the jobs that are held. */
interface Consequence {
  readonly state: 'backoff' | 'broken';
  readonly forMs: number;
  readonly code: Reason | ErrorCode;
  readonly detail: string;
  readonly jobs: 'held' | 'parked' | 'handed back';
}

/**
 * Counts one more failed start. The host's fault: its jobs go to other hosts. The user's: wait longer, or give up for a while, which bounds how often
 * somebody with an outdated keytab is started, on a sick host as well.
 */
function countFailure(user: User, { code, reason, detail, sick }: Failure, policy: Policy, now: number, random: number): Consequence {
  const { startAttempts, startWindowMs, backoffInitialMs, backoffMaxMs } = policy;
  const waitMs = (failures: number) => backoffMs(failures - 1, backoffInitialMs, backoffMaxMs, random);
  const isOfHost = ERRORS[code].fault === 'host';
  user.hostFailures = isOfHost || sick ? user.hostFailures + 1 : 0;
  if (isOfHost) return { state: 'backoff', forMs: waitMs(user.hostFailures), code, detail, jobs: 'handed back' };
  if (now - user.failingSince > startWindowMs) user.failures = 0;
  if (user.failures === 0) user.failingSince = now;
  user.failures += 1;
  if (user.failures < startAttempts) {
    return { state: 'backoff', forMs: waitMs(user.failures), code: reason, detail, jobs: sick ? 'handed back' : 'held' };
  }
  const why = `${user.failures} starts failed, the last one: ${detail}`;
  return { state: 'broken', forMs: backoffMaxMs, code: reason, detail: why, jobs: sick ? 'handed back' : 'parked' };
}
