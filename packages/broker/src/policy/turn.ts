import type { Rule } from './rules.js';

/** A user in line. */
interface Waiting {
  readonly rule: Rule | undefined;
  /** When the user came, and how much executor time the user had had recently then. In milliseconds. */
  readonly stateSince: number;
  readonly recentMs: number;
}

export const shareOf = (rule: Rule | undefined): number => rule?.share ?? 1;

/** Users wait as if they had come later by the executor time that they have had recently, divided by their share. */
const turnAt = ({ rule, stateSince, recentMs }: Waiting): number => stateSince + recentMs / shareOf(rule);

/** Sorts users who wait: the highest priority first, and among equals who has the earliest turn. Recent time has a bound, so nobody is overtaken for ever. */
export const byTurn = (one: Waiting, other: Waiting): number =>
  (other.rule?.priority ?? 0) - (one.rule?.priority ?? 0) || turnAt(one) - turnAt(other);

/** The next of the users who wait, who are there in the order in which they came. */
export function nextInLine<U extends Waiting>(waiting: Iterable<U>): U | undefined {
  let next: U | undefined;
  for (const user of waiting) if (!next || byTurn(user, next) < 0) next = user;
  return next;
}
