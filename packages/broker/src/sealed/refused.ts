import type { KnimeUser } from '@kpx/protocol';
import { REFUSED_FOR, type RefusedFor } from './rules.js';

/** Accounts of which it is remembered what was refused. Beyond, the one that was refused nothing for longest is forgotten. */
const ACCOUNTS_MAX = 1_000;
/** Users in whose name jobs were refused; beyond, the one for whom that is longest ago is forgotten. */
const USERS_MAX = 1_000;
/** Of one account: exchanges and keys are whatever its code writes. Further ones are counted together. */
export const ROWS_MAX = 20;

/** A message that was refused. */
interface RefusedMessage {
  readonly exchange: string;
  readonly routingKey: string;
  readonly reason: RefusedFor;
}

/** Refused messages of an account, for operators; null: further exchanges and keys, counted together. */
export interface RefusedRow {
  readonly account: string;
  readonly count: number;
  readonly reason: RefusedFor;
  readonly exchange: string | null;
  readonly key: string | null;
  /** When it was refused last, in ISO 8601. */
  readonly last: string;
}

/** Jobs in the name of a user that were refused, for operators. */
export interface Forged {
  readonly count: number;
  /** The account whose code has published the last of them. */
  readonly account: string;
  /** In ISO 8601. */
  readonly last: string;
}

/** Counted since the broker started. */
export type RefusedCounts = Readonly<Record<RefusedFor, number>>;

const NONE = Object.fromEntries(Object.keys(REFUSED_FOR).map((reason) => [reason, 0])) as RefusedCounts;

interface Row extends Omit<RefusedRow, 'account' | 'last'> {
  count: number;
  lastAt: number;
}

interface Account {
  readonly counts: Record<RefusedFor, number>;
  readonly rows: Map<string, Row>;
}

/** Remembers what accounts have published and may not: also when their executors have ended, and with another configuration. */
export class RefusedRecord {
  readonly #counts: Record<RefusedFor, number> = { ...NONE };
  /** The one that was refused something last is the last. */
  readonly #accounts = new Map<string, Account>();
  /** The one in whose name a job was refused last is the last. */
  readonly #forged = new Map<KnimeUser, Forged>();

  /** Of all accounts, those that are forgotten included. */
  get counts(): RefusedCounts {
    return this.#counts;
  }

  /** `now` in milliseconds since the epoch. */
  note(name: string, { exchange, routingKey, reason }: RefusedMessage, now: number): void {
    const account = this.#accounts.get(name) ?? { counts: { ...NONE }, rows: new Map() };
    this.#accounts.delete(name);
    this.#accounts.set(name, account);
    const [oldest] = this.#accounts.keys();
    if (this.#accounts.size > ACCOUNTS_MAX && oldest !== undefined) this.#accounts.delete(oldest);
    this.#counts[reason] += 1;
    account.counts[reason] += 1;
    const row = rowFor(account.rows, { exchange, key: routingKey, reason });
    row.count += 1;
    row.lastAt = now;
  }

  /** A job that the code of an account has published in the name of a user with another account. `now` as above. */
  noteForged(account: string, user: KnimeUser, now: number): void {
    const count = (this.#forged.get(user)?.count ?? 0) + 1;
    this.#forged.delete(user);
    this.#forged.set(user, { count, account, last: new Date(now).toISOString() });
    const [oldest] = this.#forged.keys();
    if (this.#forged.size > USERS_MAX && oldest !== undefined) this.#forged.delete(oldest);
  }

  forgedFor(user: KnimeUser): Forged | undefined {
    return this.#forged.get(user);
  }

  countsOf(name: string): RefusedCounts {
    return this.#accounts.get(name)?.counts ?? NONE;
  }

  /** Of one account, or of all; of each account the most frequent first. */
  rows(name?: string): RefusedRow[] {
    const accounts = [...this.#accounts].filter(([account]) => name === undefined || account === name).sort(([a], [b]) => (a < b ? -1 : 1));
    return accounts.flatMap(([account, { rows }]) =>
      [...rows.values()]
        .sort((a, b) => b.count - a.count)
        .map(({ lastAt, ...row }) => ({ account, ...row, last: new Date(lastAt).toISOString() })),
    );
  }

  forget(name: string): void {
    this.#accounts.delete(name);
  }
}

function rowFor(rows: Map<string, Row>, asked: Pick<Row, 'exchange' | 'key' | 'reason'>): Row {
  const { reason } = asked;
  const known = rows.get(JSON.stringify(asked));
  if (known) return known;
  const what = rows.size < ROWS_MAX ? asked : { exchange: null, key: null, reason };
  const row = rows.get(JSON.stringify(what)) ?? { ...what, count: 0, lastAt: 0 };
  rows.set(JSON.stringify(what), row);
  return row;
}
