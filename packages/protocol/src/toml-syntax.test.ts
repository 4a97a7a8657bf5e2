import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { hints } from './config-hints.js';
import { parseConfig } from './toml-config.js';

/* What an operator reads of a configuration that is not TOML. */

const schema = z.strictObject({
  policy: z
    .strictObject({ idle_stop: z.string().default(''), is_fair: z.boolean().default(true), max_executors: z.int().default(40) })
    .prefault({}),
  secret: z.string().optional().register(hints, { secret: true }),
  rules: z.array(z.unknown()).optional(),
});

const problem = (text: string) => {
  try {
    parseConfig('kpx.toml', text, schema);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('nothing was refused');
};

describe('a line that is not TOML', () => {
  it.each([
    ['idle_stop = 30m', /: idle_stop = 30m: text needs quotes: idle_stop = "30m"$/],
    ['idle_stop =', /: there is no value after "="; nothing is written idle_stop = ""$/],
    ['idle_stop = "30m', /: the text has no quote at its end$/],
    ['is_fair = yes', /; expected is_fair = true$/],
    ['is_fair = True', /; expected is_fair = true$/],
    ['is_fair = Off', /; expected is_fair = false$/],
    ['max_executors = ten', /: max_executors = ten: .*; expected a number in digits$/],
    ['idle_stop == "30m"', /; expected idle_stop = VALUE$/],
    ['idle_stop = "30m" x', /; expected idle_stop = VALUE$/],
    ['max_executors = 9007199254740993', /: max_executors = 9007199254740993: .*; expected a number in digits$/],
    ['unknown = 30m', /: text needs quotes: unknown = "…"$/],
    [`idle_stop = ${'x'.repeat(70)}`, /: text needs quotes: idle_stop = "…"$/],
  ])('says what to write for %j', (line, expected) => {
    expect(problem(`[policy]\n${line}`)).toMatch(/^kpx\.toml: line 2, column \d+, policy\.\w+: /);
    expect(problem(`[policy]\n${line}`)).toMatch(expected);
  });

  it('repeats no secret', () => {
    expect(problem('secret = hunter2')).toMatch(/: text needs quotes: secret = "…"$/);
    expect(problem('secret = hunter2')).not.toContain('hunter2');
  });

  it('that defines nothing says what a line is', () => {
    expect(problem('idle_stop')).toMatch(/; expected KEY = VALUE, \[TABLE\], or \[\[TABLE\]\], each on a line of its own$/);
  });

  it('that has a key twice within a list is named without a name', () => {
    expect(problem('rules = [\n  { a = 1, a = 2 },\n]')).toBe(
      'kpx.toml: line 2, column 12: a key is there already; give all of its keys in one place',
    );
  });

  it('with an escape that TOML does not know, in a key, is named', () => {
    expect(problem('"\\q" = 1')).toMatch(/^kpx\.toml: line 1, column \d+/);
  });

  it('is counted behind a text of several lines, in which nothing is a key', () => {
    expect(problem('secret = """\npolicy = 1\n[policy]\n"""\n[policy]\nidle_stop = 30m')).toMatch(
      /^kpx\.toml: line 6, .*policy\.idle_stop: /,
    );
  });
});
