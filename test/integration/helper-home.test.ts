import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { HelperConnection } from '../fixtures/helper-connection.js';
import type { HelperInstallation, Section } from '../fixtures/helper-installation.js';
import type { RawAccount } from '../fixtures/raw-accounts.js';
import { snapshot } from '../fixtures/tree.js';
import { installHelper, rawAccounts, refusal } from './installed-helper.js';

interface Scene {
  installation: HelperInstallation;
  connection: HelperConnection;
  /** Where homes are made. */
  homes: string;
  skeleton: string;
  person: RawAccount;
}

interface SceneOptions {
  home?: string;
  directories?: Section;
  /** In place of cp, see {@link HelperInstallation.inPlaceOf}. */
  cp?: (installation: HelperInstallation) => string;
}

/** A helper with a place for homes and a skeleton of its own, and an account whose home is `home` below that place. */
async function scene({ home = 'person', directories = {}, cp }: SceneOptions = {}): Promise<Scene> {
  const installation = installHelper();
  const homes = `${installation.srv}/homes`;
  const skeleton = `${installation.etc}/skel`;
  mkdirSync(homes);
  mkdirSync(skeleton);
  writeFileSync(`${skeleton}/.profile`, '# made from the skeleton\n', { mode: 0o644 });
  installation.writeHelperConfig({ directories: { home_parents: [homes, installation.etc], skeleton, ...directories } });
  const person = rawAccounts().account('person', { home: `${homes}/${home}` });
  await installation.startHelper(cp && { wrap: installation.inPlaceOf('/usr/bin/cp', cp(installation)) });
  return { installation, homes, skeleton, person, connection: await HelperConnection.greeted(installation.socket) };
}

const own = (path: string, { uid, gid }: RawAccount) => chownSync(path, uid, gid);

