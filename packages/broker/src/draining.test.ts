import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Draining } from './draining.js';
import { KeptDrain } from './host/kept-drain.js';
import type { Operator } from './operator.js';

let directory: string;
let drained: unknown[];
let kept: KeptDrain;
const log = { warn: () => {}, error: () => {} } as unknown as Logger;
const operator = { drain: (drain: unknown) => drained.push(drain) } as unknown as Operator;

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse('2026-11-30T12:00Z') });
  directory = mkdtempSync(join(tmpdir(), 'kpx-drain-'));
  kept = new KeptDrain({ STATE_DIRECTORY: directory }, '');
  drained = [];
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(directory, { recursive: true });
});

const HOUR_MS = 3_600_000;
const drain = (ms: number) => ({ untilMs: Date.now() + ms, reason: 'a new KNIME' });
/** As after a restart of the broker. */
const restart = () => {
  drained = [];
  const now = Date.now();
  vi.clearAllTimers(); // which puts the clock back
  vi.setSystemTime(now);
  new Draining(operator, kept, log).restore();
};

it('ends a drain at its time, over a restart too, and not before', () => {
  const given = drain(HOUR_MS);
  expect(new Draining(operator, kept, log).set(given)).toBeUndefined();
  vi.advanceTimersByTime(HOUR_MS / 2);
  restart();
  expect(drained).toEqual([given]);
  vi.advanceTimersByTime(HOUR_MS / 2 - 1_000);
  expect(drained).toEqual([given]);
  vi.advanceTimersByTime(2_000);
  expect(drained).toEqual([given, undefined]);
  restart();
  expect(drained).toEqual([]);
});

it('does not begin again after a restart when its time is over', () => {
  new Draining(operator, kept, log).set(drain(HOUR_MS));
  vi.setSystemTime(Date.now() + 2 * HOUR_MS);
  restart();
  expect(drained).toEqual([]);
  restart();
  expect(kept.last).toBeUndefined();
});

it('goes by the clock, whichever way that is put', () => {
  new Draining(operator, kept, log).set(drain(HOUR_MS));
  vi.setSystemTime(Date.now() - 24 * HOUR_MS);
  vi.advanceTimersByTime(2 * HOUR_MS);
  expect(drained).toHaveLength(1);
  vi.setSystemTime(Date.now() + 48 * HOUR_MS);
  vi.advanceTimersByTime(1_000);
  expect(drained).toHaveLength(2);
});

it('forgets the end of a drain that another one has replaced', () => {
  const draining = new Draining(operator, kept, log);
  draining.set(drain(HOUR_MS));
  draining.set({ reason: 'for good' });
  vi.advanceTimersByTime(2 * HOUR_MS);
  expect(drained).toHaveLength(2);
  draining.set(undefined);
  expect(kept.last).toBeUndefined();
});

it.each([
  ['since 2026-11-01T00:00:00.000Z\n', {}],
  ['since 2026-11-01T00:00:00.000Z\nuntil nonsense\nreason a new KNIME\n', { reason: 'a new KNIME' }],
  ['', {}],
])('takes a file of an earlier broker, or one that is damaged, for a drain without an end: %j', (text, expected) => {
  writeFileSync(kept.file ?? '', text);
  expect(kept.last).toEqual(expected);
  restart();
  vi.advanceTimersByTime(HOUR_MS);
  expect(drained).toHaveLength(1);
  expect(readFileSync(kept.file ?? '', 'utf8')).toBe(text);
});
