import type { ErrorCode, ExecutorInfo, KnimeUser } from '@kpx/protocol';
import type { DelayMs } from '../policy/policy.js';
import type { Reason } from '../reasons.js';

/* What goes into the machine and what comes out of it. */

/** A job in the hands of the machine: a number that stands for its delivery. */
export type Ticket = number;

export type Event =
  | { readonly kind: 'job'; readonly ticket: Ticket; readonly user: KnimeUser; readonly hops: number }
  /** The helper has started the executor, or found it running. */
  | { readonly kind: 'started'; readonly user: KnimeUser; readonly executor: ExecutorInfo }
  /** The helper has answered with an error. */
  | { readonly kind: 'not started'; readonly user: KnimeUser; readonly code: ErrorCode; readonly detail: string }
  /** The helper could not be asked. */
  | { readonly kind: 'no helper'; readonly user: KnimeUser; readonly detail: string }
  /** An executor has connected to RabbitMQ. */
  | { readonly kind: 'connected'; readonly uid: number }
  /** All that the helper runs; `askedAt` is when it was asked. What is not among it has ended. */
  | { readonly kind: 'listed'; readonly executors: readonly ExecutorInfo[]; readonly askedAt: number }
  /** The channel is gone, and all deliveries with it: RabbitMQ has put them back. */
  | { readonly kind: 'channel lost' }
  /** Time has passed. */
  | { readonly kind: 'tick' };

export type Effect =
  | { readonly kind: 'forward'; readonly ticket: Ticket; readonly user: KnimeUser }
  | { readonly kind: 'defer'; readonly ticket: Ticket; readonly user: KnimeUser; readonly delayMs: DelayMs; readonly why: string }
  | {
      readonly kind: 'park';
      readonly ticket: Ticket;
      readonly user: KnimeUser;
      readonly reason: Reason | ErrorCode;
      readonly detail: string;
    }
  | { readonly kind: 'start'; readonly user: KnimeUser }
  /** End an executor that never became ready. */
  | { readonly kind: 'kill'; readonly user: KnimeUser }
  /** For the log: a user's state has changed. */
  | { readonly kind: 'state'; readonly user: KnimeUser; readonly state: State; readonly detail: string };

export type State = 'idle' | 'queued' | 'starting' | 'booting' | 'ready' | 'backoff' | 'broken' | 'refused';
