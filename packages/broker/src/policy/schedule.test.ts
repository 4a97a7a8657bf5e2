import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Due, LATE_MS, lastPlanned, parseSchedule, type Schedule } from './schedule.js';

const DAY_MS = 24 * 3_600_000;

const zone = process.env.TZ;
beforeAll(() => {
  process.env.TZ = 'Europe/Berlin';
});
afterAll(() => {
  if (zone === undefined) delete process.env.TZ;
  else process.env.TZ = zone;
});

it.each([
  ['07:30', [0, 1, 2, 3, 4, 5, 6]],
  ['Mon-Fri 07:30', [1, 2, 3, 4, 5]],
  ['Sat-Mon 07:30', [0, 1, 6]],
  ['mon,WED-thu 07:30', [1, 3, 4]],
  ['Sun 07:30', [0]],
])('"%s" is on the days %j', (text, days) => {
  const schedule = parseSchedule(text);
  expect([...schedule.days].sort()).toEqual(days);
  expect(schedule).toMatchObject({ hour: 7, minute: 30 });
});

it.each([
  ['Mon-Fri', 'expected days and a time of day'],
  ['Mon-Fri 7:30', 'expected days and a time of day'],
  ['07:30 Mon-Fri', 'expected days and a time of day'],
  ['Mon Tue 07:30', 'expected days and a time of day'],
  ['*-*-* 07:30:00', 'expected days and a time of day'],
  ['Mon-Fri 24:00', '24:00 is no time of day: 00:00 to 23:59'],
  ['Monday 07:30', '"Monday" is no day: Mon, Tue, Wed, Thu, Fri, Sat or Sun'],
  ['Mon- 07:30', '"" is no day: Mon, Tue, Wed, Thu, Fri, Sat or Sun'],
  ['Mon-Wed-Fri 07:30', '"Mon-Wed-Fri" are no days: a day, or two with a - between'],
])('"%s" is none: %s', (text, why) => {
  expect(() => parseSchedule(text)).toThrow(why);
});

/** Told minute by minute. */
function planned(schedule: Schedule, from: string, to: string): string[] {
  const times = new Set<number>();
  for (let now = Date.parse(from); now <= Date.parse(to); now += 60_000) times.add(lastPlanned(schedule, now));
  return [...times].filter((time) => time >= Date.parse(from)).map((time) => new Date(time).toISOString());
}

describe('in the time zone of the host', () => {
  it.each([
    ['each day of a week once', 'Mon-Fri 07:30', '2026-11-27T00:00Z', '2026-12-01T00:00Z', ['2026-11-27T06:30', '2026-11-30T06:30']],
    ['as early by the clock in summer', '07:30', '2026-03-28T00:00Z', '2026-03-29T12:00Z', ['2026-03-28T06:30', '2026-03-29T05:30']],
    ['once where it is left out', '02:30', '2026-03-28T12:00Z', '2026-03-30T12:00Z', ['2026-03-29T01:30', '2026-03-30T00:30']],
    ['once where it comes twice', '02:30', '2026-10-24T12:00Z', '2026-10-26T12:00Z', ['2026-10-25T00:30', '2026-10-26T01:30']],
  ])('a time comes %s', (_, text, from, to, times) => {
    expect(planned(parseSchedule(text), from, to)).toEqual(times.map((time) => `${time}:00.000Z`));
  });

  it('each that can be written has come within the last week', () => {
    const now = Date.parse('2026-03-29T12:34:56Z');
    for (const day of ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'])
      for (const time of ['00:00', '02:30', '14:34', '14:35', '23:59']) {
        const last = lastPlanned(parseSchedule(`${day} ${time}`), now);
        expect([day, time, last <= now && now - last <= 7 * DAY_MS]).toEqual([day, time, true]);
      }
  });
});

describe('is due', () => {
  const plans = new Map([['rule 1', { schedule: parseSchedule('Mon-Fri 07:30') }]]);
  const at = Date.parse('2026-11-27T07:30+01:00');
  const ask = (...times: number[]) => {
    const due = new Due();
    return times.map((time) => due.at(plans, time).length);
  };

  it('once, at its time', () => {
    expect(ask(at - 1, at, at + 1, at + 60_000, at + DAY_MS)).toEqual([0, 1, 0, 0, 0]);
  });

  it('for who comes late, but not for who comes too late', () => {
    expect(ask(at + LATE_MS - 1)).toEqual([1]);
    expect(ask(at + LATE_MS)).toEqual([0]);
  });

  it('once where the clock is put back, and where it was far ahead', () => {
    expect(ask(at, at - 3_600_000, at - 1, at, at + 3 * DAY_MS)).toEqual([1, 0, 0, 0, 1]);
    expect(ask(at + 5_000 * DAY_MS, at - 1, at)).toEqual([0, 0, 1]);
  });

  it('anew after it was away', () => {
    const due = new Due();
    expect(due.at(plans, at)).toHaveLength(1);
    expect(due.at(new Map(), at)).toEqual([]);
    expect(due.at(plans, at)).toHaveLength(1);
  });
});
