import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { RawAccount } from '../fixtures/raw-accounts.js';
import { snapshot } from '../fixtures/tree.js';
import { canList, FileSystemScene, makeDirectory, makeNode, NODE, PLACES, refused, setAcl } from './file-system-scene.js';

/*
 * Where a home may be, and what it is filled with. The name service may be in other hands than root's, the skeleton may hold anything by mistake.
 */

let scene: FileSystemScene;
beforeAll(async () => {
  scene = await FileSystemScene.begin();
  return () => scene.end();
});
afterEach(() => scene.restore());

const NOT_PLAIN = 'its home is not a plain absolute path';
const NO_DIRECTORY = 'is a symbolic link or not a directory';
const NOT_BELOW = 'is not below any of home_parents';

/** `HOMES` is the configured parent, `SRV` what it is in; the victim's home is HOMES/victim. */
const homeFrom = (text: string) => text.replace('HOMES', scene.parents.home).replace('SRV', scene.installation.srv);

describe('an account whose home is', () => {
  it.each([
    ['/', 'ACCOUNT_DENIED', NOT_PLAIN],
    ['//', 'ACCOUNT_DENIED', NOT_PLAIN],
    ['.', 'ACCOUNT_DENIED', NOT_PLAIN],
    ['~', 'ACCOUNT_DENIED', NOT_PLAIN],
    ['HOMES/', 'ACCOUNT_DENIED', NOT_PLAIN],
    ['HOMES/.', 'ACCOUNT_DENIED', NOT_PLAIN],
    ['HOMES/..', 'ACCOUNT_DENIED', NOT_PLAIN],
    ['HOMES/../canary/of-root/empty', 'ACCOUNT_DENIED', NOT_PLAIN],
    ['HOMES/x/../victim', 'ACCOUNT_DENIED', NOT_PLAIN],
    ['HOMES/./victim', 'ACCOUNT_DENIED', NOT_PLAIN],
    ['HOMES//x', 'ACCOUNT_DENIED', NOT_PLAIN],
    ['/../HOMES/x', 'ACCOUNT_DENIED', NOT_PLAIN],
    [`HOMES/${'x'.repeat(256)}`, 'ACCOUNT_DENIED', NOT_PLAIN],
    [`HOMES${'/x'.repeat(65)}`, 'ACCOUNT_DENIED', NOT_PLAIN],
    ['HOMES/x\u007f', 'ACCOUNT_DENIED', NOT_PLAIN],
    ['HOMES', 'HOME_UNUSABLE', NOT_BELOW],
    ['HOMES-of-others/x', 'HOME_UNUSABLE', NOT_BELOW],
    ['SRV', 'HOME_UNUSABLE', NOT_BELOW],
    ['SRV/homes', 'HOME_UNUSABLE', NOT_BELOW],
    ['SRV/homes/x', 'HOME_UNUSABLE', NOT_BELOW],
    ['SRV/workspaces/kpx/victim', 'HOME_UNUSABLE', NOT_BELOW],
    ['SRV/temps/kpx/x', 'HOME_UNUSABLE', NOT_BELOW],
    ['SRV/canary/of-root', 'HOME_UNUSABLE', NOT_BELOW],
    ['SRV/canary/of-victim', 'HOME_UNUSABLE', NOT_BELOW],
    ['/root', 'HOME_UNUSABLE', NOT_BELOW],
    ['/etc', 'HOME_UNUSABLE', NOT_BELOW],
    ['/etc/cron.d/x', 'HOME_UNUSABLE', NOT_BELOW],
    ['/proc/self/rootHOMES/x', 'HOME_UNUSABLE', NOT_BELOW],
    ['/dev/shm/x', 'HOME_UNUSABLE', NOT_BELOW],
    ['HOMES/victim', 'HOME_UNUSABLE', 'exists and belongs to uid'],
    ['HOMES/victim/x', 'DIRECTORY_UNSAFE', 'belongs to uid'],
    ['HOMES/victim/x/y', 'DIRECTORY_UNSAFE', 'belongs to uid'],
    ['HOMES/missing/x', 'DIRECTORY_FAILED', 'does not exist'],
    ['HOMES/.hidden', 'HOME_UNUSABLE', 'starts with a dot and is not made'],
    ['HOMES/.kpx-new-victim', 'HOME_UNUSABLE', 'starts with a dot and is not made'],
    ['HOMES/.kpx-new-.kpx-new-victim', 'HOME_UNUSABLE', 'starts with a dot and is not made'],
  ] as const)('%s: %s', async (home, code, why) => {
    const who = scene.person(homeFrom(home));
    const before = Object.values(scene.parents).map((parent) => snapshot(parent));
    expect(await scene.ask(who.name)).toEqual(refused(code, why));
    expect(Object.values(scene.parents).map((parent) => snapshot(parent))).toEqual(before);
  });
});

