import type { KnimeUser, OsUser } from '@kpx/protocol';
import type { Effect, Event } from '../executors/events.js';
import { RESTING, type State } from '../executors/states.js';

/** Users of whom something is remembered, as many as there can be executors; who was last heard of longest ago goes first. */
const USERS_MAX = 5_000;
/** Changes of state, and failed starts, that are remembered of each user; the oldest go. */
const CHANGES_MAX = 16;
const FAILURES_MAX = 4;
/** Longest reason that is kept, in characters. */
const WHY_CHARS_MAX = 400;

/** A user's state has become another. */
export interface Change {
  /** ISO 8601. */
  readonly at: string;
  readonly state: State;
  readonly why: string;
  /** The answer to this request of the helper has led to it: `id` in the audit log. */
  readonly request?: number;
}

/** The fate of a user's jobs at this host since the broker started, as far back as the user is remembered. */
export interface JobCounts {
  forwarded: number;
  deferred: number;
  parked: number;
}

/** A user's past. */
export interface History {
  /** Where the user's executor ran last; undefined: not known. */
  account: { readonly os_user: OsUser; readonly uid: number } | undefined;
  readonly jobs: JobCounts;
  /** The oldest first. */
  readonly changes: Change[];
  /** Starts that failed or were refused, the oldest first. */
  readonly failures: Change[];
  lastParked: { readonly at: string; readonly reason: string; readonly detail: string } | undefined;
}

/**
 * The recent history of each user, for an operator who asks. The machine does not know of it: this sees the machine's events and effects go by,
 * and keeps nobody in the machine's books.
 */
export class Histories {
  /** The user who was heard of last is last. */
  readonly #users = new Map<KnimeUser, History>();

  observe(event: Event, effects: readonly Effect[]): void {
    if (event.kind === 'started') {
      const { osUser: os_user, uid } = event.executor;
      this.#heardOf(event.user).account = { os_user, uid };
    } else if (event.kind === 'listed') {
      for (const { osUser: os_user, uid, knimeUsers } of event.executors)
        for (const user of knimeUsers) if (this.#users.has(user)) this.#heardOf(user).account = { os_user, uid };
    }
    const answered = event.kind === 'started' || event.kind === 'not started' ? event : undefined;
    for (const effect of effects) this.#note(effect, effect.user === answered?.user ? answered.request : undefined);
  }

  of(user: KnimeUser): Readonly<History> | undefined {
    return this.#users.get(user);
  }

  /** Since when the user's state is what it is, in ISO 8601; undefined: since before anything was heard of the user. */
  since(user: KnimeUser): string | undefined {
    return this.#users.get(user)?.changes.at(-1)?.at;
  }

  #note(effect: Effect, request: number | undefined): void {
    const { kind } = effect;
    if (kind === 'start' || kind === 'stop' || kind === 'kill' || kind === 'hand back') return;
    const history = this.#heardOf(effect.user);
    if (kind === 'forward') history.jobs.forwarded += 1;
    else if (kind === 'defer') history.jobs.deferred += 1;
    else if (kind === 'park') {
      history.jobs.parked += 1;
      history.lastParked = { at: new Date().toISOString(), reason: effect.reason, detail: cut(effect.detail) };
    } else {
      const audited = request === undefined ? {} : { request };
      const change = { at: new Date().toISOString(), state: effect.state, why: cut(effect.detail), ...audited };
      keep(history.changes, change, CHANGES_MAX);
      if (RESTING.has(effect.state)) keep(history.failures, change, FAILURES_MAX);
    }
  }

  #heardOf(user: KnimeUser): History {
    const jobs = { forwarded: 0, deferred: 0, parked: 0 };
    const history = this.#users.get(user) ?? { account: undefined, jobs, changes: [], failures: [], lastParked: undefined };
    this.#users.delete(user);
    this.#users.set(user, history);
    const [oldest] = this.#users.keys();
    if (this.#users.size > USERS_MAX && oldest !== undefined) this.#users.delete(oldest);
    return history;
  }
}

function keep(list: Change[], change: Change, most: number): void {
  if (list.length >= most) list.shift();
  list.push(change);
}

const cut = (text: string) => (text.length <= WHY_CHARS_MAX ? text : `${text.slice(0, WHY_CHARS_MAX - 1)}…`);
