import type { KnimeUser } from '@kpx/protocol';
import type { Limit, Load, Policy } from '../policy/policy.js';
import type { Effect } from './events.js';
import { HostHealth } from './health.js';
import { type Executor, Roster } from './roster.js';
import type { State } from './states.js';
import type { User } from './user.js';

/** All that the machine knows. The functions beside this file change it, each for its subject. Times in milliseconds of the machine's clock. */
export class Books {
  readonly users = new Map<KnimeUser, User>();
  readonly executors = new Roster();
  /** Users in state `queued`, in the order in which they came. */
  readonly line = new Set<User>();
  /** Users for whose executors the helper has been asked. */
  readonly asked = new Set<User>();
  readonly health = new HostHealth();
  availableMemory: number | undefined;
  draining = false;
  /** For people. */
  drainedWhy: string | undefined;
  /** Jobs are consumed: an executor without RabbitMQ is alone in that. */
  consuming = false;
  /** Jobs of all users. */
  held = 0;
  /** Executors that have ended soon after they were ready, since the broker started. */
  endedSoon = 0;
  /** When they were last looked at as a whole. */
  assertedAt = Number.NEGATIVE_INFINITY;
  /** When all that time brings was last looked at. */
  tickedAt = Number.NEGATIVE_INFINITY;
  /** When the next offer to a busy executor is due, at the earliest. */
  nextOfferAt = Number.POSITIVE_INFINITY;

  /** Of the event at hand: what it leads to, when it came, and its throw of the dice. */
  effects: Effect[] = [];
  now = 0;
  random = 0;

  constructor(public policy: Policy) {}
}

/** The counts that the policy limits. */
export const loadOf = ({ executors, asked, availableMemory, draining, drainedWhy }: Books): Load =>
  Object.assign(executors.load(asked), { availableMemory, draining, drainedWhy });

/** The users whose jobs go to this executor. */
export function* usersOf({ users, executors }: Books, executor: Executor): Iterable<User> {
  for (const user of [...users.values()]) if (executors.accountOf(user.name) === executor.osUser) yield user;
}

/** The user is in another state from now on. */
export function enter(books: Books, user: User, state: State, detail: string, limit?: Limit): void {
  if (user.state === state) return;
  user.state = state;
  user.stateSince = books.now;
  books.effects.push({ kind: 'state', user: user.name, state, detail, ...(limit && { limit }) });
}

/** Keeps the books as small as what is going on: an idle user without a past is no entry. */
export function forgetIfNothing(books: Books, user: User): void {
  if (user.state === 'idle' && user.held.size === 0 && user.failures === 0 && user.endsSoon === 0) books.users.delete(user.name);
}
