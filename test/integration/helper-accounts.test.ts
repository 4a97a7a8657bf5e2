import { SpawnOutcome } from '@kpx/protocol';
import { describe, expect, it } from 'vitest';
import { LOW_UID_ACCOUNT } from '../fixtures/accounts.js';
import { idsOf } from '../fixtures/helper-installation.js';
import { executorEnvironmentOf } from '../fixtures/process.js';
import { rawAccounts, refusal, startHelper } from './installed-helper.js';

/** [accounts] of the helper's configuration. */
const withAccounts = (accounts: Record<string, unknown>) => startHelper({ config: { accounts } });

describe('an account', () => {
  it('is prepared for a KNIME user of its name', async () => {
    const { connection } = await startHelper();
    expect(await connection.prepare('alice')).toMatchObject({ kind: 'userPrepared', body: { osUser: 'alice', uid: idsOf('alice').uid } });
  });

  it('that does not exist is unknown, and may exist the next time', async () => {
    const accounts = rawAccounts();
    const { connection } = await startHelper();
    expect(await connection.prepare('newcomer')).toEqual(refusal('ACCOUNT_UNKNOWN', 'there is no account "newcomer" on this machine'));
    const { uid } = accounts.account('newcomer');
    expect(await connection.prepare('newcomer')).toMatchObject({ kind: 'userPrepared', body: { uid } });
  });

  it('is root: refused, for every request (defect: a KNIME user named root gets a root executor)', async () => {
    const { connection, installation } = await startHelper();
    const refused = refusal('ACCOUNT_DENIED', '"root" may not have an executor: it has the uid or gid of root');
    for (const name of ['root', 'ROOT', 'Root']) {
      expect(await connection.prepare(name)).toEqual(refused);
      expect(await connection.spawn(name)).toEqual(refused);
      expect(await connection.stop(name)).toEqual(refusal('NOT_RUNNING'));
    }
    expect(installation.helperLog.lines.filter(({ event }) => event === 'executor ended')).toEqual([]);
  });

  it('with another name for uid 0 is refused whatever min_uid says', async () => {
    rawAccounts().account('toor', { uid: 0 });
    const { connection } = await withAccounts({ min_uid: 1 });
    expect(await connection.spawn('toor')).toEqual(refusal('ACCOUNT_DENIED', 'it has the uid or gid of root'));
  });

  it('in the primary group root is refused', async () => {
    rawAccounts().account('gidzero', { gid: 0 });
    const { connection } = await startHelper();
    expect(await connection.spawn('gidzero')).toEqual(refusal('ACCOUNT_DENIED', 'it has the uid or gid of root'));
  });

  it('below min_uid is refused, at it is not', async () => {
    const { uid } = idsOf('alice');
    const { connection } = await withAccounts({ min_uid: uid });
    expect(await connection.prepare(LOW_UID_ACCOUNT)).toEqual(refusal('ACCOUNT_DENIED', `is below min_uid ${uid}`));
    expect(await connection.prepare('alice')).toMatchObject({ kind: 'userPrepared' });
    const above = await withAccounts({ min_uid: uid + 1 });
    expect(await above.connection.prepare('alice')).toEqual(refusal('ACCOUNT_DENIED', `its uid ${uid} is below min_uid ${uid + 1}`));
  });

  it('in denied_users, in whatever case, is refused, also under a name that is mapped to it', async () => {
    const { connection } = await withAccounts({ denied_users: ['Mallory'], map: { mal: 'mallory' } });
    const refused = refusal('ACCOUNT_DENIED', 'the account "mallory" may not have an executor: it is in denied_users');
    expect(await connection.prepare('mallory')).toEqual(refused);
    expect(await connection.prepare('mal')).toEqual(refused);
  });

  it('with a group in denied_groups is refused: supplementary, primary, or with a blank in its name', async () => {
    rawAccounts().group('Domain Guests', ['carol']);
    const { connection } = await withAccounts({ denied_groups: ['analysts', 'dave', 'Domain Guests'] });
    expect(await connection.prepare('bob')).toEqual(refusal('ACCOUNT_DENIED', 'its group "analysts" is in denied_groups'));
    expect(await connection.prepare('dave')).toEqual(refusal('ACCOUNT_DENIED', 'its group "dave" is in denied_groups'));
    expect(await connection.prepare('carol')).toEqual(refusal('ACCOUNT_DENIED', 'its group "Domain Guests" is in denied_groups'));
    expect(await connection.prepare('alice')).toMatchObject({ kind: 'userPrepared' });
  });

  it('needs one of allowed_groups when there are any, and is refused by denied_groups even then', async () => {
    const accounts = rawAccounts();
    accounts.group('Domain Users', ['alice', 'carol']);
    accounts.group('contractors', ['carol']);
    const { connection } = await withAccounts({ allowed_groups: ['Domain Users'], denied_groups: ['contractors'] });
    expect(await connection.prepare('alice')).toMatchObject({ kind: 'userPrepared' });
    expect(await connection.prepare('bob')).toEqual(refusal('ACCOUNT_DENIED', 'none of its groups is in allowed_groups'));
    expect(await connection.prepare('carol')).toEqual(refusal('ACCOUNT_DENIED', 'its group "contractors" is in denied_groups'));
  });

  it('with a shell in denied_shells is refused, an empty shell being /bin/sh', async () => {
    const accounts = rawAccounts();
    accounts.account('daemonlike', { shell: '/usr/sbin/nologin' });
    accounts.account('shellless', { shell: '' });
    const { connection } = await withAccounts({ denied_shells: ['/usr/sbin/nologin', '/bin/sh'] });
    expect(await connection.prepare('daemonlike')).toEqual(refusal('ACCOUNT_DENIED', 'its shell /usr/sbin/nologin is in denied_shells'));
    expect(await connection.prepare('shellless')).toEqual(refusal('ACCOUNT_DENIED', 'its shell /bin/sh is in denied_shells'));
  });

  it.each([
    ['relative/home', '/bin/bash', 'its home is not a plain absolute path'],
    ['', '/bin/bash', 'its home is not a plain absolute path'],
    ['/home/../etc', '/bin/bash', 'its home is not a plain absolute path'],
    ['/home//x', '/bin/bash', 'its home is not a plain absolute path'],
    ['/home/x/', '/bin/bash', 'its home is not a plain absolute path'],
    ['/home/\u001b[2Jx', '/bin/bash', 'its home is not a plain absolute path'],
    ['/home/x', 'bash', 'its shell is not a plain absolute path'],
    ['/home/x', '/bin/../tmp/sh', 'its shell is not a plain absolute path'],
  ])('with home %j and shell %j is refused', async (home, shell, why) => {
    rawAccounts().account('strange', { home, shell });
    const { connection } = await startHelper();
    expect(await connection.prepare('strange')).toEqual(refusal('ACCOUNT_DENIED', why));
  });

  it('that shares its uid with another account is refused: the groups and files of both would be mixed up', async () => {
    const { uid } = idsOf('bob');
    rawAccounts().account('zed', { uid });
    const { connection } = await withAccounts({ denied_groups: ['analysts'] });
    expect(await connection.spawn('zed')).toEqual(refusal('ACCOUNT_DENIED', `its uid ${uid} belongs to "bob"`));
  });
});

