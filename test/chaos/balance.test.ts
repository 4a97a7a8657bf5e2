import { describe, expect, it } from 'vitest';
import { type Audited, balance, type Evidence } from './balance.js';
import type { Cancellation, Move, Occurrence } from './causes.js';
import type { Sent } from './publisher.js';
import type { Told } from './stories.js';

const sent = (over: Partial<Sent> = {}): Sent => ({ id: 'j', kind: 'ordinary', user: 'alice', at: 0, confirmed: true, ...over });
const done = (at: number, account = 'alice') => ({ job: 'j', account, at, id: 'k-1' });
const fault = (kind: Occurrence['kind'], from: number, to = from, what = ''): Occurrence => ({
  kind,
  what,
  atMs: from,
  forMs: to - from,
  from,
  to,
});
const letter = (reason: string, detail: string, at = 100_000) => ({ job: 'j', reason, detail, at, id: 'k-1' });

const audit = { parts: 1, lines: 9, cuts: 0, others: [] };
const NOTHING: Evidence = {
  ...{ begunAt: 0, sent: [], done: [], parked: [], queued: [], moves: [], faults: [], cancelled: [], stories: [], audit },
};
const ofJob = (problem: string) => !problem.startsWith('kpxctl audit verify');
const problems = (evidence: Partial<Evidence>) => balance({ ...NOTHING, sent: [sent()], ...evidence }).problems.filter(ofJob);

describe('the books', () => {
  it('balance when every job is done once', () => {
    const { rows, problems } = balance({ ...NOTHING, sent: [sent()], done: [done(1)] });
    expect(problems).toEqual([]);
    expect(rows).toContainEqual(['done once', 1]);
  });

  it.each<[what: string, evidence: Partial<Evidence>, problem: string]>([
    ['a confirmed job that is nowhere', {}, 'j (ordinary, alice) is lost: no trace of it'],
    ['a job that is still in a queue', { queued: ['j'] }, 'j (ordinary, alice) is still in a queue: 1 queued'],
    [
      'a job that was done under another account',
      { done: [done(1, 'bob')] },
      'j (ordinary, alice) was done under another account: 0.0 s done by bob',
    ],
    ['a job that nobody published', { sent: [], done: [done(1)] }, 'j was never published'],
    [
      'a job that had to be parked and was done',
      { sent: [sent({ kind: 'of root' })], done: [done(1)] },
      'j (of root, alice) was done: 0.0 s done by alice',
    ],
  ])('do not balance with %s', (_, evidence, problem) => {
    expect(problems(evidence)).toContain(problem);
  });

  it('leave open what became of a job that was not confirmed, as long as it is not in two places', () => {
    expect(problems({ sent: [sent({ confirmed: false })] })).toEqual([]);
    expect(problems({ sent: [sent({ confirmed: false })], done: [done(1)] })).toEqual([]);
    expect(problems({ sent: [sent({ confirmed: false })], done: [done(1), done(2)] })).toHaveLength(1);
  });
});

