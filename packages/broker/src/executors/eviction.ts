import { durationText } from '../output/duration.js';
import { evictable, hasRoom, idleForMs, type Load, type Policy } from '../policy/policy.js';
import type { Executor } from './roster.js';
import type { User } from './user.js';

interface Eviction {
  readonly executor: Executor;
  readonly why: string;
}

/**
 * Executors to end because users wait for room: idle ones, one for each user, and no more than may start at once when they have ended. Those that
 * end already count.
 */
export function evictions(policy: Policy, load: Load, line: Iterable<User>, executors: readonly Executor[]): Eviction[] {
  if (policy.whenFull !== 'evict-idle' || load.draining) return [];
  const left = new Set(executors.filter(({ ending }) => !ending));
  const ending = executors.length - left.size;
  let promised = ending;
  const chosen: Eviction[] = [];
  for (const user of line) {
    const room = hasRoom(policy, load, user.rule);
    if (room.ok) continue;
    if (promised > 0) {
      promised -= 1; // the place of one that ends is for this user
      continue;
    }
    if (load.starting + ending + chosen.length >= policy.maxStarting) break;
    const limitedByRule = hasRoom({ ...policy, rules: [] }, { ...load, byRule: new Map() }, user.rule).ok;
    const executor = evictable(limitedByRule ? [...left].filter(({ rule }) => rule === user.rule) : left, policy.evictIdleAfterMs);
    if (!executor) continue;
    left.delete(executor);
    chosen.push({ executor, why: `idle for ${durationText(idleForMs(executor))}, and "${user.name}" waits: ${room.why}` });
  }
  return chosen;
}
