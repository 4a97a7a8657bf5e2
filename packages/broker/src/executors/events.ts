import type { ErrorCode, ExecutorInfo, KnimeUser, OsUser, ProfileName } from '@kpx/protocol';
import type { DelayMs, Limit, Policy } from '../policy/policy.js';
import type { Reason } from '../policy/reasons.js';
import type { Marks } from './hand-back.js';
import type { StartingState, State } from './states.js';

export type { State };

/* The machine's input and output. */

/** A job in the hands of the machine: a number that stands for its delivery. */
export type Ticket = number;

/** The resources that an executor and all processes of its unit take. */
export interface Usage {
  /** Milliseconds of processor time, rounded up. */
  readonly cpuMs: number;
  /** Memory in bytes, caches of files included; undefined: the kernel does not count it for this unit. */
  readonly memoryBytes: number | undefined;
}

/** The request as the helper's audit log numbers it (`id`); undefined: it was not sent. */
type AuditId = number | undefined;

/** A job that the account of a sealed executor has not taken. */
export interface Refusal {
  /** The offer to a busy executor that it was part of, 0: none that has a number. */
  readonly offer: number;
  /** The queue has as many as it may have; otherwise it could not be reached, or something else was missing. */
  readonly full: boolean;
}

export type Event =
  | {
      readonly kind: 'job';
      readonly ticket: Ticket;
      readonly user: KnimeUser;
      readonly hops: number;
      /** It comes from a delay queue, not from an offer. */
      readonly waited: boolean;
      /** It has been given to its account just now. Undefined: RabbitMQ has brought it. */
      readonly refusal?: Refusal;
      /** Since it came, in milliseconds. */
      readonly inHandMs?: number;
      /** Since this broker has sent it to the executor, in whole milliseconds; undefined: as far as is known, it has not. */
      readonly awayMs?: number | undefined;
      /** It says that an operator has replayed it. */
      readonly replayed?: boolean;
      /** OS groups of the user; undefined: no rule asks for them. The same array for as long as nothing has changed. */
      readonly groups: readonly string[] | undefined;
      /** Since it was sent, in milliseconds, as far as is known. */
      readonly ageMs: number;
      /** Jobs in hand take more than half of the memory that is for them. */
      readonly crowded?: boolean;
    }
  /** A job is in the queue of its account, or can never be. `offer`: as of a {@link Refusal}. Not told of executors that share a queue. */
  | { readonly kind: 'taken'; readonly user: KnimeUser; readonly offer: number }
  /** The helper has started the executor, or found it running: `wasThere`. */
  | {
      readonly kind: 'started';
      readonly user: KnimeUser;
      readonly executor: ExecutorInfo;
      readonly wasThere?: boolean;
      readonly request?: AuditId;
    }
  /** A start that takes several steps has taken one. */
  | { readonly kind: 'start goes on'; readonly user: KnimeUser; readonly to: StartingState }
  /** The helper has answered with an error. */
  | {
      readonly kind: 'not started';
      readonly user: KnimeUser;
      readonly code: ErrorCode;
      readonly detail: string;
      readonly request?: AuditId;
    }
  /** There is a new connection to the helper. `foldsCase`: to it, names that differ in case alone are one user's. */
  | { readonly kind: 'helper greeted'; readonly foldsCase: boolean }
  /** The helper could not be asked. */
  | { readonly kind: 'no helper'; readonly user: KnimeUser; readonly detail: string }
  /** The accounts that RabbitMQ serves at the moment, by uid; and those of whom nobody can say. */
  | { readonly kind: 'connections'; readonly uids: ReadonlySet<number>; readonly unknown?: ReadonlySet<number> }
  /** The helper could not end an executor. */
  | { readonly kind: 'not ended'; readonly user: KnimeUser }
  /** All that the helper runs; `askedAt` is when it was asked. An executor that is not in the list has ended. */
  | { readonly kind: 'listed'; readonly executors: readonly ExecutorInfo[]; readonly askedAt: number }
  /** Processor time of executors by main process, in milliseconds. Of those that are missing, lists say it. `wallMs`: the time, since the epoch. */
  | { readonly kind: 'usage'; readonly usage: ReadonlyMap<number, Usage>; readonly wallMs: number }
  /** The account of an executor would be refused one now, and not for the first time. */
  | { readonly kind: 'account lost'; readonly osUser: OsUser; readonly why: string }
  /** Another policy is in force. */
  | { readonly kind: 'policy'; readonly policy: Policy }
  /** OS groups of somebody of whom they were not known. */
  | { readonly kind: 'groups'; readonly user: KnimeUser; readonly groups: readonly string[] }
  /** Those of the sender of a job could not be looked up. */
  | {
      readonly kind: 'groups unknown';
      readonly user: KnimeUser;
      readonly ticket: Ticket;
      readonly detail: string;
      readonly refusal?: Refusal;
    }
  /** Of the host. */
  | { readonly kind: 'memory'; readonly availableBytes: number }
  /** Start nothing any more (a host that is to be emptied), or again. `why` is a sentence for people. */
  | { readonly kind: 'drain'; readonly on: boolean; readonly why?: string }
  /** An operator wants an executor for this user, whatever came of earlier starts. */
  | { readonly kind: 'start asked'; readonly user: KnimeUser; readonly groups: readonly string[] | undefined }
  /** A schedule, or an operator for this time, wants an executor for this user, whether there is a job within `forMs` milliseconds or not. */
  | {
      readonly kind: 'start planned';
      readonly user: KnimeUser;
      readonly groups: readonly string[] | undefined;
      readonly forMs: number;
      readonly why: string;
    }
  /** An operator does not want an executor for this user any more, as far as no job does. */
  | { readonly kind: 'start cancelled'; readonly user: KnimeUser }
  /** An operator wants the executor of this user ended. */
  | { readonly kind: 'stop asked'; readonly user: KnimeUser; readonly force: boolean }
  /** The same once it is idle, of the executors with these main processes. */
  | { readonly kind: 'stop when idle asked'; readonly pids: ReadonlySet<number> }
  /** An operator wants this job parked, if it is held. */
  | { readonly kind: 'cancel asked'; readonly user: KnimeUser; readonly ticket: Ticket }
  /** Jobs are consumed (again). */
  | { readonly kind: 'channel opened' }
  /** The channel is gone, and all deliveries with it: RabbitMQ has put them back. */
  | { readonly kind: 'channel lost' }
  /** Time has passed. */
  | { readonly kind: 'tick' };