describe('a job that was done twice', () => {
  const twice = { done: [done(100_000), done(160_000)] };
  const moves = [{ job: 'j', how: 'job forwarded', at: 130_000, delayMs: 0 }];
  const deferred = [{ job: 'j', how: 'job deferred', at: 120_000, delayMs: 10_000 }];

  it.each<[why: string, evidence: Partial<Evidence>]>([
    ['its executor was killed before it could acknowledge', { faults: [fault('executor: kill -9', 100_001, 100_001, 'alice')] }],
    ['RabbitMQ forgot the acknowledgement', { faults: [fault('RabbitMQ: kill -9', 101_000, 110_000)] }],
    ['the executor’s silent connection was not noticed yet', { faults: [fault('network: half-open', 80_000, 90_000, 'executors')] }],
    ['the broker was killed when it moved it', { moves, faults: [fault('broker: kill -9', 130_001, 135_000)] }],
    ['the broker had lost its log when it moved it', { faults: [fault('broker: log lost', 130_000, 131_000)] }],
    ['RabbitMQ was mute when the broker moved it', { moves, faults: [fault('RabbitMQ: mute', 129_000, 135_000, 'basic.consume')] }],
    ['executors had lost RabbitMQ before one could acknowledge', { faults: [fault('executors: without RabbitMQ', 99_000, 105_000)] }],
    ['the broker was cut off when it moved it', { moves, faults: [fault('network: cut', 130_001, 130_001, 'broker')] }],
    ['RabbitMQ stopped when it moved it back', { moves: deferred, faults: [fault('RabbitMQ: app stopped', 129_000, 131_000)] }],
    [
      'the broker was asked to end while RabbitMQ confirmed nothing',
      { moves, faults: [fault('RabbitMQ: memory alarm', 129_000, 150_000), fault('broker: SIGTERM', 140_000)] },
    ],
  ])('is explained: %s', (_, evidence) => {
    expect(problems({ ...twice, ...evidence })).toEqual([]);
  });

  it.each<[why: string, evidence: Partial<Evidence>]>([
    ['nothing happened', { moves }],
    ['another’s executor was killed', { faults: [fault('executor: kill -9', 100_001, 100_001, 'bob')] }],
    ['the last acknowledgement alone was in danger', { faults: [fault('executor: kill -9', 160_001, 160_001, 'alice')] }],
    ['the broker was killed long after', { moves, faults: [fault('broker: kill -9', 140_000)] }],
    ['the broker ended in order', { moves, faults: [fault('broker: SIGTERM', 130_001)] }],
    ['RabbitMQ confirmed nothing for a while', { moves, faults: [fault('RabbitMQ: memory alarm', 129_000, 150_000)] }],
    [
      'the broker lost its log before the job was there',
      { sent: [sent({ at: 99_000 })], faults: [fault('broker: log lost', 90_000, 91_000)] },
    ],
    ['the helper answered with errors', { faults: [fault('helper: answers with errors', 100_001, 105_000, 'INTERNAL')] }],
    ['the helper was killed', { faults: [fault('helper: kill -9', 100_001)] }],
  ])('is not: %s', (_, evidence) => {
    expect(problems({ ...twice, ...evidence })).toEqual([expect.stringContaining('has copies that no fault explains (1)')]);
  });

  it('needs a cause for each time beyond the first', () => {
    const faults = [fault('executor: kill -9', 100_001, 100_001, 'alice')];
    expect(problems({ done: [done(100_000), done(160_000), done(200_000)], faults })).toHaveLength(1);
  });

  it('is no better when it was done and parked, or done and queued', () => {
    expect(problems({ sent: [sent()], done: [done(1)], queued: ['j'] })).toHaveLength(2);
  });
});

describe('a job that was parked twice', () => {
  const parked = [letter('BODY_NOT_JSON', '', 100_000), letter('BODY_NOT_JSON', '', 104_000)];
  const job = { sent: [sent({ kind: 'half a body' })], moves: [{ job: 'j', how: 'job parked', at: 104_010, delayMs: 0 }], parked };

  it('is explained by the end of the broker right after the first time, which is in no log', () => {
    expect(problems({ ...job, faults: [fault('broker: kill -9', 100_100)] })).toEqual([]);
  });

  it('is not by an end before it', () => {
    expect(problems({ ...job, faults: [fault('broker: kill -9', 90_000)] })).toEqual([
      expect.stringContaining('has copies that no fault explains (1)'),
    ]);
  });
});

