import { UNITS_MS } from '@kpx/broker/config/values';
import { localTime } from '@kpx/broker/output/format';
import { InvalidArgumentError } from 'commander';

const FORMS = 'expected a time of day such as "18:00", a date and time such as "2026-11-30 18:00", or a duration such as "90m" or "2h"';
const TIME = /^(?:(\d{4}-\d{2}-\d{2})[ T])?(\d{2}:\d{2})(:\d{2})?(Z|[+-]\d{2}:\d{2})?$/;
const DATE_CHARS = 'yyyy-mm-dd'.length;

/**
 * The time that is meant, in milliseconds since the epoch: a duration from now, or a time of this host's time zone; a date and time may name its offset
 * from UTC. A time of day is the next one. Throws {@link InvalidArgumentError}, also for a time over which the clock is put forward.
 */
export function timeOf(text: string, nowMs: number): number {
  const duration = /^([1-9]\d{0,6})(s|m|h)$/.exec(text);
  if (duration) return nowMs + Number(duration[1]) * UNITS_MS[duration[2] as keyof typeof UNITS_MS];
  const [, date, clock, seconds = '', offset = ''] = TIME.exec(text) ?? [];
  if (clock === undefined || (date === undefined && offset !== '')) throw new InvalidArgumentError(FORMS);
  if (date !== undefined) return timeOn(date, clock, seconds, offset);
  const today = dateOf(nowMs, 0);
  // A time over which the clock is put forward is read as one after that: the clock itself says that it is over.
  const isOver = Date.parse(`${today}T${clock}${seconds}`) <= nowMs || `${today} ${clock}` < localTime(nowMs);
  if (!isOver) return timeOn(today, clock, seconds, '');
  return secondOn(today, clock, seconds, nowMs) ?? timeOn(dateOf(nowMs, 1), clock, seconds, '');
}

/** Where the clock is put back over it: the time is there twice. */
function secondOn(date: string, clock: string, seconds: string, nowMs: number): number | undefined {
  const first = Date.parse(`${date}T${clock}${seconds}`);
  const putBackMin = new Date(`${date}T23:59`).getTimezoneOffset() - new Date(first).getTimezoneOffset();
  const second = first + putBackMin * UNITS_MS.m;
  return second > nowMs && localTime(second) === `${date} ${clock}` ? second : undefined;
}

function timeOn(date: string, clock: string, seconds: string, offset: string): number {
  const written = `${date}T${clock}${seconds}`;
  const inUtc = new Date(`${written}Z`);
  const at = Date.parse(`${written}${offset}`);
  if (Number.isNaN(at) || !inUtc.toISOString().startsWith(written)) throw new InvalidArgumentError(`There is no such time. ${FORMS}`);
  if (offset === '' && localTime(at) !== `${date} ${clock}`)
    throw new InvalidArgumentError(
      `There is no ${clock} on ${date} here, because the clock is put forward over it. Name an earlier or later time`,
    );
  return at;
}

/** So many days later, by the calendar of this host. */
function dateOf(nowMs: number, later: number): string {
  const now = new Date(nowMs);
  return localTime(new Date(now.getFullYear(), now.getMonth(), now.getDate() + later, 12).getTime()).slice(0, DATE_CHARS);
}
