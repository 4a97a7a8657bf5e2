import type { ErrorCode, KnimeUser } from '@kpx/protocol';
import { durationText } from '../output/duration.js';
import { hasRoom, type Load, mayStart, type Policy, profileOf, type Verdict } from '../policy/policy.js';
import type { Reason } from '../policy/reasons.js';
import type { Rule } from '../policy/rules.js';
import { STABLE_MS } from './executor-link.js';
import type { WaitsFor } from './line.js';
import { type Executor, stateOf } from './roster.js';
import { RESTING, STARTING, STATES, type State } from './states.js';
import { endsAgain, failsHere, type User } from './user.js';

/** The thing that a job waits for, or the code of the failure. */
export type Cause = WaitsFor | 'rabbitmq' | 'helper' | 'executor' | 'ends_soon' | Reason | ErrorCode;

/** An executor is started at a time that an operator has named. */
export interface Planned {
  /** In ISO 8601. */
  readonly at: string;
  /** Why none was started then; absent: it has not come, or the executor is on its way. */
  readonly refused?: string;
}

/** The answer to `explain`: what a job of a user would meet now. */
export interface Explanation {
  readonly user: KnimeUser;
  readonly groups: readonly string[];
  readonly rule: string;
  readonly profile: string;
  readonly state: State;
  readonly executor: string;
  readonly held: number;
  /** `fail` is said by kpxctl, which knows more of the account. */
  readonly decision: 'forward' | 'hold' | 'start' | 'fail' | 'wait' | 'park' | 'stay' | 'hand back';
  readonly why: string;
  /** Absent where nothing stands in the way of the job. */
  readonly cause?: Cause;
  /** Where jobs name their user, for people; only in the answer to `explain`. */
  readonly user_from?: string;
  /** Jobs in this name that the code of another account has published: how many were refused. As above. */
  readonly forged?: { readonly count: number; readonly account: string; readonly last: string };
  /** Of a user in line, counted from 1. */
  readonly place?: number;
  /** An operator has named a time for the start of an executor. Only where one user is asked about. */
  readonly planned?: Planned;
  /** The share and the recent executor time, in milliseconds, decide the place in line. Only where one user is asked about. */
  readonly turn?: { readonly share: number; readonly recent: number };
}

/** The facts at the moment of the question. */
interface Scene {
  readonly policy: Policy;
  readonly load: Load;
  /** The policy's verdict on the user. */
  readonly rule: Rule | undefined;
  readonly admitted: Verdict;
  /** Undefined where there is nothing to remember of the user. */
  readonly user: Readonly<User> | undefined;
  readonly executor: Readonly<Executor> | undefined;
  /** Why this host starts nothing for the user, whatever room there is. */
  readonly sick: string | undefined;
  /** Milliseconds, monotonic. */
  readonly now: number;
}

/** Says what a job of this user would meet now, and why. */
export function explanationOf(name: KnimeUser, groups: readonly string[], scene: Scene): Explanation {
  const { rule, user, executor } = scene;
  const held = user?.held.size ?? 0;
  const state = user?.state ?? (executor ? stateWith(executor) : 'idle');
  const [decision, why, cause] = withEnds(decisionOf(scene, state, held), user);
  const judged = rule?.label ?? 'none';
  const met = { decision, why, ...(cause !== undefined && { cause }) };
  return { user: name, groups, rule: judged, profile: profileOf(rule), executor: described(executor), held, state, ...met };
}

type Met = readonly [decision: Explanation['decision'], why: string, cause?: Cause | undefined];

/** Where nothing else is in the way than that this user's executors end by themselves. */
function withEnds(met: Met, user: Readonly<User> | undefined): Met {
  const [decision, why, cause] = met;
  if (!user || !endsAgain(user) || (cause !== undefined && cause !== 'executor')) return met;
  const ends = `the last ${user.endsSoon} executors ended with exit 0 within ${durationText(STABLE_MS)} after they were ready, without a job`;
  return [decision, `${why}; ${ends}`, 'ends_soon'];
}

function decisionOf({ policy, load, rule, admitted, user, executor, sick, now }: Scene, state: State, held: number): Met {
  if (!admitted.ok) return ['park', `USER_DENIED: ${admitted.why}`, 'USER_DENIED'];
  if (user && RESTING.has(state)) {
    const again = `; tried again in ${durationText(Math.max(1, Math.ceil((user.until - now) / 1_000)) * 1_000)}`;
    if (state === 'backoff') return [failsHere(user) ? 'hand back' : 'hold', `${failedStart(user, policy)}${again}`, user.cause];
    return [failsHere(user) ? 'hand back' : 'park', `${user.code}: ${user.detail}${again}`, user.cause];
  }
  if (executor && (!executor.ready || executor.ending)) return ['hold', STATES[stateOf(executor)].meaning, 'executor'];
  if (executor && user && held > 0) {
    const busyFor = durationText(now - user.offering.busySince);
    return ['hold', `the executor is busy: it has taken none of the ${held} job(s) that wait for it, for ${busyFor}`, 'executor'];
  }
  if (executor) return ['forward', `${STATES.ready.meaning}${earlier(executor)}`];
  if (STARTING.has(state)) return ['hold', STATES[state].meaning, 'executor'];
  if (sick !== undefined) return ['hand back', sick, 'host_sick'];
  const room = hasRoom(policy, load, rule);
  if (!room.ok) return ['wait', room.why, room.limit];
  const turn = mayStart(policy, load);
  return turn.ok ? ['start', `${load.executors} of ${policy.maxExecutors} executors run`] : ['wait', turn.why, 'max_starting'];
}

/** Which of the attempts it was, where the user is to blame. */
function failedStart(user: Readonly<User>, { startAttempts }: Policy): string {
  if (user.failures === 0) return `a start failed (${user.detail})`;
  return `start ${user.failures} of ${startAttempts} failed (${user.detail})`;
}

/** The state of a user of whom nothing is known but the executor. */
function stateWith(executor: Readonly<Executor>): State {
  const state = stateOf(executor);
  return state === 'ending' ? 'booting' : state;
}

function described(executor: Readonly<Executor> | undefined): string {
  if (!executor) return 'none';
  const { osUser, uid, pid } = executor;
  const state = stateOf(executor);
  return `account "${osUser}", uid ${uid}, pid ${pid}, ${state === 'booting' ? 'starting' : state}${earlier(executor)}${executor.leaving ? ', ended once it is idle' : ''}`;
}

/** It was not a job that it was started for. */
const earlier = ({ startedFor }: Readonly<Executor>) => (startedFor === undefined ? '' : `, started before the job (${startedFor})`);
