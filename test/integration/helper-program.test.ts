import { type ChildProcess, execFileSync, type StdioOptions, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { listenAt } from '@kpx/protocol';
import { describe, expect, it, onTestFinished } from 'vitest';
import { maskedStdio } from '../../packages/privhelper/src/system/descriptors.js';
import { BROKER_ACCOUNT } from '../fixtures/accounts.js';
import { eventually } from '../fixtures/eventually.js';
import { HelperConnection } from '../fixtures/helper-connection.js';
import { end, type HelperInstallation, helperFlags, idsOf, node } from '../fixtures/helper-installation.js';
import { argumentsOf, isGone } from '../fixtures/process.js';
import { snapshot } from '../fixtures/tree.js';
import { installHelper, rawAccounts, refusal, startHelper, waitingLookUp } from './installed-helper.js';

const EXIT = { usage: 64, notRoot: 77, config: 78 };
const AS_NOBODY = { wrap: ['/usr/bin/setpriv', '--reuid=65534', '--clear-groups', '--'] };

describe('the command line', () => {
  it('is explained by --help, to everybody', async () => {
    const { code, stdout, stderr } = await installHelper().runHelper(['--help'], AS_NOBODY);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const option of ['--config', '--listen', '--connection-fd', '--peer', '--broker', '--check', 'Exit codes']) {
      expect(stdout).toContain(option);
    }
  });

  it.each<[string[], string]>([
    [[], 'give exactly one of --connection-fd N, --listen PATH and --check'],
    [['--listen', '/run/x', '--check'], 'give exactly one of'],
    [['--listen', '/run/x', '--connection-fd', '3'], 'give exactly one of'],
    [['--config', '', '--check'], '--config FILE is missing'],
    [['--check', '--verbose'], "Unknown option '--verbose'"],
    [['--check', 'something'], "Unexpected argument 'something'"],
    [['--connection-fd', '0'], '--connection-fd: expected a number from 3'],
    [['--connection-fd', '3x'], '--connection-fd: expected a number from 3'],
    [['--listen', '/run/x', '--broker', 'no-such-broker'], '--broker: there is no account "no-such-broker" on this machine'],
    [['--connection-fd', '3', '--peer', '7-4711-0', '--broker', 'no-such-broker'], '--broker: there is no account "no-such-broker"'],
    [['--listen', '/run/x', '--peer', '1-2-3'], '--peer: only with --connection-fd'],
    [['--connection-fd', '9'], '--connection-fd: descriptor 9 is not a socket'],
    [['--connection-fd', '900'], '--connection-fd: descriptor 900 is not a socket'],
  ])('%j is a usage error', async (args, message) => {
    const { code, stderr } = await installHelper().runHelper(args);
    expect(code).toBe(EXIT.usage);
    expect(stderr).toContain(message);
    expect(stderr).toMatch(/\nTry --help\.\n$/);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  it('says in one sentence that it has to be root', async () => {
    expect(await installHelper().runHelper(['--check'], AS_NOBODY)).toEqual({
      code: EXIT.notRoot,
      stdout: '',
      stderr: 'kpx-privhelper must be started as root: it changes owners and starts processes of other accounts.\n',
    });
  });

  it('--check names what is in the skeleton and not for users to have: all without a home would be kept out', async () => {
    const installation = installHelper();
    const skeleton = `${installation.etc}/skel`;
    mkdirSync(`${skeleton}/closed`, { recursive: true });
    writeFileSync(`${skeleton}/for-root`, '', { mode: 0o640 });
    chmodSync(`${skeleton}/closed`, 0o700);
    writeFileSync(`${skeleton}/fine`, '', { mode: 0o644 });
    installation.writeHelperConfig({ directories: { skeleton } });
    const { code, stderr } = await installation.runHelper(['--check']);
    expect(code).toBe(78);
    expect(stderr).toContain('directories.skeleton: users cannot have a copy of ');
    for (const name of ['for-root', 'closed']) expect(stderr).toContain(`${skeleton}/${name}`);
    expect(stderr).not.toContain('fine');
    await installation.startHelper(); // those who have a home are served
  });

  it('--check says that all is well, and starts nothing', async () => {
    const installation = installHelper();
    const stdout = `${installation.configFile}: no errors; kpxctl doctor looks at the rest.\n`;
    expect(await installation.runHelper(['--check'])).toEqual({ code: 0, stdout, stderr: '' });
    expect(existsSync(installation.socket)).toBe(false);
  });
});

/** Moves a file out of the way, and puts something else there. */
function replace(file: string, make: (moved: string) => unknown): void {
  renameSync(file, `${file}.moved`);
  make(`${file}.moved`);
}

/** What makes a good installation one that cannot be used, and what is said of it. */
const PROBLEMS: Record<string, [spoil: (installation: HelperInstallation) => void, ...said: string[]]> = {
  'an unknown key': [
    (installation) => installation.writeHelperConfig({ accounts: { minuid: 500 } }),
    'accounts.minuid: unknown key; did you mean "min_uid"?',
  ],
  'a value of the wrong type, and one that cannot be': [
    (installation) => installation.writeHelperConfig({ accounts: { min_uid: '500' }, executor: { max_executors: 0 } }),
    'accounts.min_uid = "500": expected a whole number from 1 to 4294967294, without quotes; for example min_uid = 1000',
    'executor.max_executors = 0: expected a whole number from 1 to 5000; for example max_executors = 200',
  ],
  'nothing in it, and directories that are not made': [
    (installation) => writeFileSync(installation.configFile, ''),
    'directories.workspace_parent: /srv/kpx does not exist',
    'executor.msgq_file: /etc/kpx does not exist',
  ],
  'bad TOML': [(installation) => writeFileSync(installation.configFile, '[accounts]\nmin_uid = = 3\n'), 'line 2, column '],
  'a file that others may write': [
    (installation) => chmodSync(installation.configFile, 0o620),
    'privhelper.toml has mode 620, expected 600 or 644',
  ],
  'a file of somebody else': [
    ({ configFile }) => chownSync(configFile, idsOf('alice').uid, 0),
    'privhelper.toml belongs to uid 1',
    ', expected root',
  ],
  'a file in a directory that others may write': [({ etc }) => chmodSync(etc, 0o777), ' is writable by others than root'],
  'a file in a directory of somebody else': [({ etc }) => chownSync(etc, idsOf('alice').uid, 0), ' belongs to uid 1'],
  'no file': [({ configFile }) => rmSync(configFile), 'privhelper.toml does not exist'],
  'a directory for a file': [({ configFile }) => replace(configFile, () => mkdirSync(configFile)), 'privhelper.toml is not a regular file'],
  'a named pipe for a file': [
    ({ configFile }) => replace(configFile, () => execFileSync('/usr/bin/mkfifo', ['-m', '600', configFile])),
    'privhelper.toml is not a regular file',
  ],
  'a symbolic link for a file': [
    ({ configFile }) => replace(configFile, (real) => symlinkSync(real, configFile)),
    'privhelper.toml is a symbolic link',
  ],
  'a file of more than a mebibyte': [
    ({ configFile }) => writeFileSync(configFile, `#${'x'.repeat(1024 * 1024)}\n`),
    'privhelper.toml has 1048578 bytes, at most 1048576 are read',
  ],
  'a secret that others may read': [
    ({ msgqFile }) => chmodSync(msgqFile, 0o640),
    'executor.msgq_file: ',
    'executor-msgq has mode 640, expected 600',
  ],
  'a secret that is missing': [({ msgqFile }) => rmSync(msgqFile), 'executor.msgq_file: ', 'executor-msgq does not exist'],
  'missing parents, both named': [
    ({ workspaces, temps }) => [workspaces, temps].forEach((directory) => void rmSync(directory, { recursive: true })),
    'directories.workspace_parent: ',
    '/workspaces does not exist',
    'directories.temp_parent: ',
    '/temp does not exist',
  ],
  'a command that cannot be executed': [
    (installation) => installation.writeHelperConfig({ executor: { command: ['/etc/passwd'] } }),
    'executor.command: ',
    '/etc/passwd',
  ],
  'a variable that would change how root’s programs are loaded': [
    (installation) => installation.writeHelperConfig({ executor: { environment: { LD_PRELOAD: '/home/alice/evil.so' } } }),
    'executor.environment.LD_PRELOAD: ',
    'none that changes how programs are loaded',
  ],
};

describe('a configuration with', () => {
  it.each(Object.keys(PROBLEMS))('%s is refused, in --check and at the start', async (problem) => {
    const [spoil, ...said] = PROBLEMS[problem] ?? [() => {}];
    const installation = installHelper();
    spoil(installation);
    const { code, stdout, stderr } = await installation.runHelper(['--check']);
    expect({ code, stdout }).toEqual({ code: EXIT.config, stdout: '' });
    for (const text of said) expect(stderr).toContain(text);
    for (const line of stderr.trimEnd().split('\n')) expect(line.startsWith(`${installation.configFile}: `), line).toBe(true);
    expect(await installation.runHelper(['--listen', installation.socket])).toEqual({ code, stdout, stderr });
    expect(existsSync(installation.socket)).toBe(false);
  });
});

describe('a skeleton and a parent of homes', () => {
  it('that are not there are named by --check, and refuse only the accounts that need them', async () => {
    const installation = installHelper();
    installation.writeHelperConfig({ directories: { skeleton: '/etc/no-skel', home_parents: ['/home', '/no-home'] } });
    const { code, stderr } = await installation.runHelper(['--check']);
    expect(code).toBe(EXIT.config);
    expect(stderr).toContain('directories.home_parents: /no-home does not exist');
    expect(stderr).toContain('directories.skeleton: /etc/no-skel does not exist');
    const accounts = rawAccounts();
    accounts.account('elsewhere', { home: '/no-home/elsewhere' });
    accounts.account('homeless');
    const { home, uid, gid } = accounts.account('housed');
    mkdirSync(home);
    chownSync(home, uid, gid);
    onTestFinished(() => rmdirSync(home));
    await installation.startHelper();
    const connection = await HelperConnection.greeted(installation.socket);
    expect(await connection.prepare('housed')).toMatchObject({ kind: 'userPrepared' });
    expect(await connection.prepare('elsewhere')).toEqual(refusal('DIRECTORY_FAILED', '/no-home does not exist'));
    expect(await connection.prepare('homeless')).toEqual(refusal('DIRECTORY_FAILED', '/etc/no-skel does not exist'));
  });

  it('that hangs keeps no helper from serving the others, and --check says so', async () => {
    const installation = installHelper();
    const hanging = `${installation.srv}/net`;
    await hangingAt(hanging);
    installation.writeHelperConfig({ directories: { home_parents: ['/home', hanging] } });
    expect(await installation.runHelper(['--check'])).toEqual({
      code: null,
      stdout: '',
      stderr: `${installation.configFile}: directories.home_parents: no answer within 10 s\n`,
    });
    await installation.startHelper();
    const connection = await HelperConnection.greeted(installation.socket);
    expect(await connection.prepare('alice')).toMatchObject({ kind: 'userPrepared' });
  });
});

it('a parent that everybody needs and that hangs ends the helper, which says so', async () => {
  const installation = installHelper();
  const hanging = `${installation.srv}/net`;
  await hangingAt(hanging);
  installation.writeHelperConfig({ directories: { workspace_parent: hanging } });
  expect(await installation.runHelper(['--listen', installation.socket])).toEqual({
    code: null,
    stdout: '',
    stderr: `${installation.configFile}: directories.workspace_parent: no answer within 10 s\n`,
  });
});

describe('the socket', () => {
  /** The kernel checks the permission before it looks at the type, so that a stream socket will do: EPROTOTYPE is "you may". */
  const connectingAs = (account: string, socket: string) =>
    execFileSync(
      '/usr/bin/setpriv',
      [
        '--reuid',
        account,
        '--regid',
        account,
        '--init-groups',
        '--',
        node(),
        '--eval',
        `require('net').connect(process.argv[1]).on('error', ({ code }) => console.log(code))`,
        socket,
      ],
      { encoding: 'utf8' },
    ).trim();

  it('belongs to root and the broker’s group, and nobody else can connect', async () => {
    const { installation } = await startHelper();
    expect(statSync(installation.socket)).toMatchObject({ uid: 0, gid: idsOf(BROKER_ACCOUNT).gid });
    expect(statSync(installation.socket).mode & 0o7777).toBe(0o660);
    expect(connectingAs(BROKER_ACCOUNT, installation.socket)).toBe('EPROTOTYPE');
    expect(connectingAs('alice', installation.socket)).toBe('EACCES');
  });

  it('may be for another account', async () => {
    const installation = installHelper();
    await installation.startHelper({ args: ['--listen', installation.socket, '--broker', 'alice'] });
    expect(connectingAs('alice', installation.socket)).toBe('EPROTOTYPE');
    expect(connectingAs(BROKER_ACCOUNT, installation.socket)).toBe('EACCES');
  });

  it('that a killed helper left behind is replaced', async () => {
    const { installation } = await startHelper();
    await installation.endHelper('SIGKILL');
    const { ino } = statSync(installation.socket);
    await installation.startHelper();
    expect(statSync(installation.socket).ino).not.toBe(ino);
    await HelperConnection.greeted(installation.socket);
  });

  it('of a helper that lives is not taken away from it', async () => {
    const { installation, connection } = await startHelper();
    const { ino } = statSync(installation.socket);
    expect(await installation.runHelper(['--listen', installation.socket])).toEqual({
      code: EXIT.config,
      stdout: '',
      stderr: `another helper listens at ${installation.socket}\n`,
    });
    expect(statSync(installation.socket).ino).toBe(ino);
    expect(await connection.list()).toMatchObject({ kind: 'executorPage' });
  });

  it.each<[string, (path: string) => void]>([
    ['a file', (path) => writeFileSync(path, 'precious')],
    ['a directory', (path) => mkdirSync(path)],
    ['a symbolic link', (path) => symlinkSync('/run/elsewhere', path)],
  ])('is not put in the place of %s', async (_what, make) => {
    const installation = installHelper();
    make(installation.socket);
    const before = snapshot(installation.socket);
    const { code, stderr } = await installation.runHelper(['--listen', installation.socket]);
    expect({ code, stderr }).toEqual({ code: EXIT.config, stderr: `${installation.socket} exists and is not a socket\n` });
    expect(snapshot(installation.socket)).toEqual(before);
  });

  it('is not made where others than root may write, where nothing is, or under a name that is too long', async () => {
    const installation = installHelper();
    const directory = installation.socket.slice(0, installation.socket.lastIndexOf('/'));
    const said = async (path: string) => {
      const { code, stderr } = await installation.runHelper(['--listen', path]);
      expect(code).toBe(EXIT.config);
      return stderr;
    };
    expect(await said(`${directory}/missing/x.sock`)).toBe(`${directory}/missing does not exist\n`);
    expect(await said(`${directory}/${'x'.repeat(108)}`)).toMatch(/^cannot listen on .* \(path to bind is too long\)\n$/);
    chmodSync(directory, 0o1777);
    expect(await said(installation.socket)).toBe(`${directory} is writable by others than root\n`);
    expect(readdirSync(directory)).toEqual([]);
  });
});

describe('the process', () => {
  it('runs without a JIT compiler: none of its memory is both writable and executable', async () => {
    const { connection, installation } = await startHelper();
    await connection.spawned('alice');
    const pid = installation.helper?.pid ?? 0;
    expect(argumentsOf(pid)).toEqual(expect.arrayContaining(helperFlags()));
    const mappings = readFileSync(`/proc/${pid}/maps`, 'utf8').trimEnd().split('\n');
    expect(mappings.filter((line) => line.includes(' r-xp '))).not.toEqual([]);
    expect(mappings.filter((line) => / .w.?x/.test(line))).toEqual([]);
  });

  it('serves one connection that it was started with, and ends with it', async () => {
    const { connection, installation } = await startServing([]);
    expect(await connection.hello()).toMatchObject({ kind: 'hello' });
    const { mainPid } = await connection.spawned('alice');
    expect(await installation.helperLog.line({ event: 'connected' })).toMatchObject({ peer: { via: 'fd 3' } });
    const code = new Promise((resolve) => installation.helper?.once('close', resolve));
    connection.close();
    expect(await code).toBe(0);
    expect(isGone(mainPid)).toBe(true);
  });

  it.each<[why: string, bringAbout: (connection: HelperConnection, helper: ChildProcess | undefined) => void]>([
    ['its broker leaves', (connection) => connection.close()],
    ['its broker breaks the protocol', (connection) => connection.send(Buffer.from([0xff]))],
    ['it is told to', (_, helper) => helper?.kill('SIGTERM')],
  ])('ends when %s, but not before it has finished what is under way, and has said so', async (_why, bringAbout) => {
    const installation = installHelper();
    const lookUp = waitingLookUp(installation, 'alice');
    const { connection } = await startServing([], installation, lookUp.wrap);
    await connection.hello();
    const code = new Promise((resolve) => installation.helper?.once('close', resolve));
    connection.prepare('alice').catch(() => {}); // nobody waits for the answer
    const goOn = await lookUp.begun();
    bringAbout(connection, installation.helper);
    await eventually('the connection is no more', () => !existsSync(`/proc/${installation.helper?.pid}/fd/3`));
    await goOn();
    expect(await code).toBe(0);
    const { lines } = installation.helperLog;
    expect(lines.slice(-3).map(({ event }) => event)).toContain('disconnected');
    expect(lines).toContainEqual(expect.objectContaining({ event: 'request', verb: 'prepareUser', decision: 'done', os_user: 'alice' }));
    expect(existsSync(`${installation.workspaces}/alice`)).toBe(true);
  });

  it('ends when its broker has given up, though a file system hangs, and says what it has not finished', async () => {
    const accounts = rawAccounts();
    accounts.account('hanging');
    await hangingAt('/home/hanging');
    const { connection, installation } = await startServing([]);
    await connection.hello();
    const gone = new Promise((resolve) => installation.helper?.once('close', (...how) => resolve(how)));
    connection.prepare('hanging').catch(() => {}); // there is no answer
    expect(await connection.prepare('bob')).toMatchObject({ kind: 'userPrepared' });
    connection.close();
    expect(await gone).toEqual([null, 'SIGKILL']);
    expect(await installation.helperLog.line({ event: 'disconnected' })).toMatchObject({
      reason: 'the peer closed the connection; not finished in time: 1',
    });
  });
});

/** Mounts a file system of FUSE that never answers, for as long as the test runs. */
async function hangingAt(path: string): Promise<void> {
  mkdirSync(path);
  const options = 'fd=3,rootmode=40000,user_id=0,group_id=0,allow_other';
  const script = `/usr/bin/mount --internal-only -t fuse -o ${options} kpx-test ${path} && echo mounted && exec /usr/bin/sleep infinity`;
  const device = openSync('/dev/fuse', 'r+');
  const holder = spawn('/bin/sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit', device] });
  closeSync(device);
  onTestFinished(async () => {
    await end(holder, 'SIGKILL'); // with its descriptor goes the mount's other end: whoever waits gets an error
    execFileSync('/usr/bin/umount', ['--lazy', path]);
    rmdirSync(path);
  });
  for await (const text of holder.stdout ?? []) if (String(text).includes('mounted')) return;
  throw new Error(`nothing could be mounted at ${path}`);
}

