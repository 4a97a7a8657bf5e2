import { hasRoom, type Load, mayStart, nextInLine, type Policy } from '../policy/policy.js';
import type { User } from './user.js';

/** Jobs held for a user for whom there is no room: one keeps the place in line. */
export const HELD_IN_LINE = 1;
/** Longest time that this one is held, in milliseconds: then it goes round once, and another host that has room may take it. */
export const HELD_IN_LINE_MAX_MS = 30_000;
/** How long a user keeps the place in line without a held job, in milliseconds: its jobs come back from the delay queue within this time. */
export const PLACE_MS = 30_000;

/** Who of the line starts now; undefined: nobody may, or there is no room for any of them. */
export function nextToStart(policy: Policy, load: Load, line: Iterable<User>): User | undefined {
  // A rule leaves less room, never more: with none at all nobody in line has to be looked at.
  if (!mayStart(policy, load).ok || !hasRoom(policy, load, undefined).ok) return undefined;
  return nextInLine([...line].filter(({ rule }) => hasRoom(policy, load, rule).ok));
}

/** How long who has waited longest has been in line, in milliseconds; 0: nobody is. */
export const longestWaitMs = (line: Iterable<User>, now: number): number =>
  Math.max(0, ...[...line].map(({ stateSince }) => now - stateSince));

/** Why a user who waits for an executor does not get one yet. */
export function whyWaiting(policy: Policy, load: Load, { rule }: User): string {
  const room = hasRoom(policy, load, rule);
  if (!room.ok) return room.why;
  const turn = mayStart(policy, load);
  return turn.ok ? 'as many jobs are held as may' : turn.why;
}
