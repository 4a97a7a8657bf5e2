import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { filesOf, sharedMemoryFileOf } from '../fixtures/booted/belongings.mjs';
import { FORGED, OPEN_DIRECTORY, type Report } from '../fixtures/booted/intruder.mjs';
import { type BootedKpx, SLICE, TEMPS, unitOf, WORKSPACES } from '../fixtures/booted/kpx.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { type Probe, TEMPTATIONS } from '../fixtures/probe.mjs';
import { withKpx } from './kpx-of-file.js';
import { bootedLdap, bootedMachine } from './shared-machine.js';

/*
 * Two users at once: pia, whose executor works, and quin, whose executor tries everything it can: to get at pia's (booted/intruder.mjs in
 * test/fixtures), and to get at root and the helper (probe.mjs). The tests look at what became of it.
 */

const machine = bootedMachine();
const ldap = bootedLdap();
const FIXTURES = `${machine.facts.checkout}/test/fixtures/booted`;
const REPORT_TIMEOUT_MS = 60_000;
const WORKED = 'it worked';
/** Programs that would make somebody root. */
const BAIT = '/opt/kpx-test-bait';

const OPEN_DIRECTORIES = ['/usr', '/etc', '/boot'].map((parent) => `${parent}/${OPEN_DIRECTORY}`);

/** [executor.environment] values that mean something to a shell, to systemd, or to nobody but are easily lost. */
const NASTY_VALUES: readonly (readonly [what: string, value: string])[] = [
  ['nothing', ''],
  ['blanks around it', '  two before, two after  '],
  ['backslashes and letters', '\\t\\n\\x41\\101\\e'],
  ['double quotes', '"quoted" and "'],
  ['single quotes', "'quoted' and '"],
  ['both quotes, one after the other', `"'"'"`],
  ['backslashes', 'C:\\Program Files\\\\server\\'],
  ['backslashes before each special character', '\\" \\$ \\` \\\\ \\'],
  ['dollars', `$HOME \${HOME} $$ $(id) $`],
  ['backticks', '`id` and `'],
  ['what begins a comment', '# no comment ; neither'],
  ['specifiers of units', '%i %u %h %% % %n'],
  ['equals signs', '=a=b== -Dx=y'],
  ['shell operators', '; touch /tmp/x & | > < * ? [a] {b,c} ~ ! ^'],
  ['text beyond ASCII', 'größer → 日本語 🦆 e\u0301'],
  ['a byte order mark and blanks that are no blanks', '\ufeff\u00a0\u2028\u200b'],
  ['as many characters as there may be', 'x\\"$`'.repeat(819)],
];
const nastyName = (index: number) => `KPX_NASTY_${index}`;

/** PIDs of pia's and quin's executors. */
const pids = { pia: 0, quin: 0 };
/** Of quin's manager, which is in no executor. */
let managerPid = 0;
/** What came of being after root and the helper, as quin, in an executor and outside of one. */
const probed = {} as Record<'inside' | 'outside', Probe>;
let kpx: BootedKpx;
let inside: Report;
let outside: Report['system'];

const mainPidOf = async (osUser: string) => Number((await machine.show(unitOf(osUser), 'MainPID')).MainPID);

async function helperPid(): Promise<number> {
  const units = await machine.systemctl('list-units', '--plain', '--no-legend', 'kpx-privhelper@*.service');
  return Number((await machine.show(units.split(' ')[0] ?? '', 'MainPID')).MainPID);
}

const managerOf = async (user: string) => `user@${(await machine.run(['/usr/bin/id', '--user', user])).stdout.trim()}.service`;

async function environmentOf(pid: number): Promise<Record<string, string>> {
  const variables = (await machine.readFile(`/proc/${pid}/environ`)).split('\0').filter(Boolean);
  return Object.fromEntries(variables.map((text) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]));
}

/** Lines such as those of /proc/PID/status. */
function fieldsOf(text: string): Record<string, string> {
  const lines = text.trimEnd().split('\n');
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]));
}

