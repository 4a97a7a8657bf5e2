import { BACKOFF_MAX_MS, JOB_MS, SILENCE_NOTICED_MS, START_WINDOW_MS } from './installation.js';
import { type Fault, type FaultKind, factsOf, USERS } from './plan.js';
import type { Sent } from './publisher.js';

/* Which faults of a run may leave a job in two places, or have it parked. Pure functions. Times are milliseconds since the epoch. */

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
  /** The one that kpx has given it, x-kpx-id; '': none. */
  readonly id: string;
}

export interface Parked {
  readonly job: string;
  readonly reason: string;
  readonly detail: string;
  readonly at: number;
  readonly id: string;
}

/** A job that an operator has wanted parked. */
export interface Cancellation {
  readonly job: string;
  /** When the broker was asked. */
  readonly at: number;
  /** Its answer: the job is parked now, or when it is back from a delay queue. None: it has refused, or was away. */
  readonly answer: 'parked' | 'later' | 'none';
}

type Party = 'broker' | 'RabbitMQ' | string;

/** A time in which a job was between two places, in the hands of a party. */
interface Exposure {
  readonly party: Party;
  readonly from: number;
  readonly to: number;
}

/** How long it may take, on a busy machine, until RabbitMQ has confirmed a copy and got the acknowledgement of the original. */
export const SETTLE_MS = 3_000;
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
const ENDS: readonly FaultKind[] = ['broker: SIGTERM', 'broker: drained over a restart', 'broker: another configuration'];

/** A broker that starts anew knows of no cancelled jobs. */
const FORGETS: readonly FaultKind[] = ['broker: kill -9', 'broker: SIGTERM', 'broker: drained over a restart', 'broker: log lost'];

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
export function causesOf(exposure: Exposure, faults: readonly Occurrence[]): Occurrence[] {
  const stall = faults.find(({ kind, from, to }) => STALLS.includes(kind) && touches(exposure, from, to));
  if (stall === undefined || exposure.party !== 'broker') return breaksOf(exposure, faults);
  const stalled = { ...exposure, to: Math.max(exposure.to, stall.to + SETTLE_MS) };
  const ends = faults.filter(({ kind, from, to }) => ENDS.includes(kind) && touches(stalled, from, to));
  return [...breaksOf(stalled, faults), ...ends];
}

/** Every time in which this job was between two places, the last place that it came to left out. */
export function exposuresOf(moves: readonly Move[], done: readonly Done[], parked: readonly Parked[], lastAt: number): Exposure[] {
  const ofMoves = moves.flatMap(({ at, delayMs }) => {
    const moved = { party: 'broker', from: at, to: at + SETTLE_MS };
    // RabbitMQ moves it back by itself when its time is over.
    return delayMs === 0 ? [moved] : [moved, { party: 'RabbitMQ', from: at + delayMs, to: at + delayMs + SETTLE_MS }];
  });
  const ofDone = done
    .filter(({ at }) => at < lastAt)
    .map(({ account, at }) => ({ party: account, from: at - JOB_MS - SETTLE_MS, to: at + SETTLE_MS }));
  // The broker logs a parked job when RabbitMQ has confirmed it: of one that it parked right before its end, the letter alone tells.
  const ofParked = parked.filter(({ at }) => at < lastAt).map(({ at }) => ({ party: 'broker', from: at, to: at + SETTLE_MS }));
  return [...ofMoves, ...ofDone, ...ofParked].filter(({ from }) => from <= lastAt);
}

/** What a broker does after it has lost its log, and before it ends, is in no log. */
export const unloggedOf = ({ at }: Sent, faults: readonly Occurrence[], lastAt: number): Exposure[] =>
  faults
    .filter(({ kind, from, to }) => kind === 'broker: log lost' && from <= lastAt && to >= at)
    .map(({ from, to }) => ({ party: 'broker', from, to }));

const FAILED: ReadonlySet<string> = new Set(['START_FAILED', 'EXECUTOR_WITHOUT_RABBITMQ', 'HOSTS_FAILED']);

/** Is this letter one that had to be, or one that a fault has caused? */
export function mayBeParked({ reason, detail, at }: Parked, { kind, user }: Sent, faults: readonly Occurrence[]): boolean {
  const due = factsOf(kind);
  if (reason === due.reason && detail.includes(due.detail ?? '')) return true;
  return faults.some((fault) => {
    if (reason === 'USER_DENIED') return fault.what === `${user} denied` && at >= fault.from && at <= fault.to + SETTLE_MS;
    if (!FAILED.has(reason) || fault.from > at || fault.to < at - START_MEMORY_MS) return false;
    return START_FAILURES.some(({ says, comesOf }) => says.test(detail) && comesOf(fault, user));
  });
}

/** Is this letter one that an operator wanted? */
export const wasCancelled = ({ reason, at }: Parked, cancellations: readonly Cancellation[]) =>
  reason === 'CANCELLED' && cancellations.some((cancellation) => cancellation.at <= at);

/**
 * Why a job may be elsewhere than parked, although the broker has answered that it is cancelled. It has not got so far, or it has forgotten, while the
 * job was in a delay queue; or an executor has taken the job from the job queue after the delay. `until`: when the job was done or parked for another
 * reason.
 */
export function escapes({ at, answer }: Cancellation, until: number, moves: readonly Move[], faults: readonly Occurrence[]): boolean {
  if (answer === 'none') return true;
  if (answer === 'parked') return causesOf({ party: 'broker', from: at, to: at + SETTLE_MS }, faults).length > 0;
  const last = moves.findLast((move) => move.at <= until);
  if (last && last.delayMs > 0 && until >= last.at + last.delayMs) return true;
  return faults.some(({ kind, from, to }) => FORGETS.includes(kind) && to >= at && from <= until);
}
