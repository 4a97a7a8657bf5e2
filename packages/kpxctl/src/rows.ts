import { ANY_STATES, type AnyState, shownState, TROUBLED } from '@kpx/broker/executors/states';
import { durationText } from '@kpx/broker/output/duration';
import { table } from '@kpx/broker/output/format';
import { bold, warning } from '@kpx/broker/output/terminal';
import type { ExecutorStatus, Status, UserStatus } from '@kpx/broker/record/status';
import { plannedOf } from './explain.js';

/** A line of `list` and `top`: a user, or an executor of which no user is known. null: not known, or there is none. */
export interface Row {
  readonly user: string;
  readonly os_user: string | null;
  readonly uid: number | null;
  readonly pid: number | null;
  readonly state: AnyState;
  /** In line, counted from 1. */
  readonly place: number | null;
  /** Of the state, in ISO 8601. */
  readonly since: string | null;
  readonly profile: string;
  readonly rule: string;
  readonly held: number;
  /** Of the executor: for how long it has had nothing to do, in milliseconds. */
  readonly idle: number | null;
  /** Share of one processor. */
  readonly cpu: number | null;
  /** In bytes. */
  readonly memory: number | null;
  /** Why a job of this user waits or leaves, by a name; null: nothing is in its way, or the broker does not say it. */
  readonly cause: string | null;
  /** When an executor is started, as an operator has planned, in ISO 8601. */
  readonly planned: string | null;
  /** The decision about a job of this user now, and why. */
  readonly why: string;
}

export const ORDERS = ['trouble', 'user', 'state', 'since', 'held', 'idle', 'cpu', 'memory'] as const;
export type Order = (typeof ORDERS)[number];

/** `planned_starts`: a broker of before an upgrade tells none. */
export function rowsOf({ users, executors, planned_starts: starts = [] }: Status): Row[] {
  const byAccount = new Map(executors.map((executor) => [executor.os_user, executor]));
  const named = new Set(users.map(({ os_user }) => os_user));
  const others = executors.filter(({ os_user }) => !named.has(os_user));
  const rows = [
    ...users.map((user) => rowOf(user, user.os_user === null ? undefined : byAccount.get(user.os_user))),
    ...others.map((executor) => ({ ...placeOf(executor), ...executor, place: null, held: 0, ...useOf(executor), ...NO_REASON })),
  ];
  const known = new Set(rows.map(({ user }) => user));
  const byUser = new Map(starts.map((start) => [start.user, start]));
  const later = starts.filter(({ user }) => !known.has(user)).map(({ user }) => ({ ...NOTHING, user }));
  return [...rows, ...later].map((row) => withStart(row, byUser.get(row.user)));
}

const NO_REASON = { cause: null, planned: null, why: '' };

/** A user of whom nothing is known but that an executor is started later. */
const NOTHING: Omit<Row, 'user'> = {
  ...{ os_user: null, uid: null, pid: null, state: 'idle', place: null, since: null, profile: '', rule: '', held: 0 },
  ...{ idle: null, cpu: null, memory: null, ...NO_REASON },
};

function withStart(row: Row, start: Status['planned_starts'][number] | undefined): Row {
  if (!start) return row;
  return { ...row, planned: start.at, why: [row.why, plannedOf(start)].filter(Boolean).join('; ') };
}

function rowOf({ user, state, since, profile, rule, held, cause, why, place }: UserStatus, executor: ExecutorStatus | undefined): Row {
  return {
    ...{ user, ...placeOf(executor), state: executor?.state === 'ending' ? 'ending' : state, since: since ?? executor?.since ?? null },
    ...{ place: place ?? null, profile, rule, held, ...useOf(executor), ...NO_REASON, cause: cause ?? null, why },
  };
}

const placeOf = (executor: ExecutorStatus | undefined) => ({
  os_user: executor?.os_user ?? null,
  uid: executor?.uid ?? null,
  pid: executor?.pid ?? null,
});

/** A broker of another version may tell less. */
const useOf = (executor: ExecutorStatus | undefined) => ({
  idle: executor?.idle ?? null,
  cpu: executor?.cpu ?? null,
  memory: executor?.memory ?? null,
});

/** Those whom somebody may have to look at first, the longest first. Names by the alphabet; numbers, and how long something has been so, the largest first, and what is not known last. */
export function sorted(rows: readonly Row[], order: Order): Row[] {
  const byName = (one: Row, other: Row) => compare(one.user, other.user);
  const byAge = (one: Row, other: Row) => compare(one.since ?? '~', other.since ?? '~');
  const troubled = (row: Row) => Number(isTroubled(row));
  const by: Record<Order, (one: Row, other: Row) => number> = {
    trouble: (one, other) => troubled(other) - troubled(one) || (troubled(one) ? byAge(one, other) : 0),
    user: byName,
    state: (one, other) => ANY_STATES.indexOf(one.state) - ANY_STATES.indexOf(other.state),
    since: byAge,
    held: (one, other) => other.held - one.held,
    ...{ idle: most('idle'), cpu: most('cpu'), memory: most('memory') },
  };
  return rows.toSorted((one, other) => by[order](one, other) || byName(one, other));
}

/** Somebody may have to look at it. */
const isTroubled = ({ state, cause }: Row) => TROUBLED.has(state) || cause === 'ends_soon';

const compare = (one: string, other: string) => (one < other ? -1 : Number(one > other));

const most = (key: 'idle' | 'cpu' | 'memory') => (one: Row, other: Row) => (other[key] ?? -1) - (one[key] ?? -1);

const HEADING = ['USER', 'ACCOUNT', 'UID', 'STATE', 'FOR', 'HELD', 'IDLE', 'CPU', 'MEMORY', 'PROFILE', 'RULE', 'WHY'];

const inWords = (state: AnyState, place: number | null) => (place === null ? shownState(state) : `${shownState(state)}, place ${place}`);

/** Lines of at most `width` characters, a heading first; `now` in milliseconds since the epoch. */
export function tableOf(rows: readonly Row[], width: number, now: number): string[] {
  const cells = rows.map(({ user, os_user, uid, state, place, since, held, idle, cpu, memory, profile, rule, why }) => [
    ...[user, os_user ?? '', `${uid ?? ''}`, inWords(state, place), since === null ? '' : forHowLong(since, now)],
    ...[String(held), idle === null ? '' : durationText(idle), cpu === null ? '' : `${Math.round(cpu * 100)}%`],
    ...[memory === null ? '' : mebibytes(memory), profile, rule === 'none' ? '' : rule, why],
  ]);
  const [heading = '', ...lines] = table(HEADING, cells, width);
  return [bold(heading), ...lines.map((line, at) => (rows[at] && isTroubled(rows[at]) ? warning(line) : line))];
}

/** Bytes, for people. */
export const mebibytes = (bytes: number) => `${Math.round(bytes / 1024 / 1024)} MiB`;

/** For how long it has lasted, such as `3m04s`. `since` in ISO 8601, `now` in milliseconds since the epoch. */
export const forHowLong = (since: string, now: number): string => durationText(Math.max(0, now - Date.parse(since)));