async function descriptorsOf(pid: number): Promise<string[]> {
  const { stdout } = await machine.run(['/usr/bin/find', `/proc/${pid}/fd`, '-type', 'l', '-printf', '%l\n']);
  return stdout.trimEnd().split('\n');
}

/** What everybody on the machine could use, were it not for the unit. */
async function layOutTemptations(): Promise<void> {
  for (const directory of OPEN_DIRECTORIES) await machine.run(['/usr/bin/install', '--directory', '--mode=1777', directory]);
  const install = (mode: string, program: string, name: string) =>
    machine.run(['/usr/bin/install', '-D', `--mode=${mode}`, program, `${BAIT}/${name}`]);
  await install('4755', '/usr/bin/id', TEMPTATIONS.setUid);
  await install('2755', '/usr/bin/id', TEMPTATIONS.setGid);
  await install('0755', '/usr/bin/cat', TEMPTATIONS.capable);
  await machine.run(['/usr/sbin/setcap', 'cap_dac_override=ep', `${BAIT}/${TEMPTATIONS.capable}`]);
}

const dropIn = (osUser: string) => `/etc/systemd/system/${unitOf(osUser)}.d`;

async function removeTemptations(): Promise<void> {
  for (const path of [...OPEN_DIRECTORIES, BAIT, dropIn('pia'), dropIn('quin')]) await machine.remove(path);
  await machine.systemctl('daemon-reload');
}

async function tune(osUser: string, ...lines: string[]): Promise<void> {
  await machine.writeFile(`${dropIn(osUser)}/10-test.conf`, ['[Service]', ...lines, ''].join('\n'));
  await machine.systemctl('daemon-reload');
}

async function report<Result>(path: string): Promise<Result> {
  await eventually(`there is ${path}`, () => machine.exists(path), REPORT_TIMEOUT_MS);
  return JSON.parse(await machine.readFile(path));
}

async function doneByPia(running: BootedKpx): Promise<void> {
  const job = randomUUID();
  await running.publish(jobOf('pia', job));
  await running.jobDone('pia', job);
}

const NASTY_ENVIRONMENT = Object.fromEntries(NASTY_VALUES.map(([, value], index) => [nastyName(index), value]));

beforeAll(async () => {
  await layOutTemptations();
  const end = await withKpx({ helper: { executor: { environment: NASTY_ENVIRONMENT } } }, async (running) => {
    kpx = running;
    await kpx.start();
    // As at a login, or with loginctl enable-linger; there is no logind in this machine, which would say where the user's runtime directory is.
    const runtime = '[Service]\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i\n';
    await machine.writeFile('/etc/systemd/system/user@.service.d/runtime-directory.conf', runtime);
    await machine.systemctl('daemon-reload');
    await machine.systemctl('start', await managerOf('quin'));
    managerPid = Number((await machine.show(await managerOf('quin'), 'MainPID')).MainPID);
    await tune('pia', `ExecStartPre=/usr/bin/node ${FIXTURES}/belongings.mjs`);
    await doneByPia(kpx);
    pids.pia = await mainPidOf('pia');
    for (const name of ['inside', 'outside', 'probe']) await machine.remove(`${WORKSPACES}/quin/${name}.json`); // of a run before
    const probe = ['/usr/bin/node', `${FIXTURES}/../probe.mjs`];
    const about = ['/etc/kpx', '/run/kpx/privhelper.sock', '/usr/lib/kpx/kpx-privhelper.cjs', BAIT, `${await helperPid()}`];
    const intruder = ['/usr/bin/node', `${FIXTURES}/intruder.mjs`];
    await tune(
      'quin',
      `ExecStartPre=${probe.join(' ')} \${KPX_WORKSPACE} ${about.join(' ')}`,
      'ExecStart=',
      `ExecStart=${intruder.join(' ')} \${KPX_WORKSPACE}/inside.json pia ${pids.pia} stay`,
    );
    await kpx.publish(jobOf('quin'));
    inside = await report(`${WORKSPACES}/quin/inside.json`);
    probed.inside = await report(`${WORKSPACES}/quin/probe.json`);
    pids.quin = await mainPidOf('quin');
    const file = `${WORKSPACES}/quin/outside.json`;
    await machine.run([...intruder, file, 'pia', `${pids.pia}`], { user: 'quin', timeoutMs: REPORT_TIMEOUT_MS });
    outside = (await report<Pick<Report, 'system'>>(file)).system;
    await machine.run([...probe, `${WORKSPACES}/quin`, ...about], { user: 'quin', timeoutMs: REPORT_TIMEOUT_MS });
    probed.outside = await report(`${WORKSPACES}/quin/probe.json`);
  });
  return async () => {
    await end();
    await machine.systemctl('stop', await managerOf('quin'));
    await removeTemptations();
  };
});

