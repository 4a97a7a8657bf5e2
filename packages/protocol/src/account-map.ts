import { KpxError } from './errors.js';
import { KNIME_USERS_PER_ACCOUNT_MAX } from './limits.js';
import { accountNameOf, type KnimeUser, knimeUserSchema, type OsUser } from './names.js';

/*
 * Which account a KNIME name stands for, and which KNIME names stand for an account. Pure. The two are each other's reverse: an executor's reservation
 * has exactly the names that lead to its account.
 */

/** How KNIME names are compared, as configured. */
type CaseRule = 'lower' | 'keep';

/** [accounts.map], ready for look-ups. */
export interface AccountMap {
  readonly case: CaseRule;
  /** By KNIME name, folded. */
  readonly map: ReadonlyMap<string, OsUser>;
}

export function foldCase(name: string, rule: CaseRule): string {
  return rule === 'lower' ? name.toLowerCase() : name;
}

/** Whether a list has the name, in whatever case where case does not count. */
export const hasName = (list: readonly string[], name: string, rule: CaseRule) =>
  list.some((listed) => foldCase(listed, rule) === foldCase(name, rule));

/** [accounts] of the configuration with its map ready for look-ups. */
export function withMap<Accounts extends { case: CaseRule; map: Record<string, OsUser> }>(
  accounts: Accounts,
): Omit<Accounts, 'map'> & AccountMap {
  return { ...accounts, map: new Map(Object.entries(accounts.map).map(([name, osUser]) => [foldCase(name, accounts.case), osUser])) };
}

/**
 * Which account a KNIME name stands for. Whether there is one, and whether it may have an executor, is not judged here. Throws ACCOUNT_DENIED for a
 * name that no account can have and that is not in the map.
 */
export function osUserOf(knimeUser: string, accounts: AccountMap): OsUser {
  const folded = foldCase(knimeUser, accounts.case);
  const osUser = accounts.map.get(folded) ?? accountNameOf(folded);
  if (osUser === undefined)
    throw new KpxError('ACCOUNT_DENIED', `no account can be called "${knimeUser}": [accounts.map] must lead it to one`);
  return osUser;
}

/** The account's own name, unless the map leads it elsewhere, and every name that is mapped to the account. */
export function knimeUsersOf(osUser: OsUser, accounts: AccountMap): KnimeUser[] {
  const mapped = [...accounts.map].filter(([, target]) => target === osUser).map(([name]) => name);
  const leadsHere = (name: string) => osUserOf(name, accounts) === osUser;
  return [...new Set([osUser, ...mapped])].filter(leadsHere).map((name) => knimeUserSchema.parse(name));
}

/** A clause of a reservation with {user} in quotes wherever it stands, and no other quotes. */
const QUOTES_USER = /^(?:(?!\{user\})[^'"\\]|'[^'"\\]*')*$/;

/** What is wrong with [accounts.map], by its key. `clause` is that of the reservation. */
export function* problemsOfMap(
  accounts: { case: CaseRule; map: Record<string, OsUser> },
  clause: string,
): Generator<[key: string, problem: string]> {
  const seen = new Set<string>();
  const perAccount = new Map<string, number>();
  for (const [name, osUser] of Object.entries(accounts.map)) {
    const folded = foldCase(name, accounts.case);
    const count = (perAccount.get(osUser) ?? 0) + 1;
    if (seen.has(folded)) yield [name, 'stands here twice, in different case'];
    else if (count >= KNIME_USERS_PER_ACCOUNT_MAX)
      yield [name, `more than ${KNIME_USERS_PER_ACCOUNT_MAX - 1} names for the account "${osUser}"`];
    else if (!knimeUserSchema.safeParse(folded).success) yield [name, 'expected a name that is one in lower case, too (accounts.case)'];
    else if (accountNameOf(name) === undefined && !QUOTES_USER.test(clause))
      yield [name, `expected the name of an account, as executor.reservation_clause does not have {user} in single quotes`];
    seen.add(folded);
    perAccount.set(osUser, count);
  }
}
