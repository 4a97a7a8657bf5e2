import { knimeUserSchema, osUserSchema } from '@kpx/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Explanation } from '../executors/explanation.js';
import type { Change } from './histories.js';
import { tellStory } from './job-story.js';
import type { Step, Story } from './story.js';

const NOW = Date.parse('2026-11-29T10:00:00Z');
const alice = knimeUserSchema.parse('alice');
const executor = { os_user: osUserSchema.parse('alice'), uid: 1_001, pid: 440 };
const WAITS: Explanation = {
  ...{ user: alice, groups: [], rule: 'none', profile: 'default', state: 'queued', executor: 'none', held: 1 },
  ...{ decision: 'wait', why: '3 of 3 executors run (max_executors)', cause: 'max_executors' },
};

let runs: boolean;
let changes: Change[];
beforeEach(() => {
  runs = true;
  changes = [];
});

/** A step that began so many seconds ago. */
const ago = (seconds: number, what: Step['what'], more: Partial<Step> = {}): Step => ({
  at: NOW - seconds * 1_000,
  what,
  why: '',
  ...more,
});

function told(steps: Step[], story: Partial<Story> = {}, explanation: Explanation | undefined = WAITS) {
  const ids = { id: '0123456789-1', messageId: 'm-1', correlationId: undefined, traceparent: undefined, firstSeen: NOW - 99_000 };
  const rest = { user: alice, leftOut: 0, inHand: false, ticket: undefined, unconfirmed: 0, cancelled: false, backAt: undefined, chars: 0 };
  return tellStory({ ...ids, ...rest, ...story, steps }, { host: 'exec1', now: NOW, explanation, changes, runs: () => runs });
}

describe('the first line of a story', () => {
  it.each([
    ['waits since 42s: 3 of 3 executors run (max_executors)', [ago(42, 'seen'), ago(42, 'held')], { inHand: true }, 'raise policy.max'],
    ['waits in a delay queue for 10s: full, since 3s; now: 3 of 3', [ago(3, 'delayed', { why: 'for 10s: full' })], {}, 'raise policy.max'],
    [
      'went back to the job queue 55s ago, after a wait for 10s: full, and has not come here since',
      [ago(65, 'delayed', { why: 'for 10s: full' })],
      { backAt: NOW - 55_000 },
      'kpxctl logs alice. How many',
    ],
    ['; it is cancelled, and parked when it is here again', [ago(3, 'delayed'), ago(1, 'to be cancelled')], { cancelled: true }, 'raise'],
    ['parked 1m05s ago: USER_DENIED: no', [ago(65, 'parked', { why: 'USER_DENIED: no', reason: 'USER_DENIED' })], {}, 'Allow the user'],
    ['offered 2s ago to the executor of "alice" (uid 1001, pid 440)', [ago(2, 'offered', { executor })], {}, 'Ask again in 5 s'],
    ['taken 5s ago by the executor of "alice" (uid 1001, pid 440)', [ago(5, 'offered', { executor })], {}, 'kpxctl logs alice'],
    ['answered 7s ago', [ago(9, 'offered', { executor }), ago(7, 'answered')], {}, ''],
    ['in the job queue again since 7s: lost', [ago(7, 'returned', { why: 'lost' })], {}, 'raise policy.max'],
    ['RabbitMQ has not taken it: no queue', [ago(7, 'offered'), ago(6, 'problem', { why: 'no queue' })], { inHand: true }, 'kpxctl doctor'],
    ['under way since 1s: it is parked', [ago(1, 'parked')], { inHand: true }, 'Ask again in a moment'],
  ] as [headline: string, steps: Step[], story: Partial<Story>, next: string][])('is "%s"', (headline, steps, story, next) => {
    const job = told(steps, story);
    expect([job.headline, job.next]).toEqual([expect.stringContaining(headline), expect.stringContaining(next)]);
  });

  it('says of an executor that has ended that it has', () => {
    runs = false;
    expect(told([ago(60, 'offered', { executor })]).headline).toBe(
      'the executor of "alice" (uid 1001, pid 440) got it 1m00s ago, and has ended since',
    );
  });
});

describe('the steps of a story', () => {
  const change = (seconds: number, why: string, request?: number): Change => ({
    ...{ at: new Date(NOW - seconds * 1_000).toISOString(), state: 'backoff', why },
    ...(request !== undefined && { request }),
  });

  it('have what became of the user meanwhile, with the request of the audit log, and how long each took', () => {
    changes = [change(900, 'long ago'), change(60, 'before'), change(30, 'meanwhile', 17), change(1, 'afterwards')];
    const { steps } = told([ago(40, 'seen'), ago(40, 'held'), ago(10, 'offered', { executor })]);
    expect(steps.map(({ what, text, for_ms, request }) => [what, text, for_ms, request])).toEqual([
      ['user', "the user's state is retrying: before", 20_000, undefined],
      ['seen', 'it came from the job queue', 0, undefined],
      ['held', 'it is held', 10_000, undefined],
      ['user', "the user's state is retrying: meanwhile", 20_000, 17],
      ['offered', 'it goes to the executor of "alice" (uid 1001, pid 440)', 10_000, undefined],
    ]);
  });

  it('go on until now while the job waits', () => {
    changes = [change(1, 'just now')];
    expect(told([ago(40, 'held')], { inHand: true }).steps.map(({ for_ms }) => for_ms)).toEqual([39_000, 1_000]);
    expect(told([ago(40, 'delayed')]).steps).toHaveLength(2);
  });

  it('end with the wait in a delay queue', () => {
    changes = [change(1, 'just now')];
    const { steps } = told([ago(40, 'delayed', { why: 'for 10s: full' })], { backAt: NOW - 30_000 });
    expect(steps.map(({ text, for_ms }) => [text, for_ms])).toEqual([['it waits in a delay queue for 10s: full', 10_000]]);
  });
});