describe('an account called', () => {
  it.each(['victim_temp', 'victim-home', 'victim.new', 'kpx-new-victim', 'kpx', 'homes', 'workspaces', 'temp', 'victim.kpx-new-'])(
    '%s has directories of its own, and not the victim’s',
    async (name) => {
      const who = scene.person(undefined, name);
      expect(await scene.ask(name)).toMatchObject({ body: { created: PLACES } });
      for (const parent of Object.values(scene.parents)) {
        expect(lstatSync(`${parent}/${name}`)).toMatchObject({ uid: who.uid });
        expect(lstatSync(`${parent}/victim`)).toMatchObject({ uid: scene.victim.uid });
        expect(canList(`${parent}/victim`, who)).toBe(false);
      }
    },
  );
});

/** What is in the skeleton, and what the new home then has of it: its name, type and mode, or why there is no home. */
type Entry = readonly [what: string, make: (entry: string) => void, becomes: (entry: string, who: RawAccount) => void];

/** With the skeleton's mode, in a home that is closed to others. */
const mine = (mode: number) => (entry: string, who: RawAccount) =>
  expect(lstatSync(entry)).toMatchObject({ uid: who.uid, gid: who.gid, mode, nlink: expect.any(Number) });

const HARMLESS: readonly Entry[] = [
  ['a link to a file of root', (entry) => symlinkSync(scene.canary.secret, entry), (entry) => isLink(entry, scene.canary.secret)],
  ['a link to a directory of root', (entry) => symlinkSync(scene.canary.ofRoot, entry), (entry) => isLink(entry, scene.canary.ofRoot)],
  [
    'a link to a directory of the victim',
    (entry) => symlinkSync(scene.canary.ofVictim, entry),
    (entry) => isLink(entry, scene.canary.ofVictim),
  ],
  ['a link to nothing', (entry) => symlinkSync('missing', entry), (entry) => isLink(entry, 'missing')],
  ['a link up and out', (entry) => symlinkSync('../../canary', entry), (entry) => isLink(entry, '../../canary')],
  ['a set-uid program of root', (entry) => program(entry, 0o4755), mine(0o104755)],
  ['a set-gid program of root', (entry) => program(entry, 0o2755), mine(0o102755)],
  ['a program with capabilities', (entry) => capable(entry), (entry, who) => hasNoCapability(entry, who)],
  ['a hard link to a public file of root', (entry) => linkSync(`${scene.installation.etc}/public`, entry), isOwnCopy],
  ['a file that all may write to', (entry) => withMode(entry, 0o666), mine(0o100666)],
  ['a file with an ACL for the victim', (entry) => withAcl(entry), mine(0o100674)],
  ['a directory that all may write to', (entry) => makeDirectory(entry, { uid: 0, gid: 0 }, 0o1777), mine(0o041777)],
  ['a set-gid directory', (entry) => makeDirectory(entry, { uid: 0, gid: 0 }, 0o2755), mine(0o042755)],
  ['a directory of the victim’s', (entry) => makeDirectory(entry, scene.victim, 0o755), mine(0o040755)],
  ['a named pipe', (entry) => makeNode(entry, NODE.pipe), mine(0o010644)],
  ['a socket', (entry) => makeNode(entry, NODE.socket), mine(0o140644)],
];

describe('a skeleton with', () => {
  beforeAll(() => writeFileSync(`${scene.installation.etc}/public`, 'public', { mode: 0o644 }));

  it.each(HARMLESS)('%s gives the user no more than a copy of their own', async (_what, make, becomes) => {
    const who = scene.person();
    inSkeleton(make);
    expect(await scene.ask(who.name)).toMatchObject({ body: { created: PLACES } });
    becomes(`${who.home}/entry`, who);
    expect(lstatSync(who.home)).toMatchObject({ uid: who.uid, gid: who.gid, mode: 0o040700 });
    expect(canList(who.home, scene.victim)).toBe(false);
  });

  it.each([
    ['a file for root alone', (entry: string) => withMode(entry, 0o600)],
    ['a hard link to a file for root alone', (entry: string) => linkSync(`${scene.installation.configFile}`, entry)],
    ['a directory for root alone', (entry: string) => makeDirectory(entry, { uid: 0, gid: 0 }, 0o700)],
    ['a file of the victim’s', (entry: string) => linkSync(victimsFile(), entry)],
    ['a character device', (entry: string) => makeNode(entry, NODE.character, 0x103)],
    ['a block device', (entry: string) => makeNode(entry, NODE.block, 0x700)],
  ])('%s makes no home: the user may not have that', async (_what, make) => {
    const who = scene.person();
    inSkeleton(make);
    expect(await scene.ask(who.name)).toEqual(refused('DIRECTORY_FAILED', 'the home could not be filled'));
    expect(existsSync(who.home)).toBe(false);
    expect(readdirSync(scene.parents.workspace)).not.toContain(who.name);
  });
});

