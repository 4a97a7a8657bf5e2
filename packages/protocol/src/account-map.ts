import { KpxError } from './errors.js';
import { KNIME_USERS_PER_ACCOUNT_MAX, MAP_PATTERNS_MAX } from './limits.js';
import { accountNameOf, type KnimeUser, knimeUserSchema, type OsUser } from './names.js';

/*
 * Which account a KNIME name stands for, and which KNIME names stand for an account. Pure. The two are each other's reverse: an executor's reservation
 * has exactly the names that lead to its account.
 */

/** How KNIME names are compared, as configured. */
type CaseRule = 'lower' | 'keep';

/** The text before and after the `*`, which stands for one character or more. */
interface Pattern {
  readonly before: string;
  readonly after: string;
}

/** [accounts.map], ready for look-ups. */
export interface AccountMap {
  readonly case: CaseRule;
  /** By KNIME name, folded. */
  readonly map: ReadonlyMap<string, OsUser>;
  /** No name matches two of them. The `*` stands for the same text in the folded KNIME name and in the account's name. */
  readonly patterns: readonly { readonly name: Pattern; readonly account: Pattern }[];
}

/** [accounts], as far as it is about names. */
interface Accounts {
  readonly case: CaseRule;
  readonly map: Readonly<Record<string, string>>;
}

export function foldCase(name: string, rule: CaseRule): string {
  return rule === 'lower' ? name.toLowerCase() : name;
}

/** Whether a list has the name, in whatever case where case does not count. */
export const hasName = (list: readonly string[], name: string, rule: CaseRule) =>
  list.some((listed) => foldCase(listed, rule) === foldCase(name, rule));

/** [accounts] of the configuration with its map ready for look-ups. */
export function withMap<Given extends Accounts>(accounts: Given): Omit<Given, 'map'> & AccountMap {
  const entries = Object.entries(accounts.map).map(([name, account]) => [foldCase(name, accounts.case), account] as const);
  const exact = entries.filter(([name]) => !isPattern(name)).map(([name, account]) => [name, account as OsUser] as const);
  const patterns = entries
    .filter(([name]) => isPattern(name))
    .map(([name, account]) => ({ name: patternOf(name), account: patternOf(account) }));
  return { ...accounts, map: new Map(exact), patterns };
}

const isPattern = (text: string) => text.includes('*');

function patternOf(text: string): Pattern {
  const [before = '', after = ''] = text.split('*');
  return { before, after };
}

/** The text that the `*` stands for in a name; undefined where the name does not match. */
function middleOf(name: string, { before, after }: Pattern): string | undefined {
  const matches = name.length > before.length + after.length && name.startsWith(before) && name.endsWith(after);
  return matches ? name.slice(before.length, name.length - after.length) : undefined;
}

const filled = ({ before, after }: Pattern, middle: string) => before + middle + after;

/**
 * Which account a KNIME name stands for: that of its own line in the map, else of the pattern that it matches, else the one of its own name. Whether
 * there is one, and whether it may have an executor, is not judged here. Throws ACCOUNT_DENIED for a name that leads to none that an account can have.
 */
export function osUserOf(knimeUser: string, accounts: AccountMap): OsUser {
  const osUser = accountFor(foldCase(knimeUser, accounts.case), accounts);
  if (osUser === undefined)
    throw new KpxError('ACCOUNT_DENIED', `no account can be called "${knimeUser}": [accounts.map] must lead it to one`);
  return osUser;
}

/** The same of a folded name; undefined: of none. */
function accountFor(folded: string, { map, patterns }: AccountMap): OsUser | undefined {
  if (!knimeUserSchema.safeParse(folded).success) return undefined;
  const exact = map.get(folded);
  if (exact !== undefined) return exact;
  for (const { name, account } of patterns) {
    const middle = middleOf(folded, name);
    if (middle !== undefined) return accountNameOf(filled(account, middle));
  }
  return accountNameOf(folded);
}

/** Of the account's own name, those that are mapped to it, and those that a pattern could lead to it: all that do lead to it. */
export function knimeUsersOf(osUser: OsUser, accounts: AccountMap): KnimeUser[] {
  const mapped = [...accounts.map].filter(([, target]) => target === osUser).map(([name]) => name);
  const matched = accounts.patterns.flatMap(({ name, account }) => {
    const middle = middleOf(osUser, account);
    return middle === undefined ? [] : [filled(name, middle)];
  });
  const leadsHere = (name: string) => accountFor(foldCase(name, accounts.case), accounts) === osUser;
  return [...new Set([osUser, ...mapped, ...matched])].filter(leadsHere).map((name) => knimeUserSchema.parse(name));
}

/** A clause of a reservation with {user} in quotes wherever it stands, and no other quotes. */
const QUOTES_USER = /^(?:(?!\{user\})[^'"\\]|'[^'"\\]*')*$/;

/** Any name of the pattern. */
const example = (text: string) => text.replace('*', 'x');

/** Whether a name could match both. */
const overlap = (one: Pattern, other: Pattern) =>
  (one.before.startsWith(other.before) || other.before.startsWith(one.before)) &&
  (one.after.endsWith(other.after) || other.after.endsWith(one.after));

/** The problems of [accounts.map], by its key. `clause` is that of the reservation. */
export function* problemsOfMap(accounts: Accounts, clause: string): Generator<[key: string, problem: string]> {
  const entries = Object.entries(accounts.map);
  const namesMax = KNIME_USERS_PER_ACCOUNT_MAX - 1 - Math.min(MAP_PATTERNS_MAX, entries.filter(([name]) => isPattern(name)).length);
  const seen = new Set<string>();
  const patterns = new Map<string, Pattern>();
  const perAccount = new Map<string, number>();
  for (const [name, account] of entries) {
    const folded = foldCase(name, accounts.case);
    const count = (perAccount.get(account) ?? 0) + 1;
    if (seen.has(folded)) yield [name, 'stands here twice, in different case'];
    else if (isPattern(name) !== isPattern(account)) yield [name, 'expected one "*" in both, the KNIME name and the account, or in none'];
    else if (!knimeUserSchema.safeParse(example(folded)).success)
      yield [name, 'expected a name that is one in lower case, too (accounts.case)'];
    else if (accountNameOf(example(name)) === undefined && !QUOTES_USER.test(clause))
      yield [name, 'expected the name of an account, as executor.reservation_clause does not have {user} in single quotes'];
    else if (isPattern(name)) {
      const pattern = patternOf(folded);
      const [other] = [...patterns].find(([, earlier]) => overlap(earlier, pattern)) ?? [];
      if (patterns.size === MAP_PATTERNS_MAX) yield [name, `more than ${MAP_PATTERNS_MAX} patterns`];
      else if (other !== undefined) yield [name, `a name could match this and "${other}": expected patterns of which none can`];
      else patterns.set(name, pattern);
    } else if (count > namesMax) yield [name, `more than ${namesMax} names for the account "${account}"`];
    seen.add(folded);
    perAccount.set(account, count);
  }
}