describe('a parked job', () => {
  it('that had to be parked has the reason that it had to have', () => {
    const job = sent({ kind: 'of an unknown user' });
    expect(problems({ sent: [job], parked: [letter('START_FAILED', 'ACCOUNT_UNKNOWN: there is none')] })).toEqual([]);
    expect(problems({ sent: [job], parked: [letter('START_FAILED', '3 starts failed: exit 1')] })).toHaveLength(1);
    expect(problems({ sent: [job], parked: [letter('USER_DENIED', 'ACCOUNT_UNKNOWN')] })).toHaveLength(1);
  });

  const ended = '3 starts failed, the last one: the executor ended before it was ready: exit 1';
  it('of a user whose executor cannot start is there because the run kept it from starting', () => {
    const broken = (from: number, user = 'alice') => fault('executor: installation broken', from, from + 5_000, user);
    expect(problems({ parked: [letter('START_FAILED', ended)], faults: [broken(90_000)] })).toEqual([]);
    expect(problems({ parked: [letter('START_FAILED', ended)], faults: [broken(90_000, 'bob')] })).toHaveLength(1);
    expect(problems({ parked: [letter('START_FAILED', ended)], faults: [broken(1_000)] })).toHaveLength(1);
    expect(problems({ parked: [letter('START_FAILED', ended)], faults: [broken(100_001)] })).toHaveLength(1);
    expect(problems({ parked: [letter('START_FAILED', `${ended}0`)], faults: [broken(90_000)] })).toHaveLength(1);
  });

  it('is there because its executor was without RabbitMQ', () => {
    const detail = '3 starts failed, the last one: the executor has had no connection to RabbitMQ for 30s (lost_after)';
    const parked = [letter('EXECUTOR_WITHOUT_RABBITMQ', detail)];
    expect(problems({ parked, faults: [fault('executors: without RabbitMQ', 90_000, 95_000)] })).toEqual([]);
    expect(problems({ parked, faults: [fault('helper: kill -9', 90_000, 95_000)] })).toHaveLength(1);
  });

  it('is there because the helper answered with errors, whosever it is', () => {
    const parked = [letter('START_FAILED', '3 starts failed, the last one: INTERNAL: chaos has it so')];
    const errors = [fault('helper: answers with errors', 90_000, 95_000, 'INTERNAL')];
    for (const kind of ['ordinary', 'of root'] as const) {
      expect(problems({ sent: [sent({ kind })], parked, faults: errors })).toEqual([]);
      expect(problems({ sent: [sent({ kind })], parked })).toHaveLength(1);
    }
  });

  it('of a denied user is there because the run had the user denied, at that time', () => {
    const denied = (from: number, to: number) => fault('broker: another configuration', from, to, 'dave denied');
    const job = sent({ user: 'dave' });
    const parked = [letter('USER_DENIED', '"dave" is in policy.deny')];
    expect(problems({ sent: [job], parked, faults: [denied(99_000, 101_000)] })).toEqual([]);
    expect(problems({ sent: [job], parked, faults: [denied(80_000, 90_000)] })).toHaveLength(1);
    expect(problems({ parked, faults: [denied(99_000, 101_000)] })).toHaveLength(1);
  });
});

describe('a job that an operator cancels', () => {
  const cancelled = (answer: Cancellation['answer']) => [{ job: 'j', at: 90_000, answer }];
  const parked = [letter('CANCELLED', 'an operator has cancelled it')];
  const lost = [expect.stringContaining('is not parked as that')];

  it('is parked as that, and no other job is', () => {
    expect(problems({ parked, cancelled: cancelled('parked') })).toEqual([]);
    expect(problems({ parked, cancelled: cancelled('none') })).toEqual([]); // the broker was killed before it could answer
    expect(problems({ parked })).toEqual([expect.stringContaining('is parked for CANCELLED')]);
    expect(problems({ parked, cancelled: [{ job: 'j', at: 100_001, answer: 'parked' }] })).toHaveLength(1);
  });

  it('is not done, unless the broker could not park it', () => {
    const evidence = { done: [done(100_000)], cancelled: cancelled('parked') };
    expect(problems(evidence)).toEqual(lost);
    expect(problems({ ...evidence, faults: [fault('broker: kill -9', 90_001)] })).toEqual([]);
    expect(problems({ ...evidence, faults: [fault('broker: kill -9', 99_000)] })).toEqual(lost);
    expect(problems({ ...evidence, faults: [fault('helper: kill -9', 90_001)] })).toEqual(lost);
    expect(problems({ ...evidence, cancelled: cancelled('none') })).toEqual([]);
  });

  it('while it is in a delay queue is parked later, unless another broker runs then or an executor takes it after the delay', () => {
    const evidence = { done: [done(100_000)], cancelled: cancelled('later') };
    expect(problems(evidence)).toEqual(lost);
    expect(problems({ ...evidence, faults: [fault('broker: SIGTERM', 99_000)] })).toEqual([]);
    expect(problems({ ...evidence, faults: [fault('broker: SIGTERM', 100_001)] })).toEqual(lost);
    expect(problems({ ...evidence, faults: [fault('network: cut', 99_000, 99_000, 'broker')] })).toEqual(lost);
    const deferred = (at: number): Move => ({ job: 'j', how: 'job deferred', at, delayMs: 10_000 });
    expect(problems({ ...evidence, moves: [deferred(90_000)] })).toEqual([]);
    expect(problems({ ...evidence, moves: [deferred(90_001)] })).toEqual(lost);
    expect(problems({ ...evidence, moves: [deferred(80_000), { job: 'j', how: 'job forwarded', at: 91_000, delayMs: 0 }] })).toEqual(lost);
  });

  it('is not both parked and done', () => {
    expect(problems({ parked, done: [done(101_000)], cancelled: cancelled('parked') })).toEqual([
      expect.stringContaining('has copies that no fault explains (1)'),
    ]);
  });
});

