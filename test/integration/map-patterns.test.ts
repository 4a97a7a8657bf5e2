import { SpawnOutcome } from '@kpx/protocol';
import { describe, expect, it } from 'vitest';
import { executorEnvironmentOf } from '../fixtures/process.js';
import { rawAccounts, refusal, startHelper } from './installed-helper.js';

/*
 * Patterns in accounts.map, for directories that put a domain behind each account, or behind each KNIME name.
 */

const withAccounts = (accounts: Record<string, unknown>) => startHelper({ config: { accounts } });

describe('a pattern that leaves the domain of KNIME names off', () => {
  const map = { '*@corp.example': '*' };

  it('leads them to the accounts without it, and to their reservations', async () => {
    const { connection } = await withAccounts({ map });
    const executor = await connection.spawned('Alice@Corp.Example');
    expect(executor).toMatchObject({ osUser: 'alice', knimeUsers: ['alice', 'alice@corp.example'] });
    expect((await executorEnvironmentOf(executor.mainPid)).KNIME_EXECUTOR_RESERVATION).toBe(
      "(user = 'alice' OR user = 'alice@corp.example')",
    );
    expect(await connection.spawn('alice')).toMatchObject({ body: { outcome: SpawnOutcome.alreadyRunning, executor } });
    expect(await connection.prepare('alice@other.example')).toEqual(refusal('ACCOUNT_UNKNOWN', '"alice@other.example"'));
  });

  it('changes nothing about who may have an executor: the account that results is judged', async () => {
    const { connection } = await withAccounts({ map, denied_users: ['mallory'], denied_groups: ['analysts'] });
    expect(await connection.spawn('mallory@corp.example')).toEqual(refusal('ACCOUNT_DENIED', 'it is in denied_users'));
    expect(await connection.spawn('bob@corp.example')).toEqual(refusal('ACCOUNT_DENIED', 'its group "analysts" is in denied_groups'));
    expect(await connection.spawn('ROOT@corp.example')).toEqual(refusal('ACCOUNT_DENIED', 'it has the uid or gid of root'));
    for (const name of ['0@corp.example', '1000@corp.example', 'anna müller@corp.example'])
      expect(await connection.spawn(name)).toEqual(refusal('ACCOUNT_DENIED', `no account can be called "${name}"`));
  });
});

describe('a pattern that puts a domain behind KNIME names', () => {
  it('leads them to those accounts, but for names with a line of their own', async () => {
    const accounts = rawAccounts();
    const { uid } = accounts.account('erna@corp.example', { home: '/home/erna' });
    const { connection } = await withAccounts({ map: { '*': '*@corp.example', alice: 'alice' } });
    const executor = await connection.spawned('Erna');
    expect(executor).toMatchObject({ osUser: 'erna@corp.example', uid, knimeUsers: ['erna'] });
    expect(await connection.prepare('bob')).toEqual(refusal('ACCOUNT_UNKNOWN', 'there is no account "bob@corp.example"'));
    expect(await connection.prepare('erna@corp.example')).toEqual(refusal('ACCOUNT_UNKNOWN', '"erna@corp.example@corp.example"'));
    expect(await connection.spawned('alice')).toMatchObject({ osUser: 'alice', knimeUsers: ['alice'] });
  });
});
