// What the broker itself takes to say all that it knows of 1,000 users, each with a running executor: without the way to whoever asks.

import { ExecutorState, knimeUserSchema, osUserSchema } from '@kpx/protocol';
import { configSchema, policyOf } from '../../packages/broker/src/config/config.js';
import type { Event } from '../../packages/broker/src/executors/events.js';
import { Machine } from '../../packages/broker/src/executors/machine.js';
import { ReadModel } from '../../packages/broker/src/record/read-model.js';
import { percentile, round } from './figures.js';

const USERS = 1_000;
const WARM_UP = 200;
const STATUSES = 200;
/** Longer than a connection has to last. */
const CONNECTED_MS = 60_000;

export interface StatusFigures {
  readonly users: number;
  readonly p50Ms: number;
  readonly maxMs: number;
  /** As JSON, which takes as long again. */
  readonly kb: number;
  readonly jsonP50Ms: number;
}

export function statuses(): StatusFigures {
  const config = configSchema.parse({ amqp: { urls: ['amqp://kpx-broker@127.0.0.1'] }, policy: { max_executors: USERS } });
  const connected = { connected: true, since: new Date(0).toISOString(), reason: null, next_try: null };
  const machine = new Machine(policyOf(config));
  const record = new ReadModel(machine, () => ({ config, links: { rabbitmq: connected, helper: connected }, planned: new Map() }));
  const tell = (event: Event, now: number) => record.observe(event, machine.step(event, now, 0.5), now);
  const users = Array.from({ length: USERS }, (_, index) => knimeUserSchema.parse(`user-${index}`));
  const executors = users.map((user, index) => ({
    ...{ osUser: osUserSchema.parse(user), uid: index + 1, knimeUsers: [user], state: ExecutorState.running },
    ...{ sinceMs: Date.now(), mainPid: index + 1, lastExit: '', cpuMs: 0 },
  }));
  tell({ kind: 'listed', executors, askedAt: 0 }, 0);
  for (const now of [1, CONNECTED_MS]) tell({ kind: 'connections', uids: new Set(executors.map(({ uid }) => uid)) }, now);
  for (const [ticket, user] of users.entries())
    tell({ kind: 'job', ticket, user, hops: 0, waited: false, groups: undefined, ageMs: 0 }, CONNECTED_MS);
  for (let count = 0; count < WARM_UP; count++) record.status();
  const [times, jsonTimes]: [number[], number[]] = [[], []];
  let kb = 0;
  for (let count = 0; count < STATUSES; count++) {
    const began = performance.now();
    const status = record.status();
    const made = performance.now();
    kb = JSON.stringify(status).length / 1_000;
    times.push(made - began);
    jsonTimes.push(performance.now() - made);
  }
  const [p50Ms, maxMs, jsonP50Ms] = [percentile(times, 0.5), Math.max(...times), percentile(jsonTimes, 0.5)].map((ms) => round(ms, 2));
  return { users: USERS, p50Ms: p50Ms ?? 0, maxMs: maxMs ?? 0, kb: round(kb, 0), jsonP50Ms: jsonP50Ms ?? 0 };
}
