import { describe, expect, it } from 'vitest';
import { info, knimeUser } from '../../test-fixtures/executors.js';
import { configSchema, policyOf } from '../config/config.js';
import { Machine } from '../executors/machine.js';
import { Histories } from '../record/histories.js';
import { Outcomes } from '../record/outcomes.js';
import { snapshotOf } from './snapshot.js';

const here = { connected: true, since: '2026-11-28T03:12:47Z', reason: null, next_try: null };
const links = { rabbitmq: here, helper: { ...here, connected: false } };
const SNAPSHOT_BYTES_MAX = 64 * 1_024;

/** A host with 300 executors, 80 users in line with one job each, and 200 decisions. */
function snapshot({ user_labels }: { user_labels: boolean }) {
  const config = configSchema.parse({
    amqp: { urls: ['amqp://kpx-broker@127.0.0.1'], prefetch: 2_000 },
    policy: { max_executors: 300 },
    http: { user_labels },
  });
  const machine = new Machine(policyOf(config));
  const executors = Array.from({ length: 300 }, (_, index) => info(`running-${index}`, 10_000 + index));
  machine.step({ kind: 'listed', executors, askedAt: 1 }, 1, 0.5);
  for (let ticket = 0; ticket < 80; ticket++) {
    machine.step(
      { kind: 'job', ticket, user: knimeUser(`waiting-${ticket}`), hops: 0, waited: false, groups: undefined, ageMs: 0 },
      2,
      0.5,
    );
  }
  const outcomes = new Outcomes();
  for (const reason of ['USER_DENIED', 'BODY_NOT_JSON', 'USER_DENIED', 'HOME_UNUSABLE']) outcomes.left('parked', reason);
  outcomes.left('forwarded');
  const decisions = Array.from({ length: 200 }, (_, index) => ({
    at: new Date(index).toISOString(),
    user: 'alice',
    what: `decision ${index}`,
  }));
  return snapshotOf({ machine, config, links, planned: new Map(), histories: new Histories(), decisions, outcomes });
}

describe('what the status page is told', () => {
  it('is counts and states', () => {
    const { now, people, decisions } = snapshot({ user_labels: false });
    expect(now).toMatchObject({
      rabbitmq: true,
      helper: false,
      draining: false,
      executors: { starting: 0, booting: 300, ready: 0, lost: 0, ending: 0 },
      capacity: { executors: 300, max_executors: 300, held: 80, held_max: 1_000, waiting: 80 },
      users: [{ state: 'queued', meaning: 'waits for room', users: 80 }],
      jobs: { forwarded: 1, deferred: 0, parked: 4, returned: 0 },
    });
    expect(now.parked.map(({ reason, jobs }) => [reason, jobs])).toEqual([
      ['USER_DENIED', 2],
      ['BODY_NOT_JSON', 1],
      ['HOME_UNUSABLE', 1],
    ]);
    for (const { advice } of now.parked) expect(advice).toMatch(/\.$/);
    expect([people, decisions]).toEqual([null, null]);
    expect(JSON.stringify(now)).not.toMatch(/alice|running-|waiting-/);
  });

  it('has names where they are told, the first of each and how many there are beyond', () => {
    const told = snapshot({ user_labels: true });
    const { people, decisions } = told;
    expect([people?.executors.length, people?.executorsBeyond]).toEqual([200, 100]);
    expect([people?.waiting.length, people?.waitingBeyond]).toEqual([50, 30]);
    expect(people?.waiting[0]).toEqual({ user: 'waiting-0', state: 'queued', held: 1, why: '300 of 300 executors run (max_executors)' });
    expect(decisions?.length).toBe(50);
    expect(decisions?.[0]?.what).toBe('decision 199');
    expect(Buffer.byteLength(JSON.stringify(told))).toBeLessThan(SNAPSHOT_BYTES_MAX);
  });
});

it('has nothing of sealed executors where there are none, and otherwise their counts and what was refused, the most frequent first', () => {
  expect(snapshot({ user_labels: false }).now.sealed).toBe(null);
  const refused = { by_name: 1, exchange: 0, key: 7, another_user: 0, not_asked: 0, reserved: 0, too_large: 0, headers: 0, forbidden: 0 };
  const accounts = { connected: 3, connecting: 0, ending: 1, kept: 40 };
  const sealed = { accounts, lost: 0, shared: 2, vhosts_max: 200, jobs_waiting: 5, refused };
  const config = configSchema.parse({ amqp: { urls: ['amqp://kpx-broker@127.0.0.1'] } });
  const machine = new Machine(policyOf(config));
  const rest = { planned: new Map(), histories: new Histories(), decisions: [], outcomes: new Outcomes() };
  expect(snapshotOf({ machine, config, links: { ...links, sealed }, ...rest }).now.sealed).toEqual({
    shared: 2,
    ...{ accounts, vhosts_max: 200, jobs_waiting: 5 },
    refused: [
      { reason: 'key', meaning: expect.stringContaining('does not name the routing key'), messages: 7 },
      { reason: 'by_name', meaning: expect.stringContaining('kpx.up'), messages: 1 },
    ],
  });
});
