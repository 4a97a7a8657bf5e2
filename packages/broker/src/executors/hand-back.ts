import type { DelayMs } from '../policy/policy.js';
import type { Effect } from './events.js';

/*
 * A job that this host cannot do, though another may: it goes back to the queue with a mark, until it has been handed back so often, or so many
 * hosts have failed, that it is parked.
 */

/** An hour, where there is no other host: a helper or a name service may be away for a while. */
export const HANDED_BACK_MAX = 360;
export const HOSTS_MAX = 8;
/** As many as RabbitMQ may take to go round the hosts; later there seems to be no other. */
const QUICKLY = 5;
const SOON_MS: DelayMs = 2_000;
const LATER_MS: DelayMs = 10_000;
/** Of a host's name. */
export const HOST_CHARS_MAX = 64;

export interface Marks {
  readonly handedBack: number;
  readonly failedOn: readonly string[];
}

export const NO_MARKS: Marks = { handedBack: 0, failedOn: [] };

/** Where a job goes that `host` hands back: it goes round once more, or it is parked. */
export function handedBack(
  { ticket, user, why, failed }: Extract<Effect, { kind: 'hand back' }>,
  before: Marks,
  host: string,
): Extract<Effect, { kind: 'defer' | 'park' }> {
  const name = host.slice(0, HOST_CHARS_MAX);
  const failedOn = failed && !before.failedOn.includes(name) ? [...before.failedOn, name] : before.failedOn;
  const marks = { handedBack: before.handedBack + 1, failedOn };
  if (marks.handedBack <= HANDED_BACK_MAX && failedOn.length < HOSTS_MAX) {
    return { kind: 'defer', ticket, user, delayMs: before.handedBack < QUICKLY ? SOON_MS : LATER_MS, why, marks };
  }
  const where = failedOn.length === 0 ? 'no host has tried' : `starts failed on ${failedOn.join(', ')}`;
  return { kind: 'park', ticket, user, reason: 'HOSTS_FAILED', detail: `handed back ${before.handedBack} times, ${where}; here: ${why}` };
}
