import { describe, expect, it } from 'vitest';
import type { Letter } from './letter.js';
import { select } from './selection.js';

const letter = (key: string, user = '', reason = 'USER_DENIED') => ({ key, user, reason }) as Letter;
const LETTERS = [
  letter('aaaa1111', 'alice'),
  letter('aaaa2222', 'Bob', 'START_FAILED'),
  letter('bbbb1111', 'bob'),
  letter('bbbb1111', 'bob'),
];
const keys = (selection: Partial<Parameters<typeof select>[1]>) => select(LETTERS, { ids: [], ...selection }).map(({ key }) => key);

describe('select', () => {
  it('takes all when nothing is asked for', () => expect(keys({})).toHaveLength(4));

  it('takes those of a user, in capitals or not, and of a reason, and where both are given of both', () => {
    expect(keys({ user: 'BOB' })).toEqual(['aaaa2222', 'bbbb1111', 'bbbb1111']);
    expect(keys({ reason: 'START_FAILED' })).toEqual(['aaaa2222']);
    expect(keys({ user: 'alice', reason: 'START_FAILED' })).toEqual([]);
  });

  it('takes those of ids and their beginnings, each once, and every copy of one', () => {
    expect(keys({ ids: ['aaaa1', 'aaaa1111', 'bbbb'] })).toEqual(['aaaa1111', 'bbbb1111', 'bbbb1111']);
  });

  it('refuses an id of several letters, and says how many digits tell them apart', () => {
    expect(() => keys({ ids: ['aaaa'] })).toThrow(
      expect.objectContaining({ exitCode: 64, message: expect.stringMatching(/2 dead letters.*aaaa1$/) }),
    );
  });

  it('refuses an id of none', () => {
    expect(() => keys({ ids: ['cccc', 'aaaa1'] })).toThrow(expect.objectContaining({ exitCode: 66 }));
  });
});
