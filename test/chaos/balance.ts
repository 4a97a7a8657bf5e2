import {
  type Cancellation,
  causesOf,
  type Done,
  escapes,
  exposuresOf,
  type Move,
  mayBeParked,
  type Occurrence,
  type Parked,
  unloggedOf,
  wasCancelled,
} from './causes.js';
import { type FaultKind, factsOf } from './plan.js';
import type { Sent } from './publisher.js';
import { contradiction, type Told } from './stories.js';

/*
 * The books of a run, balanced: every job that RabbitMQ has confirmed to the publisher is in one place; where it is in more, or parked although it
 * was to be done, a fault of the run must be the cause. The helpers' audit log must have every line, and a cut for each helper that the run has ended
 * without a word. A pure function of what was seen. Times are milliseconds since the epoch.
 */

/** What `kpxctl audit verify` says of the log of all helpers of the run. */
export interface Audited {
  readonly parts: number;
  readonly lines: number;
  /** Processes that were cut by kill. */
  readonly cuts: number;
  /** Whatever else it has found, for people. */
  readonly others: readonly string[];
}

export interface Evidence {
  /** When the run began: times that people read count from here. */
  readonly begunAt: number;
  readonly sent: readonly Sent[];
  readonly done: readonly Done[];
  readonly parked: readonly Parked[];
  /** Ids of what still lies in a queue. */
  readonly queued: readonly string[];
  readonly moves: readonly Move[];
  readonly faults: readonly Occurrence[];
  readonly cancelled: readonly Cancellation[];
  readonly stories: readonly Told[];
  readonly audit: Audited;
}

export interface Balance {
  /** What was counted, for people. */
  readonly rows: readonly (readonly [what: string, jobs: number])[];
  /** What does not balance; empty when all does. */
  readonly problems: readonly string[];
}

/** These end a helper before it can write its last line. */
const CUTS: readonly FaultKind[] = ['helper: kill -9', 'helper: log lost'];

const nameOf = ({ kind, what }: Occurrence) => (what === '' ? kind : `${kind} (${what})`);

class Tally {
  readonly #counts = new Map<string, number>();
  add(what: string, count = 1): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + count);
  }
  get total(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }
  rows(title: string): [string, number][] {
    return [...this.#counts].sort(([a], [b]) => a.localeCompare(b)).map(([what, count]) => [`${title}${what}`, count]);
  }
}

const by = <T extends { readonly job: string }>(all: readonly T[]) => {
  const groups = new Map<string, T[]>();
  for (const one of all) groups.set(one.job, [...(groups.get(one.job) ?? []), one]);
  return (job: string) => groups.get(job) ?? [];
};

interface Places {
  readonly done: readonly Done[];
  readonly parked: readonly Parked[];
  readonly queued: number;
}

