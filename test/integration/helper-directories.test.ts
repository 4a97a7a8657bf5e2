import { execFileSync } from 'node:child_process';
import { appendFileSync, chmodSync, chownSync, linkSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { describe, expect, it } from 'vitest';
import { idsOf } from '../fixtures/helper-installation.js';
import { aclOf, PRIVATE_ACL, snapshot } from '../fixtures/tree.js';
import { refusal, startHelper } from './installed-helper.js';

const PLACES = ['workspaces', 'temps'] as const;
const made = (...created: string[]) => ({ kind: 'userPrepared', body: { created: expect.arrayContaining(created) } });

/** A directory as the helper would make it, made by somebody else. */
function makeDirectory(path: string, uid: number, gid: number, mode = 0o700): void {
  mkdirSync(path);
  chownSync(path, uid, gid);
  chmodSync(path, mode);
}

/** Runs a shell script under an account, as an executor might. */
function asUser(account: string, script: string): void {
  const { uid, gid } = idsOf(account);
  execFileSync('/usr/bin/setpriv', ['--reuid', `${uid}`, '--regid', `${gid}`, '--init-groups', '--', '/bin/sh', '-ec', script]);
}

describe('workspace and temp directory', () => {
  it('are made for the user alone, with the default ACL that keeps what is made in them so', async () => {
    const { connection, installation } = await startHelper();
    expect(await connection.prepare('alice')).toMatchObject(made('workspace', 'temp'));
    const { uid, gid } = idsOf('alice');
    for (const place of PLACES) {
      const directory = `${installation[place]}/alice`;
      expect(statSync(directory)).toMatchObject({ uid, gid, mode: 0o040700 });
      expect(aclOf(directory)).toEqual(PRIVATE_ACL);
      expect(readdirSync(installation[place])).toEqual(['alice']);
      asUser('alice', `umask 000; cd ${directory}; : >file; mkdir below`);
      expect(statSync(`${directory}/file`).mode & 0o777).toBe(0o600);
      expect(statSync(`${directory}/below`).mode & 0o777).toBe(0o700);
    }
  });

  it('have the configured extra ACL entries, by group name and by id, for now and for what will be made in them', async () => {
    const { gid } = idsOf('bob');
    const directories = { extra_acl: ['group:knime-admins:r-x', `group:${gid}:-w-`, 'user:carol:r--'] };
    const { connection, installation } = await startHelper({ config: { directories } });
    expect(await connection.prepare('alice')).toMatchObject(made('workspace', 'temp'));
    const entries = ['group:bob:-w-', 'group:knime-admins:r-x', 'mask::rwx', 'user:carol:r--', 'group::---', 'other::---', 'user::rwx'];
    for (const place of PLACES) {
      expect(aclOf(`${installation[place]}/alice`)).toEqual([...entries, ...entries.map((entry) => `default:${entry}`)].sort());
    }
  });

  it.each([
    ['user:carol:--x', 'mask::--x'],
    ['group:u01:r--', 'mask::r--'], // a name that ends in digits
    ['group:2nd-floor:-w-', 'mask::-w-'], // or starts with one, as a directory service's may
    ['group:54321:r-x', 'mask::r-x'], // an id that has no name
  ])('with %s let nobody do more than that', async (entry, mask) => {
    if (entry.includes('2nd-floor')) appendFileSync('/etc/group', '2nd-floor:x:54322:\n');
    const { connection, installation } = await startHelper({ config: { directories: { extra_acl: [entry] } } });
    await connection.prepare('alice');
    const entries = [entry, mask, 'group::---', 'other::---', 'user::rwx'];
    expect(aclOf(`${installation.workspaces}/alice`)).toEqual([...entries, ...entries.map((line) => `default:${line}`)].sort());
  });

  it('that belong to somebody else are refused, which says to whom and whose they should be', async () => {
    const { connection, installation } = await startHelper();
    const path = `${installation.temps}/alice`;
    makeDirectory(path, idsOf('bob').uid, idsOf('bob').gid);
    const why = `${path} exists and belongs to uid ${idsOf('bob').uid}, expected ${idsOf('alice').uid}`;
    expect(await connection.prepare('alice')).toEqual(refusal('DIRECTORY_UNSAFE', why));
  });

  it('leave no descriptor open in the helper', async () => {
    const { connection, installation } = await startHelper();
    await connection.prepare('alice');
    const open = () => readdirSync(`/proc/${installation.helper?.pid}/fd`).length;
    const before = open();
    for (let count = 0; count < 20; count++) await connection.prepare('alice');
    expect(open()).toBe(before);
  });

  it('are refused when an extra ACL entry names nobody', async () => {
    const { connection, installation } = await startHelper({ config: { directories: { extra_acl: ['group:no-such-group:r-x'] } } });
    expect(await connection.prepare('alice')).toEqual(refusal('DIRECTORY_FAILED', 'there is no group "no-such-group"'));
    expect(readdirSync(installation.workspaces)).toEqual([]);
  });

  it('that exist are used as they are, once more answering that nothing was made', async () => {
    const { connection, installation } = await startHelper();
    await connection.prepare('alice');
    asUser('alice', `echo mine >${installation.workspaces}/alice/file`);
    const before = PLACES.map((place) => snapshot(`${installation[place]}/alice`));
    expect(await connection.prepare('alice')).toMatchObject({ kind: 'userPrepared', body: { created: [] } });
    expect(PLACES.map((place) => snapshot(`${installation[place]}/alice`))).toEqual(before);
  });

  it('are closed again when their owner had opened them to others', async () => {
    const { connection, installation } = await startHelper();
    await connection.prepare('alice');
    for (const place of PLACES) {
      asUser('alice', `cd ${installation[place]}/alice; chmod 0777 .; setfacl -m u:bob:rwx,d:u:bob:rwx,d:o::rwx .`);
    }
    await connection.prepare('alice');
    for (const place of PLACES) {
      expect(statSync(`${installation[place]}/alice`).mode & 0o777).toBe(0o700);
      expect(aclOf(`${installation[place]}/alice`)).toEqual(PRIVATE_ACL);
    }
  });

  it('of bob and bob_temp do not meet (defect: bob_temp collides with bob’s temp directory)', async () => {
    const { connection, installation } = await startHelper();
    for (const user of ['bob', 'bob_temp']) {
      expect(await connection.prepare(user)).toMatchObject(made('workspace', 'temp'));
      for (const place of PLACES) expect(statSync(`${installation[place]}/${user}`).uid).toBe(idsOf(user).uid);
    }
    for (const place of PLACES) expect(readdirSync(installation[place]).sort()).toEqual(['bob', 'bob_temp']);
  });
});

describe('what a user has put into the own workspace', () => {
  it('is not followed, not opened and not given away (defect: chown -R follows what a user put there)', async () => {
    const { connection, installation } = await startHelper();
    await connection.prepare('alice');
    const secrets = `${installation.srv}/secrets`;
    mkdirSync(secrets, { mode: 0o700 });
    for (const name of ['shadow', 'linked']) writeFileSync(`${secrets}/${name}`, 'of root', { mode: 0o600 });
    for (const place of PLACES) {
      const directory = `${installation[place]}/alice`;
      asUser('alice', `cd ${directory}; ln -s ${secrets}/shadow; ln -s ${secrets} directory; ln -s ../bob; chmod 0755 .`);
      linkSync(`${secrets}/linked`, `${directory}/hard`);
    }
    const before = [snapshot(secrets), ...PLACES.map((place) => withoutItself(`${installation[place]}/alice`))];
    expect(await connection.spawn('alice')).toMatchObject({ kind: 'executorSpawned' });
    expect([snapshot(secrets), ...PLACES.map((place) => withoutItself(`${installation[place]}/alice`))]).toEqual(before);
    for (const place of PLACES) expect(aclOf(`${installation[place]}/alice`)).toEqual(PRIVATE_ACL);
  });

  const withoutItself = (path: string) => Object.entries(snapshot(path)).filter(([name]) => name !== path);
});

describe.each(PLACES)('%s: what a crash has left', (place) => {
  it.each(['root', 'alice'])(
    'under a name for unfinished directories, owned by %s, is neither used nor in anybody’s way',
    async (owner) => {
      const { connection, installation } = await startHelper();
      const { uid, gid } = idsOf(owner);
      const left = `${installation[place]}/.kpx-new-Ab3xY9`;
      makeDirectory(left, uid, gid, 0o755);
      writeFileSync(`${left}/file`, 'left');
      const before = snapshot(left);
      expect(await connection.prepare('alice')).toMatchObject(made('workspace', 'temp'));
      expect(readdirSync(installation[place])).toEqual([basename(left), 'alice']);
      expect(snapshot(left)).toEqual(before);
      expect(statSync(`${installation[place]}/alice`)).toMatchObject({ uid: idsOf('alice').uid, gid: idsOf('alice').gid, mode: 0o040700 });
      expect(aclOf(`${installation[place]}/alice`)).toEqual(PRIVATE_ACL);
    },
  );
});
