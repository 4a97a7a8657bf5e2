import { type ExecutorInfo, ExecutorState, type KnimeUser, knimeUserSchema, osUserSchema } from '@kpx/protocol';

export const [alice, bob, carol] = ['alice', 'bob', 'carol'].map((name) => knimeUserSchema.parse(name)) as [
  KnimeUser,
  KnimeUser,
  KnimeUser,
];

/** alice's running executor, as the helper lists it. */
export const EXECUTOR: ExecutorInfo = {
  ...{ osUser: osUserSchema.parse('alice'), uid: 1_001, knimeUsers: [alice], state: ExecutorState.running },
  ...{ sinceMs: 1, mainPid: 440, lastExit: '', cpuMs: 0 },
};

/** One of another account, whose name is the KNIME user's. */
export const executorOf = (user: KnimeUser, uid: number, mainPid: number): ExecutorInfo => ({
  ...EXECUTOR,
  ...{ osUser: osUserSchema.parse(user), uid, knimeUsers: [user], mainPid },
});
