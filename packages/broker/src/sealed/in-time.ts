import { setTimeout as delay } from 'node:timers/promises';
import { SealedUnavailable } from './preparing.js';

/** How long a start waits for what comes before it, in milliseconds. */
const BEFORE_TIMEOUT_MS = 30_000;

/** Throws {@link SealedUnavailable} with this reason when it takes too long. */
export async function inTime(work: Promise<void> | undefined, otherwise: string): Promise<void> {
  const timer = new AbortController();
  const late = delay(BEFORE_TIMEOUT_MS, undefined, { signal: timer.signal }).then(() => {
    throw new SealedUnavailable(otherwise);
  });
  late.catch(() => {}); // aborted, or told already
  await Promise.race([work, late]).finally(() => timer.abort());
}