function inSkeleton(make: (entry: string) => void): void {
  const entry = `${scene.skeleton}/entry`;
  scene.undo(() => rmSync(entry, { recursive: true, force: true }));
  make(entry);
}

function withMode(entry: string, mode: number): void {
  writeFileSync(entry, '#!/bin/sh\n');
  chmodSync(entry, mode);
}

const program = withMode;

function capable(entry: string): void {
  program(entry, 0o755);
  execFileSync('/usr/sbin/setcap', ['cap_dac_override=ep', entry]);
}

function withAcl(entry: string): void {
  withMode(entry, 0o644);
  setAcl(entry, 'user:victim:rwx');
}

function victimsFile(): string {
  const file = `${scene.installation.etc}/of-victim`;
  writeFileSync(file, 'of the victim', { mode: 0o600 });
  chownSync(file, scene.victim.uid, scene.victim.gid);
  scene.undo(() => rmSync(file, { force: true }));
  return file;
}

const isLink = (entry: string, target: string) => expect(readlinkSync(entry)).toBe(target);

function isOwnCopy(entry: string, who: RawAccount): void {
  expect(lstatSync(entry)).toMatchObject({ uid: who.uid, nlink: 1 });
  expect(readFileSync(entry, 'utf8')).toBe('public');
}

function hasNoCapability(entry: string, who: RawAccount): void {
  mine(0o100755)(entry, who);
  expect(execFileSync('/usr/sbin/getcap', [entry], { encoding: 'utf8' })).toBe('');
}

/** It was judged at the start, and is again before each copy. */
describe('a skeleton that has become', () => {
  it.each([
    ['a link to a directory of root', NO_DIRECTORY, () => symlinkSync(scene.canary.ofRoot, scene.skeleton)],
    ['a link to a directory of the victim', NO_DIRECTORY, () => symlinkSync(scene.canary.ofVictim, scene.skeleton)],
    ['a link to nothing', NO_DIRECTORY, () => symlinkSync('/nonexistent', scene.skeleton)],
    ['a file', NO_DIRECTORY, () => writeFileSync(scene.skeleton, '')],
    ['a directory of the victim', 'belongs to uid', () => makeDirectory(scene.skeleton, scene.victim, 0o755)],
    ['writable by all', 'is writable by others than root', () => makeDirectory(scene.skeleton, { uid: 0, gid: 0 }, 0o1777)],
  ])('%s makes no home: %s', async (_what, why, make) => {
    const who = scene.person();
    renameSync(scene.skeleton, `${scene.skeleton}-moved`);
    scene.undo(() => {
      rmSync(scene.skeleton, { recursive: true });
      renameSync(`${scene.skeleton}-moved`, scene.skeleton);
    });
    make();
    expect(await scene.ask(who.name)).toEqual(refused('DIRECTORY_UNSAFE', `${scene.skeleton} ${why}`));
    expect(readdirSync(scene.parents.home).filter((name) => name.includes(who.name))).toEqual([]);
  });
});

/** Where the copy is interrupted by the file system, or cannot be made at all. */
describe('the file system that a home is made on', () => {
  it.each([
    ['has no space left', 'mode=755,size=16k', 'No space left on device'],
    ['has no inode left for what is in the skeleton', 'mode=755,nr_inodes=2', 'No space left on device'],
  ])('%s: the home stays unpublished', async (_what, options, why) => {
    const who = scene.person();
    inSkeleton((entry) => writeFileSync(entry, Buffer.alloc(100_000), { mode: 0o644 }));
    scene.mount('tmpfs', scene.parents.home, options);
    expect(await scene.ask(who.name)).toEqual(refused('DIRECTORY_FAILED', why));
    expect(readdirSync(scene.parents.home)).toEqual([]);
  });

  it('has no ACLs: a home needs none', async () => {
    const who = scene.person();
    scene.mount('ramfs', scene.parents.home, 'mode=755');
    expect(await scene.ask(who.name)).toMatchObject({ body: { created: PLACES } });
    expect(lstatSync(who.home)).toMatchObject({ uid: who.uid, gid: who.gid, mode: 0o040700 });
  });
});

it.each(['workspace', 'temp'] as const)('a %s on a file system without ACLs is not given its name', async (place) => {
  const who = scene.person();
  scene.mount('ramfs', scene.parents[place], 'mode=755');
  expect(await scene.ask(who.name)).toEqual(refused('DIRECTORY_FAILED', 'the ACL '));
  expect(readdirSync(scene.parents[place])).toEqual([]);
});
