import { describe, expect, it } from 'vitest';
import { reservation } from './executor-text.js';
import type { KnimeUser } from './names.js';

const forUsers = (...names: string[]) => ({ knimeUsers: names as KnimeUser[] });

describe('a reservation', () => {
  it.each([
    ["user = '{user}'", ['alice'], "(user = 'alice')"],
    [
      "user = '{user}'",
      ['alice', 'alice.smith', 'ALICE@EXAMPLE.COM'],
      "(user = 'alice' OR user = 'alice.smith' OR user = 'ALICE@EXAMPLE.COM')",
    ],
    ['user = {user}', ['alice'], '(user = alice)'],
    ["user = '{user}' AND group = 'of-{user}'", ['bob'], "(user = 'bob' AND group = 'of-bob')"],
  ])('with the clause %j for %j is %j', (clause, names, expected) => {
    expect(reservation(forUsers(...names), clause)).toBe(expected);
  });

  it('takes a name as it is: what JavaScript replaces in a replacement stays as it was', () => {
    expect(reservation(forUsers('$&', "$'", '$$'), "user = '{user}'")).toBe("(user = '$&' OR user = '$'' OR user = '$$')");
  });
});
