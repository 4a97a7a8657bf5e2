import { knimeUserSchema } from '@kpx/protocol';
import { describe, expect, it } from 'vitest';
import { PLAIN_POLICY, rule } from '../../test-fixtures/policy.js';
import { evictable, hasRoom, idleForMs, type Load, type Policy } from './policy.js';
import { matchesPattern, type Rule, ruleFor } from './rules.js';

const GIB = 1024 ** 3;

const POLICY: Policy = {
  ...PLAIN_POLICY,
  maxExecutors: 4,
  deny: new Set(),
};

const IDLE_HOST: Load = { executors: 0, starting: 0, byRule: new Map(), availableMemory: undefined, draining: false };

const ANALYSTS = rule({ label: 'rule 1 "analysts"', groups: ['analysts'], maxExecutors: 2 });

describe('one more executor', () => {
  it.each<[policy: Partial<Policy>, load: Partial<Load>, rule: Rule | undefined, answer: string]>([
    [{}, {}, undefined, 'yes'],
    [{}, { executors: 3 }, undefined, 'yes'],
    [{}, { executors: 4 }, undefined, '4 of 4 executors run (max_executors)'],
    [{}, { draining: true }, undefined, 'the host is being drained'],
    [{}, { executors: 3, byRule: new Map([[ANALYSTS, 1]]) }, ANALYSTS, 'yes'],
    [{}, { executors: 3, byRule: new Map([[ANALYSTS, 2]]) }, ANALYSTS, '2 of 2 executors of rule 1 "analysts" run'],
    [{}, { executors: 3, byRule: new Map([[ANALYSTS, 2]]) }, undefined, 'yes'],
    [{ coreTokens: 32, tokensPerExecutor: 8 }, { executors: 3 }, undefined, 'yes'],
    [{ coreTokens: 31, tokensPerExecutor: 8 }, { executors: 3 }, undefined, '24 of 31 core tokens are taken, an executor takes 8'],
    [{ executorMemory: 4 * GIB }, { availableMemory: 4 * GIB }, undefined, 'yes'],
    [{ executorMemory: 4 * GIB, minAvailableMemory: GIB }, { availableMemory: 5 * GIB }, undefined, 'yes'],
    [
      { executorMemory: 4 * GIB, minAvailableMemory: GIB },
      { availableMemory: 8 * GIB, starting: 1 },
      undefined,
      '8192 MiB of memory are available, of which 4096 MiB are promised to executors that start; one more takes 4096 MiB, and 1024 MiB are to be left',
    ],
    [{ executorMemory: GIB }, { availableMemory: undefined }, undefined, 'the available memory of the host is not known'],
  ])('with %j and %j', (policy, load, rule, answer) => {
    const verdict = hasRoom({ ...POLICY, ...policy }, { ...IDLE_HOST, ...load }, rule);
    expect(verdict.ok ? 'yes' : verdict.why).toBe(answer);
  });
});

describe('a pattern', () => {
  it.each([
    ['alice', 'alice', true],
    ['alice', 'alice2', false],
    ['svc-*', 'svc-report', true],
    ['svc-*', 'svc-', true],
    ['svc-*', 'my-svc-report', false],
    ['*@corp', 'alice@corp', true],
    ['*@corp', 'alice@corp.org', false],
    ['a*c*e', 'alice', true],
    ['a*c*e', 'ace', true],
    ['a*c*e', 'ae', false],
    ['ab*ba', 'aba', false],
    ['*', 'anybody', true],
    ['corp\\*', 'corp\\alice', true],
    ['a.b', 'axb', false],
  ])('%s for %s: %s', (pattern, name, matches) => {
    expect(matchesPattern(pattern, name)).toBe(matches);
  });
});

describe('the rule for a user', () => {
  const rules = [
    { ...ANALYSTS, label: 'both', users: ['svc-*'] },
    { ...ANALYSTS, label: 'group' },
    { ...ANALYSTS, label: 'name', groups: [], users: ['alice', 'svc-*'] },
    { ...ANALYSTS, label: 'rest', groups: [], users: ['*'] },
  ];

  it.each([
    ['svc-report', ['analysts'], 'both'],
    ['svc-report', [], 'name'],
    ['alice', ['staff', 'analysts'], 'group'],
    ['ALICE', [], 'name'],
    ['bob', ['Analysts'], 'rest'],
  ])('%s in %j is the first that matches: %s', (user, groups, label) => {
    expect(ruleFor(rules, knimeUserSchema.parse(user), groups)?.label).toBe(label);
  });

  it('is none where none matches', () => {
    expect(ruleFor(rules.slice(0, 2), knimeUserSchema.parse('bob'), [])).toBeUndefined();
  });
});

describe('idleness', () => {
  const executor = { quietSince: 1_000, seenUntil: 121_000, ready: true, ending: false, rule: undefined };

  it.each([
    ['for as long as has been seen', executor, 120_000],
    ['not at all before it is ready', { ...executor, ready: false }, 0],
    ['not at all when it is ending', { ...executor, ending: true }, 0],
    ['not at all when its processor time is not known', { ...executor, seenUntil: undefined }, 0],
    ['not at all when it has had a job since the last look', { ...executor, quietSince: 130_000 }, 0],
  ])('%s', (_, given, expected) => {
    expect(idleForMs(given)).toBe(expected);
  });

  it('of evict_idle_after or more, the longest, is what is ended for another', () => {
    const short = { ...executor, quietSince: 61_001 };
    const long = { ...executor, quietSince: 500 };
    expect(evictable([short, executor, long], 60_000)).toBe(long);
    expect(evictable([short], 60_000)).toBeUndefined();
  });
});
