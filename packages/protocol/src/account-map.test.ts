import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { foldCase, knimeUsersOf, osUserOf, withMap } from './account-map.js';
import { KNIME_USERS_PER_ACCOUNT_MAX, MAP_PATTERNS_MAX } from './limits.js';
import { type OsUser, osUserSchema } from './names.js';
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
          (name, index) =>
            `privhelper.toml: line ${index + 6}, accounts.map.${name} = "alice": expected the name of an account, as executor.reservation_clause does not have {user} in single quotes`,
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
    expect(problemsOf(map(['Ä b', 'ä B']))).toEqual([
      'privhelper.toml: line 7, accounts.map.ä B = "alice": stands here twice, in different case',
    ]);
  });
});

describe('a pattern in [accounts.map]', () => {
  const SHORT = { '*@corp.example': '*' };
  const LONG = { '*': '*@corp.example' };

  it('leads each name that matches to an account of its own', () => {
    expect(osUserOf('Alice@Corp.Example', configOf(SHORT))).toBe('alice');
    expect(osUserOf('alice@other.example', configOf(SHORT))).toBe('alice@other.example');
    expect(osUserOf('alice', configOf(LONG))).toBe('alice@corp.example');
    expect(osUserOf('Alice', configOf({ 'A*': 'b-*', 'a*': 'c-*' }, { case: 'keep' }))).toBe('b-lice');
    expect(osUserOf('Anna (extern)', configOf({ '* (extern)': 'ext-*' }))).toBe('ext-anna');
  });

  it('gives the account’s executor the jobs of the name that it would lead there, and of no other', () => {
    expect(knimeUsersOf(alice, configOf(SHORT))).toEqual(['alice', 'alice@corp.example']);
    expect(knimeUsersOf(alice, configOf(LONG))).toEqual([]);
    expect(knimeUsersOf('alice@corp.example' as OsUser, configOf(LONG))).toEqual(['alice']);
    expect(knimeUsersOf('ext-anna' as OsUser, configOf({ '* (extern)': 'ext-*' }))).toEqual(['ext-anna', 'anna (extern)']);
  });

  it('stands back behind a line for one name', () => {
    const config = configOf({ ...LONG, svc: 'svc', 'chef@corp.example': 'bob@corp.example', bob: 'robert' });
    expect(osUserOf('svc', config)).toBe('svc');
    expect(knimeUsersOf('svc' as OsUser, config)).toEqual(['svc']);
    expect(knimeUsersOf('svc@corp.example' as OsUser, config)).toEqual([]);
    expect(knimeUsersOf('bob@corp.example' as OsUser, config)).toEqual(['chef@corp.example']);
  });

  it.each([
    ['nothing', '@corp.example', SHORT],
    ['digits only', '1000@corp.example', SHORT],
    ['what no account can be called', 'anna müller@corp.example', SHORT],
    ['too much', 'a'.repeat(64), LONG],
  ])('leads to no account where “*” stands for %s', (_, name, map) => {
    if (name.startsWith('@')) expect(osUserOf(name, configOf(map))).toBe(name);
    else expect(() => osUserOf(name, configOf(map))).toThrow(expect.objectContaining({ code: 'ACCOUNT_DENIED' }));
  });

  const problems = (map: Record<string, string>, executor = '') =>
    problemsOf(
      `[executor]\n${executor}\n[accounts.map]\n${Object.entries(map)
        .map(([name, account]) => `${JSON.stringify(name)} = ${JSON.stringify(account)}\n`)
        .join('')}`,
    );

  it('has one “*”, in the name and in the account', () => {
    expect(problems(SHORT)).toEqual([]);
    expect(problems(LONG)).toEqual([]);
    for (const map of [{ '*@a': 'alice' }, { alice: '*' }])
      expect(problems(map)).toEqual([expect.stringContaining('expected one "*" in both, the KNIME name and the account, or in none')]);
    for (const map of [{ '*@*': '*' }, { '*': '*@*' }, { '*': '-*' }, { '*': '.*' }, { '*': '*/x' }, { '*': '*ä' }, { "*'": '*' }])
      expect(problems(map)).toEqual([expect.stringMatching(/ expected a name of .*, or a pattern for such names with one "\*"$/)]);
  });

  it.each<[string, string]>([
    ['*', '*@corp.example'],
    ['*@corp.example', '*.example'],
    ['a*', 'ab*'],
    ['a*', '*b'],
    ['a*c', 'ab*bc'],
    ['A*', 'a*'],
    ['*Ä', '*ä'],
  ])('is refused beside one that a name could match, too: %s and %s', (one, other) => {
    const [problem] = problems({ [one]: 'x-*', [other]: 'y-*' });
    expect(problem).toMatch(/a name could match this and ".*": expected patterns of which none can|stands here twice/);
    expect(problems({ [other]: 'x-*', [one]: 'y-*' })).toHaveLength(1);
  });

  it('is taken beside one that shares no name with it', () => {
    expect(problems({ '*@a': 'a-*', '*@b': 'b-*' })).toEqual([]);
  });

  it('needs the quotes of the reservation where its names do', () => {
    expect(problems({ '* (extern)': 'ext-*' }, 'reservation_clause = "user = {user}"')).toEqual([
      expect.stringContaining('does not have {user} in single quotes'),
    ]);
    expect(problems(SHORT, 'reservation_clause = "user = {user}"')).toEqual([]);
  });

  it('comes in numbers, and leaves room for as many names, that a list entry can hold them', () => {
    const patterns = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`*@d${index}x`, '*']));
    const names = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`name${index}`, 'alice']));
    expect(problems(patterns(MAP_PATTERNS_MAX))).toEqual([]);
    expect(problems(patterns(MAP_PATTERNS_MAX + 1))).toEqual([expect.stringContaining(`more than ${MAP_PATTERNS_MAX} patterns`)]);
    const most = { ...patterns(10), ...names(21) };
    expect(problems(most)).toEqual([]);
    expect(knimeUsersOf(alice, configOf(most))).toHaveLength(KNIME_USERS_PER_ACCOUNT_MAX);
    expect(problems({ ...most, more: 'alice' })).toEqual([expect.stringContaining('more than 21 names for the account "alice"')]);
  });
});

