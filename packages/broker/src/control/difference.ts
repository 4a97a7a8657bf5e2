import { UNITS_BYTES, UNITS_MS } from '../config/values.js';
import { inWhole } from '../output/format.js';

/** Keys whose values are times, and amounts of memory. A test compares them with the schema. */
export const DURATIONS: ReadonlySet<string> = new Set([
  ...['ready_delay', 'start_timeout', 'ready_for', 'lost_after', 'start_window'],
  ...['backoff_initial', 'backoff_max', 'evict_idle_after', 'idle_stop', 'keep_warm', 'max_age', 'job_max_age', 'run_time_max'],
  ...['keep', 'reply_grace', 'api_timeout'],
]);
export const MEMORIES: ReadonlySet<string> = new Set(['held_bytes_max', 'executor_memory', 'min_available_memory']);

/** The differences between two configurations, as `policy.idle_stop: not set -> "30m"`, in the order of the keys. */
export function differences(before: unknown, after: unknown, path = ''): string[] {
  if (path === 'policy.rule' && Array.isArray(before) && Array.isArray(after)) return ofRules(before, after);
  if (isTable(before) && isTable(after)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    return keys.flatMap((key) => differences(before[key], after[key], path === '' ? key : `${path}.${key}`));
  }
  const [old, current] = [shown(path, before), shown(path, after)];
  return old === current ? [] : [`${path}: ${old} -> ${current}`];
}

interface Rule {
  readonly name: string;
}

function ofRules(before: readonly Rule[], after: readonly Rule[]): string[] {
  return (after.length > before.length ? after : before).flatMap((longer, at) => {
    const [old, current] = [before[at], after[at]];
    const rule = `rule ${at + 1} "${(current ?? longer).name}"`;
    return old && current ? differences(old, current, rule) : [`${rule}: ${current ? 'new' : 'gone'}`];
  });
}

/** As the file has it. */
function shown(path: string, value: unknown): string {
  const key = path.split('.').at(-1) ?? '';
  const units = DURATIONS.has(key) ? UNITS_MS : MEMORIES.has(key) ? UNITS_BYTES : undefined;
  if (typeof value !== 'number' || value === 0 || units === undefined) return JSON.stringify(value) ?? 'not set';
  return `"${inWhole(value, units)}"`;
}

const isTable = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** A configuration as it travels. */
export const asJson = (config: object): unknown => JSON.parse(JSON.stringify(config));
