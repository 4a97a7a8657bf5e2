import { describe, expect, it } from 'vitest';
import { configSchema, policyOf } from '../config/config.js';
import type { WaitsFor } from '../executors/line.js';
import { Machine } from '../executors/machine.js';
import { Outcomes } from './outcomes.js';
import { type Facts, factsOf, PROBLEM_CODES, type ProblemCode, verdictOf } from './verdict.js';

const here = { connected: true, since: '2026-11-28T03:12:47Z', reason: null, next_try: null };
const gone = { ...here, connected: false, reason: 'connect ECONNREFUSED' };
const accounts = { connected: 1, connecting: 2, ending: 0, kept: 0 };
const refused = { by_name: 0, exchange: 0, key: 0, another_user: 0, not_asked: 0, reserved: 0, too_large: 0, headers: 0, forbidden: 0 };

/** Of a host without users. */
function idleHost(): Facts {
  const config = configSchema.parse({ amqp: { urls: ['amqp://kpx-broker@127.0.0.1'] }, policy: { max_executors: 20 } });
  return factsOf(new Machine(policyOf(config)), { rabbitmq: here, helper: here }, new Outcomes());
}

const idle = idleHost();
const { standing, tally } = idle;
const withStanding = (change: Partial<Facts['standing']>): Facts => ({ ...idle, standing: { ...standing, ...change } });
const waiting = (count: number, longest_wait: number, waits: Partial<Record<WaitsFor, number>> = { max_executors: count }): Facts => {
  const by = Object.entries(waits).map(([limit, users]) => [limit, { users, longest_wait }]);
  const capacity = { ...standing.capacity, executors: 20, waiting: count, longest_wait };
  return withStanding({ capacity, waits: { ...standing.waits, ...Object.fromEntries(by) } });
};
const failing = (change: Partial<Facts['failing']>): Facts => ({ ...idle, failing: { ...idle.failing, ...change } });
const sick = { since: '2026-11-28T03:12:47Z', why: 'exit 1', next_try: '2026-11-28T03:13:47Z' };
const job_queue = { version: '4.0.5', type: 'quorum', limit: 20, danger: 'delivery limit 20', fix: 'set the policy' };
const sealed = { accounts, lost: 2, shared: 0, vhosts_max: 200, jobs_waiting: 0, refused };

/** Each problem with what is said of it, and the next step. */
const ROWS: readonly (readonly [ProblemCode, 'attention' | 'trouble', Facts, what: string, next: string])[] = [
  ['rabbitmq', 'trouble', withStanding({ rabbitmq: gone }), 'no connection to RabbitMQ since 2026-11-28T03:12:47Z', 'kpxctl doctor'],
  ['helper', 'trouble', withStanding({ helper: gone }), 'no connection to kpx-privhelper since', 'kpx-privhelper.socket'],
  ['sick', 'trouble', withStanding({ sick }), 'those of several users in a row failed', 'kpxctl doctor'],
  [
    'waiting',
    'attention',
    waiting(1, 12_000),
    '1 user waits for room, the longest for 12s: max_executors 20',
    'kpxctl list --state queued',
  ],
  ['waiting', 'trouble', waiting(22, 145_000), '22 users wait for room, the longest for 2m25s: max_executors 20', 'docs/tune.md'],
  ['waiting', 'trouble', waiting(5, 61_000, { memory: 1, rule: 4 }), 'max_executors of a rule 4×, memory 1×', 'docs/tune.md'],
  ['draining', 'attention', withStanding({ drain: 'the host is being drained' }), 'the host is being drained', 'kpxctl resume'],
  ['loses_jobs', 'attention', withStanding({ job_queue }), 'jobs can be lost: delivery limit 20', 'set the policy'],
  [
    'given_up',
    'attention',
    failing({
      broken: new Map([
        ['START_FAILED', 1],
        ['EXECUTOR_WITHOUT_RABBITMQ', 2],
      ]),
    }),
    'of 3 users: EXECUTOR_WITHOUT_RABBITMQ 2×, START_FAILED 1×',
    'kpxctl logs USER',
  ],
  ['not_allowed', 'attention', failing({ refused: new Map([['ACCOUNT_DENIED', 1]]) }), 'of 1 user: ACCOUNT_DENIED', '[accounts]'],
  [
    'retrying',
    'attention',
    failing({ backoff: new Map([['LAUNCH_FAILED', 1]]) }),
    'tried again, of 1 user: LAUNCH_FAILED',
    'kpxctl list --state backoff',
  ],
  ['ends_soon', 'attention', { ...idle, endSoon: 2 }, 'executors of 2 users end soon after they are ready', 'kpxctl logs USER'],
  [
    'lost',
    'attention',
    { ...idle, tally: { ...tally, users: { ...tally.users, lost: 1 } } },
    'of 1 user have lost RabbitMQ',
    'kpxctl logs',
  ],
  ['sealed', 'attention', withStanding({ sealed }), 'the virtual hosts of 2 accounts', 'kpxctl sealed list'],
  ['letters', 'attention', withStanding({ queues: { jobs: 9, delayed: 2, dead_letters: 3 } }), '3 parked jobs lie in', 'dead-letters list'],
  [
    'file',
    'attention',
    withStanding({ file: { path: '/etc/kpx/broker.toml', why: '1 key differs' } }),
    '/etc/kpx/broker.toml is not in force: 1 key differs',
    'kpxctl reload',
  ],
  ['held', 'attention', withStanding({ capacity: { ...standing.capacity, held: 60, held_max: 64 } }), '60 of 64 jobs', 'amqp.prefetch'],
];

