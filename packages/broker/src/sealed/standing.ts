import type { OsUser } from '@kpx/protocol';
import type { DeclaredQueue } from '../rabbitmq/provisioning.js';
import type { AccountSession } from './account-session.js';
import { replyToOf, UP_QUEUE } from './names.js';
import type { RefusedCounts } from './refused.js';
import type { Replies } from './replies.js';

/**
 * The state of an account's virtual host. `connecting`: the broker is not connected there at the moment. `ending`: its executor has ended, and what it has
 * published and not done is on its way to the server. `kept`: there is no executor.
 */
export const VHOST_STATES = ['connected', 'connecting', 'ending', 'kept'] as const;
export type VhostState = (typeof VHOST_STATES)[number];

/** Messages that nobody has taken yet; null: nobody can say at the moment. */
interface Waiting {
  /** In the account's job queue. */
  readonly jobs: number | null;
  /** Published by the account, on their way to the server: in kpx.up, and in the queues that stand in for clients. */
  readonly up: number | null;
  readonly replies: number | null;
}

/** An account with a virtual host, for operators. */
export interface SealedAccount extends Waiting {
  readonly account: OsUser;
  readonly vhost: string;
  readonly state: VhostState;
  /** Answers that the account may give. */
  readonly open_answers: number;
  /** Messages that it has published and may not, since the broker started. */
  readonly refused: RefusedCounts;
  /** When its virtual host was connected to for an executor last, in ISO 8601; null: not known. */
  readonly last_used: string | null;
}

/** Accounts with a virtual host; `problem`: the accounts' RabbitMQ does not answer, so those without an executor are not in the list. */
export interface SealedList {
  readonly accounts: readonly SealedAccount[];
  readonly problem: string | null;
}

/** Counts of a broker whose executors are sealed. */
export interface SealedTally {
  /** Executors that share a RabbitMQ user, while an installation moves account by account. */
  readonly shared: number;
  /** Accounts with a virtual host. */
  readonly accounts: Readonly<Record<VhostState, number>>;
  /** Of those that are not connected, the ones that have been so for longer than a reconnection takes. */
  readonly lost: number;
  readonly vhosts_max: number;
  /** In the job queues of accounts with an executor, as they were seen last. */
  readonly jobs_waiting: number;
  readonly refused: RefusedCounts;
}

/** A lane, as operators see it. */
export interface Inside {
  readonly session: AccountSession | undefined;
  readonly isEnding: boolean;
  readonly replies: Replies;
  /** In milliseconds of the machine's clock, while there is no session. */
  readonly unconnectedSince: number;
  /** Job queues with earlier names. */
  readonly earlier: readonly string[];
}

/** How long an account may be without a connection before that is trouble, in milliseconds: one that is made again takes less. */
const LOST_AFTER_MS = 10_000;

export const isLost = ({ session, unconnectedSince }: Inside) => !session && performance.now() - unconnectedSince > LOST_AFTER_MS;

export function stateOf({ session, isEnding }: Inside): VhostState {
  if (isEnding) return 'ending';
  return session ? 'connected' : 'connecting';
}

const UNKNOWN: Waiting = { jobs: null, up: null, replies: null };

/** Looks itself, at this moment. Never rejects. */
export async function waitingIn({ session, replies, earlier }: Inside, jobQueue: string): Promise<Waiting> {
  if (!session) return UNKNOWN;
  const messages = async (queue: string) => (await session.look(queue))?.messages ?? 0;
  try {
    let [jobs, answers] = [0, 0];
    for (const queue of [jobQueue, ...earlier]) jobs += await messages(queue);
    const up = await messages(UP_QUEUE);
    for (const queue of replies.queues) answers += await messages(queue);
    return { jobs, up, replies: answers };
  } catch {
    return UNKNOWN; // the session has ended, and says so itself
  }
}

/** By what the management API says of a virtual host's queues, which may be some seconds old. */
export function waitingOf(queues: readonly DeclaredQueue[], jobQueue: string): Waiting {
  const named = (name: string) => {
    const queue = queues.find((each) => each.name === name);
    return queue === undefined ? 0 : (queue.messages ?? null);
  };
  const replies = queues.filter((queue) => replyToOf(queue) !== undefined).map(({ messages }) => messages);
  const sum = replies.some((count) => count === undefined) ? null : replies.reduce<number>((all, count = 0) => all + count, 0);
  return { jobs: named(jobQueue), up: named(UP_QUEUE), replies: sum };
}