/** The books under way: counts, and what is wrong. */
class Books {
  readonly problems: string[] = [];
  readonly #evidence: Evidence;
  readonly #counts = { never: 0, once: 0, more: 0, lost: 0 };
  readonly #again = new Tally();
  readonly #reasons = new Tally();
  readonly #cancelled: (job: string) => readonly Cancellation[];
  readonly #stories: (job: string) => readonly Told[];

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
    this.#cancelled = by(evidence.cancelled);
    this.#stories = by(evidence.stories);
  }

  enter(job: Sent, places: Places, moves: readonly Move[]): void {
    const { id, kind, user, confirmed } = job;
    const copies = places.done.length + places.parked.length + places.queued;
    const wrong = (what: string) => this.problems.push(`${id} (${kind}, ${user}) ${what}: ${this.#history(places, moves)}`);
    if (copies === 0) this.#counts[confirmed ? 'lost' : 'never'] += 1;
    if (copies === 0 && confirmed) wrong('is lost');
    if (places.queued > 0) wrong('is still in a queue');
    if (places.done.length > 0) this.#counts[places.done.length === 1 ? 'once' : 'more'] += 1;
    if (places.done.length > 0 && factsOf(kind).reason !== undefined) wrong('was done');
    if (places.done.some(({ account }) => account !== user)) wrong('was done under another account');
    for (const letter of places.parked) {
      this.#reasons.add(letter.reason);
      const isDue = wasCancelled(letter, this.#cancelled(id)) || mayBeParked(letter, job, this.#evidence.faults);
      if (!isDue) wrong(`is parked for ${letter.reason} (${letter.detail})`);
    }
    if (copies > 1) this.#explain(job, places, moves, copies - 1, wrong);
    this.#ofOperators(id, places, moves, wrong);
  }

  /** A cancelled job is parked as that, and the story of a job in one place tells which one. */
  #ofOperators(job: string, { done, parked, queued }: Places, moves: readonly Move[], wrong: (what: string) => void): void {
    const { faults } = this.#evidence;
    const copies = done.length + parked.length + queued;
    const until = Math.max(...[...done, ...parked].map(({ at }) => at));
    const isParked = parked.some(({ reason }) => reason === 'CANCELLED');
    const kept = this.#cancelled(job).find((cancellation) => copies > 0 && !escapes(cancellation, until, moves, faults));
    if (kept && !isParked) wrong(`was cancelled (${kept.answer}) and is not parked as that`);
    const [told, another] = this.#stories(job);
    const wrongly = told && !another && copies === 1 ? contradiction(told, { done, parked }, faults) : undefined;
    if (wrongly !== undefined) wrong(wrongly);
  }

  /** Each copy beyond the first needs a time in which the job was between two places, and a fault at that time. */
  #explain(job: Sent, { done, parked, queued }: Places, moves: readonly Move[], tooMany: number, wrong: (what: string) => void): void {
    const lastAt = queued > 0 ? Number.POSITIVE_INFINITY : Math.max(...[...done, ...parked].map(({ at }) => at));
    const { faults } = this.#evidence;
    let unexplained = tooMany;
    for (const exposure of [...exposuresOf(moves, done, parked, lastAt), ...unloggedOf(job, faults, lastAt)]) {
      if (unexplained === 0) return; // a job that has been on its way for an hour has a thousand exposures
      const [cause] = causesOf(exposure, faults);
      if (!cause) continue;
      this.#again.add(nameOf(cause));
      unexplained -= 1;
    }
    if (unexplained === 0) return;
    this.#again.add('no fault of this run', unexplained);
    wrong(`has copies that no fault explains (${unexplained})`);
  }

  #history({ done, parked, queued }: Places, moves: readonly Move[]): string {
    const events = [
      ...moves.map(({ at, how }) => ({ at, what: how })),
      ...done.map(({ at, account }) => ({ at, what: `done by ${account}` })),
      ...parked.map(({ at }) => ({ at, what: 'lies parked' })),
    ].sort((a, b) => a.at - b.at);
    const seconds = (at: number) => `${((at - this.#evidence.begunAt) / 1_000).toFixed(1)} s`;
    const said = events.map(({ at, what }) => `${seconds(at)} ${what}`);
    return [...said, ...(queued > 0 ? [`${queued} queued`] : [])].join(', ') || 'no trace of it';
  }

  /** Nothing but cuts, and as many as helpers were killed. */
  audit({ cuts, others }: Audited): void {
    this.problems.push(...others.map((finding) => `kpxctl audit verify: ${finding}`));
    if (cuts === this.#killed) return;
    this.problems.push(`kpxctl audit verify finds ${cuts} processes that were cut by kill, and the run has killed ${this.#killed}`);
  }

  /** Each id of kpx is of one job, and each job has one. */
  ids(): void {
    const jobs = new Map<string, string>();
    for (const { id, job } of [...this.#evidence.done, ...this.#evidence.parked]) {
      const other = jobs.get(id) ?? job;
      if (id === '') this.problems.push(`${job} has no id of kpx`);
      else if (other !== job) this.problems.push(`${job} has the id of ${other}: ${id}`);
      jobs.set(id, job);
    }
  }

  get #killed(): number {
    return this.#evidence.faults.filter(({ kind }) => CUTS.includes(kind)).length;
  }

  rows(): (readonly [string, number])[] {
    const { sent, parked, queued, cancelled, stories, audit } = this.#evidence;
    const answered = (answer: Cancellation['answer']) => cancelled.filter((each) => each.answer === answer).length;
    return [
      ['published and confirmed', sent.filter(({ confirmed }) => confirmed).length],
      ['published, perhaps', sent.filter(({ confirmed }) => !confirmed).length],
      ['  of which never arrived', this.#counts.never],
      ['done once', this.#counts.once],
      ['done more than once', this.#counts.more],
      ['parked', parked.length],
      ...this.#reasons.rows('  '),
      ['still queued', queued.length],
      ['in more than one place, copies beyond the first', this.#again.total],
      ...this.#again.rows('  because of '),
      ['lost', this.#counts.lost],
      ['cancelled while held', answered('parked')],
      ['cancelled in a delay queue', answered('later')],
      ['stories told', stories.length],
      ['lines of the audit log', audit.lines],
      ['  its parts', audit.parts],
      ['  helpers that were killed', this.#killed],
      ['  cut by kill', audit.cuts],
    ];
  }
}

export function balance(evidence: Evidence): Balance {
  const { sent, done, parked, queued, moves } = evidence;
  const books = new Books(evidence);
  const [doneOf, parkedOf, movesOf, queuedOf] = [by(done), by(parked), by(moves), by(queued.map((job) => ({ job })))];
  for (const job of sent) {
    const { id } = job;
    books.enter(job, { done: doneOf(id), parked: parkedOf(id), queued: queuedOf(id).length }, movesOf(id));
  }
  books.ids();
  books.audit(evidence.audit);
  const known = new Set(sent.map(({ id }) => id));
  const found = new Set([...done, ...parked].map(({ job }) => job).concat(queued));
  const strangers = [...found].filter((id) => !known.has(id)).map((id) => `${id} was never published`);
  return { rows: books.rows(), problems: [...strangers, ...books.problems] };
}
