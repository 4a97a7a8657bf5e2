/*
 * The states of users and executors, a row each, in the order in which people see them. Everything that lists states derives its list from this
 * table: the machine, metrics, status, kpxctl, the page, and what is remembered of a user. test/states.test.ts says so, of the documents as well.
 */

/** Facts of a state that the rest of the program needs. */
interface Row {
  /** A user or an executor can be in it; an executor that is `starting` has no process yet. `preparing` and `provisioning` come before that, where executors are sealed. */
  readonly of: 'user' | 'executor' | 'both';
  /** `serves`: the user waits for an executor that lives, or has it. `rests`: the user waits until the next start may be tried. */
  readonly phase: 'none' | 'line' | 'starts' | 'serves' | 'ends' | 'rests';
  /** Somebody may have to look at it. */
  readonly troubled: boolean;
  readonly log: 'debug' | 'info' | 'warn';
  /** The outcome of a start whose user comes here; undefined: nothing yet. */
  readonly start: 'ready' | 'failed' | 'refused' | 'ended' | undefined;
  /** For people: why a job waits, or leaves. */
  readonly meaning: string;
  /** Shown to people by kpxctl, in place of the name. */
  readonly shown?: string;
}

const PREPARING = 'the helper prepares the account for its executor';
const PROVISIONING = 'the virtual host and the RabbitMQ user of the account are being made';
const LOST = 'the executor has lost its connection to RabbitMQ; it is ended if that does not come back within lost_after';
const RETRIED = 'a start failed, and is tried again';
const GIVEN_UP = 'starts failed, jobs are parked';
const REFUSED = 'the helper refuses, jobs are parked';

export const STATES = {
  idle: { of: 'user', phase: 'none', troubled: false, log: 'info', start: 'ended', meaning: 'nothing to do', shown: 'no executor' },
  queued: { of: 'user', phase: 'line', troubled: true, log: 'debug', start: 'ended', meaning: 'waits for room' },
  preparing: { of: 'user', phase: 'starts', troubled: false, log: 'debug', start: undefined, meaning: PREPARING },
  provisioning: { of: 'user', phase: 'starts', troubled: false, log: 'debug', start: undefined, meaning: PROVISIONING },
  starting: { of: 'both', phase: 'starts', troubled: false, log: 'debug', start: undefined, meaning: 'the executor is being started' },
  booting: { of: 'both', phase: 'serves', troubled: false, log: 'info', start: undefined, meaning: 'the executor is starting' },
  ready: { of: 'both', phase: 'serves', troubled: false, log: 'info', start: 'ready', meaning: 'the executor is ready' },
  lost: { of: 'both', phase: 'serves', troubled: true, log: 'info', start: 'ended', meaning: LOST },
  ending: { of: 'executor', phase: 'ends', troubled: false, log: 'info', start: undefined, meaning: 'the executor is ending' },
  backoff: { of: 'user', phase: 'rests', troubled: true, log: 'warn', start: 'failed', meaning: RETRIED, shown: 'retrying' },
  broken: { of: 'user', phase: 'rests', troubled: true, log: 'warn', start: 'failed', meaning: GIVEN_UP, shown: 'given up' },
  refused: { of: 'user', phase: 'rests', troubled: true, log: 'warn', start: 'refused', meaning: REFUSED, shown: 'not allowed' },
} as const satisfies Readonly<Record<string, Row>>;

type Table = typeof STATES;
export type AnyState = keyof Table;
type StateWith<R extends Partial<Row>> = { [S in AnyState]: Table[S] extends R ? S : never }[AnyState];

/** Of a user. */
export type State = StateWith<{ of: 'user' | 'both' }>;
export type ExecutorState = StateWith<{ of: 'executor' | 'both' }>;
export type RestingState = StateWith<{ phase: 'rests' }>;
export type StartingState = StateWith<{ phase: 'starts' }>;

export const ANY_STATES = Object.keys(STATES) as AnyState[];
/** How kpxctl names a state to people; programs get the name. A broker of another version may have states that are not known here. */
export const shownState = (state: AnyState): string => (STATES[state] as Row | undefined)?.shown ?? state;
const statesWith = (is: (row: Row) => boolean) => ANY_STATES.filter((state) => is(STATES[state]));
export const USER_STATES = statesWith(({ of }) => of !== 'executor') as State[];
export const EXECUTOR_STATES = statesWith(({ of }) => of !== 'user') as ExecutorState[];
export const WITH_EXECUTOR: ReadonlySet<AnyState> = new Set(statesWith(({ phase }) => phase === 'serves'));
export const RESTING: ReadonlySet<AnyState> = new Set(statesWith(({ phase }) => phase === 'rests'));
export const STARTING: ReadonlySet<AnyState> = new Set(statesWith(({ phase }) => phase === 'starts'));
/** Somebody may have to look at these. */
export const TROUBLED: ReadonlySet<string> = new Set(statesWith(({ troubled }) => troubled));

/** How many are in each of `states`, those with none included. */
export function countedBy<S extends AnyState>(states: readonly S[], all: Iterable<{ readonly state: S }>): Record<S, number> {
  const counts = Object.fromEntries(states.map((state) => [state, 0])) as Record<S, number>;
  for (const { state } of all) counts[state] += 1;
  return counts;
}
