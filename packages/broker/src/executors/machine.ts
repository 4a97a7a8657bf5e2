import type { KnimeUser } from '@kpx/protocol';
import { admits, HOPS_FREE, idleGrainMs, type Load, type Policy, ruleOf, tooOld } from '../policy/policy.js';
import { shareOf } from '../policy/turn.js';
import { setGroups, setPolicy, ungrouped, userOf } from './admission.js';
import { groupsUnknown, helperGreeted, listed, noHelper, notStarted, started, startGoesOn, usage } from './answers.js';
import { assertSound } from './assertions.js';
import { Books, forgetIfNothing, loadOf } from './books.js';
import { cancelAsked } from './cancelling.js';
import { accountLost, stopAsked } from './ending.js';
import { denial, type Effect, type Event } from './events.js';
import { type Explanation, explanationOf } from './explanation.js';
import { failing } from './failing.js';
import type { HostHealth } from './health.js';
import { cameBack, forward, hold, shorten, told } from './holding.js';
import { longestWaitMs, placesInLine, startQueued, waiting, waitsFor, wantsRoom } from './line.js';
import type { Executor } from './roster.js';
import { connectionsWanted, judgeAnew, judgeService } from './service.js';
import { startAnew, startAsked, startCancelled, wake, want } from './starting.js';
import type { State } from './states.js';
import { tick } from './time.js';
import { endsAgain, failsHere, honoursReplay, type User } from './user.js';

export { HOLD_MAX_MS } from './holding.js';

/*
 * The per-user state machine. Events in, effects out; no clock, no dice, no socket, no log of its own: `now` (milliseconds, monotonic) and
 * `random` ([0, 1)) come with each event. Every job that comes in leaves by exactly one effect, or is forgotten with the channel it came from.
 *
 * Sealed, `preparing` and `provisioning` come before `starting`.
 *
 *   idle -> queued -> starting -> booting -> ready -> idle
 *             ^          |           |         |
 *             |          v           v         v        backoff: waits for the next attempt, jobs are held
 *             +------- backoff <-----+---------+        broken:  start_attempts used up, jobs are parked until a trial is due
 *                        |                              refused: the helper will not, jobs are parked
 *                        +-> broken
 *
 * A `ready` user whose executor loses RabbitMQ is `lost`: jobs are held until it is connected again, or ended as a failed start.
 * A job of a `ready` user is forwarded at once, up to 64 whose fate is not known yet; one that keeps coming back is held, and offered again at the pace of its busy executor.
 * Users for whom there is no room stay `queued`, in line, each at the price of one held job; their other jobs wait in a delay queue.
 */

/** How often the machine is to be told that time has passed, in milliseconds, where nothing asks for more: the grain of every deadline. */
const TICK_MS = 100;

export class Machine {
  readonly #books: Books;

  constructor(policy: Policy) {
    this.#books = new Books(policy);
  }

  /** Throws {@link BrokenBooks}: none of the effects may be carried out, and no further event be told. */
  step(event: Event, now: number, random: number): Effect[] {
    const books = this.#books;
    const heldBefore = books.held;
    books.effects = [];
    books.now = now;
    books.random = random;
    handle(books, event);
    startQueued(books);
    assertSound(books, event, heldBefore);
    return books.effects;
  }

  /** In force. */
  get policy(): Policy {
    return this.#books.policy;
  }

  get health(): HostHealth {
    return this.#books.health;
  }

  get draining(): boolean {
    return this.#books.draining;
  }

  /** Undefined: this host is not drained, or there is no more to say of it. */
  get drainedWhy(): string | undefined {
    return this.#books.drainedWhy;
  }