/** `stdio` with a socket as descriptor 3: Node's pipes are. */
const WITH_SOCKET: StdioOptions = ['ignore', 'pipe', 'pipe', 'pipe'];

describe('the peer, as systemd names it', () => {
  const { uid } = idsOf(BROKER_ACCOUNT);

  it.each([`7-4711-${uid}`, `7-99-4711-${uid}`, `7-99-4711_12345-${uid}`])('in %s is in every audit line', async (instance) => {
    const { connection, installation } = await startServing(['--peer', instance]);
    expect(await connection.hello()).toMatchObject({ kind: 'hello' });
    for (const event of ['connected', 'request'])
      expect(await installation.helperLog.line({ event })).toMatchObject({ peer: { via: 'fd 3', pid: 4711, uid } });
  });

  it.each([
    ['root', 0],
    ['a user', idsOf('alice').uid],
    ['nobody known', 4_000_000],
  ])('is refused when it is %s', async (_who, stranger) => {
    const args = ['--connection-fd', '3', '--peer', `7-4711-${stranger}`];
    const { code, stdout } = await installHelper().runHelper(args, { stdio: WITH_SOCKET });
    expect(code).toBe(EXIT.notRoot);
    expect(JSON.parse(stdout)).toMatchObject({
      event: 'refused connection',
      peer: { pid: 4711, uid: stranger },
      reason: `expected uid ${uid}, "${BROKER_ACCOUNT}"`,
    });
  });

  it.each(['', '7', '7-unknown', '7-4711', '-1-2-3', '7-4711-0x3e8', '7-4711-1000 ', '7-99-unknown-1000', '1-2-3-4-5', '7-4711_1_2-0'])(
    'is not believed in %j',
    async (instance) => {
      const args = ['--connection-fd', '3', `--peer=${instance}`];
      const { code, stdout, stderr } = await installHelper().runHelper(args, { stdio: WITH_SOCKET });
      expect({ code, stdout }).toEqual({ code: EXIT.usage, stdout: '' });
      expect(stderr).toContain(`--peer: "${instance}" does not say who the peer is`);
    },
  );
});

