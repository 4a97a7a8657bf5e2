import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { eventually } from '../fixtures/eventually.js';
import { HelperConnection } from '../fixtures/helper-connection.js';
import { checkout, HelperInstallation, idsOf, node } from '../fixtures/helper-installation.js';
import { type Probe, TEMPTATIONS } from '../fixtures/probe.mjs';
import { statusOf } from '../fixtures/process.js';
import { snapshot } from '../fixtures/tree.js';

/*
 * An executor of the direct launcher that tries to become root and to get at the helper, from inside (test/fixtures/probe.mjs). For the systemd
 * launcher see test/system/isolation.test.ts. What is tried outside of an executor, with the same account, shows that the bait is good.
 */

const WORKED = 'it worked';
const NO_CAPABILITY = '0000000000000000';
const NO_SIGNAL = '0000000000000000';
const PROBE = join(checkout(), 'test/fixtures/probe.mjs');
const PROGRAM = join(checkout(), 'packages/privhelper/dist/kpx-privhelper.cjs');

let installation: HelperInstallation;
let inside: Probe;
let outside: Probe;
/** Of the helper and its files, before and after. */
let before: unknown;
let after: unknown;

/** What anybody on the machine could use, were it not for no_new_privs. */
function layOutBait(bait: string): void {
  mkdirSync(bait, { mode: 0o755 });
  const copy = (from: string, name: string, mode: number) => {
    copyFileSync(from, `${bait}/${name}`);
    chmodSync(`${bait}/${name}`, mode);
  };
  copy('/usr/bin/id', TEMPTATIONS.setUid, 0o4755);
  copy('/usr/bin/id', TEMPTATIONS.setGid, 0o2755);
  copy('/usr/bin/cat', TEMPTATIONS.capable, 0o755);
  execFileSync('/usr/sbin/setcap', ['cap_dac_override=ep', `${bait}/${TEMPTATIONS.capable}`]);
}

/** Everything of the helper that the probe is after, as far as it stands still. */
function lookAtHelper(): unknown {
  const pid = installation.helper?.pid ?? 0;
  const { Uid, Gid, Groups, CapEff, SigIgn, SigBlk, TracerPid, Cpus_allowed, NoNewPrivs } = statusOf(pid) ?? {};
  const own = { Uid, Gid, Groups, CapEff, SigIgn, SigBlk, TracerPid, Cpus_allowed, NoNewPrivs };
  const settings = ['limits', 'oom_score_adj', 'cmdline'].map((name) => readFileSync(`/proc/${pid}/${name}`, 'utf8'));
  const priority = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ')[16];
  return { pid, own, settings, priority, files: [installation.etc, installation.socket, PROGRAM].map((path) => snapshot(path)) };
}

const argumentsOf = (workspace: string) => {
  const { etc, socket, srv } = installation;
  return [workspace, etc, socket, PROGRAM, `${srv}/bait`];
};

async function probeOf(workspace: string): Promise<Probe> {
  const file = `${workspace}/probe.json`;
  return JSON.parse(await eventually('the probe has looked', () => existsSync(file) && readFileSync(file, 'utf8')));
}

/** The same program under another account, in a session that kpx has nothing to do with. */
async function probeOutside(): Promise<Probe> {
  const { uid, gid } = idsOf('carol');
  const argv = ['--reuid', `${uid}`, '--regid', `${gid}`, '--init-groups', '--', node(), PROBE];
  const workspace = `${installation.workspaces}/carol`;
  const args = [...argumentsOf(workspace), `${installation.helper?.pid}`];
  execFileSync('/usr/bin/setpriv', [...argv, ...args], { stdio: 'ignore' });
  return await probeOf(workspace);
}

beforeAll(async () => {
  installation = new HelperInstallation();
  const { etc, socket } = installation;
  chmodSync(etc, 0o700);
  layOutBait(`${installation.srv}/bait`);
  installation.writeHelperConfig({ executor: { command: [node(), PROBE, ...argumentsOf('{workspace}')] } });
  await installation.startHelper();
  const connection = await HelperConnection.greeted(socket);
  await connection.prepare('carol');
  before = lookAtHelper();
  await connection.spawned('bob');
  inside = await probeOf(`${installation.workspaces}/bob`);
  outside = await probeOutside();
  after = lookAtHelper();
  expect(await connection.prepare('carol')).toMatchObject({ kind: 'userPrepared', body: { created: [] } });
  return async () => {
    await installation.endHelper();
    installation.removeDirectories();
  };
});

describe('an executor that is after root', () => {
  it.each([
    ['call setuid(0)', 'EPERM'],
    ['call setgid(0)', 'EPERM'],
    ['call setgroups([0])', 'EPERM'],
    ['make root its real uid', 'EPERM'],
    ['make root its effective uid', 'EPERM'],
    ['make root its saved uid', 'EPERM'],
    ['make root its effective gid', 'EPERM'],
    ['make root its saved gid', 'EPERM'],
    ['gain by a set-uid program', 'still itself'],
    ['gain by a set-gid program', 'still itself'],
    ['gain by a program with a capability', 'EPERM'],
    ['run su', 'the program fails'],
    ['run mount', 'the program fails'],
    ['run setpriv', 'the program fails'],
    ['give a file to root', 'EPERM'],
    ['make a device', 'EPERM'],
    ['mount a file system', 'EPERM'],
    ['change its root directory', 'EPERM'],
    ['name the host', 'EPERM'],
    ['end the machine', 'EPERM'],
    ['name the program for core dumps', 'EACCES'],
    ['be more urgent than others', 'EACCES'],
    ['be safe from the out-of-memory killer', 'EACCES'],
    ['open a controlling terminal', 'ENXIO'],
  ])('cannot %s: %s', (what, refused) => {
    expect(inside.attempts.root[what]).toBe(refused);
  });

  it('is its user and nobody else in every id and group, and has no capability in any set', () => {
    const { uid, gid } = idsOf('bob');
    const groups = execFileSync('/usr/bin/id', ['-G', 'bob'], { encoding: 'utf8' }).trim().split(' ').map(Number);
    expect(inside).toMatchObject({ uids: Array(4).fill(uid), gids: Array(4).fill(gid), noNewPrivs: true, umask: '0077' });
    expect([...inside.groups].sort()).toEqual(groups.sort());
    expect(new Set(Object.values(inside.capabilities))).toEqual(new Set([NO_CAPABILITY]));
    expect(inside.env).not.toHaveProperty('KPX_CANARY');
  });

  it('has tried nothing else, and could have gained by three programs, were it not for no_new_privs', () => {
    expect(Object.keys(inside.attempts.root)).toHaveLength(24);
    expect(
      Object.entries(outside.attempts.root)
        .filter(([, result]) => result === WORKED)
        .map(([what]) => what),
    ).toEqual(['gain by a set-uid program', 'gain by a set-gid program', 'gain by a program with a capability']);
  });
});

