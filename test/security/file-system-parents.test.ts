import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { RawAccount } from '../fixtures/raw-accounts.js';
import { snapshot } from '../fixtures/tree.js';
import {
  canList,
  clearAcl,
  expectPrivate,
  FileSystemScene,
  makeNode,
  NODE,
  PLACES,
  type Place,
  refused,
  setAcl,
  unfinishedIn,
} from './file-system-scene.js';

/*
 * The directories that homes, workspaces and temps are made in, and the ones these are in: root's, and nobody else's to write. Somebody has
 * changed one of them since the helper was started.
 */

const READ_ONLY = 'EROFS, read-only to the helper: name it in ReadWritePaths= (systemctl edit kpx-privhelper@.service)';

let scene: FileSystemScene;
beforeAll(async () => {
  scene = await FileSystemScene.begin();
  return () => scene.end();
});
afterEach(() => scene.restore());

type Spoil = (parent: string, who: RawAccount) => void;

const OTHERS_WRITE = 'is writable by others than root';
const NO_DIRECTORY = 'is a symbolic link or not a directory';

/** Refused, wherever on the way it is. */
const UNSAFE: readonly (readonly [what: string, why: string, spoil: Spoil])[] = [
  ['writable by its group', OTHERS_WRITE, (parent) => changed(parent, 0o775)],
  ['writable by others', OTHERS_WRITE, (parent) => changed(parent, 0o757)],
  ['writable by all', OTHERS_WRITE, (parent) => changed(parent, 0o777)],
  ['writable by all, sticky', OTHERS_WRITE, (parent) => changed(parent, 0o1777)],
  ['writable by their group, set-gid', OTHERS_WRITE, (parent, { gid }) => changed(parent, 0o2775, 0, gid)],
  ['write-only for others', OTHERS_WRITE, (parent) => changed(parent, 0o702)],
  ['theirs', 'belongs to uid', (parent, { uid }) => changed(parent, 0o755, uid)],
  ['theirs, and may be written by nobody', 'belongs to uid', (parent, { uid }) => changed(parent, 0o555, uid)],
  ['the victim’s', 'belongs to uid', (parent) => changed(parent, 0o755, scene.victim.uid)],
  ['writable for them by an ACL', OTHERS_WRITE, (parent, { name }) => withAcl(parent, `user:${name}:rwx`)],
  ['writable for their group by an ACL', OTHERS_WRITE, (parent, { name }) => withAcl(parent, `group:${name}:-wx`)],
  ['writable for the victim by an ACL, sticky', OTHERS_WRITE, (parent) => withAcl(parent, 'user:victim:rwx', 0o1755)],
  ['a link to a directory of root', NO_DIRECTORY, (parent) => replaced(parent, () => symlinkSync(scene.canary.ofRoot, parent))],
  ['a relative link to one', NO_DIRECTORY, (parent) => replaced(parent, () => symlinkSync(relativeCanary(parent), parent))],
  ['a link to where it was moved to', NO_DIRECTORY, (parent) => replaced(parent, (moved) => symlinkSync(moved, parent))],
  ['a link to nothing', NO_DIRECTORY, (parent) => replaced(parent, () => symlinkSync(`${scene.canary.ofRoot}/missing`, parent))],
  ['a link to /proc/self/root', NO_DIRECTORY, (parent) => replaced(parent, () => symlinkSync('/proc/self/root', parent))],
  ['a link to itself', NO_DIRECTORY, (parent) => replaced(parent, () => symlinkSync(parent, parent))],
  ['a file', NO_DIRECTORY, (parent) => replaced(parent, () => writeFileSync(parent, ''))],
  ['a named pipe', NO_DIRECTORY, (parent) => replaced(parent, () => makeNode(parent, NODE.pipe))],
  ['a character device', NO_DIRECTORY, (parent) => replaced(parent, () => makeNode(parent, NODE.character, 0x103))],
  ['a mount point of a file system of theirs', 'belongs to uid', (parent, { uid }) => scene.mount('tmpfs', parent, `mode=755,uid=${uid}`)],
  ['a mount point of one that all may write to', OTHERS_WRITE, (parent) => scene.mount('tmpfs', parent, 'mode=1777')],
  ['a bind mount of a directory of the victim', 'belongs to uid', (parent) => scene.bind(scene.canary.ofVictim, parent)],
];

function changed(parent: string, mode: number, uid = 0, gid = 0): void {
  scene.undo(() => changeBack(parent));
  chownSync(parent, uid, gid);
  chmodSync(parent, mode);
}

function changeBack(parent: string): void {
  clearAcl(parent);
  chownSync(parent, 0, 0);
  chmodSync(parent, 0o755);
}

function withAcl(parent: string, entries: string, mode = 0o755): void {
  changed(parent, mode);
  setAcl(parent, entries);
}

function replaced(parent: string, make: (moved: string) => void): void {
  const moved = `${parent}-moved`;
  renameSync(parent, moved);
  scene.undo(() => {
    rmSync(parent, { force: true });
    renameSync(moved, parent);
  });
  make(moved);
}

const relativeCanary = (parent: string) => relative(dirname(parent), scene.canary.ofRoot);

