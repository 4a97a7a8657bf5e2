import { profileNameSchema } from '@kpx/protocol';
import type { Policy } from '../src/policy/policy.js';
import type { Rule } from '../src/policy/rules.js';

/** Small numbers, no rules, nothing limited but by number: what a test is about, it changes. */
export const PLAIN_POLICY: Policy = {
  sealed: false,
  window: 8,
  maxExecutors: 3,
  maxStarting: 2,
  startAttempts: 3,
  startWindowMs: 1_800_000,
  backoffInitialMs: 2_000,
  backoffMaxMs: 60_000,
  deny: new Set(['mallory']),
  rules: [],
  whenFull: 'wait',
  accountLost: 'end',
  evictIdleAfterMs: 60_000,
  idleStopMs: undefined,
  idleCpuShare: 0.05,
  executorMemory: 0,
  minAvailableMemory: 0,
  coreTokens: 0,
  tokensPerExecutor: 0,
  jobMaxAgeMs: undefined,
  heldPerUser: 4,
  heldInAll: 8,
  startTimeoutMs: 120_000,
  readyDelayMs: undefined,
  readyForMs: 0,
  lostAfterMs: 30_000,
};

/** For everybody, and with nothing of its own but what is given. */
export const rule = (given: Partial<Rule>): Rule => ({
  ...{ label: 'rule 1', users: [], groups: [], action: 'allow', profile: profileNameSchema.parse('default') },
  ...{ maxExecutors: undefined, priority: 0, share: 1, jobsMax: undefined, runTimeMaxMs: undefined },
  ...{ idleStopMs: undefined, keepWarmMs: undefined, maxAgeMs: undefined, prestart: undefined },
  ...given,
});