  /** Whether connections of executors are to be looked for: soon, where one is not ready; now and then; or not at all. */
  get looksForConnections(): 'soon' | 'sometimes' | 'never' {
    return connectionsWanted(this.#books.policy, [...this.#books.executors.values()]);
  }

  /** Somebody waits for an executor that could be ended: look at them soon. */
  get wantsList(): boolean {
    return this.#books.policy.whenFull === 'evict-idle' && !this.draining && wantsRoom(this.#books);
  }

  /** When the next `tick` is wanted, in milliseconds from the last event. */
  get tickInMs(): number {
    return Math.max(1, Math.min(TICK_MS, this.#books.nextOfferAt - this.#books.now));
  }

  /** How often to look at the executors so that idle ones are ended in time, in milliseconds; undefined: none is ended. */
  get idleGrainMs(): number | undefined {
    const { policy, executors } = this.#books;
    return idleGrainMs(
      policy,
      [...executors.values()].some(({ leaving, ending }) => leaving && !ending),
    );
  }

  /** Executors that run: whose end is to be noticed. */
  running(): Iterable<Readonly<Executor>> {
    return this.#books.executors.values();
  }

  /** The one that this user's jobs go to. */
  executorOf(user: KnimeUser): Readonly<Executor> | undefined {
    return this.#books.executors.of(user);
  }

  /** An executor is to be there before the job, and is not yet. */
  wantsBeforeJob(user: KnimeUser): boolean {
    const { users, now } = this.#books;
    return now < (users.get(user)?.wanted?.until ?? now);
  }

  /** Of whom nothing is known, `idle`. */
  stateOf(user: KnimeUser): State {
    return this.#books.users.get(user)?.state ?? 'idle';
  }

  /** Whose groups are not known: executors that ran before the broker did, and users from before a rule asked. */
  ungrouped(): Set<KnimeUser> {
    return ungrouped(this.#books);
  }

  /** For status and tests. `executors` has those that are being started, as the limits have. */
  get counts() {
    const { held, users } = this.#books;
    const { executors, starting } = loadOf(this.#books);
    return {
      held,
      executors,
      starting,
      users: users.size,
      waiting: waiting(this.#books).length,
      longestWaitMs: longestWaitMs(this.#books),
    };
  }

  /** The users in line by the limit that they wait for. */
  waitsFor() {
    return waitsFor(this.#books);
  }

  /** How many users' starts have failed or were refused, by state and code. */
  failing() {
    return failing(this.#books);
  }

  /** Executors that have ended soon after they were ready, without a job; and of how many users they do so again and again. */
  get endedSoon(): { readonly executors: number; readonly users: number } {
    const { endedSoon: executors, users } = this.#books;
    return { executors, users: [...users.values()].filter(endsAgain).length };
  }

  /** Everybody who has jobs here, an executor, or a past. */
  users(): { readonly user: KnimeUser; readonly state: State; readonly held: number }[] {
    return [...this.#books.users.values()].map(({ name, state, held }) => ({ user: name, state, held: held.size }));
  }

  /** Says what a job of each of these known users would meet now. */
  explanations(names: Iterable<KnimeUser> = this.#books.users.keys()): Explanation[] {
    const [load, places] = [loadOf(this.#books), placesInLine(this.#books)];
    return [...names].flatMap((name) => {
      const user = this.#books.users.get(name);
      return user ? [placed(explained(this.#books, user.name, user.groups ?? [], user, load), places.get(user))] : [];
    });
  }

  /** Says what a job of this user would meet now. Changes nothing. */
  explain(name: KnimeUser, groups: readonly string[]): Explanation {
    const { policy, users, executors, now } = this.#books;
    const rule = ruleOf(policy, name, groups);
    const user = users.get(name);
    const explanation = explained(this.#books, name, groups, { rule, admitted: admits(policy, name, rule) }, loadOf(this.#books));
    const turn = { share: shareOf(rule), recent: Math.round(executors.recentMs(name, now)) };
    return placed({ ...explanation, turn }, user && placesInLine(this.#books).get(user));
  }
}

function explained(
  { users, executors, health, policy, now }: Books,
  name: KnimeUser,
  groups: readonly string[],
  { rule, admitted }: Pick<User, 'rule' | 'admitted'>,
  load: Load,
): Explanation {
  const [user, executor, sick] = [users.get(name), executors.of(name), health.refuses(name, now)];
  return explanationOf(name, groups, { policy, load, rule, admitted, user, executor, sick, now });
}

const placed = (explanation: Explanation, place: number | undefined): Explanation =>
  place === undefined ? explanation : { ...explanation, place };

type Kind = Event['kind'];
type EventOf = { readonly [K in Kind]: Extract<Event, { kind: K }> };

const HANDLERS: { readonly [K in Kind]: (books: Books, event: EventOf[K]) => void } = {
  job,
  taken: (books, { user, offer }) => told(books, user, offer, 'taken'),
  started,
  'start goes on': startGoesOn,
  'helper greeted': helperGreeted,
  'not started': notStarted,
  'no helper': (books, { user, detail }) => noHelper(books, user, detail),
  connections,
  'not ended': ({ executors, now }, { user }) => executors.of(user)?.end?.failed(now),
  listed: (books, { executors, askedAt }) => listed(books, executors, askedAt),
  usage,
  'account lost': (books, { osUser, why }) => accountLost(books, osUser, why),
  memory: (books, { availableBytes }) => {
    books.availableMemory = availableBytes;
  },
  policy: (books, { policy }) => setPolicy(books, policy),
  groups: (books, { user, groups }) => setGroups(books, user, groups),
  'groups unknown': groupsUnknown,
  drain: (books, { on, why }) => {
    books.draining = on;
    books.drainedWhy = on ? why : undefined;
    for (const user of books.line) shorten(books, user);
  },
  'start asked': (books, { user, groups }) => startAsked(books, user, groups),
  'start planned': (books, { user, groups, forMs, why }) =>
    want(books, userOf(books, user, groups), { until: books.now + forMs, why, yields: true }),
  'start cancelled': (books, { user }) => startCancelled(books, user),
  'stop asked': (books, { user, force }) => stopAsked(books, user, force),
  'stop when idle asked': ({ executors }, { pids }) => {
    for (const executor of executors.values()) if (pids.has(executor.pid)) executor.leaving = true;
  },
  'cancel asked': cancelAsked,
  'channel opened': (books) => {
    books.consuming = true;
    for (const executor of books.executors.values()) judgeAnew(books, executor);
  },
  'channel lost': (books) => {
    for (const user of books.users.values()) {
      user.held.clear();
      user.offering.lost();
    }
    books.held = 0;
    books.consuming = false;
  },
  tick,
};

const handle = <K extends Kind>(books: Books, event: EventOf[K]): void => HANDLERS[event.kind as K](books, event);

function job(
  books: Books,
  { ticket, user: name, hops, waited, replayed, groups, ageMs, refusal, awayMs, ...inHand }: EventOf['job'],
): void {
  if (refusal) told(books, name, refusal.offer, refusal.full ? 'full' : 'not now');
  const detail = tooOld(books.policy, ageMs);
  if (detail !== undefined) {
    books.effects.push({ kind: 'park', ticket, user: name, reason: 'JOB_TOO_OLD', detail });
    return;
  }
  const user = userOf(books, name, groups);
  if (!user.admitted.ok) {
    books.effects.push(denial(name, user.admitted.why, ticket));
    forgetIfNothing(books, user);
    return;
  }
  if (replayed && honoursReplay(user, books.now)) startAnew(books, user, 'an operator has replayed a job');
  if (user.state === 'idle') wake(books, user);
  switch (user.state) {
    case 'ready':
      if (hops < HOPS_FREE && user.held.size === 0 && user.offering.hasPlace) forward(books, user, ticket);
      else hold(books, user, ticket, hops, inHand);
      if (hops > 0 && !waited) cameBack(books, user, refusal !== undefined, awayMs);
      break;
    case 'broken':
    case 'refused':
      if (failsHere(user)) books.effects.push({ kind: 'hand back', ticket, user: name, why: user.detail, failed: false });
      else books.effects.push({ kind: 'park', ticket, user: name, reason: user.code, detail: user.detail });
      break;
    default:
      hold(books, user, ticket, hops, inHand);
  }
}

function connections(books: Books, { uids, unknown }: EventOf['connections']): void {
  for (const executor of books.executors.values()) {
    if (unknown?.has(executor.uid)) judgeAnew(books, executor);
    else executor.link.see(uids.has(executor.uid), books.now);
    judgeService(books, executor);
  }
}
