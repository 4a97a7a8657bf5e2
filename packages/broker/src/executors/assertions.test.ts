import { describe, expect, it } from 'vitest';
import { alice, EXECUTOR } from '../../test-fixtures/executors.js';
import { PLAIN_POLICY } from '../../test-fixtures/policy.js';
import { assertSound } from './assertions.js';
import { Books } from './books.js';
import { Ending } from './ending.js';
import type { Effect, Event } from './events.js';
import type { Executor } from './roster.js';
import type { State } from './states.js';
import { newUser, type User } from './user.js';

const JOB: Event = { kind: 'job', ticket: 1, user: alice, hops: 0, waited: false, groups: undefined, ageMs: 0 };
const GROUPS: Event = { kind: 'groups', user: alice, groups: [] };
const FORWARD: Effect = { kind: 'forward', ticket: 1, user: alice };

/** Books of a host with alice in this state, which are sound. */
function books(state: State, held = 0): { readonly books: Books; readonly user: User } {
  const books = new Books(PLAIN_POLICY);
  const user = newUser(alice, undefined);
  user.state = state;
  for (let ticket = 1; ticket <= held; ticket++) user.held.add(ticket, 0);
  books.held = held;
  books.users.set(alice, user);
  if (state === 'queued') books.line.add(user);
  if (state === 'starting') books.asked.add(user);
  if (state !== 'ready' && state !== 'booting') return { books, user };
  const { executor } = books.executors.adopt(EXECUTOR, PLAIN_POLICY, 0);
  if (state === 'ready') books.executors.markReady(executor, 0);
  return { books, user };
}

describe('after each event', () => {
  it.each<State>(['idle', 'queued', 'starting', 'booting', 'ready'])('takes sound books of a user who is %s', (state) => {
    const { books: sound } = books(state, 2);
    assertSound(sound, GROUPS, 2);
    assertSound(sound, JOB, 1);
    sound.effects = [FORWARD];
    assertSound(sound, JOB, 2);
  });

  it.each([
    ['a job that is in no book', 0, [], '0 jobs were held, 1 came and 0 left: 1, not 0'],
    ['a job that has left, and is held still', 1, [FORWARD], '0 jobs were held, 1 came and 1 left: 0, not 1'],
    ['a job that leaves twice', 0, [FORWARD, FORWARD], '0 jobs were held, 1 came and 2 left: -1, not 0'],
  ] satisfies [string, number, Effect[], string][])('finds %s', (_, held, effects, why) => {
    const { books: broken } = books('idle', held);
    broken.effects = effects;
    expect(() => assertSound(broken, JOB, 0)).toThrow(`${why} (after the event "job" of "alice")`);
  });

  it('finds a job that is held for nobody', () => {
    const { books: broken, user } = books('starting', 2);
    user.held.takeFirst(1);
    expect(() => assertSound(broken, GROUPS, 2)).toThrow('users hold 1 jobs, not 2');
  });

  it('finds a ready user without an executor', () => {
    const { books: broken } = books('ready');
    for (const executor of [...broken.executors.values()]) broken.executors.remove(executor, 0);
    expect(() => assertSound(broken, GROUPS, 0)).toThrow('"alice" is ready, and has no executor');
  });

  it('takes sound books of a user whose executor is ending: the user waits for the next one', () => {
    const { books: sound, user } = books('ready');
    for (const executor of sound.executors.values()) executor.end = new Ending(0, false);
    user.state = 'booting';
    assertSound(sound, GROUPS, 0);
  });

  it.each<[what: string, state: State, change: (books: Books, executor: Executor) => unknown, why: string]>([
    [
      'a ready user whose executor is not',
      'ready',
      (_, executor) => Object.assign(executor, { ready: false }),
      'is ready, and the executor is not',
    ],
    [
      'a ready user whose executor is ending',
      'ready',
      (_, executor) => Object.assign(executor, { end: new Ending(0, false) }),
      'is ready, and the executor is not',
    ],
    [
      'a user who waits for an executor that is ready',
      'booting',
      ({ executors }, executor) => executors.markReady(executor, 0),
      'is booting, and the executor is ready',
    ],
    ['a user who waits for none', 'booting', ({ executors }, executor) => executors.remove(executor, 0), 'is booting, and has no executor'],
  ])('finds %s', (_, state, change, why) => {
    const { books: broken } = books(state);
    for (const executor of [...broken.executors.values()]) change(broken, executor);
    expect(() => assertSound(broken, GROUPS, 0)).toThrow(`"alice" ${why}`);
  });

  it.each([
    ['queued', 'idle', '"alice" is idle, and in line'],
    ['idle', 'queued', '"alice" is queued, and not in line'],
    ['starting', 'idle', '"alice" is idle, and the helper was asked for an executor'],
    ['idle', 'starting', '"alice" is starting, and the helper was not asked for an executor'],
  ] satisfies [State, State, string][])('finds a user who was %s, is %s, and stands in the wrong list', (was, is, why) => {
    const { books: broken, user } = books(was);
    user.state = is;
    expect(() => assertSound(broken, GROUPS, 0)).toThrow(why);
  });

  it('finds users in line of whom nothing else is known', () => {
    const { books: broken } = books('queued');
    broken.users.clear();
    expect(() => assertSound(broken, GROUPS, 0)).toThrow('0 users are queued, and 1 in line');
  });

  it('looks at the user of each effect after a frequent event, and at all users within a second', () => {
    const { books: broken, user } = books('queued');
    broken.assertedAt = 5_000;
    broken.now = 5_001;
    user.state = 'idle';
    assertSound(broken, { kind: 'tick' }, 0);
    broken.effects = [{ kind: 'state', user: alice, state: 'idle', detail: '' }];
    expect(() => assertSound(broken, { kind: 'tick' }, 0)).toThrow('"alice" is idle, and in line');
    broken.effects = [];
    broken.now = 6_000;
    expect(() => assertSound(broken, { kind: 'tick' }, 0)).toThrow('"alice" is idle, and in line (after the event "tick")');
  });
});