describe('a home that does not exist', () => {
  it('is made for the user alone and filled from the skeleton', async () => {
    const { connection, homes, skeleton, person } = await scene();
    mkdirSync(`${skeleton}/.config`);
    writeFileSync(`${skeleton}/.config/settings`, 'x');
    expect(await connection.prepare('person')).toMatchObject({ body: { created: ['home', 'workspace', 'temp'] } });
    const { uid, gid } = person;
    expect(readdirSync(homes)).toEqual(['person']);
    expect(statSync(person.home)).toMatchObject({ uid, gid, mode: 0o040700 });
    for (const name of ['.profile', '.config', '.config/settings']) expect(statSync(`${person.home}/${name}`)).toMatchObject({ uid, gid });
    expect(readFileSync(`${person.home}/.profile`, 'utf8')).toBe('# made from the skeleton\n');
  });

  it('gets the skeleton’s symbolic links as links, and of its files only what the user may read', async () => {
    const { connection, homes, installation, skeleton, person } = await scene();
    symlinkSync('/etc/shadow', `${skeleton}/link`);
    expect(await connection.prepare('person')).toMatchObject({ kind: 'userPrepared' });
    expect(readlinkSync(`${person.home}/link`)).toBe('/etc/shadow');
    writeFileSync(`${skeleton}/for-root`, 'secret', { mode: 0o600 });
    rawAccounts().account('second', { home: `${homes}/second` });
    expect(await connection.prepare('second')).toEqual(refusal('DIRECTORY_FAILED', `the home could not be filled from ${skeleton}`));
    expect(readdirSync(homes).sort()).toEqual(['.kpx-new-second', 'person']);
    expect(readdirSync(installation.workspaces)).toEqual(['person']);
  });

  it('and was half made when the helper was killed is made whole', async () => {
    const { connection, homes, person } = await scene();
    const staging = `${homes}/.kpx-new-person`;
    mkdirSync(staging, { mode: 0o755 });
    writeFileSync(`${staging}/.profile`, '# ma');
    own(`${staging}/.profile`, person);
    own(staging, person);
    expect(await connection.prepare('person')).toMatchObject({ body: { created: expect.arrayContaining(['home']) } });
    expect(readdirSync(homes)).toEqual(['person']);
    expect(statSync(person.home)).toMatchObject({ uid: person.uid, gid: person.gid, mode: 0o040700 });
    expect(readFileSync(`${person.home}/.profile`, 'utf8')).toBe('# made from the skeleton\n');
  });

  it('is filled with the rights of its user: links that wait in what a crash left behind are of no use to anybody', async () => {
    const { connection, homes, installation, person } = await scene();
    const secret = `${installation.etc}/secret`;
    writeFileSync(secret, 'of root', { mode: 0o600 });
    const staging = `${homes}/.kpx-new-person`;
    mkdirSync(staging);
    symlinkSync(secret, `${staging}/.profile`);
    own(staging, person);
    const before = snapshot(secret);
    expect(await connection.prepare('person')).toEqual(refusal('DIRECTORY_FAILED', 'the home could not be filled'));
    expect(snapshot(secret)).toEqual(before);
    expect(readdirSync(homes)).toEqual(['.kpx-new-person']);
  });

  it('is not made with create_home = false', async () => {
    const { connection, homes, person } = await scene({ directories: { create_home: false } });
    expect(await connection.prepare('person')).toEqual(refusal('HOME_UNUSABLE', `${person.home} does not exist and create_home is off`));
    expect(readdirSync(homes)).toEqual([]);
  });

  it('is made below a directory of root’s in home_parents, and not below one of a user’s or one that is missing', async () => {
    const { connection, homes } = await scene();
    const accounts = rawAccounts();
    const people = ['good', 'bad', 'missing'].map((name) => accounts.account(name, { home: `${homes}/${name}-department/${name}` }));
    for (const name of ['good', 'bad']) mkdirSync(`${homes}/${name}-department`);
    own(`${homes}/bad-department`, people[1] as RawAccount);
    expect(await connection.prepare('good')).toMatchObject({ body: { created: expect.arrayContaining(['home']) } });
    expect(await connection.prepare('bad')).toEqual(refusal('DIRECTORY_UNSAFE', `${homes}/bad-department belongs to uid`));
    expect(await connection.prepare('missing')).toEqual(refusal('DIRECTORY_FAILED', `${homes}/missing-department does not exist`));
    expect(readdirSync(`${homes}/bad-department`)).toEqual([]);
  });

  it('and is that of two accounts at once is made for one of them; the other is refused', async () => {
    const pipeOf = ({ etc }: HelperInstallation) => `${etc}/pipe`;
    const { connection, homes, installation, person } = await scene({ cp: (each) => `read line <${pipeOf(each)}; exec $real "$@"` });
    execFileSync('/usr/bin/mkfifo', ['--mode=666', pipeOf(installation)]);
    const lodger = rawAccounts().account('lodger', { home: person.home });
    const answers = Promise.all([connection.prepare('person'), connection.prepare('lodger')]);
    const writer = await open(pipeOf(installation), 'w'); // as soon as the copy reads from it
    await writer.write('go on\ngo on\n');
    await writer.close();
    const [ofPerson, ofLodger] = await answers;
    // Whose look-up has come back sooner.
    const [winner, answer, refused] = ofPerson.kind === 'userPrepared' ? [person, ofPerson, ofLodger] : [lodger, ofLodger, ofPerson];
    expect(answer).toMatchObject({ body: { created: ['home', 'workspace', 'temp'] } });
    expect(refused).toEqual(refusal('HOME_UNUSABLE', `exists and belongs to uid ${winner.uid}`));
    expect(readdirSync(homes)).toEqual(['person']);
    for (const path of [person.home, `${person.home}/.profile`]) expect(statSync(path)).toMatchObject({ uid: winner.uid, gid: winner.gid });
  });
});

describe('a home that exists', () => {
  it('is not touched, whatever its mode and contents', async () => {
    const { connection, homes, person } = await scene();
    mkdirSync(person.home);
    writeFileSync(`${person.home}/.profile`, 'my own', { mode: 0o666 });
    own(`${person.home}/.profile`, person);
    own(person.home, person);
    chmodSync(person.home, 0o2755);
    const before = snapshot(homes);
    expect(await connection.spawn('person')).toMatchObject({ kind: 'executorSpawned' });
    expect(snapshot(homes)).toEqual(before);
  });

  it('and belongs to somebody else is refused: two accounts cannot share it', async () => {
    const { connection, person } = await scene();
    expect(await connection.prepare('person')).toMatchObject({ kind: 'userPrepared' });
    rawAccounts().account('lodger', { home: person.home });
    expect(await connection.prepare('lodger')).toEqual(refusal('HOME_UNUSABLE', `exists and belongs to uid ${person.uid}`));
  });
});