/** A helper with a connection that it was started with, as under systemd's `Accept=yes`. Nothing has been said on it yet. */
async function startServing(
  args: string[],
  installation = installHelper(),
  wrap: string[] = [],
): Promise<{ connection: HelperConnection; installation: HelperInstallation }> {
  const path = installation.socket;
  let accept: (connection: () => { close(why: string): void }) => void = () => {};
  const accepted = new Promise<Parameters<typeof accept>[0]>((resolve) => {
    accept = resolve;
  });
  const server = listenAt(path, (connection) => {
    setImmediate(() => accept(connection));
    return { packet: () => {}, closed: () => {} };
  });
  const connection = await HelperConnection.open(path);
  const far = await accepted;
  await installation.startHelper({
    wrap,
    args: ['--connection-fd', '3', ...args],
    stdio: maskedStdio(['ignore', 'pipe', 'pipe', acceptedDescriptor(path)]),
  });
  far().close('handed over');
  server.close();
  return { connection, installation };
}

/** This process's descriptor of the connection accepted at `path`: it has its listener's path, which the connecting side has not. */
function acceptedDescriptor(path: string): number {
  const LISTENING = '00010000';
  const sockets = readFileSync('/proc/net/unix', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/));
  const inode = sockets.find((fields) => fields[7] === path && fields[3] !== LISTENING)?.[6];
  const descriptor = readdirSync('/proc/self/fd').find((name) => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`) === `socket:[${inode}]`;
    } catch {
      return false; // that of the listing itself
    }
  });
  if (descriptor === undefined) throw new Error(`no connection was accepted at ${path}`);
  return Number(descriptor);
}
