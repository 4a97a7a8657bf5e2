import { chmodSync, chownSync, existsSync, lstatSync, mkdirSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterEach, beforeAll, expect, it, vi } from 'vitest';
import { HelperConnection } from '../fixtures/helper-connection.js';
import type { RawAccount } from '../fixtures/raw-accounts.js';
import { aclOf, PRIVATE_ACL } from '../fixtures/tree.js';
import { FileSystemScene, makeDirectory, unfinishedIn } from './file-system-scene.js';
import { Racer } from './racer.js';

/*
 * Between the look and the deed: the accomplice exchanges what root has judged for something else, in a tight loop, while root works.
 *
 * The parents are root's, and a helper that finds one that others may write to refuses it at once. So that there is a race at all, root itself
 * opens the parent and closes it again in a loop of its own, and the accomplice wins whenever it is open: more than any attacker has. Where a
 * home is filled the accomplice needs no such help: what is half made is theirs already.
 */

/** How long root works while they race: at least; and at most, if it is slow or the race has not been won and lost yet. */
const RACE_MS = { min: 5_000, max: 120_000 };
const ROUNDS_MIN = 10_000;
const REQUESTS_MIN = 30;

vi.setConfig({ testTimeout: 180_000 });

let scene: FileSystemScene;
beforeAll(async () => {
  scene = await FileSystemScene.begin();
  return () => scene.end();
});
afterEach(() => scene.restore());

/**
 * Requests until each of `expected` has been the answer, with `between` after each. The canary is looked at in the end: its change times forget
 * nothing.
 */
async function race(who: RawAccount, expected: readonly string[], racers: Promise<Racer>[], between: () => void = () => {}) {
  const before = scene.canary.look();
  const running = await Promise.all(racers);
  const connection = await HelperConnection.greeted(scene.installation.socket);
  const answers: Record<string, number> = {};
  let requests = 0;
  const began = performance.now();
  const isOver = () => {
    const ms = performance.now() - began;
    const all = requests >= REQUESTS_MIN && expected.every((kind) => answers[kind]) && running.every(({ rounds }) => rounds >= ROUNDS_MIN);
    return ms > RACE_MS.max || (ms > RACE_MS.min && all);
  };
  try {
    for (; !isOver(); requests++) {
      const answer = await connection.prepare(who.name);
      const kind = answer.kind === 'error' ? answer.body.code : answer.kind;
      answers[kind] = (answers[kind] ?? 0) + 1;
      between();
    }
  } finally {
    await Promise.all(running.map((racer) => racer.end()));
    connection.close();
  }
  const rounds = running.map((racer) => racer.rounds);
  console.log(`${expect.getState().currentTestName}: ${rounds.join(' and ')} rounds, ${requests} requests: ${JSON.stringify(answers)}`);
  expect(scene.canary.look()).toEqual(before);
  for (const count of rounds) expect(count).toBeGreaterThanOrEqual(ROUNDS_MIN);
  expect(requests).toBeGreaterThanOrEqual(REQUESTS_MIN);
  expect(Object.keys(answers)).toEqual(expect.arrayContaining([...expected]));
  for (const kind of Object.keys(answers)) expect(['userPrepared', 'DIRECTORY_UNSAFE', 'DIRECTORY_FAILED']).toContain(kind);
}

const REFUSED_AND_DONE = ['DIRECTORY_UNSAFE', 'userPrepared'];

const parentIsOpened = (path: string) => {
  scene.undo(() => closeParent(path));
  return Racer.start('root', 'modes', path, '0755', '0777');
};

function closeParent(path: string): void {
  chmodSync(path, 0o755);
  chownSync(path, 0, 0);
}

/** In a parent that they can write to: what is in it is exchanged with this. */
function linkBeside(parent: string, target: string): string {
  const link = `${parent}/.of-theirs`;
  symlinkSync(target, link);
  scene.undo(() => rmSync(link, { recursive: true, force: true }));
  return link;
}

/** Of their own, so that its owner gives nothing away; root would change its mode and its ACL. */
function ownBesideCanary(who: RawAccount): string {
  const path = `${dirname(scene.canary.ofRoot)}/of-${who.name}`;
  makeDirectory(path, who, 0o755);
  return path;
}

