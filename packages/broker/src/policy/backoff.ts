/**
 * The wait before attempt `attempt + 1`, in milliseconds: doubles from `initialMs` up to `maxMs`, then half of it is left to chance so that users
 * (or hosts) that failed together do not come back together. Pure: `random` is in [0, 1). Libraries for this keep the clock or the dice inside.
 */
export function backoffMs(attempt: number, initialMs: number, maxMs: number, random: number): number {
  const whole = Math.min(maxMs, initialMs * 2 ** Math.min(attempt, 30));
  return Math.round(whole / 2 + (whole / 2) * random);
}
