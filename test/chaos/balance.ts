import { BACKOFF_MAX_MS, JOB_MS, SILENCE_NOTICED_MS, START_WINDOW_MS } from './installation.js';
import { type Fault, type FaultKind, factsOf, USERS } from './plan.js';
import type { Sent } from './publisher.js';

/*
 * The books of a run, balanced: every job that RabbitMQ has confirmed to the publisher is in one place; where it is in more, or parked although it
 * was to be done, a fault of the run must be the cause. A pure function of what was seen. Times are milliseconds since the epoch.
 */

/** A fault as it was. */
export interface Occurrence extends Fault {
  readonly from: number;
  readonly to: number;
}

/** What a broker says that it has done with a job: evidence of where a copy may come from, never of where the job is. */
export interface Move {
  readonly job: string;
  /** In its words. */
  readonly how: string;
  readonly at: number;
  /** How long it was to wait in a delay queue; 0: it was forwarded or parked. */
  readonly delayMs: number;
}

export interface Done {
  readonly job: string;
  readonly account: string;
  readonly at: number;
}

export interface Parked {
  readonly job: string;
  readonly reason: string;
  readonly detail: string;
  readonly at: number;
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
}

export interface Balance {
  /** What was counted, for people. */
  readonly rows: readonly (readonly [what: string, jobs: number])[];
  /** What does not balance; empty when all does. */
  readonly problems: readonly string[];
}

type Party = 'broker' | 'RabbitMQ' | string;

/** A time in which a job was between two places, in the hands of a party. */
interface Exposure {
  readonly party: Party;
  readonly from: number;
  readonly to: number;
}

/** How long it may take, on a busy machine, until RabbitMQ has confirmed a copy and got the acknowledgement of the original. */
const SETTLE_MS = 3_000;
/** RabbitMQ writes down acknowledgements for classic queues a little later: those of so long before a kill -9 may be forgotten. */
const UNWRITTEN_MS = 2_000;
/** From the last failed start to the last job that is parked for it: while it is not tried again, and as long as failures count. */
const START_MEMORY_MS = START_WINDOW_MS + BACKOFF_MAX_MS + SETTLE_MS;

interface Break {
  /** Who cannot finish what they were at; undefined: everybody. */
  readonly whose?: (what: string) => (party: Party) => boolean;
  /** Does it break at once, however long it lasts? */
  readonly moment?: boolean;
  readonly beforeMs?: number;
  readonly afterMs?: number;
}

const ofBroker = () => (party: Party) => party === 'broker';
const ofWay = (way: string) => (party: Party) => (way === 'broker' ? party === 'broker' : isAccount(party));
const isAccount = (party: Party) => (USERS as readonly string[]).includes(party);

/** The faults that may leave a job in two places. An orderly end and another configuration do not, nor does the end of a helper. */
const BREAKS: Partial<Record<FaultKind, Break>> = {
  'broker: kill -9': { whose: ofBroker, moment: true },
  'broker: log lost': { whose: ofBroker, moment: true },
  'executor: kill -9': { whose: (account) => (party) => party === account, moment: true },
  'RabbitMQ: all connections closed': {},
  'RabbitMQ: app stopped': {},
  'RabbitMQ: kill -9': { beforeMs: UNWRITTEN_MS },
  'network: cut': { whose: ofWay },
  'network: refusing': { whose: ofWay },
  'network: half-open': { whose: ofWay, afterMs: SILENCE_NOTICED_MS },
  'RabbitMQ: mute': { whose: ofBroker },
  'executors: without RabbitMQ': { whose: () => isAccount },
};

/** While one of these lasts, RabbitMQ confirms nothing: what was under way is not settled before it is over. */
const STALLS: readonly FaultKind[] = ['RabbitMQ: memory alarm'];
/** These let go in order of what is settled in time, which it is not during a stall. */
const ENDS: readonly FaultKind[] = ['broker: SIGTERM', 'broker: another configuration'];

/** Which failures of a start, as the detail of a parked job says them, come of which faults. */
const START_FAILURES: readonly { readonly says: RegExp; readonly comesOf: (fault: Occurrence, user: string) => boolean }[] = [
  { says: /exit 1\b/, comesOf: ({ kind, what }, user) => kind === 'executor: installation broken' && what === user },
  { says: /SIGKILL/, comesOf: ({ kind, what }, user) => kind === 'executor: kill -9' && what === user },
  { says: /exit 143\b|SIGTERM|no failure is known/, comesOf: ({ kind }) => kind === 'helper: kill -9' || kind === 'helper: log lost' },
  { says: /chaos has it so/, comesOf: ({ kind }) => kind === 'helper: answers with errors' || kind === 'systemctl: slow' },
  {
    says: /exit 69\b|was not ready within|no connection to RabbitMQ/,
    comesOf: ({ kind, what }) =>
      kind === 'executors: without RabbitMQ' || kind.startsWith('RabbitMQ: ') || (kind.startsWith('network: ') && what === 'executors'),
  },
];

