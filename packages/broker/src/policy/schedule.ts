/*
 * Times of the week at which executors are started before the job: "Mon-Fri 07:30", "Sat,Sun 09:00", or "07:30" for every day. Each that can be written
 * comes at least once a week. Times are those of the host's time zone.
 */

export interface Schedule {
  /** As it stands in the configuration. */
  readonly text: string;
  /** 0 is Sunday. */
  readonly days: ReadonlySet<number>;
  readonly hour: number;
  readonly minute: number;
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const WEEK = DAYS.length;

/** Throws an Error that says what is wrong with it. */
export function parseSchedule(text: string): Schedule {
  const [, days, time = ''] = /^(?:(\S+) )?(\S+)$/.exec(text) ?? [];
  const [, hour, minute] = /^(\d{2}):(\d{2})$/.exec(time) ?? [];
  if (hour === undefined || minute === undefined) throw new Error('expected days and a time of day');
  if (Number(hour) > 23 || Number(minute) > 59) throw new Error(`${time} is no time of day: 00:00 to 23:59`);
  return { text, days: new Set(days === undefined ? DAYS.keys() : daysIn(days)), hour: Number(hour), minute: Number(minute) };
}

/** Those of "Mon-Wed,Fri". */
function daysIn(text: string): number[] {
  return text.split(',').flatMap((part) => {
    const [first = -1, last = first, ...more] = part.split('-').map(dayOf);
    if (more.length > 0) throw new Error(`"${part}" are no days: a day, or two with a - between`);
    return Array.from({ length: ((last - first + WEEK) % WEEK) + 1 }, (_, at) => (first + at) % WEEK);
  });
}

function dayOf(name: string): number {
  const day = DAYS.findIndex((known) => known.toLowerCase() === name.toLowerCase());
  if (day < 0) throw new Error(`"${name}" is no day: Mon, Tue, Wed, Thu, Fri, Sat or Sun`);
  return day;
}

/**
 * The last time that was planned, up to now; milliseconds since the epoch. Of a time that the change from summer time brings twice it is the first one.
 * One that the change to summer time leaves out is as much later as the clock is put forward.
 */
export function lastPlanned({ days, hour, minute }: Schedule, nowMs: number): number {
  const today = new Date(nowMs);
  for (let back = 0; back <= WEEK; back++) {
    const [year, month, date] = [today.getFullYear(), today.getMonth(), today.getDate() - back];
    const planned = new Date(year, month, date, hour, minute).getTime();
    if (planned <= nowMs && days.has(new Date(year, month, date, 12).getDay())) return planned;
  }
  return Number.NEGATIVE_INFINITY;
}

/** How late it may become where the broker, or its clock, was not there in time; and for how long an executor is tried to be started. In milliseconds. */
export const LATE_MS = 30 * 60_000;

/** Tells which schedules are due: each planned time once, whatever becomes of the clock. */
export class Due<Plan extends { readonly schedule: Schedule }> {
  /** The time that was last due, by the key of a plan. */
  #told = new Map<string, number>();

  /** `plans`: all that are in force, each with a key of its own. */
  at(plans: ReadonlyMap<string, Plan>, nowMs: number): Plan[] {
    const told = this.#told;
    this.#told = new Map([...told].filter(([key]) => plans.has(key)));
    return [...plans].flatMap(([key, plan]) => {
      const planned = lastPlanned(plan.schedule, nowMs);
      if (nowMs - planned >= LATE_MS || told.get(key) === planned) return [];
      this.#told.set(key, planned);
      return [plan];
    });
  }
}
