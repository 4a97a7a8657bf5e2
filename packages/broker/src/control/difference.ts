/** What differs between two configurations, as "policy.max_executors: 40 -> 60", in the order of the keys. */
export function differences(before: unknown, after: unknown, path = ''): string[] {
  if (isTable(before) && isTable(after)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    return keys.flatMap((key) => differences(before[key], after[key], path === '' ? key : `${path}.${key}`));
  }
  const [old, current] = [JSON.stringify(before), JSON.stringify(after)];
  return old === current ? [] : [`${path}: ${old ?? 'not set'} -> ${current ?? 'not set'}`];
}

const isTable = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** A configuration as it travels. */
export const asJson = (config: object): unknown => JSON.parse(JSON.stringify(config));
