import { describe, expect, it } from 'vitest';
import { info } from '../../test-fixtures/executors.js';
import { LostAccounts } from './lost-accounts.js';

const executor = (name: string, refusal?: string) => info(name, 1_000, { knimeUsers: [], ...(refusal !== undefined && { refusal }) });

describe('an account that is refused', () => {
  it('counts as lost with the second judgement in a row, not with the first', () => {
    const lost = new LostAccounts();
    expect(lost.judged([executor('alice', 'gone'), executor('bob')])).toEqual([{ osUser: 'alice', why: 'gone', again: false }]);
    expect(lost.judged([executor('alice', 'gone'), executor('bob', 'denied')])).toEqual([
      { osUser: 'alice', why: 'gone', again: true },
      { osUser: 'bob', why: 'denied', again: false },
    ]);
    expect(lost.judged([executor('alice'), executor('bob', 'denied')])).toEqual([{ osUser: 'bob', why: 'denied', again: true }]);
    expect(lost.judged([executor('alice', 'gone')])).toEqual([{ osUser: 'alice', why: 'gone', again: false }]);
  });
});
