import { beforeEach, describe, expect, it } from 'vitest';
import { alice, EXECUTOR } from '../../test-fixtures/executors.js';
import { PLAIN_POLICY } from '../../test-fixtures/policy.js';
import type { JobFacts } from '../amqp/job-facts.js';
import type { Event } from '../executors/events.js';
import { Machine } from '../executors/machine.js';
import { STORIES_MAX, STORY_CHARS_MAX, STORY_KEPT_MS, Stories } from './stories.js';
import type { Story } from './story.js';

/** Longest id that AMQP has, in characters of one byte. */
const ID_CHARS_MAX = 255;

let machine: Machine;
let stories: Stories;
let now: number;
let tickets: number;

beforeEach(() => {
  machine = new Machine(PLAIN_POLICY);
  now = 1_000_000;
  tickets = 0;
  stories = new Stories(true, () => now);
});

const facts = (others: Partial<JobFacts> = {}): JobFacts => ({
  ...{ id: undefined, messageId: undefined, correlationId: undefined, traceparent: undefined, from: 'queue', firstSeen: undefined },
  ...others,
});
const step = (event: Event) => {
  const effects = machine.step(event, now, 0.5);
  stories.observe(event, effects, machine);
};
/** As the broker does with a job that has come. */
function job(others: Partial<JobFacts> = {}): Story {
  const story = stories.came(facts(others));
  story.user = alice;
  const ticket = ++tickets;
  stories.judged(story, ticket);
  step({ kind: 'job', ticket, user: alice, hops: 0, waited: false, groups: undefined, ageMs: 0 });
  return story;
}
const makeReady = () => {
  step({ kind: 'started', user: alice, executor: EXECUTOR });
  step({ kind: 'connections', uids: new Set([1_001]) });
};
const kinds = (story: Story | undefined) => story?.steps.map(({ what }) => what);

describe('the story of a job', () => {
  it('has it seen, held with the state of its user, and given to the executor', () => {
    const story = job({ messageId: 'm-1', correlationId: 'c-1', traceparent: '00-1-2-01' });
    now += 7;
    makeReady();
    stories.left(story.id, 'forwarded');
    expect(stories.find('m-1')).toEqual([story]);
    expect(stories.find('c-1')).toEqual([story]);
    expect(stories.find(story.id)).toEqual([story]);
    expect(story).toMatchObject({
      traceparent: '00-1-2-01',
      inHand: false,
      steps: [
        { at: 1_000_000, what: 'seen' },
        { at: 1_000_000, what: 'held', why: 'the executor is being started' },
        { at: 1_000_007, what: 'offered', executor: { os_user: 'alice', uid: 1_001, pid: EXECUTOR.mainPid } },
      ],
    });
  });

  it('goes on under its id when it comes back, and is another one of a copy that comes meanwhile', () => {
    const story = job({ messageId: 'm-1' });
    const copy = stories.came(facts({ id: story.id, messageId: 'm-1' }));
    expect(copy.id).not.toBe(story.id);
    stories.left(story.id, 'deferred');
    expect(job({ id: story.id, messageId: 'm-1', from: 'delay' })).toBe(story);
    expect(kinds(story)).toEqual(['seen', 'held', 'delayed', 'from delay', 'held']);
    expect(stories.find('m-1')).toEqual([copy, story]);
  });

  it('has when it goes back to the job queue, from the moment that RabbitMQ has it in a delay queue', () => {
    const story = job();
    now += 120_000; // an alarm of RabbitMQ
    stories.left(story.id, 'deferred', undefined, 10_000);
    expect(story.backAt).toBe(now + 10_000);
  });

  it('goes on when it comes back before RabbitMQ has confirmed that it was sent', () => {
    const story = job({ messageId: 'm-1' });
    makeReady();
    expect(job({ id: story.id, from: 'back' })).toBe(story);
    stories.left(story.id, 'forwarded'); // of the first time
    expect([story.inHand, kinds(story)]).toEqual([true, ['seen', 'held', 'offered', 'back', 'offered']]);
    stories.left(story.id, 'forwarded');
    expect([story.inHand, kinds(story)?.length]).toEqual([false, 5]);
  });

  it('says what RabbitMQ has confirmed where that is not as it was decided', () => {
    machine.step({ kind: 'listed', executors: [EXECUTOR], askedAt: now }, now, 0.5);
    makeReady();
    const story = job();
    stories.problem(story.id, 'no queue takes it');
    stories.left(story.id, 'deferred', undefined, 10_000);
    expect(kinds(story)).toEqual(['seen', 'offered', 'problem', 'delayed']);
    expect(story.steps.at(-1)?.why).toBe('for 10s');
    const forged = job();
    stories.left(forged.id, 'parked', { reason: 'SEALED_REFUSED', detail: 'forged' });
    expect(forged.steps.at(-1)).toMatchObject({ what: 'parked', reason: 'SEALED_REFUSED', why: 'SEALED_REFUSED: forged' });
  });

  it('has every job in hand in the queue again when the connection is lost', () => {
    const two = [job(), job()];
    stories.lost('the connection to RabbitMQ was lost');
    expect(two.map(({ inHand, steps }) => [inHand, steps.at(-1)?.what])).toEqual([
      [false, 'returned'],
      [false, 'returned'],
    ]);
    expect(kinds(job({ id: two[0]?.id }))).toEqual(['seen', 'held', 'returned', 'again', 'held']);
  });

  it('has the first answer of the executor that got it, and none of another account', () => {
    const story = job({ correlationId: 'c-1' });
    makeReady();
    stories.left(story.id, 'forwarded');
    stories.answered('bob', 'c-1');
    stories.answered('alice', 'c-2');
    expect(kinds(story)).not.toContain('answered');
    stories.answered('alice', 'c-1');
    stories.answered('alice', 'c-1');
    expect(kinds(story)).toEqual(['seen', 'held', 'offered', 'answered']);
  });

  it('is found by an id with control characters, as it is and as kpxctl prints it', () => {
    const story = job({ messageId: 'a\u001b[31m\u202eb' });
    expect(stories.find('a\u001b[31m\u202eb')).toEqual([story]);
    expect(stories.find('a\\u001b[31m\\u202eb')).toEqual([story]);
  });

  it('has the first and the last steps of a job that goes round for long', () => {
    const story = stories.came(facts());
    for (let round = 0; round < 1_000; round++) {
      stories.left(story.id, 'deferred');
      stories.came(facts({ id: story.id, from: 'delay' }));
    }
    expect(story.steps).toHaveLength(24);
    expect(story.leftOut).toBe(2_001 - 24);
    expect(kinds(story)?.slice(0, 2)).toEqual(['seen', 'delayed']);
  });
});

