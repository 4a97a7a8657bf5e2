const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Milliseconds as the two units that matter: `42s`, `3m04s`, `2h11m`, `5d03h`. */
export function durationText(ms: number): string {
  const two = (whole: number, unit: string, part: number, partUnit: string) =>
    `${Math.floor(ms / whole)}${unit}${String(Math.floor((ms % whole) / part)).padStart(2, '0')}${partUnit}`;
  if (ms < MINUTE_MS) return `${Math.floor(ms / SECOND_MS)}s`;
  if (ms < HOUR_MS) return two(MINUTE_MS, 'm', SECOND_MS, 's');
  return ms < DAY_MS ? two(HOUR_MS, 'h', MINUTE_MS, 'm') : two(DAY_MS, 'd', HOUR_MS, 'h');
}