it.each(['home', 'workspace', 'temp'] as const)('a %s that is a directory and a link to another by turns', async (place) => {
  const who = scene.person();
  const parent = scene.parents[place];
  makeDirectory(`${parent}/${who.name}`, who);
  const link = linkBeside(parent, ownBesideCanary(who));
  const racers = [parentIsOpened(parent), Racer.start(who, 'exchange', `${parent}/${who.name}`, link)];
  await race(who, REFUSED_AND_DONE, racers);
});

it('a parent that is the accomplice’s by turns, and what is in it a directory and a link', async () => {
  const who = scene.person();
  const parent = scene.parents.temp;
  makeDirectory(`${parent}/${who.name}`, who);
  const link = linkBeside(parent, ownBesideCanary(who));
  scene.undo(() => closeParent(parent));
  const given = Racer.start('root', 'owners', parent, '0', `${who.uid}`);
  const racers = [given, Racer.start(who, 'exchange', `${parent}/${who.name}`, link)];
  await race(who, REFUSED_AND_DONE, racers);
});

it('a workspace that is exchanged for a link while it is made', async () => {
  const who = scene.person();
  const parent = scene.parents.workspace;
  const link = linkBeside(parent, ownBesideCanary(who));
  const racers = [parentIsOpened(parent), Racer.start(who, 'exchangeUnfinished', parent, '', link)];
  await race(who, REFUSED_AND_DONE, racers, () => {
    for (const made of [`${parent}/${who.name}`, ...unfinishedIn(parent)]) rmSync(made, { recursive: true, force: true });
  });
});

it('a parent that is exchanged for a link to a directory of root, which looks as good', async () => {
  const who = scene.person();
  const parent = scene.parents.temp;
  const link = linkBeside(dirname(parent), scene.canary.ofRoot);
  makeDirectory(`${parent}/${who.name}`, who);
  scene.undo(() => putBack(parent, link));
  const racers = [parentIsOpened(dirname(parent)), Racer.start(who, 'exchange', parent, link)];
  await race(who, REFUSED_AND_DONE, racers);
});

/** Whichever turn it was when the race ended. */
function putBack(parent: string, link: string): void {
  if (!lstatSync(parent).isSymbolicLink()) return;
  rmSync(parent);
  renameSync(link, parent);
}

it('a home that its user fills with links while root has it filled', async () => {
  const who = scene.person();
  const { home } = scene.parents;
  fillSkeleton();
  const own = `${scene.installation.srv}/of-${who.name}`;
  makeDirectory(own, who);
  symlinkSync(scene.canary.ofRoot, `${own}/folder`);
  symlinkSync(scene.canary.secret, `${own}/file`);
  const racers = [
    Racer.start(who, 'exchangeUnfinished', home, 'folder', `${own}/folder`),
    Racer.start(who, 'exchangeUnfinished', home, 'file-20', `${own}/file`),
  ];
  const graveyard = `${scene.installation.srv}/former`;
  mkdirSync(graveyard);
  let former = 0;
  await race(who, ['DIRECTORY_FAILED', 'userPrepared'], racers, () => {
    for (const path of [who.home, ...unfinishedIn(home)]) if (existsSync(path)) renameSync(path, `${graveyard}/${++former}`);
  });
});

/** Enough that the copy takes a while. */
function fillSkeleton(): void {
  const { skeleton } = scene;
  renameSync(skeleton, `${skeleton}-small`);
  mkdirSync(`${skeleton}/folder`, { recursive: true });
  for (let number = 0; number < 200; number++) {
    for (const folder of [skeleton, `${skeleton}/folder`]) writeFileSync(`${folder}/file-${number}`, 'of the skeleton');
  }
  scene.undo(() => {
    rmSync(skeleton, { recursive: true });
    renameSync(`${skeleton}-small`, skeleton);
  });
}

it('a workspace whose mode its user changes while root closes it', async () => {
  const who = scene.person();
  const path = `${scene.parents.workspace}/${who.name}`;
  makeDirectory(path, who);
  await race(who, ['DIRECTORY_FAILED', 'userPrepared'], [Racer.start(who, 'modes', path, '0777', '0700')]);
  await scene.ask(who.name);
  expect(statSync(path).mode & 0o777).toBe(0o700);
  expect(aclOf(path)).toEqual(PRIVATE_ACL);
});
