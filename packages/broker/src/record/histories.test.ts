import { type KnimeUser, knimeUserSchema } from '@kpx/protocol';
import { describe, expect, it } from 'vitest';
import type { Effect, State } from '../executors/events.js';
import { Histories } from './histories.js';

const user = (name: string): KnimeUser => knimeUserSchema.parse(name);
const alice = user('alice');
const changed = (state: State, detail = '', who = alice): Effect => ({ kind: 'state', user: who, state, detail });

function observed(...effects: Effect[]): Histories {
  const histories = new Histories();
  histories.observe({ kind: 'tick' }, effects);
  return histories;
}

describe('what is remembered of a user', () => {
  it('is what became of the jobs, and the changes of state with those that were failures', () => {
    const ticket = 1;
    const histories = observed(
      changed('starting'),
      changed('backoff', 'LAUNCH_FAILED: no'),
      { kind: 'forward', ticket, user: alice },
      { kind: 'defer', ticket, user: alice, delayMs: 200, why: '' },
      { kind: 'park', ticket, user: alice, reason: 'JOB_TOO_OLD', detail: 'old' },
      changed('ready'),
    );
    expect(histories.of(alice)).toMatchObject({
      jobs: { forwarded: 1, deferred: 1, parked: 1 },
      changes: [{ state: 'starting' }, { state: 'backoff', why: 'LAUNCH_FAILED: no' }, { state: 'ready' }],
      failures: [{ state: 'backoff' }],
      lastParked: { reason: 'JOB_TOO_OLD', detail: 'old' },
    });
    expect(histories.since(alice)).toBe(histories.of(alice)?.changes[2]?.at);
  });

  it('has an end: the latest changes and failures, each cut', () => {
    const states: State[] = ['backoff', 'ready'];
    const histories = observed(
      ...Array.from({ length: 100 }, (_, count) => changed(states[count % 2] ?? 'idle', `${count} ${'x'.repeat(9_999)}`)),
    );
    const { changes = [], failures = [] } = histories.of(alice) ?? {};
    expect([changes.length, failures.length]).toEqual([16, 4]);
    expect(changes.at(-1)?.why).toMatch(/^99 x{396}…$/);
    expect(failures.at(-1)?.why).toMatch(/^98 /);
  });

  it('is of 5,000 users at most, those that were heard of last', () => {
    const many = Array.from({ length: 5_000 }, (_, count) => changed('ready', '', user(`user-${count}`)));
    const histories = observed(changed('ready'), ...many.slice(0, 4_999), changed('idle'), ...many.slice(4_999));
    expect(histories.of(alice)?.changes).toHaveLength(2);
    expect(histories.of(user('user-0'))).toBeUndefined();
    expect(histories.of(user('user-1'))).toBeDefined();
  });
});