/** What systemctl and its like say when there is no way to PID 1. */
const NO_BUS = expect.stringMatching(/bus|Permission denied/);

describe('an executor that is after what is not its own', () => {
  it.each([
    ['a file in its workspace', 'EACCES'],
    ['a file in its temp', 'EACCES'],
    ['a file in its home', 'EACCES'],
    ['a file in its /tmp', 'ENOENT'],
    ['a file in its /var/tmp', 'ENOENT'],
    ['the names in its workspace', 'EACCES'],
    ['the names in its temp', 'EACCES'],
    ['the names in its home', 'EACCES'],
    ['a new file in its workspace', 'EACCES'],
    ['a new file in its temp', 'EACCES'],
    ['its POSIX shared memory', 'ENOENT'],
    ['its System V shared memory', 'not there'],
    ['its process in the list of processes', 'not there'],
    ['/proc/PID/environ', 'ENOENT'],
    ['/proc/PID/cmdline', 'ENOENT'],
    ['/proc/PID/status', 'ENOENT'],
    ['/proc/PID/maps', 'ENOENT'],
    ['/proc/PID/cgroup', 'ENOENT'],
    ['/proc/PID/mountinfo', 'ENOENT'],
    ['/proc/PID/root', 'ENOENT'],
    ['/proc/PID/cwd', 'ENOENT'],
    ['/proc/PID/exe', 'ENOENT'],
    ['/proc/PID/ns/mnt', 'ENOENT'],
    ['/proc/PID/fd', 'ENOENT'],
    ['/proc/PID/task', 'ENOENT'],
    ['/proc/PID/map_files', 'ENOENT'],
    ['/proc/PID/mem', 'ENOENT'],
    ['the workspace by way of /proc/PID/root', 'ENOENT'],
    ['a signal', 'EPERM'],
    ['its log, by unit', 'nothing'],
    ['its log, by field', 'nothing'],
    ['its log, in all that can be read', 'nothing'],
    ['the file of its log', 'EACCES'],
  ])('does not get %s, where it is another user’s, only its own', (what, refused) => {
    expect({ theirs: inside.theirs[what], own: inside.own[what] }).toEqual({ theirs: refused, own: WORKED });
  });

  it('finds nothing of another user in any file, only its own', () => {
    // All that it has tried is in the table above.
    expect(Object.keys(inside.theirs)).toHaveLength(33);
    expect(inside.found.theirs).toEqual([]);
    const files = [...Object.values(filesOf('quin')), sharedMemoryFileOf('quin')];
    // Its own are found wherever it has left them, its part of the journal included: the search was one.
    expect(inside.found.own.filter((file) => !file.startsWith('/var/log/journal/'))).toEqual(files.sort());
    expect(inside.found.own).toHaveLength(files.length + 1);
  });

  it('sees no process but its own, and what its user has outside: a manager', () => {
    expect(inside.processes).toEqual([managerPid, inside.pid]);
  });

  it.each([
    ['list /run/kpx', 'EACCES'],
    ['list /etc/kpx', 'EACCES'],
    ['see a process of root', 'ENOENT'],
    ['ask for its unit', NO_BUS],
    ['have its own manager run a program', NO_BUS],
    ['find a socket of a manager', 'none'],
    ['write into /usr', 'EROFS'],
    ['write into /etc', 'EROFS'],
    ['write into /boot', 'EROFS'],
    ['have a user namespace', expect.stringContaining('Operation not permitted')],
    ['mount in namespaces of its own', expect.stringContaining('Operation not permitted')],
    ['use ptrace(2)', 'Operation not permitted'],
    ['make a set-uid program', 'EPERM'],
  ])('cannot %s, as other processes of the same user can', (what, refused) => {
    expect({ inside: inside.system[what], outside: outside[what] }).toEqual({ inside: refused, outside: WORKED });
  });

  it.each([
    ["connect to the helper's socket", 'EACCES'],
    ["read the other's environment file", 'EACCES'],
    ['read its own environment file', 'EACCES'],
    ['write its own environment file', 'EACCES'],
    ["read the executors' password", 'EACCES'],
    ["read the broker's password", 'EACCES'],
    ["read the helper's configuration", 'EACCES'],
    ["read the broker's configuration", 'EACCES'],
    ['connect to the socket of PID 1', 'ENOENT'],
    ['add a drop-in to its unit in /etc', 'EROFS'],
    ['add a unit in /run', 'ENOENT'],
    ['change its own control group', 'EROFS'],
    ["stop the other's unit", NO_BUS],
    ["kill the other's unit", NO_BUS],
    ["start somebody's unit", NO_BUS],
    ["restart the broker's unit", NO_BUS],
    ['stop its own unit', NO_BUS],
    ["change its unit's limits", NO_BUS],
    ['have its unit read anew', NO_BUS],
    ['set variables for all units', NO_BUS],
    ['run a unit as root', NO_BUS],
    ["run a unit as the other's", NO_BUS],
    ['watch the bus', NO_BUS],
  ])('cannot %s', (what, refused) => {
    expect(inside.system[what]).toEqual(refused);
  });

  it('is refused what is there, and works for others', async () => {
    // What the refusals are to be compared with: it connects, and root does what it cannot.
    expect(inside.system).toMatchObject({ 'connect to a socket of its own': WORKED });
    const secrets = ['/run/kpx/executors/pia.env', '/run/kpx/executors/quin.env', '/etc/kpx/executor-msgq', '/etc/kpx/amqp-password'];
    for (const file of [...secrets, '/etc/kpx/privhelper.toml', '/etc/kpx/broker.toml']) expect(await machine.readFile(file)).not.toBe('');
    for (const socket of ['/run/kpx/privhelper.sock', '/run/systemd/private']) await machine.run(['/usr/bin/test', '-S', socket]);
  });

  it('cannot write in another’s log: what it says as somebody else has its own uid', async () => {
    expect(inside.forged).toBe(WORKED);
    await machine.run(['/usr/bin/journalctl', '--sync']);
    const forged = (await machine.journal(`MESSAGE=${FORGED}`)).filter(({ _PID: pid }) => pid !== undefined);
    expect(forged).not.toEqual([]);
    for (const entry of forged) expect(entry).toMatchObject({ _UID: `${inside.uid}` });
    for (const real of [[`--unit=${unitOf('pia')}`], ['--identifier=kpx-privhelper', '_UID=0']]) {
      const messages = (await machine.journal(...real)).map(({ MESSAGE }) => MESSAGE);
      expect(messages.length).toBeGreaterThan(0);
      expect(messages).not.toContain(FORGED);
    }
  });

  it('does the other no harm: it works on, and nothing of it has changed', async () => {
    expect(await machine.show(unitOf('pia'), 'MainPID', 'ActiveState', 'NRestarts')).toEqual({
      MainPID: `${pids.pia}`,
      ActiveState: 'active',
      NRestarts: '0',
    });
    await doneByPia(kpx);
    for (const directory of [`${WORKSPACES}/pia`, `${TEMPS}/pia`]) expect(await machine.exists(`${directory}/by-intruder`)).toBe(false);
    expect(await machine.show(unitOf('quin'), 'MainPID', 'MemoryMax')).toEqual({ MainPID: `${pids.quin}`, MemoryMax: 'infinity' });
    expect(await machine.systemctl('show-environment')).not.toContain('KPX_INTRUDER');
  });
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
    ['name the program for core dumps', 'EROFS'],
    ['be more urgent than others', 'EACCES'],
    ['be safe from the out-of-memory killer', 'EACCES'],
    ['open a controlling terminal', 'ENXIO'],
  ])('cannot %s: %s', (what, refused) => {
    expect(probed.inside.attempts.root[what]).toBe(refused);
  });

  it('has tried nothing else, and could have gained by three programs, were it not for its unit', () => {
    expect(Object.keys(probed.inside.attempts.root)).toHaveLength(24);
    const gained = Object.entries(probed.outside.attempts.root).filter(([, result]) => result === WORKED);
    expect(gained.map(([what]) => what)).toEqual([
      'gain by a set-uid program',
      'gain by a set-gid program',
      'gain by a program with a capability',
    ]);
  });
});

