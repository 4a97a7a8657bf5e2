import { readFileSync } from 'node:fs';

export const median = (numbers: readonly number[]) => percentile(numbers, 0.5);

export function percentile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export const round = (number: number, digits = 0) => Number(number.toFixed(digits));

const TICK_MS = 10;
const BYTES_PER_KIB = 1_024;

/** Processor time of one process since its start, in milliseconds. Source: proc_pid_stat(5); 100 ticks a second. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const [user = 0, system = 0] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
    .map(Number);
  return (user + system) * TICK_MS;
}

/** Of one process, in megabytes of 1,000,000 bytes. Source: proc_pid_smaps(5). */
export function memoryMb(pid: number): { resident: number; privateDirty: number } {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
  const mb = (field: string) => (Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1]) * BYTES_PER_KIB) / 1_000_000;
  return { resident: mb('Rss'), privateDirty: mb('Private_Dirty') };
}

/** Lines of a table: first column to the left, all others to the right. */
export function table(rows: readonly (readonly (string | number)[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => String(row[column] ?? '').length)));
  const cell = (value: string | number, column: number) =>
    column === 0 ? String(value).padEnd(widths[column] ?? 0) : String(value).padStart(widths[column] ?? 0);
  return rows.map((row) => `  ${row.map(cell).join('  ').trimEnd()}\n`).join('');
}
