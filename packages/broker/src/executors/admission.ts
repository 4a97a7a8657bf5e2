import type { KnimeUser } from '@kpx/protocol';
import { admits, isUndecided, type Policy, ruleInForce } from '../policy/policy.js';
import type { Books } from './books.js';
import { denial } from './events.js';
import { release, shorten } from './holding.js';
import { leaveLine } from './line.js';
import { newUser, type User } from './user.js';

/** The user's entry, a new one if need be. Groups that are given are in force from now on. */
export function userOf(books: Books, name: KnimeUser, groups: readonly string[] | undefined): User {
  const known = books.users.get(name);
  if (known) {
    if (known.groups !== groups && groups !== undefined) setGroups(books, name, groups);
    return known;
  }
  const user = newUser(name, groups);
  judge(books, user);
  books.users.set(name, user);
  return user;
}

export function setGroups(books: Books, name: KnimeUser, groups: readonly string[]): void {
  const user = books.users.get(name);
  if (user) {
    user.groups = groups;
    judge(books, user);
  }
  for (const executor of books.executors.values()) if (executor.user === name) executor.groups = groups;
  books.executors.judge(books.policy);
  if (user) shorten(books, user);
}

/** Executors stay, whatever the new policy says; so do jobs, but for those of users whom it denies. */
export function setPolicy(books: Books, policy: Policy): void {
  books.policy = policy;
  for (const user of books.users.values()) judge(books, user);
  books.executors.judge(policy);
  for (const user of books.users.values()) shorten(books, user);
}

/** Jobs of a user who is not admitted any more do not wait for an executor either. Where groups decide that, and are not known yet, all stays as it is. */
function judge(books: Books, user: User): void {
  const { name, groups, rule } = user;
  user.awaitsGroups = isUndecided(books.policy, { user: name, groups });
  user.rule = ruleInForce(books.policy, { user: name, groups, rule });
  const admitted = admits(books.policy, user.name, user.rule);
  user.admitted = admitted;
  if (admitted.ok) return;
  user.wanted = undefined;
  release(books, user.held.takeAll(), (ticket) => denial(user.name, admitted.why, ticket));
  if (books.line.has(user)) leaveLine(books, user, admitted.why);
}

/** Users whose groups are not known, and those of executors: the broker did not start these, or no rule asked for groups before. */
export function ungrouped({ users, executors }: Books): Set<KnimeUser> {
  const everybody = [...[...users.values()].map(({ name, groups }) => ({ user: name, groups })), ...executors.values()];
  return new Set(everybody.filter(({ groups }) => groups === undefined).map(({ user }) => user));
}