describe.each([
  ['the parent', (place: Place) => scene.parents[place]],
  ['the parent of the parent', (place: Place) => dirname(scene.parents[place])],
] as const)('%s', (_which, pathOf) => {
  describe.each(PLACES)('of a %s', (place) => {
    it.each(UNSAFE)('is %s: %s', async (_what, why, spoil) => {
      const who = scene.person();
      const path = pathOf(place);
      spoil(path, who);
      const before = snapshot(path);
      expect(await scene.ask(who.name)).toEqual(refused('DIRECTORY_UNSAFE', `${path} ${why}`));
      expect(snapshot(path)).toEqual(before);
    });

    it('is not there', async () => {
      const who = scene.person();
      replaced(pathOf(place), () => {});
      expect(await scene.ask(who.name)).toEqual(refused('DIRECTORY_FAILED', `${pathOf(place)} does not exist`));
      expect(existsSync(pathOf(place))).toBe(false);
    });
  });
});

/** Unusual, and root's alone to write. What is made there is its user's alone all the same. */
const SAFE: readonly (readonly [what: string, spoil: Spoil])[] = [
  ['set-gid for the group of the victim', (parent) => changed(parent, 0o2755, 0, scene.victim.gid)],
  ['sticky', (parent) => changed(parent, 0o1755)],
  ['for root alone', (parent) => changed(parent, 0o700)],
  ['of root, and of the victim’s group', (parent) => changed(parent, 0o750, 0, scene.victim.gid)],
  ['readable for the victim by an ACL', (parent) => withAcl(parent, 'user:victim:r-x')],
  ['writable for them by an ACL whose mask takes it back', (parent, { name }) => withAcl(parent, `user:${name}:rwx,mask::r-x`)],
  ['one with a default ACL for the victim', (parent) => withAcl(parent, 'default:user:victim:rwx')],
  ['one with a default ACL for all', (parent) => withAcl(parent, 'default:other::rwx,default:group::rwx,default:user::---')],
  ['a mount point of root’s file system', (parent) => scene.mount('tmpfs', parent, 'mode=755,nosuid,nodev,noexec')],
];

describe.each(PLACES)('the parent of a %s', (place) => {
  it.each(SAFE)('is %s: what is made there is for its user alone', async (_what, spoil) => {
    const who = scene.person();
    spoil(scene.parents[place], who);
    expect(await scene.ask(who.name)).toMatchObject({ body: { created: PLACES } });
    const path = `${scene.parents[place]}/${who.name}`;
    expectPrivate(path, place, who);
    chmodSync(scene.parents[place], 0o755);
    expect(canList(path, who)).toBe(true);
    expect(canList(path, scene.victim)).toBe(false);
  });
});

const NO_SPACE = 'ENOSPC';

/** What the file system below the parent cannot do, and what is said of it. Nothing is given its name before it is complete. */
describe.each(PLACES)('the file system that a %s is made on', (place) => {
  it.each([
    ['has no inode left', NO_SPACE, (parent: string) => scene.mount('tmpfs', parent, 'mode=755,nr_inodes=1')],
    ['is read-only', 'EROFS', (parent: string) => scene.mount('tmpfs', parent, 'mode=755,ro')],
    ['is read-only by a bind mount of its own', 'EROFS', (parent: string) => readOnlyBind(parent)],
    ['does not let anything be made in the parent', 'EPERM', (parent: string) => scene.attribute('i', parent)],
  ])('%s: %s', async (_what, why, spoil) => {
    const who = scene.person();
    const parent = scene.parents[place];
    spoil(parent);
    const words = why === 'EROFS' ? READ_ONLY : why;
    expect(await scene.ask(who.name)).toEqual(refused('DIRECTORY_FAILED', `${parent}/${who.name}: ${words}`));
    expect(readdirSync(parent).filter((name) => name.includes(who.name))).toEqual([]);
  });

  it('lets nothing be renamed in the parent: stays unpublished', async () => {
    const who = scene.person();
    const parent = scene.parents[place];
    scene.attribute('a', parent);
    expect(await scene.ask(who.name)).toEqual(refused('DIRECTORY_FAILED', `${parent}/${who.name}: EPERM`));
    expect(existsSync(`${parent}/${who.name}`)).toBe(false);
    expect(unfinishedIn(parent)).not.toEqual([]); // which root cannot remove either
  });
});

function readOnlyBind(parent: string): void {
  scene.bind(parent, parent);
  execFileSync('/usr/bin/mount', ['-o', 'remount,bind,ro', parent]);
}

/** At the start each of them is judged at once, and all that is wrong is said. */
describe('a helper that is started', () => {
  it.each([
    ['is writable by its group', OTHERS_WRITE, (path: string) => changed(path, 0o775)],
    ['is writable by all, sticky', OTHERS_WRITE, (path: string) => changed(path, 0o1777)],
    ['is the victim’s', 'belongs to uid', (path: string) => changed(path, 0o755, scene.victim.uid)],
    ['is writable for the victim by an ACL', OTHERS_WRITE, (path: string) => withAcl(path, 'user:victim:rwx')],
    ['is a link to a directory of root', NO_DIRECTORY, (path: string) => replaced(path, () => symlinkSync(scene.canary.ofRoot, path))],
    ['is a file', NO_DIRECTORY, (path: string) => replaced(path, () => writeFileSync(path, ''))],
    ['is not there', 'does not exist', (path: string) => replaced(path, () => {})],
  ])('refuses a parent or a skeleton that %s: %s', async (_what, why, spoil) => {
    const { parents, skeleton, installation } = scene;
    const keys = { workspace_parent: parents.workspace, temp_parent: parents.temp, home_parents: parents.home, skeleton };
    for (const path of Object.values(keys)) spoil(path);
    const { code, stderr } = await installation.runHelper(['--check']);
    expect(code).toBe(78);
    for (const [key, path] of Object.entries(keys)) expect(stderr).toContain(`directories.${key}: ${path} ${why}`);
  });
});