describe('an executor that is after the helper', () => {
  it.each([
    ['read its /proc/PID/environ', 'EACCES'],
    ['read its /proc/PID/maps', 'EACCES'],
    ['read its /proc/PID/auxv', 'EACCES'],
    ['read its /proc/PID/mem', 'EACCES'],
    ['read its /proc/PID/io', 'EACCES'],
    ['read its /proc/PID/syscall', 'EACCES'],
    ['read its /proc/PID/stack', 'EACCES'],
    ['read its /proc/PID/cwd', 'EACCES'],
    ['read its /proc/PID/root', 'EACCES'],
    ['read its /proc/PID/exe', 'EACCES'],
    ['read its /proc/PID/ns/mnt', 'EACCES'],
    ['read its /proc/PID/fd/0', 'EACCES'],
    ['read its /proc/PID/fd/1', 'EACCES'],
    ['list its /proc/PID/fd', 'EACCES'],
    ['list its /proc/PID/map_files', 'EACCES'],
    ['write its memory', 'EACCES'],
    ['write into its log', 'EACCES'],
    ['reach files by its root', 'EACCES'],
    ['attach to it', 'EPERM'],
    ['seize it', 'EPERM'],
    ['see whether a signal reaches it', 'EPERM'],
    ['end it', 'EPERM'],
    ['kill it', 'EPERM'],
    ['stop it', 'EPERM'],
    ['continue it', 'EPERM'],
    ['change its limits', 'EPERM'],
    ['change its processors', 'EPERM'],
    ['slow it down', 'EPERM'],
    ['have it killed first', 'EACCES'],
    ['list its configuration', 'EACCES'],
    ['read its configuration', 'EACCES'],
    ['write its configuration', 'EACCES'],
    ['remove its configuration', 'EACCES'],
    ['put a file beside its configuration', 'EACCES'],
    ['read the password', 'EACCES'],
    ['read /etc/shadow', 'EACCES'],
    ['write its program', 'EACCES'],
    ['remove its socket', 'EACCES'],
    ['open its socket', 'EACCES'],
    ['connect to it', 'EACCES'],
  ])('cannot %s: %s', (what, refused) => {
    expect(inside.attempts.helper[what]).toBe(refused);
  });

  it('has tried nothing else, and has changed nothing of it', () => {
    expect(Object.keys(inside.attempts.helper)).toHaveLength(40);
    expect(after).toEqual(before);
  });
});

/** What a helper may have been started with, by whoever starts it, and an executor must not have. */
const sh = (script: string) => ['/bin/sh', '-c', `${script}; exec "$@"`, 'sh'];

describe('an executor of a helper that was started', () => {
  it.each([
    ['with signals ignored', ['/usr/bin/env', '--ignore-signal=HUP,INT,TERM,USR1,CHLD', '--'], { SigIgn: NO_SIGNAL }],
    ['with signals blocked', ['/usr/bin/env', '--block-signal=HUP,INT,TERM,USR2', '--'], { SigBlk: NO_SIGNAL, SigPnd: NO_SIGNAL }],
    ['with an umask that is open to all', sh('umask 000'), { Umask: '0077' }],
    [
      'with capabilities that are kept over a change of uid',
      ['/usr/bin/setpriv', '--securebits=+no_setuid_fixup', '--inh-caps=+chown,+setuid', '--ambient-caps=+chown,+setuid', '--'],
      { CapInh: NO_CAPABILITY, CapPrm: NO_CAPABILITY, CapEff: NO_CAPABILITY, CapBnd: NO_CAPABILITY, CapAmb: NO_CAPABILITY },
    ],
    ['with no privilege to gain', ['/usr/bin/setpriv', '--no-new-privs', '--'], { NoNewPrivs: '1' }],
  ])('%s has nothing of it', async (_what, wrap, expected) => {
    const own = new HelperInstallation();
    onTestFinished(async () => {
      await own.endHelper('SIGKILL');
      own.removeDirectories();
    });
    await own.startHelper({ wrap });
    const { mainPid } = await (await HelperConnection.greeted(own.socket)).spawned('bob');
    expect(statusOf(mainPid)).toMatchObject({ ...expected, NoNewPrivs: '1', SigCgt: NO_SIGNAL, TracerPid: '0' });
    expect(readFileSync(`/proc/${mainPid}/limits`, 'utf8')).toBe(readFileSync(`/proc/${own.helper?.pid}/limits`, 'utf8'));
    const terminal = readFileSync(`/proc/${mainPid}/stat`, 'latin1').split(') ')[1]?.split(' ')[4];
    expect(terminal).toBe('0');
  });
});
