import { expect, it } from 'vitest';
import { alice, bob, carol, dave, EXECUTOR, erin, knimeUser } from '../../test-fixtures/executors.js';
import { configSchema, policyOf } from '../config/config.js';
import { PROBE_INITIAL_MS } from '../executors/health.js';
import { Machine } from '../executors/machine.js';
import type { LinkStatus } from '../host/link.js';
import { ReadModel } from './read-model.js';

const mallory = knimeUser('mallory');
const config = configSchema.parse({ amqp: { urls: ['amqp://kpx-broker@127.0.0.1'] }, policy: { deny: [mallory] } });
const up: LinkStatus = { connected: true, since: '2026-11-28T03:12:47Z', reason: null, next_try: null };

type Step = (event: Parameters<Machine['step']>[0]) => unknown;

const startAsked = (user: typeof alice) => (step: Step) => step({ kind: 'start asked', user, groups: undefined });

/** A host on which alice's executor runs and the starts of three others have failed. */
function sickHost() {
  const machine = new Machine(policyOf(config));
  const step: Step = (event) => machine.step(event, performance.now(), 0.5);
  step({ kind: 'listed', executors: [EXECUTOR], askedAt: performance.now() });
  for (const [ticket, user] of [bob, carol, dave].entries()) {
    step({ kind: 'job', ticket, user, hops: 0, waited: false, replayed: false, ageMs: 0, groups: undefined, crowded: false });
    step({ kind: 'not started', user, code: 'HOST_FAILED', detail: 'no program' });
  }
  return { step, record: new ReadModel(machine, () => ({ config, links: { rabbitmq: up, helper: up }, planned: new Map() })) };
}

it.each<[string, ...((step: Step) => unknown)[]]>([
  ['of a user whose executor runs', startAsked(alice)],
  ['of a user who is denied', startAsked(mallory)],
  ['on a host that is drained', (step) => step({ kind: 'drain', on: true }), startAsked(erin)],
  ['twice', startAsked(erin), startAsked(erin)],
])('the state of a host that starts no executors can be told after an order for a start %s', (_, ...orders) => {
  const { step, record } = sickHost();
  const before = performance.timeOrigin + performance.now();
  for (const order of orders) order(step);
  expect(record.line()).toContain('no executor is started since');
  const { sick } = record.status();
  expect(Date.parse(sick?.next_try ?? '')).toBeLessThanOrEqual(before + PROBE_INITIAL_MS + 1_000);
});
