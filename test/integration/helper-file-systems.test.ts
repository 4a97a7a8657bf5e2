import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { expect, it, onTestFinished } from 'vitest';
import { HelperConnection } from '../fixtures/helper-connection.js';
import { aclOf, PRIVATE_ACL } from '../fixtures/tree.js';
import { installHelper, rawAccounts, refusal, startHelper } from './installed-helper.js';

/** A file system of its own, owned by root, gone with the test. */
function mount(type: 'tmpfs' | 'ramfs', at: string, options: string): void {
  execFileSync('/usr/bin/mount', ['-t', type, '-o', `mode=755,${options}`, 'kpx-test', at]);
  onTestFinished(() => void execFileSync('/usr/bin/umount', ['--lazy', at]));
}

it('says that a file system is full, publishes nothing, and serves the next request', async () => {
  const { connection, installation } = await startHelper();
  mount('tmpfs', installation.workspaces, 'nr_inodes=2');
  writeFileSync(`${installation.workspaces}/the-last-inode`, '');
  const full = { kind: 'error', body: { code: 'DIRECTORY_FAILED', message: `${installation.workspaces}/alice: ENOSPC` } };
  expect(await connection.spawn('alice')).toMatchObject(full);
  expect(await connection.prepare('alice')).toMatchObject(full);
  expect(readdirSync(installation.workspaces)).toEqual(['the-last-inode']);
  rmSync(`${installation.workspaces}/the-last-inode`);
  expect(await connection.prepare('alice')).toMatchObject({ body: { created: ['workspace', 'temp'] } });
  expect(readdirSync(installation.workspaces)).toEqual(['alice']);
});

it('does not publish a home that could only be filled in part, and fills it when there is room', async () => {
  const installation = installHelper();
  const [homes, skeleton] = [`${installation.srv}/homes`, `${installation.etc}/skel`];
  mkdirSync(homes);
  mkdirSync(skeleton);
  writeFileSync(`${skeleton}/large`, Buffer.alloc(100_000), { mode: 0o644 });
  mount('tmpfs', homes, 'size=64k');
  installation.writeHelperConfig({ directories: { home_parents: [homes], skeleton } });
  const { home } = rawAccounts().account('roomless', { home: `${homes}/roomless` });
  await installation.startHelper();
  const connection = await HelperConnection.greeted(installation.socket);
  expect(await connection.prepare('roomless')).toEqual(refusal('DIRECTORY_FAILED', 'No space left on device'));
  expect(readdirSync(homes)).toEqual([]);
  execFileSync('/usr/bin/mount', ['-o', 'remount,size=1m', homes]);
  expect(await connection.prepare('roomless')).toMatchObject({ body: { created: ['home', 'workspace', 'temp'] } });
  expect(statSync(`${home}/large`).size).toBe(100_000);
});

it('refuses a file system without ACLs, and publishes nothing', async () => {
  const { connection, installation } = await startHelper();
  mount('ramfs', installation.temps, '');
  expect(await connection.spawn('alice')).toEqual(refusal('DIRECTORY_FAILED', 'the ACL could not be set: setfacl:'));
  for (const parent of [installation.workspaces, installation.temps]) expect(readdirSync(parent)).toEqual([]);
});

it.each([
  ['does nothing', 'exit 0'],
  ['does the first directory only', 'exec $real --set "$2" -- "$4"'],
  ['leaves out the default entries', 'exec $real --set user::rwx,group::---,other::--- -- "$4" "$5"'],
  ['sets an entry too many', 'exec $real --modify user:12345:r-x,d:user:12345:r-x,"$2" -- "$4" "$5"'],
])('reads an ACL back and does not believe a setfacl that %s', async (_what, script) => {
  const installation = installHelper();
  await installation.startHelper({ wrap: installation.inPlaceOf('/usr/bin/setfacl', script) });
  const connection = await HelperConnection.greeted(installation.socket);
  expect(await connection.spawn('alice')).toEqual(refusal('DIRECTORY_FAILED', 'the ACL read back is not the one that was set'));
  for (const parent of [installation.workspaces, installation.temps]) expect(readdirSync(parent)).toEqual([]);
});

it('takes the ACL that the parents pass on, as systemd/kpx.tmpfiles has it, for its own', async () => {
  const installation = installHelper();
  const parents = [installation.workspaces, installation.temps];
  execFileSync('/usr/bin/setfacl', ['--default', '--set', 'user::rwx,group::---,other::---', '--', ...parents]);
  await installation.startHelper({ wrap: installation.inPlaceOf('/usr/bin/setfacl', 'exit 1') });
  const connection = await HelperConnection.greeted(installation.socket);
  expect(await connection.prepare('alice')).toMatchObject({ body: { created: ['workspace', 'temp'] } });
  for (const parent of parents) expect(aclOf(`${parent}/alice`)).toEqual(PRIVATE_ACL);
});

it('makes what could not be made, once the cause is gone', async () => {
  const installation = installHelper();
  await installation.startHelper({ wrap: installation.inPlaceOf('/usr/bin/setfacl', 'exit 1') });
  const connection = await HelperConnection.greeted(installation.socket);
  expect(await connection.prepare('alice')).toEqual(refusal('DIRECTORY_FAILED', 'the ACL could not be set'));
  await installation.endHelper();
  await installation.startHelper();
  const another = await HelperConnection.greeted(installation.socket);
  expect(await another.prepare('alice')).toMatchObject({ body: { created: ['workspace', 'temp'] } });
  for (const parent of [installation.workspaces, installation.temps]) {
    expect(readdirSync(parent)).toEqual(['alice']);
    expect(aclOf(`${parent}/alice`)).toEqual(PRIVATE_ACL);
  }
});

it('tells in the audit log what was made, also when the request failed afterwards', async () => {
  const { connection, installation } = await startHelper();
  const { home } = rawAccounts().account('halfway');
  onTestFinished(() => rmSync(home, { recursive: true }));
  mount('ramfs', installation.temps, '');
  expect(await connection.prepare('halfway')).toEqual(refusal('DIRECTORY_FAILED'));
  expect(statSync(home).isDirectory()).toBe(true);
  expect(await installation.helperLog.line({ event: 'request', knime_user: 'halfway' })).toMatchObject({
    decision: 'refused',
    created: ['home'],
  });
});

it('does not follow a link to a file, and says that it is one', async () => {
  const { connection, installation } = await startHelper();
  renameSync(installation.msgqFile, `${installation.msgqFile}.elsewhere`);
  symlinkSync(`${installation.msgqFile}.elsewhere`, installation.msgqFile);
  const why = refusal('DIRECTORY_UNSAFE', `${installation.msgqFile} is a symbolic link`);
  expect(await connection.spawn('alice')).toEqual(why);
});
