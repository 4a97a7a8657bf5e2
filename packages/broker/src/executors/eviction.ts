import { durationText } from '../output/duration.js';
import { evictable, hasRoom, idleForMs, isFull, type Load, type Policy } from '../policy/policy.js';
import type { Executor } from './roster.js';
import type { User } from './user.js';

interface Eviction {
  readonly executor: Executor;
  readonly why: string;
}

/**
 * Executors to end because users wait for room: idle ones, one for each user, and no more than may start at once when they have ended. Those that
 * end already count. A user whose rule is full is served by one of that rule alone.
 */
export function evictions(policy: Policy, load: Load, line: Iterable<User>, executors: readonly Executor[]): Eviction[] {
  if (policy.whenFull !== 'evict-idle' || load.draining) return [];
  const left = new Set(executors.filter(({ ending }) => !ending));
  const ending = executors.filter((executor) => executor.ending);
  const ofFullRule = ({ rule }: Executor) => rule !== undefined && isFull(load, rule);
  // Without those that are for users further ahead. A place that serves everybody is taken first.
  const places = new Set([...ending].sort((one, other) => Number(ofFullRule(one)) - Number(ofFullRule(other))));
  const chosen: Eviction[] = [];
  for (const user of line) {
    const { rule } = user;
    const room = hasRoom(policy, load, rule);
    if (room.ok) continue;
    const serve = (one: Iterable<Executor>) =>
      rule && isFull(load, rule) ? [...one].filter((executor) => executor.rule === rule) : [...one];
    const [place] = serve(places);
    if (place) {
      places.delete(place);
      continue;
    }
    if (load.starting + ending.length + chosen.length >= policy.maxStarting) break;
    const executor = evictable(serve(left), policy.evictIdleAfterMs);
    if (!executor) continue;
    left.delete(executor);
    chosen.push({ executor, why: `idle for ${durationText(idleForMs(executor))}, and "${user.name}" waits: ${room.why}` });
  }
  return chosen;
}
