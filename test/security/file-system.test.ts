import { chmodSync, chownSync, existsSync, lchownSync, linkSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { RawAccount } from '../fixtures/raw-accounts.js';
import { systemCall } from '../fixtures/system-call.mjs';
import { aclOf, PRIVATE_ACL, snapshot } from '../fixtures/tree.js';
import { canList, FileSystemScene, makeDirectory, makeNode, NODE, PLACES, type Place, refused, setAcl } from './file-system-scene.js';

/*
 * Who has the broker may name any account; who has an account may have put something where root will look for a directory, if root lets them.
 * Here they get what they need for that, the wrong configuration included. Each attack is followed by a look at the canary
 * (FileSystemScene.ask) and by an honest request to the same helper (FileSystemScene.restore).
 */

let scene: FileSystemScene;
beforeAll(async () => {
  scene = await FileSystemScene.begin();
  return () => scene.end();
});
afterEach(() => scene.restore());

const ROOT = { uid: 0, gid: 0 };

/**
 * What becomes of it. `used`: it is the user's own, and a workspace or temp is closed to others again. `stuck`: so it would be, but the file
 * system does not let root close it; a home needs not be closed.
 */
type Fate = 'no directory' | 'not theirs' | 'used' | 'stuck';
type Thing = readonly [what: string, fate: Fate, make: (path: string, who: RawAccount) => void];

const LINKS: readonly Thing[] = [
  ['an absolute link to a directory of root', 'no directory', (path) => symlinkSync(scene.canary.ofRoot, path)],
  ['a relative link to a directory of root', 'no directory', (path) => symlinkSync('../../canary/of-root', path)],
  ['a link to an empty directory of root', 'no directory', (path) => symlinkSync(`${scene.canary.ofRoot}/empty`, path)],
  ['a link to a file of root', 'no directory', (path) => symlinkSync(scene.canary.secret, path)],
  ['a link to nothing', 'no directory', (path) => symlinkSync(`${scene.canary.ofRoot}/missing`, path)],
  ['a link to itself', 'no directory', (path) => symlinkSync(basename(path), path)],
  ['a link to the directory it is in', 'no directory', (path) => symlinkSync('.', path)],
  ['a link to /', 'no directory', (path) => symlinkSync('/', path)],
  ['a link to root’s directory by /proc/self/root', 'no directory', (path) => symlinkSync(`/proc/self/root${scene.canary.ofRoot}`, path)],
  ['a link to /proc/self/cwd', 'no directory', (path) => symlinkSync('/proc/self/cwd', path)],
  ['a link to /proc/self/fd/3', 'no directory', (path) => symlinkSync('/proc/self/fd/3', path)],
  ['a link to a directory of the victim', 'no directory', (path) => symlinkSync(scene.canary.ofVictim, path)],
  ['a link to the victim’s directory beside it', 'no directory', (path) => symlinkSync('victim', path)],
  ['a link to a directory of their own', 'no directory', (path, who) => symlinkSync(elsewhere(who), path)],
  ['a chain of links to a directory of root', 'no directory', (path, who) => symlinkSync(chain(who, scene.canary.ofRoot), path)],
  ['a chain of links to a directory of their own', 'no directory', (path, who) => symlinkSync(chain(who, elsewhere(who)), path)],
  ['a link of their own, where one may be made', 'no directory', (path, who) => ownLink(path, who)],
];

const FILES: readonly Thing[] = [
  ['a hard link to a file of root', 'no directory', (path) => linkSync(scene.canary.secret, path)],
  ['a hard link to a set-uid file of root', 'no directory', (path) => linkSync(`${scene.canary.ofRoot}/set-uid`, path)],
  ['a hard link to a file of the victim', 'no directory', (path) => linkSync(`${scene.canary.ofVictim}/diary`, path)],
  ['a hard link to a symbolic link of root', 'no directory', (path) => linkSync(`${scene.canary.ofRoot}/link`, path)],
  ['a file of root', 'no directory', (path) => writeFileSync(path, '')],
  ['a file of their own', 'no directory', (path, who) => ownFile(path, who, 0o600)],
  ['a set-uid program of their own', 'no directory', (path, who) => ownFile(path, who, 0o6755)],
  ['a named pipe', 'no directory', (path) => makeNode(path, NODE.pipe)],
  ['a socket', 'no directory', (path) => makeNode(path, NODE.socket)],
  ['a character device', 'no directory', (path) => makeNode(path, NODE.character, 0x103)],
  ['a block device', 'no directory', (path) => makeNode(path, NODE.block, 0x700)],
];

const MOUNTS: readonly Thing[] = [
  ['a bind mount of a directory of root', 'not theirs', (path) => bind(scene.canary.ofRoot, path)],
  ['a bind mount of a directory of the victim', 'not theirs', (path) => bind(scene.canary.ofVictim, path)],
  ['a bind mount of a file', 'no directory', (path) => bindFile(scene.canary.secret, path)],
  ['a bind mount of a directory of their own', 'used', (path, who) => bind(elsewhere(who), path)],
  ['a file system of root', 'not theirs', (path) => mounted('tmpfs', path, 'mode=0777')],
  ['a file system of the victim', 'not theirs', (path) => mounted('tmpfs', path, `mode=0777,uid=${scene.victim.uid}`)],
  ['a file system of their own', 'used', (path, who) => mounted('tmpfs', path, `mode=0755,uid=${who.uid}`)],
  ['a full file system of their own', 'used', (path, who) => mounted('tmpfs', path, `mode=0755,uid=${who.uid},nr_inodes=1,size=4k`)],
  ['a read-only file system of their own', 'stuck', (path, who) => mounted('tmpfs', path, `mode=0755,uid=${who.uid},ro`)],
  ['a file system of their own, without ACLs', 'stuck', (path, who) => ramfs(path, who)],
];

const DIRECTORIES: readonly Thing[] = [
  ['a directory of root', 'not theirs', (path) => makeDirectory(path, ROOT, 0o777)],
  ['a directory of the victim', 'not theirs', (path) => makeDirectory(path, scene.victim, 0o777)],
  [
    'a directory of the victim and their group',
    'not theirs',
    (path, { gid }) => makeDirectory(path, { uid: scene.victim.uid, gid }, 0o2777),
  ],
  ['a directory of the victim that an ACL gives to them', 'not theirs', (path, who) => given(path, who)],
  ['a directory of their own, group root', 'used', (path, { uid }) => makeDirectory(path, { uid, gid: 0 }, 0o770)],
  ['a directory of their own, the victim’s group', 'used', (path, { uid }) => makeDirectory(path, { uid, gid: scene.victim.gid }, 0o2770)],
  ['a directory of their own, mode 0000', 'used', (path, who) => makeDirectory(path, who, 0)],
  ['a directory of their own, mode 0777', 'used', (path, who) => makeDirectory(path, who, 0o777)],
  ['a directory of their own, set-uid', 'used', (path, who) => makeDirectory(path, who, 0o4777)],
  ['a directory of their own, set-gid', 'used', (path, who) => makeDirectory(path, who, 0o2777)],
  ['a directory of their own, sticky', 'used', (path, who) => makeDirectory(path, who, 0o1777)],
  ['a directory of their own, an ACL for the victim', 'used', (path, who) => opened(path, who, 'user:victim:rwx')],
  ['a directory of their own, a default ACL for the victim', 'used', (path, who) => opened(path, who, 'default:user:victim:rwx')],
  ['a directory of their own, an ACL for a group', 'used', (path, who) => opened(path, who, 'group:victim:rwx,default:group:victim:rwx')],
  ['a directory of their own, an ACL with a mask', 'used', (path, who) => opened(path, who, 'user:victim:rwx,mask::---')],
  ['a directory of their own, a default ACL for others', 'used', (path, who) => opened(path, who, 'default:other::rwx,default:mask::rwx')],
  ['a directory of their own, with attributes', 'used', (path, who) => withAttributes(path, who)],
  ['a directory of their own, immutable', 'stuck', (path, who) => fixed(path, who, 'i')],
  ['a directory of their own, append-only', 'stuck', (path, who) => fixed(path, who, 'a')],
];

const THINGS = [...LINKS, ...FILES, ...MOUNTS, ...DIRECTORIES];

/** A directory of the attacker's own that is in none of the places. */
function elsewhere(who: RawAccount): string {
  const path = `${scene.installation.srv}/of-${who.name}`;
  if (!existsSync(path)) makeDirectory(path, who, 0o755);
  return path;
}

function chain(who: RawAccount, end: string): string {
  const links = [1, 2, 3].map((number) => `${elsewhere(who)}/link-${number}`);
  links.forEach((link, index) => {
    symlinkSync(links[index + 1] ?? end, link);
  });
  return links[0] ?? end;
}

function ownLink(path: string, { uid, gid }: RawAccount): void {
  symlinkSync(scene.canary.ofRoot, path);
  lchownSync(path, uid, gid);
}

function ownFile(path: string, { uid, gid }: RawAccount, mode: number): void {
  writeFileSync(path, '#!/bin/sh\n');
  chownSync(path, uid, gid);
  chmodSync(path, mode);
}

function bind(what: string, path: string): void {
  mkdirSync(path);
  scene.bind(what, path);
}

function bindFile(what: string, path: string): void {
  writeFileSync(path, '');
  scene.bind(what, path);
}

function mounted(type: 'tmpfs' | 'ramfs', path: string, options: string): void {
  mkdirSync(path);
  scene.mount(type, path, options);
}

function ramfs(path: string, { uid, gid }: RawAccount): void {
  mounted('ramfs', path, 'mode=0755');
  chownSync(path, uid, gid);
}

function given(path: string, { name }: RawAccount): void {
  makeDirectory(path, scene.victim);
  setAcl(path, `user:${name}:rwx,default:user:${name}:rwx`);
}

function opened(path: string, who: RawAccount, acl: string): void {
  makeDirectory(path, who, 0o755);
  setAcl(path, acl);
}

function withAttributes(path: string, who: RawAccount): void {
  makeDirectory(path, who, 0o755);
  for (const name of ['user.kpx', 'trusted.overlay-of-theirs']) expect(systemCall('setxattr', path, name, 'x', 1, 0)).toBe('it worked');
}

function fixed(path: string, who: RawAccount, attribute: 'i' | 'a'): void {
  makeDirectory(path, who, 0o777);
  scene.attribute(attribute, path);
}

const CODES = { 'no directory': 'DIRECTORY_UNSAFE', stuck: 'DIRECTORY_FAILED' } as const;

describe.each(PLACES)('where a %s belongs:', (place) => {
  it.each(THINGS)('%s: %s', async (_what, fate, make) => {
    const who = scene.person();
    const path = `${scene.parents[place]}/${who.name}`;
    make(path, who);
    if (fate === 'used' || (fate === 'stuck' && place === 'home')) return await expectUsed(place, path, who);
    const before = [snapshot(scene.parents[place]), snapshot(elsewhere(who))];
    const code = fate !== 'not theirs' ? CODES[fate] : place === 'home' ? 'HOME_UNUSABLE' : 'DIRECTORY_UNSAFE';
    expect(await scene.ask(who.name)).toEqual(refused(code, fate === 'stuck' ? 'the ACL ' : path));
    if (fate === 'stuck') return expect(statSync(path)).toMatchObject({ uid: who.uid });
    expect([snapshot(scene.parents[place]), snapshot(elsewhere(who))]).toEqual(before);
  });
});

/** A home stays as it is, to the last attribute; a workspace and a temp are closed to all others, whatever they were. */
async function expectUsed(place: Place, path: string, who: RawAccount): Promise<void> {
  const before = snapshot(path);
  expect(await scene.ask(who.name)).toMatchObject({ body: { created: PLACES.filter((other) => other !== place) } });
  if (place === 'home') return expect(snapshot(path)).toEqual(before);
  expect(statSync(path)).toMatchObject({ uid: who.uid });
  expect(statSync(path).mode & 0o777).toBe(0o700);
  expect(aclOf(path)).toEqual(PRIVATE_ACL);
  expect(canList(path, scene.victim)).toBe(false);
}

/** Under a name for unfinished directories: whatever is there is none of the helper's, which makes another one. */
const LEFT = THINGS.filter(([what]) => !what.includes('immutable') && !what.includes('append-only'));

describe.each(PLACES)('where a %s is made:', (place) => {
  it.each(LEFT)('%s is left alone', async (_what, _fate, make) => {
    const who = scene.person();
    const left = `${scene.parents[place]}/.kpx-new-Ab3xY9`;
    make(left, who);
    const before = [snapshot(left), snapshot(elsewhere(who))];
    expect(await scene.ask(who.name)).toMatchObject({ body: { created: PLACES } });
    expect([snapshot(left), snapshot(elsewhere(who))]).toEqual(before);
    await expectUsedAsMade(place, who);
  });
});

async function expectUsedAsMade(place: Place, who: RawAccount): Promise<void> {
  const path = `${scene.parents[place]}/${who.name}`;
  expect(statSync(path)).toMatchObject({ uid: who.uid, gid: who.gid, mode: 0o040700 });
  expect(canList(path, scene.victim)).toBe(false);
}
