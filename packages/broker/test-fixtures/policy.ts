import type { Policy } from '../src/policy/policy.js';

/** Small numbers, no rules, nothing limited but by number: what a test is about, it changes. */
export const PLAIN_POLICY: Policy = {
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