describe('a KNIME name', () => {
  it('in another case is the same person', async () => {
    const { connection } = await startHelper();
    const executor = await connection.spawned('Alice');
    expect(executor).toMatchObject({ osUser: 'alice', knimeUsers: ['alice'] });
    expect(await connection.spawn('ALICE')).toMatchObject({ body: { outcome: SpawnOutcome.alreadyRunning, executor } });
  });

  it('keeps its case with case = "keep", in the map as well', async () => {
    const { uid } = rawAccounts().account('Erika');
    const { connection } = await withAccounts({ case: 'keep', map: { Chef: 'alice' } });
    expect(await connection.prepare('Erika')).toMatchObject({ kind: 'userPrepared', body: { osUser: 'Erika', uid } });
    expect(await connection.prepare('Chef')).toMatchObject({ kind: 'userPrepared', body: { osUser: 'alice' } });
    for (const name of ['erika', 'Alice', 'chef']) expect(await connection.prepare(name)).toEqual(refusal('ACCOUNT_UNKNOWN', `"${name}"`));
  });

  it('is looked up in the map after case folding, on both sides', async () => {
    const { connection } = await withAccounts({ map: { 'Alice.Smith@Example.COM': 'alice' } });
    expect(await connection.prepare('alice.smith@example.com')).toMatchObject({ kind: 'userPrepared', body: { osUser: 'alice' } });
    expect(await connection.prepare('ALICE.SMITH@EXAMPLE.COM')).toMatchObject({ kind: 'userPrepared', body: { osUser: 'alice' } });
  });

  it('that is mapped elsewhere does not reach the account of its own name', async () => {
    const { connection } = await withAccounts({ map: { alice: 'bob' } });
    expect(await connection.spawn('alice')).toMatchObject({ body: { executor: { osUser: 'bob', knimeUsers: ['bob', 'alice'] } } });
  });

  it('that is mapped to root is refused like root', async () => {
    const { connection } = await withAccounts({ map: { 'admin.person': 'root' } });
    expect(await connection.spawn('admin.person')).toEqual(refusal('ACCOUNT_DENIED', 'it has the uid or gid of root'));
  });

  it('of a domain works with backslash and at sign when the account is really called so', async () => {
    const accounts = rawAccounts();
    accounts.account('corp\\anna', { home: '/home/corp-anna' });
    accounts.account('anna@corp.example', { home: '/home/anna-corp' });
    const { connection } = await startHelper();
    expect(await connection.prepare('CORP\\anna')).toMatchObject({ kind: 'userPrepared', body: { osUser: 'corp\\anna' } });
    expect(await connection.prepare('anna@corp.example')).toMatchObject({ kind: 'userPrepared', body: { osUser: 'anna@corp.example' } });
  });

  it.each(['constructor', '__proto__', 'toString', 'hasOwnProperty'])('%s is nothing special', async (name) => {
    const { connection } = await withAccounts({ map: { someone: 'alice' } });
    expect(await connection.prepare(name)).toEqual(refusal('ACCOUNT_UNKNOWN', `"${name.toLowerCase()}"`));
  });
});

it('puts every KNIME user of one account in its reservation (defect: the second user’s jobs loop for ever)', async () => {
  const { connection } = await withAccounts({ map: { 'carol.jones': 'carol', 'CJ@example.com': 'carol', other: 'bob' } });
  const executor = await connection.spawned('cj@example.com');
  expect(executor).toMatchObject({ osUser: 'carol', knimeUsers: ['carol', 'carol.jones', 'cj@example.com'] });
  expect((await executorEnvironmentOf(executor.mainPid)).KNIME_EXECUTOR_RESERVATION).toBe(
    "(user = 'carol' OR user = 'carol.jones' OR user = 'cj@example.com')",
  );
  expect(await connection.spawn('carol')).toMatchObject({ body: { outcome: SpawnOutcome.alreadyRunning } });
});
