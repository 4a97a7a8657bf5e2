import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { HelperConnection } from '../fixtures/helper-connection.js';
import { type HelperInstallation, idsOf, type Section } from '../fixtures/helper-installation.js';
import type { RawAccount } from '../fixtures/raw-accounts.js';
import { snapshot } from '../fixtures/tree.js';
import { installHelper, rawAccounts, refusal } from './installed-helper.js';

/** As in the direct launcher: for one copy, in milliseconds, and how many processes its user may have meanwhile. */
const COPY_MS_MAX = 5_000;
const PROCESSES_MAX = 64;

interface Scene {
  installation: HelperInstallation;
  connection: HelperConnection;
  /** Where homes are made. */
  homes: string;
  skeleton: string;
  person: RawAccount;
  /** Resolves when the copy waits, `meanwhile` has happened, and the copy goes on. */
  goOn: (meanwhile?: () => Promise<void>) => Promise<void>;
}

interface SceneOptions {
  home?: string;
  directories?: Section;
  /** In place of cp, see {@link HelperInstallation.inPlaceOf}. */
  cp?: (installation: HelperInstallation) => string;
  /** The copy waits for {@link Scene.goOn}. */
  held?: boolean;
  /** Node's, for the helper. */
  flag?: string;
}

const pipeOf = ({ etc }: HelperInstallation) => `${etc}/pipe`;
const HELD = (installation: HelperInstallation) => `read line <${pipeOf(installation)}; exec $real "$@"`;

/** A helper with a place for homes and a skeleton of its own, and an account whose home is `home` below that place. */
async function scene(options: SceneOptions = {}): Promise<Scene> {
  const { home = 'person', directories = {}, held = false, cp = held ? HELD : undefined, flag } = options;
  const installation = installHelper();
  const homes = `${installation.srv}/homes`;
  const skeleton = `${installation.etc}/skel`;
  mkdirSync(homes);
  mkdirSync(skeleton);
  writeFileSync(`${skeleton}/.profile`, '# made from the skeleton\n', { mode: 0o644 });
  installation.writeHelperConfig({ directories: { home_parents: [homes, installation.etc], skeleton, ...directories } });
  const person = rawAccounts().account('person', { home: `${homes}/${home}` });
  const withFlag = flag ? ['/bin/sh', '-c', `node=$1; shift; exec "$node" ${flag} "$@"`, 'sh'] : [];
  await installation.startHelper({ wrap: [...(cp ? installation.inPlaceOf('/usr/bin/cp', cp(installation)) : []), ...withFlag] });
  if (held) execFileSync('/usr/bin/mkfifo', ['--mode=666', pipeOf(installation)]);
  const goOn = async (meanwhile = async () => {}) => {
    const writer = await open(pipeOf(installation), 'w'); // as soon as it is read from
    await meanwhile();
    await writer.write('go on\n').catch(() => {}); // it has ended
    await writer.close();
  };
  return { installation, homes, skeleton, person, goOn, connection: await HelperConnection.greeted(installation.socket) };
}

const own = (path: string, { uid, gid }: Pick<RawAccount, 'uid' | 'gid'>) => chownSync(path, uid, gid);

const QUIET = { stdio: 'ignore' } as const;

function writeMode(file: string, mode: number): void {
  writeFileSync(file, '');
  chmodSync(file, mode);
}

/** Names with modes of all that is in a directory, in order. */
const modesIn = (path: string) =>
  readdirSync(path, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((name) => `${lstatSync(`${path}/${name}`).mode.toString(8)} ${name}`);

/** Processes with this among their arguments. */
const running = (argument: string) =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && argumentsOf(name).includes(argument))
    .map(Number);

function argumentsOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return []; // ended while we looked
  }
}

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
    expect(readdirSync(homes)).toEqual(['person']);
    expect(readdirSync(installation.workspaces)).toEqual(['person']);
  });

  it('and was half made when the helper was killed is made anew; what was left is not used, and in nobody’s way', async () => {
    const { connection, homes, installation, person, goOn } = await scene({ held: true });
    const asked = connection.prepare('person').catch(() => 'the helper is gone');
    await goOn(() => installation.endHelper('SIGKILL').then(() => {}));
    expect(await asked).toBe('the helper is gone');
    const left = readdirSync(homes);
    expect(left).toEqual([expect.stringMatching(/^\.kpx-new-\w{6}$/)]);
    writeFileSync(`${homes}/${left[0]}/.profile`, '# ma');
    const before = snapshot(`${homes}/${left[0]}`);
    await installation.startHelper();
    const another = await HelperConnection.greeted(installation.socket);
    expect(await another.prepare('person')).toMatchObject({ body: { created: expect.arrayContaining(['home']) } });
    expect(readdirSync(homes).sort()).toEqual([...left, 'person']);
    expect(snapshot(`${homes}/${left[0]}`)).toEqual(before);
    expect(statSync(person.home)).toMatchObject({ uid: person.uid, gid: person.gid, mode: 0o040700 });
    expect(readFileSync(`${person.home}/.profile`, 'utf8')).toBe('# made from the skeleton\n');
  });

  it('is filled with the rights of its user: links that the user puts in the way are of no use to anybody', async () => {
    const { connection, homes, installation, goOn } = await scene({ held: true });
    const secret = `${installation.etc}/secret`;
    writeFileSync(secret, 'of root', { mode: 0o600 });
    const before = snapshot(secret);
    const asked = connection.prepare('person');
    await goOn(async () => symlinkSync(secret, `${homes}/${readdirSync(homes)[0]}/.profile`));
    expect(await asked).toEqual(refusal('DIRECTORY_FAILED', 'the home could not be filled'));
    expect(snapshot(secret)).toEqual(before);
    expect(readdirSync(homes)).toEqual([]);
  });

  it('and whose user keeps the copy from ending is given up in time, with all that runs there, and keeps nobody waiting', async () => {
    // Node may collect what only waits for a timer whenever it collects garbage: here it does so all the time.
    const { connection, homes, installation } = await scene({ cp: () => 'sleep 98765 & exec sleep 98765', flag: '--gc-global' });
    rawAccounts().account('other', { home: `${homes}/other` });
    mkdirSync(`${homes}/other`);
    own(`${homes}/other`, { ...idsOf('other') });
    const began = performance.now();
    const held = connection.prepare('person');
    await eventually('it is held', () => running('98765').length === 2);
    for (let times = 0; times < 5; times++) expect(await connection.prepare('other')).toMatchObject({ kind: 'userPrepared' });
    expect(await held).toEqual(refusal('DIRECTORY_FAILED', '/usr/bin/cp did not end in time'));
    expect(performance.now() - began).toBeLessThan(COPY_MS_MAX + 2_000);
    await eventually('all of it is gone', () => running('98765').length === 0);
    expect(readdirSync(homes)).toEqual(['other']);
    expect(await installation.helperLog.line({ code: 'DIRECTORY_FAILED' })).toMatchObject({ os_user: 'person', decision: 'refused' });
  });

  it('and whose copies do not end is refused to requests that have waited too long for these, and made once one ends', async () => {
    const { connection, homes, installation, person } = await scene({
      cp: ({ etc }) => `[ -e ${etc}/well ] || exec sleep 98763; exec $real "$@"`,
    });
    const answers = await Promise.all([1, 2, 3, 4, 5, 6].map(() => connection.prepare('person')));
    // In any order: each has its user looked up first. Two copies fill the time of a request; what is left of it may be enough to begin another.
    const late = refusal('DEADLINE_EXCEEDED', `no time was left to fill the home ${person.home}`);
    const notEnded = refusal('DIRECTORY_FAILED', '/usr/bin/cp did not end in time');
    for (const refused of [late, notEnded]) expect(answers).toContainEqual(refused);
    for (const answer of answers) expect([late, notEnded]).toContainEqual(answer);
    expect(readdirSync(homes)).toEqual([]);
    writeFileSync(`${installation.etc}/well`, '');
    expect(await connection.prepare('person')).toMatchObject({ body: { created: expect.arrayContaining(['home']) } });
  });

  it('and whose user starts process after process meanwhile has few of them', async () => {
    const { connection } = await scene({ cp: () => 'for n in $(seq 200); do sleep 98764 & done; exec $real "$@"' });
    onTestFinished(() => running('98764').forEach((pid) => void process.kill(pid, 'SIGKILL')));
    await connection.prepare('person');
    expect(running('98764').length).toBeGreaterThan(1);
    expect(running('98764').length).toBeLessThan(PROCESSES_MAX);
  });

  it('has the modes of the skeleton, as useradd makes them', async () => {
    const { connection, installation, homes, skeleton, person } = await scene();
    for (const mode of [0o644, 0o755, 0o664, 0o444, 0o777]) writeMode(`${skeleton}/file-${mode.toString(8)}`, mode);
    for (const mode of [0o755, 0o775, 0o2755, 0o1777, 0o555]) {
      mkdirSync(`${skeleton}/folder-${mode.toString(8)}`);
      writeMode(`${skeleton}/folder-${mode.toString(8)}/file`, 0o644);
      chmodSync(`${skeleton}/folder-${mode.toString(8)}`, mode);
    }
    chmodSync(skeleton, 0o2755);
    expect(await connection.prepare('person')).toMatchObject({ body: { created: expect.arrayContaining(['home']) } });
    const reference = `${installation.srv}/by-useradd`;
    execFileSync('/usr/sbin/useradd', ['--create-home', '--skel', skeleton, '--home-dir', reference, `made-${homes.length}`], QUIET);
    onTestFinished(() => void execFileSync('/usr/sbin/userdel', [`made-${homes.length}`], QUIET));
    expect(modesIn(person.home)).toEqual(modesIn(reference));
    expect(modesIn(person.home)).toHaveLength(16);
    expect(statSync(person.home).mode).toBe(0o040700);
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
    const { connection, homes, person, goOn } = await scene({ held: true });
    const lodger = rawAccounts().account('lodger', { home: person.home });
    const answers = Promise.all([connection.prepare('person'), connection.prepare('lodger')]);
    await goOn();
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
