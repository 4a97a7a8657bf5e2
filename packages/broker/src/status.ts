import type { Config } from './config.js';
import { policyOf } from './config.js';
import type { Decision } from './decisions.js';
import type { Explanation, Machine } from './executors/machine.js';
import type { Executor } from './executors/roster.js';
import type { ExecutorState, Standing } from './metrics/metrics.js';

/** What the running broker says of itself. */
export interface Status {
  /** One line for people. */
  readonly doing: string;
  readonly draining: boolean;
  readonly rabbitmq: { readonly connected: boolean };
  readonly helper: { readonly connected: boolean };
  readonly capacity: {
    readonly executors: number;
    readonly max_executors: number;
    readonly starting: number;
    readonly max_starting: number;
    readonly held: number;
    readonly held_max: number;
    /** Users who wait for room. */
    readonly waiting: number;
  };
  /** In force; times in milliseconds, memory in bytes. */
  readonly policy: Config['policy'];
  readonly executors: readonly {
    readonly os_user: string;
    readonly uid: number;
    readonly pid: number;
    readonly user: string;
    readonly state: ExecutorState;
  }[];
  /** What a job of each user who is known here would meet now. */
  readonly users: readonly Explanation[];
  /** Of late, the oldest first. */
  readonly decisions: readonly Decision[];
}

export interface Connected {
  readonly rabbitmq: boolean;
  readonly helper: boolean;
}

const stateOf = ({ ending, ready }: Executor): ExecutorState => (ending ? 'ending' : ready ? 'ready' : 'booting');

/** Who has one. */
export function executorsOf(machine: Machine): Status['executors'] {
  return [...machine.running()].map((executor) => ({
    os_user: executor.osUser,
    uid: executor.uid,
    pid: executor.pid,
    user: executor.user,
    state: stateOf(executor),
  }));
}

/** For metrics. */
export function standingOf(machine: Machine, config: Config, connected: Connected): Standing {
  const running = [...machine.running()];
  const count = (state: ExecutorState) => running.filter((executor) => stateOf(executor) === state).length;
  const notReady = running.filter(({ ready }) => !ready).length;
  const { starting, held } = machine.counts;
  return {
    ...connected,
    draining: machine.draining,
    held,
    heldMax: policyOf(config).heldInAll,
    maxExecutors: config.policy.max_executors,
    executors: { starting: starting - notReady, booting: count('booting'), ready: count('ready'), ending: count('ending') },
    users: machine.users(),
  };
}

/** For people and programs that ask. */
export function statusOf(machine: Machine, config: Config, connected: Connected, doing: string, decisions: readonly Decision[]): Status {
  const { executors, starting, held, waiting } = machine.counts;
  const { max_executors, max_starting } = config.policy;
  return {
    doing,
    draining: machine.draining,
    rabbitmq: { connected: connected.rabbitmq },
    helper: { connected: connected.helper },
    capacity: { executors, max_executors, starting, max_starting, held, held_max: policyOf(config).heldInAll, waiting },
    policy: config.policy,
    executors: executorsOf(machine),
    users: machine.explanations(),
    decisions,
  };
}