describe('the verdict', () => {
  it('is that all is well where nobody has to look at anything', () => {
    expect(verdictOf(idle)).toEqual({ level: 'well', headline: 'all is well: 0 of 20 executors, nobody waits', problems: [] });
    expect(verdictOf(waiting(2, 3_000)).headline).toBe('all is well: 20 of 20 executors, 2 users in line for a moment');
  });

  it.each(ROWS)('has of %s, %s, what is so and the next step', (code, level, facts, what, next) => {
    const verdict = verdictOf(facts);
    expect(verdict.level).toBe(level);
    expect(verdict.headline).toContain(what);
    expect(verdict.problems).toEqual([{ code, level, what: expect.stringContaining(what), next: expect.stringContaining(next) }]);
  });

  it('knows of no problem that is not among these', () => {
    expect([...new Set(ROWS.map(([code]) => code))].sort()).toEqual([...PROBLEM_CODES].sort());
  });

  it('begins with the worst, and counts the others', () => {
    const { level, headline, problems } = verdictOf({
      ...withStanding({ drain: 'the host is being drained', helper: gone }),
      failing: failing({ refused: new Map([['ACCOUNT_DENIED', 1]]) }).failing,
    });
    expect([level, problems.map(({ code }) => code)]).toEqual(['trouble', ['helper', 'draining', 'not_allowed']]);
    expect(headline).toMatch(/^no connection to kpx-privhelper .*; and 2 more problems$/);
  });

  it('finds nothing in a broker that may hold no job', () => {
    const { level, problems } = verdictOf(withStanding({ capacity: { ...standing.capacity, held: 0, held_max: 0 } }));
    expect([level, problems]).toEqual([verdictOf(withStanding({})).level, []]);
  });

  it('names a job queue that is refused once, as why RabbitMQ is not used', () => {
    const rabbitmq = { ...gone, reason: 'delivery limit 20; set the policy', refused: true } as const;
    const { problems } = verdictOf(withStanding({ rabbitmq, job_queue }));
    expect(problems).toMatchObject([{ code: 'rabbitmq', what: expect.stringContaining('delivery limit 20; set the policy') }]);
  });

  it('names draining and failing hosts once, and not the users who wait because of it', () => {
    const drained = { ...waiting(3, 90_000, { draining: 3 }) };
    const { problems } = verdictOf({
      ...drained,
      standing: { ...drained.standing, draining: true, drain: 'the host is being drained until 2026-11-30 18:00: a new KNIME' },
    });
    expect(problems).toMatchObject([
      { code: 'draining', what: 'no executor is started: the host is being drained until 2026-11-30 18:00: a new KNIME, and 3 users wait' },
    ]);
  });
});
