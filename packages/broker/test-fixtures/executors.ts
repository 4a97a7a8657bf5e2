import { type ExecutorInfo, ExecutorState, type KnimeUser, knimeUserSchema, osUserSchema } from '@kpx/protocol';
import type { Effect } from '../src/executors/events.js';

export const knimeUser = (name: string): KnimeUser => knimeUserSchema.parse(name);
export const alice = knimeUser('alice');
export const bob = knimeUser('bob');
export const carol = knimeUser('carol');
export const dave = knimeUser('dave');
export const erin = knimeUser('erin');

/** The running executor of an account with the name of its KNIME user, as the helper lists it. */
export const info = (name: string, uid: number, given: Partial<ExecutorInfo> = {}): ExecutorInfo => ({
  ...{ osUser: osUserSchema.parse(name), uid, knimeUsers: [knimeUser(name)], state: ExecutorState.running },
  ...{ sinceMs: 1, mainPid: uid + 10_000, lastExit: '', cpuMs: 0 },
  ...given,
});

/** alice's. */
export const EXECUTOR: ExecutorInfo = info('alice', 1_001);

/** The effects in their order, without those for the log. */
export const kinds = (effects: readonly Effect[]) => effects.filter(({ kind }) => kind !== 'state').map(({ kind }) => kind);

/** The users of those of one kind. */
export const usersOf = (kind: Effect['kind'], effects: readonly Effect[]) =>
  effects.filter((effect) => effect.kind === kind).map(({ user }) => user);