describe('an executor that is after the helper', () => {
  it.each([
    ...['environ', 'maps', 'auxv', 'mem', 'io', 'syscall', 'stack', 'cwd', 'root', 'exe', 'ns/mnt', 'fd/0', 'fd/1'].map((name) => [
      `read its /proc/PID/${name}`,
      'ENOENT',
    ]),
    ['list its /proc/PID/fd', 'ENOENT'],
    ['list its /proc/PID/map_files', 'ENOENT'],
    ['write its memory', 'ENOENT'],
    ['write into its log', 'ENOENT'],
    ['reach files by its root', 'ENOENT'],
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
    ['have it killed first', 'ENOENT'],
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
  ])('cannot %s: %s', (what = '', refused) => {
    expect(probed.inside.attempts.helper[what]).toBe(refused);
  });

  it('has tried nothing else, of which outside of its unit no more would work than to see what the configuration’s files are called', () => {
    expect(Object.keys(probed.inside.attempts.helper)).toHaveLength(40);
    const worked = Object.entries(probed.outside.attempts.helper).filter(([, result]) => result === WORKED);
    expect(worked).toEqual([['list its configuration', WORKED]]);
  });
});

describe('an executor', () => {
  const ZERO = '0000000000000000';

  it('has no privilege, cannot gain one, and is under a system call filter', async () => {
    expect(fieldsOf(await machine.readFile(`/proc/${pids.pia}/status`))).toMatchObject({
      ...{ CapInh: ZERO, CapPrm: ZERO, CapEff: ZERO, CapBnd: ZERO, CapAmb: ZERO },
      NoNewPrivs: '1',
      Seccomp: '2',
      Umask: '0077',
    });
  });

  it("has its user's uid and gid, and groups, and no others", async () => {
    const { stdout } = await machine.run(['/usr/bin/id', '--groups', 'pia']);
    const groups = stdout.trim().split(' ').map(Number);
    expect(await ldap.groupsOf('pia')).toEqual(['pia']);
    const status = fieldsOf(await machine.readFile(`/proc/${pids.pia}/status`));
    expect(status.Uid?.split('\t').map(Number)).toEqual(Array(4).fill(groups[0]));
    expect(status.Gid?.split('\t').map(Number)).toEqual(Array(4).fill(groups[0]));
    expect(status.Groups?.split(' ').map(Number)).toEqual(groups);
  });

  it('leads a session of its own, has no signal blocked, no core dump, and goes before others when memory is out', async () => {
    const file = (name: string) => machine.readFile(`/proc/${pids.pia}/${name}`);
    const [, , group, session, terminal] = (await file('stat')).split(') ')[1]?.split(' ') ?? [];
    expect([group, session, terminal]).toEqual([`${pids.pia}`, `${pids.pia}`, '0']);
    expect(fieldsOf(await file('status'))).toMatchObject({ SigBlk: ZERO, TracerPid: '0' });
    expect(await file('limits')).toMatch(/^Max core file size +1 +1 /m);
    expect((await file('oom_score_adj')).trim()).toBe('300');
  });

  it('is in a control group of its own in that of all executors', async () => {
    const lines = (await machine.readFile(`/proc/${pids.pia}/cgroup`)).trimEnd().split('\n');
    expect(lines).toContain(`0::/kpx.slice/${SLICE}/${unitOf('pia')}`);
  });

  it.each(['mnt', 'ipc'])('has a namespace that it shares with no other: %s', async (namespace) => {
    const { stdout } = await machine.run(['/usr/bin/readlink', ...[pids.pia, pids.quin, 1].map((pid) => `/proc/${pid}/ns/${namespace}`)]);
    expect(new Set(stdout.trimEnd().split('\n')).size).toBe(3);
  });

  it('has exactly the variables of kpx, of systemd, and of [executor.environment]', async () => {
    const ofKpx = ['PATH', 'LANG', 'HOME', 'USER', 'LOGNAME', 'SHELL', 'TMPDIR', 'KPX_USER', 'KPX_WORKSPACE', 'KNIME_EXECUTOR_TEMP_DIR'];
    const ofKnime = ['KNIME_EXECUTOR_RESERVATION', 'KNIME_EXECUTOR_MSGQ', 'KPX_AMQP_URL'];
    const ofSystemd = ['INVOCATION_ID', 'JOURNAL_STREAM', 'SYSTEMD_EXEC_PID'];
    const names = Object.keys(await environmentOf(pids.pia));
    expect(names.sort()).toEqual([...ofKpx, ...ofKnime, ...ofSystemd, ...Object.keys(NASTY_ENVIRONMENT)].sort());
  });

  it('has nothing open of the helper or the broker', async () => {
    const units = (await machine.systemctl('list-units', '--plain', '--no-legend', 'kpx-privhelper@*', 'kpx-broker.service')).trim();
    const services = units.split('\n').map((line) => line.split(' ')[0] ?? '');
    expect(services.map((name) => name.split(/[@.]/)[0]).sort()).toEqual(['kpx-broker', 'kpx-privhelper']);
    const theirs = await Promise.all(
      services.map(async (name) => await descriptorsOf(Number((await machine.show(name, 'MainPID')).MainPID))),
    );
    // Sockets and pipes have numbers; what has none is the kernel's (epoll, eventfd) or /dev/null, which everybody has.
    const numbered = (targets: string[]) => targets.filter((target) => /^(socket|pipe):\[\d+\]$/.test(target));
    for (const targets of theirs) expect(numbered(targets).length).toBeGreaterThan(2);
    for (const pid of [pids.pia, pids.quin]) {
      const own = await descriptorsOf(pid);
      expect(numbered(own).length).toBeGreaterThan(2);
      expect(numbered(own).filter((target) => theirs.flat().includes(target))).toEqual([]);
      const others = own.filter((target) => !numbered([target]).includes(target));
      expect(new Set(others.map((target) => target.replace(/^anon_inode:.*/, 'anon_inode')))).toEqual(new Set(['/dev/null', 'anon_inode']));
    }
  });

  it.each(NASTY_VALUES.map(([what], index) => [what, index] as const))('is given %s in a variable byte for byte', async (_, index) => {
    expect((await environmentOf(pids.pia))[nastyName(index)]).toBe(NASTY_VALUES[index]?.[1]);
  });

  it('takes /tmp and /var/tmp with it when it ends; what is on disk stays', async () => {
    const kept = ['workspace', 'temp', 'home'].map((where) => Object.entries(filesOf('pia')).find(([key]) => key === where)?.[1] ?? '');
    const find = ['/usr/bin/find', '/tmp', '/var/tmp', '-name', 'of-pia', '-printf', '%p\n'];
    expect((await machine.run(find)).stdout.trimEnd().split('\n')).toHaveLength(2);
    await machine.systemctl('stop', unitOf('pia'));
    await expect.poll(async () => (await machine.run(find)).stdout).toBe(''); // a thread of PID 1 removes them
    for (const file of kept) expect(await machine.exists(file)).toBe(true);
  });
});