export type Effect =
  /** `offer`: the number of the offer to a busy executor that it is part of. */
  | { readonly kind: 'forward'; readonly ticket: Ticket; readonly user: KnimeUser; readonly offer?: number }
  | {
      readonly kind: 'defer';
      readonly ticket: Ticket;
      readonly user: KnimeUser;
      readonly delayMs: DelayMs;
      readonly why: string;
      /** Where this host has handed it back. */
      readonly marks?: Marks;
    }
  /** Another host may be able to do it. `failed`: a start for it has failed here. */
  | { readonly kind: 'hand back'; readonly ticket: Ticket; readonly user: KnimeUser; readonly why: string; readonly failed: boolean }
  | {
      readonly kind: 'park';
      readonly ticket: Ticket;
      readonly user: KnimeUser;
      readonly reason: Reason | ErrorCode;
      readonly detail: string;
    }
  | { readonly kind: 'start'; readonly user: KnimeUser; readonly profile: ProfileName; readonly why: string }
  /** End an executor. `cause` is there the first time that it is asked for. */
  | { readonly kind: 'stop'; readonly user: KnimeUser; readonly why: string; readonly cause?: EndCause }
  /** End an executor by force. */
  | { readonly kind: 'kill'; readonly user: KnimeUser; readonly why: string; readonly cause?: EndCause }
  /** For the log and metrics: a user's state has changed. `limit`: what there was no room for, where that is why. */
  | { readonly kind: 'state'; readonly user: KnimeUser; readonly state: State; readonly detail: string; readonly limit?: Limit };

/** Why the broker ends an executor; for metrics. */
export const END_CAUSES = ['asked', 'idle', 'evicted', 'max_age', 'run_time_max', 'without_rabbitmq', 'account_lost'] as const;
export type EndCause = (typeof END_CAUSES)[number];

/** The end of a job of a user whom the policy denies. */
export const denial = (user: KnimeUser, detail: string, ticket: Ticket): Effect => ({
  kind: 'park',
  ticket,
  user,
  reason: 'USER_DENIED',
  detail,
});
