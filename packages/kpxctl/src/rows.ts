import { ANY_STATES, type AnyState, shownState, TROUBLED } from '@kpx/broker/executors/states';
import { durationText } from '@kpx/broker/output/duration';
import { table } from '@kpx/broker/output/format';
import { bold, warning } from '@kpx/broker/output/terminal';
import type { ExecutorStatus, Status, UserStatus } from '@kpx/broker/record/status';

/** A line of `list` and `top`: a user, or an executor of which no user is known. null: not known, or there is none. */
export interface Row {
  readonly user: string;
  readonly os_user: string | null;
  readonly uid: number | null;
  readonly pid: number | null;
  readonly state: AnyState;
  /** Of the state, in ISO 8601. */
  readonly since: string | null;
  readonly profile: string;
  readonly rule: string;
  readonly held: number;
  /** Share of one processor. */
  readonly cpu: number | null;
  /** The decision about a job of this user now, and why. */
  readonly why: string;
}

export const ORDERS = ['user', 'state', 'since', 'held', 'cpu'] as const;
export type Order = (typeof ORDERS)[number];

export function rowsOf({ users, executors }: Status): Row[] {
  const byAccount = new Map(executors.map((executor) => [executor.os_user, executor]));
  const named = new Set(users.map(({ os_user }) => os_user));
  const others = executors.filter(({ os_user }) => !named.has(os_user));
  return [
    ...users.map((user) => rowOf(user, user.os_user === null ? undefined : byAccount.get(user.os_user))),
    ...others.map((executor) => ({ ...placeOf(executor), ...executor, held: 0, cpu: executor.cpu ?? null, why: '' })),
  ];
}

function rowOf({ user, state, since, profile, rule, held, why }: UserStatus, executor: ExecutorStatus | undefined): Row {
  return {
    ...{ user, ...placeOf(executor), state: executor?.state === 'ending' ? 'ending' : state, since: since ?? executor?.since ?? null },
    ...{ profile, rule, held, cpu: executor?.cpu ?? null, why },
  };
}

const placeOf = (executor: ExecutorStatus | undefined) => ({
  os_user: executor?.os_user ?? null,
  uid: executor?.uid ?? null,
  pid: executor?.pid ?? null,
});

/** Names by the alphabet; numbers, and how long something has been so, the largest first, and what is not known last. */
export function sorted(rows: readonly Row[], order: Order): Row[] {
  const byName = (one: Row, other: Row) => compare(one.user, other.user);
  const by: Record<Order, (one: Row, other: Row) => number> = {
    user: byName,
    state: (one, other) => ANY_STATES.indexOf(one.state) - ANY_STATES.indexOf(other.state),
    since: (one, other) => compare(one.since ?? '~', other.since ?? '~'),
    held: (one, other) => other.held - one.held,
    cpu: (one, other) => (other.cpu ?? -1) - (one.cpu ?? -1),
  };
  return rows.toSorted((one, other) => by[order](one, other) || byName(one, other));
}

const compare = (one: string, other: string) => (one < other ? -1 : Number(one > other));

const HEADING = ['USER', 'ACCOUNT', 'UID', 'STATE', 'FOR', 'HELD', 'CPU', 'PROFILE', 'RULE', 'WHY'];

/** Lines of at most `width` characters, a heading first; `now` in milliseconds since the epoch. */
export function tableOf(rows: readonly Row[], width: number, now: number): string[] {
  const cells = rows.map(({ user, os_user, uid, state, since, held, cpu, profile, rule, why }) => [
    ...[user, os_user ?? '', `${uid ?? ''}`, shownState(state), since === null ? '' : forHowLong(since, now)],
    ...[String(held), cpu === null ? '' : `${Math.round(cpu * 100)}%`, profile, rule === 'none' ? '' : rule, why],
  ]);
  const [heading = '', ...lines] = table(HEADING, cells, width);
  return [bold(heading), ...lines.map((line, at) => (TROUBLED.has(rows[at]?.state ?? '') ? warning(line) : line))];
}

/** For how long it has lasted, such as `3m04s`. `since` in ISO 8601, `now` in milliseconds since the epoch. */
export const forHowLong = (since: string, now: number): string => durationText(Math.max(0, now - Date.parse(since)));
