import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { ConfigError, parseConfig } from './toml-config.js';

const schema = z.strictObject({
  accounts: z
    .strictObject({
      min_uid: z.int().min(1).default(1000),
      denied_users: z.array(z.string()).default([]),
      map: z.record(z.string(), z.string()).optional(),
    })
    .prefault({}),
  http: z.strictObject({ listen: z.string() }).default({ listen: '127.0.0.1:9464' }),
  policy: z.strictObject({ rule: z.array(z.strictObject({ users: z.array(z.string()), action: z.enum(['allow', 'deny']) })) }).optional(),
  units: z.record(z.string(), z.strictObject({ slice: z.string() })).optional(),
});

/** The lines of the error that this text is refused with. */
function problems(text: string): string[] {
  try {
    parseConfig('kpx.toml', text, schema);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message.split('\n');
  }
  throw new Error('nothing was refused');
}

describe('a configuration', () => {
  it('is given back with its defaults', () => {
    const http = { listen: '127.0.0.1:9464' };
    expect(parseConfig('kpx.toml', '', schema)).toEqual({ accounts: { min_uid: 1000, denied_users: [] }, http });
    expect(parseConfig('kpx.toml', '[accounts]\ndenied_users = ["root"]', schema)).toEqual({
      accounts: { min_uid: 1000, denied_users: ['root'] },
      http,
    });
  });

  it.each([
    [
      '[accounts]\nmin_uid = 1000 1001',
      /^kpx\.toml: line 2, column 1\d, accounts\.min_uid: min_uid = 1000 1001: .*; expected a number in digits$/,
    ],
    ['[accounts\nmin_uid = 1000', /^kpx\.toml: line 1, column \d+: \S.*/],
    [
      '[[policy.rule]]\nusers = ["a"]\n[[policy.rule]]\nusers = ["b"]\nusers = ["c"]',
      'line 5, column 1: "policy.rule.users" is there twice: take out line 4 or line 5',
    ],
    ['[accounts]\nmin_uid = 1\nmin_uid = 2', /^kpx\.toml: line 3, column \d+: \S.*/],
  ])('that is not TOML is refused with file, line, column and what is wrong (%j)', (text, line) => {
    expect(problems(text)).toEqual([expect.stringMatching(line)]);
    expect(problems(text)[0]).not.toContain('Invalid TOML document');
  });

  it.each([
    [
      '[policy]\nrule = []\n[http]\nlisten = "x"\n[[policy.rule]]\nusers = ["*"]',
      'line 5, column 3: "policy.rule" is there twice: take out line 2, "rule = []"',
    ],
    [
      '[[policy.rule]]\nusers = ["*"]\n[policy]\nrule = [ ] # none',
      'line 4, column 1: "policy.rule" is there twice: take out line 4, "rule = []"',
    ],
    [
      '[[policy.rule]]\nusers = ["a"]\n[[policy.rule]]\nusers = ["b"]\nusers = ["c"]',
      'line 5, column 1: "policy.rule.users" is there twice: take out line 4 or line 5',
    ],
    ['[accounts]\nmin_uid = 1\nmin_uid = 2', 'line 3, column 1: "accounts.min_uid" is there twice: take out line 2 or line 3'],
    ['[accounts]\n[http]\nlisten = "x"\n[accounts]', 'line 4, column 2: "accounts" is there twice: take out line 1 or line 4'],
    ['[accounts.map]\na = "b"\n"a" = "c"', 'line 3, column 1: "accounts.map.a" is there twice: take out line 2 or line 3'],
    ['accounts.min_uid = 1\n[accounts]', 'line 2, column 2: "accounts" is there already; give all of its keys in one place'],
  ])('that has something twice is refused with both lines (%j)', (text, line) => {
    expect(problems(text)).toEqual([`kpx.toml: ${line}`]);
  });

  it.each([
    ['accuonts = 1', 'kpx.toml: line 1, accuonts: unknown key; did you mean "accounts"?'],
    ['[accounts]\nmin_uidd = 1000', 'kpx.toml: line 2, accounts.min_uidd: unknown key; did you mean "min_uid"?'],
    ['[http]\nlisten = "[::1]:9464"\nlistne = ""', 'kpx.toml: line 3, http.listne: unknown key; did you mean "listen"?'],
    ['[accounts]\nminuid = 1000', 'kpx.toml: line 2, accounts.minuid: unknown key; did you mean "min_uid"?'],
    [
      '[[policy.rule]]\nusers = ["a"]\naction = "deny"\n[[policy.rule]]\nuser = ["a"]\nusers = []\naction = "deny"',
      'kpx.toml: line 5, rule 2: user: unknown key; did you mean "users"?',
    ],
  ])('with a misspelt key is refused with the nearest one (%j)', (text, line) => {
    expect(problems(text)).toEqual([line]);
  });

  it('with a key like no other is refused with the keys that there are', () => {
    expect(problems('[accounts]\nfrobnication = true')).toEqual([
      'kpx.toml: line 2, accounts.frobnication: unknown key; known keys here: min_uid, denied_users, map',
    ]);
  });

  it('with an unknown key below a name of the administrator is refused, too', () => {
    expect(problems('[units.big]\nslice = "a"\nslize = "a"')).toEqual([
      expect.stringContaining('kpx.toml: line 3, units.big.slize: unknown key'),
    ]);
  });

  it('with a value of the wrong type is refused with its key', () => {
    expect(problems('[accounts]\nmin_uid = "1000"')).toEqual([
      expect.stringMatching(
        /^kpx\.toml: line 2, accounts\.min_uid = "1000": expected a whole number .*, without quotes; for example min_uid = 1000$/,
      ),
    ]);
    expect(problems('[accounts]\ndenied_users = ["root", 7]')).toEqual([
      'kpx.toml: line 2, accounts.denied_users, entry 2 = 7: expected text in quotes',
    ]);
  });

  it('with several problems is refused with all of them, one line each', () => {
    expect(problems('[accounts]\nmin_uid = 0\nmin_uidd = 1\ndenied_user = []\n[policy]\nrule = 1')).toEqual([
      expect.stringMatching(/^kpx\.toml: line 2, accounts\.min_uid = 0: /),
      'kpx.toml: line 3, accounts.min_uidd: unknown key; did you mean "min_uid"?',
      'kpx.toml: line 4, accounts.denied_user: unknown key; did you mean "denied_users"?',
      'kpx.toml: line 6, policy.rule = 1: expected a list',
    ]);
  });

  it('that is refused as a whole is called the file', () => {
    const whole = z.strictObject({}).refine(() => false, 'min_uid and max_uid contradict each other');
    expect(() => parseConfig('kpx.toml', '', whole)).toThrow('kpx.toml: the file: min_uid and max_uid contradict each other');
  });

  it('that cannot be parsed for another reason than its syntax is not blamed for it', () => {
    expect(() => parseConfig('kpx.toml', undefined as unknown as string, schema)).toThrow(TypeError);
  });
});
