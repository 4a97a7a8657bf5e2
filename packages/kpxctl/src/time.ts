import { UNITS_MS } from '@kpx/broker/config/values';
import { InvalidArgumentError } from 'commander';

const FORMS = 'expected a time of day such as "18:00", a date and time such as "2026-11-30 18:00", or a duration such as "90m" or "2h"';

/**
 * The time that is meant, in milliseconds since the epoch: a duration from now, or a time of this host's time zone. A time of day is the next one.
 * Throws {@link InvalidArgumentError}.
 */
export function timeOf(text: string, nowMs: number): number {
  const duration = /^([1-9]\d{0,6})(s|m|h)$/.exec(text);
  if (duration) return nowMs + Number(duration[1]) * UNITS_MS[duration[2] as keyof typeof UNITS_MS];
  const [, year, month, day, hour, minute] = /^(?:(\d{4})-(\d{2})-(\d{2})[ T])?(\d{2}):(\d{2})$/.exec(text) ?? [];
  if (hour === undefined || minute === undefined) throw new InvalidArgumentError(FORMS);
  const now = new Date(nowMs);
  const date = year === undefined ? [now.getFullYear(), now.getMonth(), now.getDate()] : [Number(year), Number(month) - 1, Number(day)];
  const [inYear = 0, inMonth = 0, onDay = 0] = date;
  const at = (later: number) => new Date(inYear, inMonth, onDay + later, Number(hour), Number(minute)).getTime();
  const exists = Number(hour) <= 23 && Number(minute) <= 59 && new Date(inYear, inMonth, onDay).getDate() === onDay && inMonth <= 11;
  if (!exists) throw new InvalidArgumentError(`There is no such time. ${FORMS}`);
  return year === undefined && at(0) <= nowMs ? at(1) : at(0);
}
