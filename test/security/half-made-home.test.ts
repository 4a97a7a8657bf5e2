import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, lstatSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { canList, FileSystemScene, makeDirectory, PLACES, refused, setAcl, unfinishedIn } from './file-system-scene.js';

/* A home belongs to its user before it is filled, under a name that everybody can see: what the user makes of that. */

let scene: FileSystemScene;
beforeAll(async () => {
  scene = await FileSystemScene.begin({ held: true });
  return () => scene.end();
});
afterEach(() => scene.restore());

/** As the helper sees it, which has mounts of its own here. */
function mount(args: readonly string[]): void {
  execFileSync('/usr/bin/nsenter', [`--target=${scene.installation.helper?.pid}`, '--mount', '--', '/usr/bin/mount', ...args]);
}

function bind(path: string): void {
  mkdirSync(path);
  mount(['--bind', scene.canary.ofRoot, path]);
}

function ownFile(path: string): void {
  writeFileSync(path, '', { mode: 0o600 });
  chownSync(path, scene.victim.uid, scene.victim.gid);
}

/** What is in it when the copy begins: the user may have put it there as soon as the directory was theirs. */
describe('a home that is half made, in which its user has put', () => {
  it.each([
    ['a link to a file of root', (entry: string) => symlinkSync(scene.canary.secret, entry)],
    ['a link to a set-uid program of root', (entry: string) => symlinkSync(`${scene.canary.ofRoot}/set-uid`, entry)],
    ['a link to a file of the victim', (entry: string) => symlinkSync(`${scene.canary.ofVictim}/diary`, entry)],
    ['a link to a file that is not there, in a directory of root', (entry: string) => symlinkSync(`${scene.canary.ofRoot}/new`, entry)],
    ['a file of root', (entry: string) => writeFileSync(entry, '', { mode: 0o600 })],
    ['a file of the victim', (entry: string) => ownFile(entry)],
    ['a directory of root', (entry: string) => makeDirectory(entry, { uid: 0, gid: 0 }, 0o755)],
  ])('%s where the skeleton has a file: no home', async (_what, make) => {
    const who = scene.person();
    const answer = await scene.askMeanwhile(who.name, (unfinished) => make(`${unfinished}/.profile`));
    expect(answer).toEqual(refused('DIRECTORY_FAILED', 'the home could not be filled'));
    expect(existsSync(who.home)).toBe(false);
    expect(unfinishedIn(scene.parents.home)).toEqual([]);
  });

  it.each([
    ['a link to a directory of root', (entry: string) => symlinkSync(scene.canary.ofRoot, entry)],
    ['a link to an empty directory of root', (entry: string) => symlinkSync(`${scene.canary.ofRoot}/empty`, entry)],
    ['a link to a directory of the victim', (entry: string) => symlinkSync(scene.canary.ofVictim, entry)],
    ['a bind mount of a directory of root', (entry: string) => bind(entry)],
  ])('%s where the skeleton has a directory: no home', async (_what, make) => {
    const who = scene.person();
    makeDirectory(`${scene.skeleton}/entry`, { uid: 0, gid: 0 }, 0o755);
    scene.undo(() => rmSync(`${scene.skeleton}/entry`, { recursive: true }));
    writeFileSync(`${scene.skeleton}/entry/public`, 'of the skeleton', { mode: 0o644 });
    const answer = await scene.askMeanwhile(who.name, (unfinished) => make(`${unfinished}/entry`));
    expect(answer).toEqual(refused('DIRECTORY_FAILED', 'the home could not be filled'));
    expect(existsSync(who.home)).toBe(false);
  });

  it('a file system of their own over all of it: no home', async () => {
    const who = scene.person();
    const answer = await scene.askMeanwhile(who.name, (unfinished) =>
      mount(['-t', 'tmpfs', '-o', `mode=0700,uid=${who.uid}`, 'kpx-test', unfinished]),
    );
    expect(answer).toEqual(refused('DIRECTORY_FAILED', `${who.home}: EBUSY`));
    expect(existsSync(who.home)).toBe(false);
  });

  it('an ACL and a mode for others: a home that is closed to them', async () => {
    const who = scene.person();
    const open = (unfinished: string) => setAcl(unfinished, 'user:victim:rwx,other::rwx');
    expect(await scene.askMeanwhile(who.name, open)).toMatchObject({ body: { created: PLACES } });
    expect(canList(who.home, scene.victim)).toBe(false);
    expect(lstatSync(who.home)).toMatchObject({ uid: who.uid, gid: who.gid, mode: 0o040700 });
  });
});
