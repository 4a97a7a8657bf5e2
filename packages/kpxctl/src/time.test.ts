import { afterAll, beforeAll, expect, it } from 'vitest';
import { timeOf } from './time.js';

const zone = process.env.TZ;
beforeAll(() => {
  process.env.TZ = 'Europe/Berlin';
});
afterAll(() => {
  if (zone === undefined) delete process.env.TZ;
  else process.env.TZ = zone;
});

const now = Date.parse('2026-10-24T12:00+02:00');

it.each([
  ['90s', '2026-10-24T12:01:30+02:00'],
  ['2h', '2026-10-24T14:00+02:00'],
  ['18:00', '2026-10-24T18:00+02:00'],
  ['12:00', '2026-10-25T12:00+01:00'], // after the change from summer time
  ['02:30', '2026-10-25T02:30+02:00'], // the first of both
  ['2026-11-30 08:00', '2026-11-30T08:00+01:00'],
  ['2026-10-24T08:00', '2026-10-24T08:00+02:00'],
  ['2026-10-24T18:00:30', '2026-10-24T18:00:30+02:00'],
  ['2026-11-30T06:30Z', '2026-11-30T06:30Z'],
  ['2026-11-30T06:30:00-05:00', '2026-11-30T11:30Z'],
  ['2027-03-28T02:30Z', '2027-03-28T02:30Z'], // which is there, of UTC
])('"%s" is %s', (text, time) => {
  expect(new Date(timeOf(text, now)).toISOString()).toBe(new Date(time).toISOString());
});

it.each([
  '',
  '18',
  '18:60',
  '24:00',
  '2026-02-30 08:00',
  '2026-13-01 08:00',
  '30.11.2026 18:00',
  '0m',
  'tomorrow',
  '-1h',
  '18:00Z',
  '2026-02-30T08:00Z',
  '2026-11-30T08:00+99:00',
])('"%s" is none', (text) => {
  expect(() => timeOf(text, now)).toThrow(/such as "18:00"/);
});

it.each([
  ['2027-03-28 02:30', now],
  ['02:30', Date.parse('2027-03-28T00:30+01:00')], // later on the same day
  ['02:30', Date.parse('2027-03-27T12:00+01:00')], // on the next day
])('"%s" is none where the clock is put forward over it', (text, nowMs) => {
  expect(() => timeOf(text, nowMs)).toThrow('There is no 02:30 on 2027-03-28 here, because the clock is put forward over it.');
});

it.each(['2027-03-28T03:10+02:00', '2027-03-28T10:00+02:00'])(
  '"02:30" is that of tomorrow when the clock was put forward over it, at %s',
  (now) => {
    expect(new Date(timeOf('02:30', Date.parse(now))).toISOString()).toBe(new Date('2027-03-29T02:30+02:00').toISOString());
  },
);

it.each([
  ['2026-10-25T02:40+02:00', '2026-10-25T02:50+02:00'],
  ['2026-10-25T02:55+02:00', '2026-10-25T02:50+01:00'],
  ['2026-10-25T02:40+01:00', '2026-10-25T02:50+01:00'],
  ['2026-10-25T02:55+01:00', '2026-10-26T02:50+01:00'],
])('"02:50", which is there twice when the clock is put back, is the next one at %s', (now, next) => {
  expect(new Date(timeOf('02:50', Date.parse(now))).toISOString()).toBe(new Date(next).toISOString());
});