describe('the memory of jobs', () => {
  const past = (others: Partial<JobFacts>) => {
    const { id } = stories.came(facts(others));
    stories.left(id, 'parked', { reason: 'BODY_NOT_JSON', detail: 'no' });
  };

  it('has the last 10,000 of 100,000 different jobs, and every one in hand', () => {
    const held = job({ messageId: 'held' });
    for (let count = 0; count < 100_000; count++) past({ messageId: `m-${count}`, correlationId: `c-${count}` });
    expect(stories.kept.jobs).toBeGreaterThan(STORIES_MAX);
    expect(stories.kept.jobs).toBeLessThanOrEqual(STORIES_MAX + 256 + 1);
    expect(stories.find('held')).toEqual([held]);
    expect([stories.find('m-89999'), stories.find('c-89999')]).toEqual([[], []]);
    expect(stories.find('m-90000')).toHaveLength(1);
    expect(stories.kept.jobs).toBe(STORIES_MAX + 1);
  });

  it('has fewer of those with long texts', () => {
    const long = 'x'.repeat(ID_CHARS_MAX - 10);
    for (let count = 0; count < 2 * STORIES_MAX; count++) {
      const { id } = stories.came(facts({ messageId: `${long}${count}`, correlationId: `${long}${count}`, traceparent: 'y'.repeat(128) }));
      stories.left(id, 'parked', { reason: 'HEADERS_UNUSABLE', detail: 'z'.repeat(10_000) });
    }
    const { jobs, chars } = stories.kept;
    expect(jobs).toBeLessThan(STORIES_MAX);
    expect(chars).toBeLessThanOrEqual(STORY_CHARS_MAX);
    expect(chars).toBeGreaterThan(0.95 * STORY_CHARS_MAX);
  });

  it('ends after an hour without a word of the job', () => {
    past({ messageId: 'old' });
    now += STORY_KEPT_MS;
    past({ messageId: 'young' });
    expect(stories.find('old')).toHaveLength(1);
    now += 1;
    expect([stories.find('old'), stories.find('young').length, stories.kept.jobs]).toEqual([[], 1, 1]);
  });

  it('keeps a job that is to be cancelled when it comes back, whatever comes meanwhile', () => {
    const story = job({ messageId: 'm' });
    stories.left(story.id, 'deferred');
    stories.cancelLater(story);
    for (let count = 0; count < 2 * STORIES_MAX; count++) past({ messageId: `m-${count}` });
    expect([stories.cancelledLater, stories.came(facts({ id: story.id })).cancelled]).toEqual([1, true]);
    stories.left(story.id, 'parked', { reason: 'CANCELLED', detail: '' });
    expect([story.cancelled, stories.cancelledLater]).toEqual([false, 0]);
  });

  it('of a job that another host has parked for an operator forgets with the replay that it is cancelled', () => {
    const story = job({ messageId: 'm' });
    stories.left(story.id, 'deferred');
    stories.cancelLater(story);
    expect(stories.came(facts({ id: story.id, from: 'replay' })).cancelled).toBe(false);
  });
});
