import type { KnimeUser, OsUser } from '@kpx/protocol';
import type { Ticket } from '../executors/events.js';

/** The meaning of each step, for people. */
export const STEPS = {
  seen: 'it came from the job queue',
  again: 'it came from the job queue once more',
  'from delay': 'it came back from a delay queue',
  back: 'it came back: no executor has taken it',
  replayed: 'an operator has replayed it',
  held: 'it is held',
  offered: 'it goes to the executor',
  delayed: 'it waits in a delay queue',
  parked: 'it is parked in kpx.dead-letter',
  returned: 'it is in the job queue again',
  problem: 'RabbitMQ has not taken it',
  answered: 'it is answered',
  'to be cancelled': 'an operator cancels it when it is here again',
} as const;
export type StepKind = keyof typeof STEPS;

/** Where an executor runs. */
export interface RunsAs {
  readonly os_user: OsUser;
  readonly uid: number;
  readonly pid: number;
}

export interface Step {
  /** In milliseconds since the epoch. */
  readonly at: number;
  readonly what: StepKind;
  /** '': the kind says it all. */
  readonly why: string;
  readonly executor?: RunsAs;
  /** Of a job that is parked. */
  readonly reason?: string;
}

/** One job, as this broker has seen it. */
export interface Story {
  readonly id: string;
  readonly messageId: string | undefined;
  readonly correlationId: string | undefined;
  readonly traceparent: string | undefined;
  /** When a broker has seen it first, in milliseconds since the epoch. */
  readonly firstSeen: number;
  /** Undefined: the job names none that kpx takes. */
  user: KnimeUser | undefined;
  /** The oldest first. */
  readonly steps: Step[];
  /** Steps between the first ones and the others that are not remembered. */
  leftOut: number;
  /** The broker has the job in hand; with the machine's number for it, once it has one. */
  inHand: boolean;
  ticket: Ticket | undefined;
  /** How often it was sent and is back, with RabbitMQ's confirm on its way. */
  unconfirmed: number;
  /** An operator has cancelled it while it was in a delay queue. */
  cancelled: boolean;
  /** Of one that was put into a delay queue last: when it goes back to the job queue, in milliseconds since the epoch. */
  backAt: number | undefined;
  /** Of its texts. */
  chars: number;
}

/** For how long it was with the executor, or on its way there, in milliseconds, where it has just come back from there; undefined: it has not. */
export function awayMs({ steps }: Story): number | undefined {
  const [sent, back] = steps.filter(({ what }) => what !== 'problem' && what !== 'answered').slice(-2);
  return sent?.what === 'offered' && back?.what === 'back' ? Math.max(0, back.at - sent.at) : undefined;
}

/** It is on its way out of the broker. */
export function wasSent({ steps }: Story): boolean {
  const last = steps.findLast(({ what }) => what !== 'problem' && what !== 'answered')?.what;
  return last === 'offered' || last === 'delayed' || last === 'parked';
}
