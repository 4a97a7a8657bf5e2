import type { KnimeUser } from '@kpx/protocol';
import type { JobQueue } from '../amqp/job-queue.js';
import { absence, type LinkStatus } from '../link.js';
import { admits, hasRoom, type Load, mayStart, type Policy, profileOf, ruleOf } from '../policy/policy.js';
import { type Executor, stateOf } from './roster.js';
import { STATES, type State } from './states.js';
import { failsHere, type User } from './user.js';

/** What `explain` says: what a job of a user would meet now. */
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
}

/** What the broker needs to do anything. */
export interface Links {
  readonly rabbitmq: LinkStatus;
  readonly helper: LinkStatus;
  /** As it was seen last; undefined: not yet. */
  readonly jobQueue?: JobQueue | undefined;
}

/** What is known when somebody asks. */
interface Scene {
  readonly policy: Policy;
  readonly load: Load;
  /** Undefined where there is nothing to remember of the user. */
  readonly user: Readonly<User> | undefined;
  readonly executor: Readonly<Executor> | undefined;
  /** Why this host starts nothing for the user, whatever room there is. */
  readonly sick: string | undefined;
  /** Milliseconds, monotonic. */
  readonly now: number;
}

/** What a job of this user would meet now, and why. */
export function explanationOf(name: KnimeUser, groups: readonly string[], { policy, load, user, executor, sick, now }: Scene): Explanation {
  const rule = ruleOf(policy, name, groups);
  const held = user?.held.size ?? 0;
  const state = user?.state ?? (executor ? stateWith(executor) : 'idle');
  const facts = { user: name, groups, rule: rule?.label ?? 'none', profile: profileOf(rule), executor: described(executor), held, state };
  const decide = (decision: Explanation['decision'], why: string) => ({ ...facts, decision, why });
  const admitted = admits(policy, name, rule);
  if (!admitted.ok) return decide('park', `USER_DENIED: ${admitted.why}`);
  if (state === 'broken' || state === 'refused')
    return decide(user && failsHere(user) ? 'hand back' : 'park', `${user?.code}: ${user?.detail}`);
  if (state === 'backoff') {
    const decision = user && failsHere(user) ? 'hand back' : 'hold';
    return decide(decision, `${user?.detail}; next attempt in ${Math.max(0, Math.ceil((user?.until ?? 0) - now))} ms`);
  }
  if (executor && (!executor.ready || executor.ending)) return decide('hold', STATES[stateOf(executor)].meaning);
  if (executor && held > 0) return decide('hold', `the executor is busy, ${held} jobs wait for it already`);
  if (executor) return decide('forward', STATES.ready.meaning);
  if (state === 'starting') return decide('hold', STATES.starting.meaning);
  if (sick !== undefined) return decide('hand back', sick);
  const room = hasRoom(policy, load, rule);
  if (!room.ok) return decide('wait', room.why);
  const turn = mayStart(policy, load);
  return turn.ok ? decide('start', `${load.executors} of ${policy.maxExecutors} executors run`) : decide('wait', turn.why);
}

/** The same where what it takes is not connected: without RabbitMQ no job comes, without the helper none starts an executor. */
export function meanwhile(explanation: Explanation, { rabbitmq, helper }: Links): Explanation {
  if (!rabbitmq.connected) return { ...explanation, decision: 'stay', why: absence('RabbitMQ', rabbitmq) };
  if (explanation.decision === 'start' && !helper.connected)
    return { ...explanation, decision: 'hold', why: absence('kpx-privhelper', helper) };
  return explanation;
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
  return `account "${osUser}", uid ${uid}, pid ${pid}, ${state === 'booting' ? 'starting' : state}`;
}