describe('the story of a job', () => {
  const told = (what: string, text = '', account?: string): Told => ({ job: 'j', what, text, at: 99_000, account });
  const wrong = (what: string) => [expect.stringContaining(`has a story that ends with "${what}"`)];

  it('says where it was done', () => {
    const evidence = { done: [done(100_000)] };
    expect(problems({ ...evidence, stories: [told('offered', '', 'alice')] })).toEqual([]);
    expect(problems({ ...evidence, stories: [told('offered', '', 'bob')] })).toEqual(wrong('offered'));
    expect(problems({ ...evidence, stories: [told('parked', 'USER_DENIED')] })).toEqual(wrong('parked'));
    expect(problems({ ...evidence, stories: [told('held')] })).toEqual(wrong('held'));
    expect(problems({ done: [done(99_100)], stories: [told('delayed')] })).toEqual(wrong('delayed'));
    expect(problems({ ...evidence, stories: [told('delayed')] })).toEqual([]);
  });

  it('says why it is parked', () => {
    const evidence = { sent: [sent({ kind: 'of a denied user' })], parked: [letter('USER_DENIED', 'x')] };
    expect(problems({ ...evidence, stories: [told('parked', 'it is parked: USER_DENIED: x')] })).toEqual([]);
    expect(problems({ ...evidence, stories: [told('parked', 'it is parked: START_FAILED: x')] })).toEqual(wrong('parked'));
    expect(problems({ done: [done(99_100)], stories: [told('delayed')] })).toEqual(wrong('delayed'));
  });

  it('is not expected of a broker that could not know', () => {
    const evidence = { done: [done(100_000)], stories: [told('returned')] };
    expect(problems(evidence)).toEqual(wrong('returned'));
    expect(problems({ ...evidence, faults: [fault('network: cut', 98_000, 98_000, 'broker')] })).toEqual([]);
    expect(problems({ ...evidence, faults: [fault('network: cut', 50_000, 50_000, 'broker')] })).toEqual(wrong('returned'));
  });
});

describe('the id that kpx gives a job', () => {
  const two = [sent(), sent({ id: 'j2' })];
  it('is of that job alone', () => {
    expect(problems({ sent: two, done: [done(1), { ...done(2), job: 'j2', id: 'k-2' }] })).toEqual([]);
    expect(problems({ sent: two, done: [done(1), { ...done(2), job: 'j2' }] })).toEqual(['j2 has the id of j: k-1']);
    expect(problems({ done: [{ ...done(1), id: '' }] })).toEqual(['j has no id of kpx']);
  });
});

describe('the audit log', () => {
  const killed = [fault('helper: kill -9', 1_000), fault('helper: log lost', 2_000), fault('helper: SIGSTOP', 3_000, 4_000)];
  const verdict = (over: Partial<Audited>) => balance({ ...NOTHING, faults: killed, audit: { ...audit, cuts: 2, ...over } });

  it('has a cut for each helper that the run has killed, and nothing else', () => {
    const { rows, problems } = verdict({});
    expect(problems).toEqual([]);
    expect(rows).toContainEqual(['  cut by kill', 2]);
  });

  it.each<[what: string, audited: Partial<Audited>, problem: string]>([
    ['a line is removed', { others: ['missing: line 7, between …'] }, 'kpxctl audit verify: missing: line 7, between …'],
    ['a line is changed', { others: ['changed: line 7 …'] }, 'kpxctl audit verify: changed: line 7 …'],
    ['more are cut than were killed', { cuts: 3 }, 'kpxctl audit verify finds 3 processes that were cut by kill, and the run has killed 2'],
    ['a kill has left no cut', { cuts: 1 }, 'kpxctl audit verify finds 1 processes that were cut by kill, and the run has killed 2'],
  ])('does not balance when %s', (_, audited, problem) => {
    expect(verdict(audited).problems).toEqual([problem]);
  });
});
