import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type BootedKpx, TEMPS, unitOf, WORKSPACES } from '../fixtures/booted/kpx.js';
import { jobOf } from '../fixtures/jobs.js';
import { withKpx } from './kpx-of-file.js';
import { bootedLdap, bootedMachine } from './shared-machine.js';

/* kpxctl orphans, with accounts that were there and are gone. */

const machine = bootedMachine();
const ldap = bootedLdap();

/** For the package and its first start, whatever else the machine does meanwhile. */
const INSTALL_TIMEOUT_MS = 300_000;
const ORPHANS_TIMEOUT_MS = 90_000;
const UNAVAILABLE = 69;
const NOT_PERMITTED = 77;
/** Nobody's. */
const FREE_UID = '61234';

interface Directory {
  readonly path: string;
  readonly uid: number;
  readonly state: 'gone' | 'look' | 'unknown';
  readonly why: string;
  readonly bytes: number | null;
  readonly command: string | null;
}

let kpx: BootedKpx;
let end: (() => Promise<void>) | undefined;

beforeAll(async () => {
  end = await withKpx({}, async (started) => {
    kpx = started;
    // Users of the tests before may be gone by now.
    await run('/usr/bin/find', WORKSPACES, TEMPS, '-mindepth', '1', '-maxdepth', '1', '-exec', '/usr/bin/rm', '-rf', '--', '{}', '+');
    await kpx.start();
  });
}, INSTALL_TIMEOUT_MS);
afterAll(() => end?.());

const run = (...argv: string[]) => machine.run(argv);

async function orphans(...args: string[]): Promise<{ exitCode: number; directories: Directory[] }> {
  const { exitCode, stdout, stderr } = await machine.run(['/usr/bin/kpxctl', 'orphans', '--json', ...args], {
    timeoutMs: ORPHANS_TIMEOUT_MS,
    allowFailure: true,
  });
  expect(stderr).toBe('');
  return { exitCode, directories: JSON.parse(stdout).directories };
}

/** A directory as a user's, gone when the test is finished. */
async function directory(path: string, owner: string): Promise<void> {
  onTestFinished(() => machine.remove(path));
  await run('/usr/bin/install', '-d', '-m', '0700', '-o', owner, '--', path);
}

const of = (directories: readonly Directory[], path: string) => directories.find((each) => each.path === path);

describe('of an account that kpx has made directories for, and that is gone from the directory service,', () => {
  it('workspace and temp directory are listed with commands that remove them; those of others are not', async () => {
    await ldap.addUser('retired', { uid: 22_501 });
    await kpx.publish(jobOf('retired', 'l1'), jobOf('kim', 'k1'));
    await kpx.jobDone('retired', 'l1');
    await kpx.jobDone('kim', 'k1');
    const own = [`${WORKSPACES}/retired`, `${TEMPS}/retired`];
    expect((await orphans()).directories.filter(({ path }) => path.endsWith('/retired'))).toEqual([]);

    await machine.systemctl('stop', unitOf('retired'));
    await ldap.deleteUser('retired');
    const { directories, exitCode } = await orphans('--size');
    expect(exitCode).toBe(0);
    for (const path of own) {
      const removal = `rm -r --one-file-system -- '${path}'`;
      const found = of(directories, path);
      expect(found).toMatchObject({ uid: 22_501, state: 'gone', command: removal, bytes: expect.any(Number) });
      expect(await machine.exists(path)).toBe(true); // nothing is removed by looking
      await run('/bin/sh', '-c', removal);
      expect(await machine.exists(path)).toBe(false);
    }
    expect(directories.filter(({ path }) => path.endsWith('/kim'))).toEqual([]);
    expect((await orphans()).directories.filter(({ path }) => path.endsWith('/retired'))).toEqual([]);
  });
});

it('lists what belongs to another account by its uid, without a command', async () => {
  await directory(`${WORKSPACES}/former-name`, 'ned');
  expect(of((await orphans()).directories, `${WORKSPACES}/former-name`)).toMatchObject({
    state: 'look',
    command: null,
    why: expect.stringContaining('"ned"'),
  });
});

it('lists the directory of a former account whose name somebody else has now', async () => {
  await directory(`${TEMPS}/olga`, FREE_UID);
  expect(of((await orphans()).directories, `${TEMPS}/olga`)).toMatchObject({ state: 'gone', why: expect.stringContaining('has the uid') });
});

