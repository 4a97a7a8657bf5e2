import { expect, it } from 'vitest';
import { alice, bob, carol, EXECUTOR } from '../../test-fixtures/executors.js';
import { PLAIN_POLICY, rule } from '../../test-fixtures/policy.js';
import type { Policy } from '../policy/policy.js';
import type { Event } from './events.js';
import { WAITS_FOR, type WaitsFor } from './line.js';
import { Machine } from './machine.js';

const OF_ALICE_AND_BOB = rule({ users: ['alice', 'bob'], maxExecutors: 1 });
const FEW_TOKENS = { coreTokens: 5, tokensPerExecutor: 4 };

/** alice has an executor, bob and carol come after it: 5 s and 2 s ago. */
it.each<[WaitsFor, Partial<Policy>, before: Event[]]>([
  ['max_executors', { maxExecutors: 1 }, []],
  ['rule', { rules: [OF_ALICE_AND_BOB, rule({ maxExecutors: 0 })] }, []],
  ['core_tokens', FEW_TOKENS, []],
  ['memory', { executorMemory: 1_000 }, [{ kind: 'memory', availableBytes: 999 }]],
  ['draining', {}, [{ kind: 'drain', on: true }]],
  ['max_starting', { maxStarting: 1 }, []],
])('users in line are counted by %s, with the longest wait', (limit, policy, before) => {
  let now = 1_000;
  let tickets = 0;
  const machine = new Machine({ ...PLAIN_POLICY, ...policy });
  const step = (event: Event) => machine.step(event, now, 0.5);
  const comes = (user: typeof alice) => step({ kind: 'job', ticket: ++tickets, user, hops: 0, waited: false, groups: [], ageMs: 0 });
  if (limit !== 'draining' && limit !== 'memory') comes(alice);
  if (limit !== 'max_starting') step({ kind: 'started', user: alice, executor: EXECUTOR });
  for (const event of before) step(event);
  comes(bob);
  now += 3_000;
  comes(carol);
  now += 2_000;
  step({ kind: 'tick' });
  const waits = machine.waitsFor();
  expect(waits[limit]).toEqual({ users: 2, longest_wait: 5_000 });
  const others = WAITS_FOR.filter((other) => other !== limit).map((other) => waits[other]);
  expect(others).toEqual(others.map(() => ({ users: 0, longest_wait: 0 })));
});
