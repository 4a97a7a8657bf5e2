import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { foldCase, knimeUsersOf, osUserOf, withMap } from './account-map.js';
import type { OsUser } from './names.js';
import { privhelperConfigSchema } from './privhelper-config.js';
import { ConfigError, parseConfig } from './toml-config.js';

const configOf = (map: Record<string, string>, rest: Record<string, unknown> = {}) =>
  withMap(privhelperConfigSchema.parse({ accounts: { ...rest, map }, executor: { launcher: 'systemd' } }).accounts);
const alice = 'alice' as OsUser;

/** The lines of the error. */
function problemsOf(toml: string): string[] {
  try {
    parseConfig('privhelper.toml', toml, privhelperConfigSchema);
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n');
    throw error;
  }
  return [];
}

it('folds case where told to, and only of letters', () => {
  expect(foldCase('Corp\\ANNA@Example.COM', 'lower')).toBe('corp\\anna@example.com');
  expect(foldCase('Corp\\ANNA', 'keep')).toBe('Corp\\ANNA');
});

describe('a name stands for', () => {
  it('the account that is called like it, in lower case or as it is', () => {
    expect(osUserOf('Alice', configOf({}))).toBe('alice');
    expect(osUserOf('Alice', configOf({}, { case: 'keep' }))).toBe('Alice');
  });

  it('the account that it is mapped to, however it is written', () => {
    const map = { 'alice@example.org': 'alice' };
    expect(osUserOf('ALICE@Example.ORG', configOf(map))).toBe('alice');
    expect(osUserOf('ALICE@Example.ORG', configOf(map, { case: 'keep' }))).toBe('ALICE@Example.ORG');
  });

  it.each(['Anna Müller', 'a+b', 'Müller, Anna (extern)'])('no account where it is %j and the map does not have it', (name) => {
    const denied = expect.objectContaining({
      code: 'ACCOUNT_DENIED',
      message: expect.stringContaining(`no account can be called "${name}"`),
    });
    expect(() => osUserOf(name, configOf({ 'Anna Mueller': 'anna', ab: 'anna' }))).toThrow(denied);
    expect(osUserOf(name.toUpperCase(), configOf({ [name]: 'anna' }))).toBe('anna');
  });

  it('no account where only a name that looks like it is in the map', () => {
    for (const look of ['\u0430nna', 'anna m\u00fcller\u0301', 'ann\u0101'])
      expect(() => osUserOf(look, configOf({ 'Anna Müller': 'anna' }))).toThrow(expect.objectContaining({ code: 'ACCOUNT_DENIED' }));
  });
});

describe('the jobs of an account’s executor are those of', () => {
  it('the account’s own name', () => {
    expect(knimeUsersOf(alice, configOf({ bob: 'robert' }))).toEqual(['alice']);
  });

  it('every name that is mapped to it, once', () => {
    const map = { alice: 'alice', 'Alice Müller': 'alice', bob: 'robert', al: 'alice' };
    expect(knimeUsersOf(alice, configOf(map))).toEqual(['alice', 'alice müller', 'al']);
  });

  it('not its own name where that is mapped to another account', () => {
    expect(knimeUsersOf(alice, configOf({ alice: 'robert', al: 'alice' }))).toEqual(['al']);
  });

  it('not its own name where that is folded to another one', () => {
    expect(knimeUsersOf('Alice' as OsUser, configOf({ al: 'Alice' }))).toEqual(['al']);
  });
});

describe('[accounts.map]', () => {
  const map = (names: string[], accounts = '', executor = '') =>
    `[executor]\n${executor}\n[accounts]\n${accounts}\n[accounts.map]\n${names.map((name) => `${JSON.stringify(name)} = "alice"\n`).join('')}`;
  const FREE = ['Anna Müller', 'a+b', 'Müller, Anna (extern)', '部長'];

  it('takes names that no account can have where the reservation quotes them', () => {
    expect(problemsOf(map(FREE))).toEqual([]);
    for (const clause of ["user = '{user}' AND group = 'of-{user}'", "'{user}' = user"])
      expect([clause, problemsOf(map(FREE, '', `reservation_clause = ${JSON.stringify(clause)}`))]).toEqual([clause, []]);
  });

  it.each(['user = {user}', 'user = "{user}"', "user = '{user}' OR {user}", "user = ''{user}''", "user = '{user}", "user = '\\'{user}'"])(
    'takes none of them with reservation_clause %s, and others as before',
    (clause) => {
      const executor = `reservation_clause = ${JSON.stringify(clause)}`;
      expect(problemsOf(map(['al.ice', 'CORP\\alice'], '', executor))).toEqual([]);
      expect(problemsOf(map(FREE, '', executor))).toEqual(
        FREE.map(
          (name) =>
            `privhelper.toml: accounts.map.${name}: expected the name of an account, as executor.reservation_clause does not have {user} in single quotes`,
        ),
      );
    },
  );

  it.each([
    "o'brien",
    'a  b',
    ' a',
    'a ',
    'a\u00a0b',
    'a\u202eb',
    'a\u200db',
    'a\u0085',
    'a\u2019b',
    'a/b',
    'x'.repeat(65),
    '😀'.repeat(65),
  ])('refuses the name %j', (name) => {
    expect(problemsOf(map([name]))).toEqual([expect.stringMatching(/: expected a name of 1 to 64 characters/)]);
  });

  it('refuses a name that is not in normal form C, and says so', () => {
    expect(problemsOf(map(['Anna Mu\u0308ller']))).toEqual([
      expect.stringContaining('accounts.map.Anna Mu\u0308ller: expected Unicode in normal form C'),
    ]);
  });

  it('refuses a name that lower case makes too long', () => {
    expect(problemsOf(map(['İ'.repeat(64)]))).toEqual([expect.stringContaining(': expected a name that is one in lower case, too')]);
    expect(problemsOf(map(['İ'.repeat(64)], 'case = "keep"'))).toEqual([]);
  });

  it('holds a name once, whatever its case', () => {
    expect(problemsOf(map(['Ä b', 'ä B']))).toEqual(['privhelper.toml: accounts.map.ä B: stands here twice, in different case']);
  });
});

it('leads names and accounts to each other, whatever the map is', () => {
  const account = fc.constantFrom('alice', 'bob', 'Carol', 'dave@a');
  const name = fc.constantFrom('alice', 'ALICE', 'bob', 'bób', 'Anna Müller', 'ANNA MÜLLER', 'a+b', 'carol', 'dave@a', 'İx');
  const accounts = fc.record({
    case: fc.constantFrom('lower' as const, 'keep' as const),
    map: fc.dictionary(name, account, { noNullPrototype: true }),
  });
  fc.assert(
    fc.property(accounts, name, account, (given, knimeUser, osUser) => {
      const parsed = privhelperConfigSchema.safeParse({ accounts: given });
      fc.pre(parsed.success);
      const config = withMap(parsed.data.accounts);
      for (const user of knimeUsersOf(osUser as OsUser, config)) expect(osUserOf(user, config)).toBe(osUser);
      let found: OsUser | undefined;
      try {
        found = osUserOf(knimeUser, config);
      } catch {}
      if (found !== undefined) expect(knimeUsersOf(found, config)).toContain(foldCase(knimeUser, config.case));
    }),
    { numRuns: 2_000 },
  );
});