it('leaves out what is root’s, and what no account can be called', async () => {
  await directory(`${WORKSPACES}/backup`, 'root');
  await directory(`${WORKSPACES}/.kpx-new-pia`, FREE_UID);
  const { directories } = await orphans();
  expect(directories.filter(({ path }) => /\/(backup|\.kpx-new-pia)$/.test(path))).toEqual([]);
});

describe('a hostile name', () => {
  it.each([
    ['a quote', "it's"],
    ['a command', '$(touch kpx-orphans-hurt)'],
    ['another command', '`touch kpx-orphans-hurt`;touch kpx-orphans-hurt'],
    ['a quote and a command', "';touch kpx-orphans-hurt;'"],
    ['a line feed and a command', 'a\ntouch kpx-orphans-hurt\n'],
    ['what moves the cursor, and a quote', "\u001b[2J\u001b[H'\\!"],
    ['the beginning of an option', '-rf'],
    ['characters beyond ASCII', 'Zoë\u202E'],
  ])('with %s is one argument of the command, and none of it reaches the terminal as it is', async (_what, name) => {
    const path = `${WORKSPACES}/${name}`;
    await directory(path, FREE_UID);
    const { stdout } = await machine.run(['/usr/bin/kpxctl', 'orphans'], { timeoutMs: ORPHANS_TIMEOUT_MS });
    expect(stdout).not.toMatch(/[^\n\p{L}\p{P}\p{S}\p{N} ]/u);
    const commands = stdout.split('\n').filter((line) => line.startsWith('rm '));
    expect(commands).toEqual([expect.stringMatching(/^rm -r --one-file-system -- \$?'\/srv\/kpx\/workspaces\//)]);
    const others = (await run('/usr/bin/ls', '-A', WORKSPACES)).stdout.length;
    await run('/bin/bash', '-c', commands[0] ?? '');
    expect(await machine.exists(path)).toBe(false);
    expect(await machine.exists('/kpx-orphans-hurt')).toBe(false);
    expect((await run('/usr/bin/ls', '-A', WORKSPACES)).stdout.length).toBeLessThan(others);
  });
});

describe('when the name service cannot say, no account is taken for gone:', () => {
  const systemctl = (...args: string[]) => machine.systemctl(...args).then(() => {});

  it('SSSD does not run', async () => {
    await directory(`${WORKSPACES}/quin`, 'quin');
    await run('/usr/sbin/sss_cache', '--everything');
    onTestFinished(() => systemctl('start', 'sssd.service'));
    await machine.systemctl('stop', 'sssd.service');
    const { directories, exitCode } = await orphans();
    expect(exitCode).toBe(UNAVAILABLE);
    expect(directories.filter(({ state, command }) => state === 'gone' || command !== null)).toEqual([]);
  });

  it('SSSD hangs', async () => {
    await directory(`${WORKSPACES}/quin`, 'quin');
    await run('/usr/sbin/sss_cache', '--everything');
    onTestFinished(() => systemctl('kill', '--kill-whom=all', '--signal=SIGCONT', 'sssd.service'));
    await machine.systemctl('kill', '--kill-whom=all', '--signal=SIGSTOP', 'sssd.service');
    const { directories, exitCode } = await orphans();
    expect(exitCode).toBe(UNAVAILABLE);
    expect(directories.filter(({ state, command }) => state === 'gone' || command !== null)).toEqual([]);
  });

  it('SSSD does not reach its directory, and has not kept the account', async () => {
    await ldap.addUser('quiet', { uid: 22_502 });
    onTestFinished(() => ldap.deleteUser('quiet'));
    await directory(`${WORKSPACES}/quiet`, 'quiet');
    onTestFinished(async () => {
      await systemctl('start', 'slapd.service');
      await systemctl('restart', 'sssd.service');
    });
    await machine.systemctl('stop', 'slapd.service');
    await machine.systemctl('stop', 'sssd.service');
    await run('/usr/bin/find', '/var/lib/sss/db', '/var/lib/sss/mc', '-type', 'f', '-delete');
    await machine.systemctl('start', 'sssd.service');
    const { directories, exitCode } = await orphans();
    expect(of(directories, `${WORKSPACES}/quiet`)).toMatchObject({ state: 'unknown', command: null });
    expect(exitCode).toBe(UNAVAILABLE);
  });
});

it('is root’s to ask', async () => {
  const { exitCode, stderr } = await machine.run(['/usr/bin/kpxctl', 'orphans'], { user: 'ada', allowFailure: true });
  expect({ exitCode, stderr }).toEqual({
    exitCode: NOT_PERMITTED,
    stderr: expect.stringMatching(/^kpxctl orphans has to be run as root: .*\n$/),
  });
});