const touches = (exposure: Exposure, from: number, to: number) => exposure.from <= to && exposure.to >= from;

/** The faults that may have left a job in two places during an exposure. */
function breaksOf(exposure: Exposure, faults: readonly Occurrence[]): Occurrence[] {
  return faults.filter(({ kind, what, from, to }) => {
    const { whose, moment = false, beforeMs = 0, afterMs = 0 } = BREAKS[kind] ?? { whose: () => () => false };
    if (whose && !whose(what)(exposure.party)) return false;
    return touches(exposure, from - beforeMs, (moment ? from + SETTLE_MS : to) + afterMs);
  });
}

/** During a stall an exposure lasts, and an orderly end becomes a break. */
function causesOf(exposure: Exposure, faults: readonly Occurrence[]): Occurrence[] {
  const stall = faults.find(({ kind, from, to }) => STALLS.includes(kind) && touches(exposure, from, to));
  if (stall === undefined || exposure.party !== 'broker') return breaksOf(exposure, faults);
  const stalled = { ...exposure, to: Math.max(exposure.to, stall.to + SETTLE_MS) };
  const ends = faults.filter(({ kind, from, to }) => ENDS.includes(kind) && touches(stalled, from, to));
  return [...breaksOf(stalled, faults), ...ends];
}

/** Every time in which this job was between two places, the last place that it came to left out. */
function exposuresOf(moves: readonly Move[], done: readonly Done[], lastAt: number): Exposure[] {
  const ofMoves = moves.flatMap(({ at, delayMs }) => {
    const moved = { party: 'broker', from: at, to: at + SETTLE_MS };
    // RabbitMQ moves it back by itself when its time is over.
    return delayMs === 0 ? [moved] : [moved, { party: 'RabbitMQ', from: at + delayMs, to: at + delayMs + SETTLE_MS }];
  });
  const ofDone = done
    .filter(({ at }) => at < lastAt)
    .map(({ account, at }) => ({ party: account, from: at - JOB_MS - SETTLE_MS, to: at + SETTLE_MS }));
  return [...ofMoves, ...ofDone].filter(({ from }) => from <= lastAt);
}

/** What a broker does after it has lost its log, and before it ends, is in no log. */
const unloggedOf = ({ at }: Sent, faults: readonly Occurrence[], lastAt: number): Exposure[] =>
  faults
    .filter(({ kind, from, to }) => kind === 'broker: log lost' && from <= lastAt && to >= at)
    .map(({ from, to }) => ({ party: 'broker', from, to }));

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

const FAILED: ReadonlySet<string> = new Set(['START_FAILED', 'EXECUTOR_WITHOUT_RABBITMQ', 'HOSTS_FAILED']);

/** Is this letter one that had to be, or one that a fault has caused? */
function mayBeParked({ reason, detail, at }: Parked, { kind, user }: Sent, faults: readonly Occurrence[]): boolean {
  const due = factsOf(kind);
  if (reason === due.reason && detail.includes(due.detail ?? '')) return true;
  return faults.some((fault) => {
    if (reason === 'USER_DENIED') return fault.what === `${user} denied` && at >= fault.from && at <= fault.to + SETTLE_MS;
    if (!FAILED.has(reason) || fault.from > at || fault.to < at - START_MEMORY_MS) return false;
    return START_FAILURES.some(({ says, comesOf }) => says.test(detail) && comesOf(fault, user));
  });
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

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
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
      if (!mayBeParked(letter, job, this.#evidence.faults)) wrong(`is parked for ${letter.reason} (${letter.detail})`);
    }
    if (copies > 1) this.#explain(job, places, moves, copies - 1, wrong);
  }

  /** Each copy beyond the first needs a time in which the job was between two places, and a fault at that time. */
  #explain(job: Sent, { done, parked, queued }: Places, moves: readonly Move[], tooMany: number, wrong: (what: string) => void): void {
    const lastAt = queued > 0 ? Number.POSITIVE_INFINITY : Math.max(...[...done, ...parked].map(({ at }) => at));
    const { faults } = this.#evidence;
    const causes = [...exposuresOf(moves, done, lastAt), ...unloggedOf(job, faults, lastAt)]
      .map((exposure) => causesOf(exposure, faults)[0])
      .filter((cause) => cause !== undefined)
      .slice(0, tooMany);
    for (const cause of causes) this.#again.add(nameOf(cause));
    if (causes.length === tooMany) return;
    this.#again.add('no fault of this run', tooMany - causes.length);
    wrong(`has copies that no fault explains (${tooMany - causes.length})`);
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

  rows(): (readonly [string, number])[] {
    const { sent, parked, queued } = this.#evidence;
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
  const known = new Set(sent.map(({ id }) => id));
  const found = new Set([...done, ...parked].map(({ job }) => job).concat(queued));
  const strangers = [...found].filter((id) => !known.has(id)).map((id) => `${id} was never published`);
  return { rows: books.rows(), problems: [...strangers, ...books.problems] };
}