describe('whatever the map is,', () => {
  const account = fc.constantFrom('alice', 'bob', 'Carol', 'dave@a', 'ext-al');
  const name = fc.constantFrom(
    'alice',
    'ALICE',
    'bob',
    'bób',
    'Anna Müller',
    'ANNA MÜLLER',
    'a+b',
    'al (x)',
    'dave@a',
    'alice@a',
    'bob@b',
    'İx',
  );
  const key = fc.oneof(name, fc.constantFrom('*@a', '*@b', '* (x)', 'c*', 'A*', '*', 'İ*'));
  const target = fc.oneof(account, fc.constantFrom('*', '*@a', 'ext-*', 'C*'));
  const accounts = fc
    .record({ case: fc.constantFrom('lower' as const, 'keep' as const), lines: fc.array(fc.tuple(key, target), { maxLength: 6 }) })
    .map(({ lines, ...rest }) => ({
      ...rest,
      map: Object.fromEntries(
        lines.map(([from, to]) => [from, from.includes('*') === to.includes('*') ? to : from.includes('*') ? '*' : 'bob']),
      ),
    }));
  const anyName = fc.oneof(name, account, fc.stringMatching(/^[a-c@İ]{1,6}$/), fc.constantFrom('x'.repeat(64), 'İ'.repeat(64)));

  it('names and accounts lead to each other, to one account at most, and to nothing that no account can be called', () => {
    fc.assert(
      fc.property(accounts, anyName, account, (given, knimeUser, osUser) => {
        const parsed = privhelperConfigSchema.safeParse({ accounts: given });
        fc.pre(parsed.success);
        const config = withMap(parsed.data.accounts);
        const ofAccount = knimeUsersOf(osUser as OsUser, config);
        expect(ofAccount.length).toBeLessThanOrEqual(KNIME_USERS_PER_ACCOUNT_MAX);
        for (const user of ofAccount) expect(osUserOf(user, config)).toBe(osUser);
        let found: OsUser | undefined;
        try {
          found = osUserOf(knimeUser, config);
        } catch (error) {
          expect(error).toMatchObject({ code: 'ACCOUNT_DENIED' });
        }
        if (found === undefined) return;
        expect(osUserSchema.safeParse(found).success).toBe(true);
        expect(knimeUsersOf(found, config)).toContain(foldCase(knimeUser, config.case));
      }),
      { numRuns: 3_000 },
    );
  });
});
