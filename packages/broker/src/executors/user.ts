import type { ErrorCode, KnimeUser } from '@kpx/protocol';
import type { Verdict } from '../policy/policy.js';
import type { Reason } from '../policy/reasons.js';
import type { Rule } from '../policy/rules.js';
import { HeldJobs } from './held.js';
import { Offering } from './offering.js';
import type { State } from './states.js';

/** An executor that is to be there before the job. */
export interface Wanted {
  /** Nobody wants it any more after this time, in milliseconds of the machine's clock. */
  readonly until: number;
  /** For people. */
  readonly why: string;
  /** Users whose jobs wait start first, and nobody's executor is ended for it. */
  readonly yields: boolean;
  /** Of one that takes the place of another: since when that had no job. In milliseconds of the machine's clock. */
  readonly unusedSince?: number;
}

/** Somebody who has jobs here, or a past. */
export interface User {
  readonly name: KnimeUser;
  /** OS groups; undefined: no rule has asked for them. */
  groups: readonly string[] | undefined;
  rule: Rule | undefined;
  /** It is for the groups to say which rule counts: until they are known, `rule` and `admitted` are by the policy before, and nothing is started. */
  awaitsGroups: boolean;
  admitted: Verdict;
  state: State;
  /** Since when, in milliseconds of the machine's clock. */
  stateSince: number;
  /** When `queued`: since when jobs wait, in milliseconds of the machine's clock. An operator may have asked for the executor before. */
  waitsSince: number;
  /** When `queued`: the executor time that the user had had recently when it came, in milliseconds. */
  recentMs: number;
  /** When `backoff`, `broken` or `refused` ends; when `idle`: until when the failures are remembered; when `queued`: the place in line. */
  until: number;
  /** Failed starts in a row, within the policy's window. */
  failures: number;
  failingSince: number;
  /** Starts in a row that this host has failed: in `backoff`, jobs are handed back. 0: they are held. */
  hostFailures: number;
  /** Executors in a row that have ended soon after they were ready, without a failure and without having done a job. */
  endsSoon: number;
  /** When a replay last had what has failed before count no more. */
  replayedAt: number;
  /** Why it is `backoff`, `broken` or `refused`. */
  code: Reason | ErrorCode;
  /** The same as precisely as it is known: the helper's code of the last failure, where `code` says that as many starts have failed as may. */
  cause: Reason | ErrorCode;
  detail: string;
  /** There, where an executor is wanted without a job. */
  wanted: Wanted | undefined;
  readonly held: HeldJobs;
  /** When `ready`: to a busy executor. */
  offering: Offering;
}

/** Idle, and not judged yet. */
export function newUser(name: KnimeUser, groups: readonly string[] | undefined): User {
  const judged = { groups, rule: undefined, awaitsGroups: false, admitted: { ok: true } as const };
  const past = {
    waitsSince: 0,
    recentMs: 0,
    until: 0,
    failures: 0,
    failingSince: 0,
    hostFailures: 0,
    endsSoon: 0,
    replayedAt: Number.NEGATIVE_INFINITY,
    code: 'START_FAILED' as const,
    cause: 'START_FAILED' as const,
    detail: '',
    wanted: undefined,
  };
  return { name, ...judged, state: 'idle', stateSince: 0, ...past, held: new HeldJobs(), offering: new Offering() };
}

/** Jobs of this user go back to the queue, for other hosts. */
export const failsHere = ({ state, hostFailures }: User) => (state === 'backoff' || state === 'broken') && hostFailures > 0;

/** Is an executor to be started though no job is held? */
export const wantsExecutor = ({ held, wanted }: User, now: number) => held.size > 0 || (wanted !== undefined && now < wanted.until);

/** Nobody waits for the executor that this user in line is to have: no job is held, and none keeps the place, for which `until` is earlier. */
export const isAheadOfJobs = ({ held, wanted, until }: User) => held.size === 0 && wanted !== undefined && wanted.until <= until;

/** The same of a user who lets those whose jobs wait start first. */
export const yieldsToJobs = (user: User) => isAheadOfJobs(user) && user.wanted?.yields === true;

/** So many such executors in a row are no chance. */
const ENDS_SOON_MIN = 2;
/** Somebody has to see why this user's executors end by themselves. */
export const endsAgain = ({ endsSoon }: Readonly<User>) => endsSoon >= ENDS_SOON_MIN;

/** Failures so far count no more. */
export function forgive(user: User): void {
  user.failures = 0;
  user.hostFailures = 0;
}

/** How often a user's failures are forgotten because of a replay, in milliseconds: any publisher may claim that a job is one. */
export const REPLAY_HONOURED_EVERY_MS = 60_000;

/** May a replay have what has failed before count no more? */
export function honoursReplay(user: User, now: number): boolean {
  if (now - user.replayedAt < REPLAY_HONOURED_EVERY_MS) return false;
  user.replayedAt = now;
  return true;
}
