import type { Config } from '../config/config.js';
import type { DelayMs } from '../policy/policy.js';
import type { JobMac } from './mac.js';
import type { WireMessage } from './wire/amqplib.js';
import type { WireProperties } from './wire/properties.js';

/** Where deliveries come from. */
export interface Source {
  ack(message: WireMessage): void;
  putBack(message: WireMessage): void;
}

/** Where a job has gone: to the executors, to a delay queue, to the dead letters, or back into the queue. */
export type Outcome = 'forwarded' | 'deferred' | 'parked' | 'returned';

/** The broker that sends jobs on. */
export interface Sender {
  readonly config: Config;
  readonly host: string;
  readonly mac: () => JobMac;
}

/** Why a job is parked, beside what is known of it. */
export interface Parked {
  readonly reason: string;
  readonly detail: string;
}

/** The observer of what becomes of jobs. */
export interface RelayObserver {
  /** A message is parked while it comes in: its properties get the id that it will be known by. */
  named(properties: WireProperties): void;
  problem(message: WireMessage, why: string): void;
  /** The job is elsewhere, confirmed; `parked` with those that are with the dead letters, `delayMs` with those that wait in a delay queue. */
  left(message: WireMessage, outcome: Outcome, parked?: Parked, delayMs?: DelayMs): void;
}
