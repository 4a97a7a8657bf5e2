import { readFileSync, writeFileSync } from 'node:fs';
import { SpawnOutcome, StopMode } from '@kpx/protocol';
import { describe, expect, it } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { isGone } from '../fixtures/process.js';
import { rawAccounts, refusal, startHelper } from './installed-helper.js';

/*
 * To the kernel an account is a uid and a group is a gid, whatever they are called.
 */

describe('an account', () => {
  it('with the uid of one in denied_users is refused, whichever comes first in passwd', async () => {
    const accounts = rawAccounts();
    const { uid } = accounts.account('id-mal2');
    accounts.account('id-mallory', { uid });
    const { connection } = await startHelper({ config: { accounts: { denied_users: ['id-nobody', 'id-mallory'] } } });
    const why = `the account "id-mal2" may not have an executor: its uid ${uid} is that of an account in denied_users`;
    expect(await connection.spawn('id-mal2')).toEqual(refusal('ACCOUNT_DENIED', why));
  });

  it('in a group with the gid of one in denied_groups is refused, whichever comes first in group', async () => {
    const accounts = rawAccounts();
    accounts.account('id-sailor');
    const gid = accounts.group('id-ships', ['id-sailor']);
    accounts.group('id-docker', [], gid);
    const { connection } = await startHelper({ config: { accounts: { denied_groups: ['id-docker'] } } });
    const why = `its group "id-ships" is in denied_groups, by its name or its gid ${gid}`;
    expect(await connection.prepare('id-sailor')).toEqual(refusal('ACCOUNT_DENIED', why));
  });

  it('is not allowed by a group that only has the name of an allowed one', async () => {
    const accounts = rawAccounts();
    accounts.account('id-analyst');
    accounts.account('id-impostor');
    accounts.group('id-analysts', ['id-analyst']);
    accounts.group('id-analysts', ['id-impostor']); // of the same name, and another gid
    const { connection } = await startHelper({ config: { accounts: { allowed_groups: ['id-analysts'] } } });
    expect(await connection.prepare('id-analyst')).toMatchObject({ kind: 'userPrepared' });
    expect(await connection.prepare('id-impostor')).toEqual(refusal('ACCOUNT_DENIED', 'none of its groups is in allowed_groups'));
  });

  it('with a group that has no name is judged by those that have one, and by the gid', async () => {
    const accounts = rawAccounts();
    const NAMELESS = 39_999;
    accounts.account('id-orphan', { gid: NAMELESS });
    accounts.group('id-welcome', ['id-orphan']);
    const good = { allowed_groups: ['id-welcome'], denied_groups: ['sudo'] };
    const { connection } = await startHelper({ config: { accounts: good } });
    expect(await connection.prepare('id-orphan')).toMatchObject({ kind: 'userPrepared' });
    const numbered = await startHelper({ config: { accounts: { denied_groups: [`${NAMELESS}`] } } });
    const why = `its group "${NAMELESS}" is in denied_groups, by its name or its gid ${NAMELESS}`;
    expect(await numbered.connection.prepare('id-orphan')).toEqual(refusal('ACCOUNT_DENIED', why));
  });

  it('that got another name while its executor runs does not get a second one before that has ended', async () => {
    const accounts = rawAccounts();
    const { uid } = accounts.account('id-before');
    const { connection } = await startHelper();
    const { mainPid } = await connection.spawned('id-before');
    const rename = (from: string, to: string) => {
      const passwd = readFileSync('/etc/passwd', 'utf8');
      writeFileSync('/etc/passwd', passwd.replace(`${from}:x:${uid}:`, `${to}:x:${uid}:`));
    };
    rename('id-before', 'id-after');
    try {
      const why = `"id-before" has the uid ${uid}, too, and its executor still runs: one executor a uid`;
      expect(await connection.spawn('id-after')).toEqual(refusal('LIMIT_REACHED', why));
      await connection.stop('id-before', StopMode.kill);
      await eventually('the executor has ended', () => isGone(mainPid));
      const again = () => connection.spawn('id-after');
      expect(
        await eventually('it is known to have ended', async () => (await again()).kind === 'executorSpawned' && (await again())),
      ).toMatchObject({
        body: { outcome: SpawnOutcome.alreadyRunning, executor: { osUser: 'id-after', uid } },
      });
    } finally {
      rename('id-after', 'id-before');
    }
  });

  it('that is gone or denied while its executor runs is told in the list, where that is asked for', async () => {
    const accounts = rawAccounts();
    accounts.account('id-stays');
    accounts.account('id-leaves');
    const { connection } = await startHelper();
    await connection.spawned('id-stays');
    await connection.spawned('id-leaves');
    const refusals = async (body: object) => {
      const { body: page } = (await connection.ask('listExecutors', body as { page: number })) as {
        body: { executors: { osUser: string; refusal?: string }[] };
      };
      return Object.fromEntries(page.executors.map(({ osUser, refusal }) => [osUser, refusal]));
    };
    expect(await refusals({ page: 1, judge: true })).toEqual({ 'id-stays': undefined, 'id-leaves': undefined });
    const passwd = readFileSync('/etc/passwd', 'utf8');
    writeFileSync('/etc/passwd', passwd.replace(/^id-leaves:.*\n/m, ''));
    const why = 'there is no account "id-leaves" on this machine';
    expect(await refusals({ page: 1, judge: true })).toEqual({ 'id-stays': undefined, 'id-leaves': why });
    expect(await refusals({ page: 1 })).toEqual({ 'id-stays': undefined, 'id-leaves': undefined });
  });
});
