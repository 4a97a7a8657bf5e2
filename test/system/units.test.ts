import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { BROKER, SOCKET, TEMPS, unitOf, WORKSPACES } from '../fixtures/booted/kpx.js';
import { jobOf } from '../fixtures/jobs.js';
import { recordCoverage, stopRecording } from './coverage.js';
import { installPackage, startKpx } from './installed-kpx.js';
import { bootedMachine, ON_EACH_DEBIAN } from './shared-machine.js';

const machine = bootedMachine();

beforeAll(() => stopRecording(machine));
afterAll(async () => void (await recordCoverage(machine)));

const KIB_PER_MB = 1_000_000 / 1_024;
/** What the helper may take more than `node --jitless` of the same build that does nothing. */
const RESIDENT_MB_MORE_MAX = 17;
const PRIVATE_DIRTY_MB_MORE_MAX = 9;
/** How many helpers are looked at, one after the other: what one has not collected yet is not what it needs. */
const LOOKS = 3;

/** `smaps_rollup` of a process, in MB. */
function memoryIn(rollup: string) {
  const mb = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1]) / KIB_PER_MB;
  return { resident: mb('Rss'), privateDirty: mb('Private_Dirty') };
}

/** Of a Node that does nothing, once it has come to rest. */
async function memoryOfBareNode() {
  const tell = "setTimeout(() => console.log(require('node:fs').readFileSync('/proc/self/smaps_rollup', 'utf8')), 500)";
  return memoryIn((await machine.run(['/usr/bin/node', '--jitless', '--eval', tell])).stdout);
}

interface Process {
  readonly pid: number;
  readonly uid: number;
  readonly argv: string;
}

/** Every process of the machine. */
async function processes(): Promise<Process[]> {
  const { stdout } = await machine.run(['/usr/bin/ps', '-e', '--no-headers', '-ww', '-o', 'pid=,uid=,args=']);
  return stdout.split('\n').flatMap((line) => {
    const [, pid, uid, argv = ''] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [];
    return pid === undefined ? [] : [{ pid: Number(pid), uid: Number(uid), argv }];
  });
}

/** Root's processes that run kpx's code. */
const rootsOwn = async () => (await processes()).filter(({ uid, argv }) => uid === 0 && argv.includes('/usr/lib/kpx/'));

/** Where a file might be made, all through the machine. */
const TOP_LEVEL = ['/', '/boot', '/etc', '/home', '/media', '/mnt', '/opt', '/root', '/run', '/srv', '/tmp', '/usr', '/var'];
const BELOW = [
  ...[
    '/dev/shm',
    '/etc/kpx',
    '/etc/systemd/system',
    '/run/kpx',
    '/run/kpx/audit',
    '/run/kpx/executors',
    '/run/kpx/node',
    '/run/lock',
    '/run/systemd',
    '/run/user',
    '/srv/kpx',
  ],
  ...['/usr/bin', '/usr/lib', '/usr/lib/kpx', '/usr/local', '/var/lib', '/var/log', '/var/log/kpx', '/var/tmp'],
];

/** Of tickets and of the accounts' RabbitMQ: files, and directories of such. */
const SECRETS_OF_OTHERS = [
  '/etc/krb5.keytab',
  '/etc/kpx/keytabs/',
  '/etc/kpx/sealed-password',
  '/etc/kpx/rabbitmq/',
  '/var/lib/kpx-rabbitmq/',
];

/** Sends nothing, waits for the end: what a connection to the helper's socket comes to. */
const CONNECT = `
  const { SeqpacketSocket } = require('node-unix-socket');
  const socket = new SeqpacketSocket();
  socket.on('end', () => { console.log('closed by the other side'); process.exit(0); });
  socket.on('error', (error) => { console.log(error.message); process.exit(0); });
  try {
    socket.connect('/run/kpx/privhelper.sock', () => {});
  } catch (error) {
    console.log('refused: ' + error.message);
  }
`;

describe('systemd-analyze security', ON_EACH_DEBIAN, () => {
  it.each([
    ['kpx-privhelper@.service', 1.8],
    ['kpx-broker.service', 1.2],
    ['kpx-executor@.service', 2],
    ['kpx-home@.service', 1.3],
    ['kpx-account@.service', 1.3],
    ['kpx-ticket@.service', 1.8],
    // Set-uid programs have to work in it, and its mounts have to be seen by others.
    ['kpx-drive@.service', 7.2],
  ])('gives %s an exposure of at most %d', async (unit, max) => {
    await installPackage();
    const { stdout } = await machine.run(['/usr/bin/systemd-analyze', 'security', '--no-pager', '--offline=yes', unit]);
    const exposure = Number(/Overall exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1]);
    console.log(`${unit}: exposure ${exposure}, at most ${max}`);
    expect(exposure).toBeLessThanOrEqual(max);
  });

  it('finds nothing in the units that it does not know', async () => {
    await installPackage();
    const units = [
      BROKER,
      SOCKET,
      'kpx-privhelper@1-2-3.service',
      unitOf('ada'),
      'kpx-home@ada.service',
      'kpx-account@ada.service',
      'kpx-ticket@ada.service',
      'kpx-drive@ada.service',
      'kpx-executors.slice',
    ];
    const { stdout, stderr } = await machine.run(['/usr/bin/systemd-analyze', 'verify', '--man=no', ...units]);
    expect(stdout + stderr).toBe('');
  });
});

describe('the root helper', ON_EACH_DEBIAN, () => {
  it('is no process at all while no broker is connected, and one small one while one is', async () => {
    const kpx = await startKpx();
    const looks: ReturnType<typeof memoryIn>[] = [];
    for (let look = 0; look < LOOKS; look += 1) {
      if (look > 0) {
        await kpx.mark();
        await machine.systemctl('restart', BROKER);
        await kpx.inUse();
      }
      await kpx.publish(jobOf('ned', `n${look}`), jobOf('olga', `o${look}`));
      await Promise.all([kpx.jobDone('ned', `n${look}`), kpx.jobDone('olga', `o${look}`)]);
      const [helper, ...others] = await rootsOwn();
      expect(others).toEqual([]);
      looks.push(memoryIn(await machine.readFile(`/proc/${helper?.pid}/smaps_rollup`)));
    }
    const least = (kind: 'resident' | 'privateDirty') => Math.min(...looks.map((look) => look[kind]));
    const own = { resident: least('resident'), privateDirty: least('privateDirty') };
    const bare = await memoryOfBareNode();
    const text = ({ resident, privateDirty }: typeof bare) =>
      `${resident.toFixed(1)} MB resident, ${privateDirty.toFixed(1)} MB private dirty`;
    console.log(`kpx-privhelper: ${text(own)}; bare node --jitless: ${text(bare)}`);
    expect(own.resident).toBeLessThanOrEqual(bare.resident + RESIDENT_MB_MORE_MAX);
    expect(own.privateDirty).toBeLessThanOrEqual(bare.privateDirty + PRIVATE_DIRTY_MB_MORE_MAX);

    await kpx.mark();
    await machine.systemctl('stop', BROKER);
    await kpx.helperSays({ event: 'disconnected' });
    await expect.poll(rootsOwn).toEqual([]);
    expect(await machine.show(SOCKET, 'ActiveState')).toEqual({ ActiveState: 'active' });
    for (const user of ['ned', 'olga']) expect(await machine.show(unitOf(user), 'ActiveState')).toEqual({ ActiveState: 'active' });
  });

  it('is told by PID 1 who asks: the broker’s account, and nobody else, root included', async () => {
    const cursor = await machine.journalCursor();
    const kpx = await startKpx();
    const { MainPID: pid } = await machine.show(BROKER, 'MainPID');
    const uid = Number((await machine.run(['/usr/bin/id', '--user', 'kpx-broker'])).stdout);
    expect(await kpx.helperSays({ event: 'request', verb: 'hello' })).toMatchObject({ peer: { pid: Number(pid), uid } });
    await machine.systemctl('stop', BROKER);
    await expect.poll(rootsOwn).toEqual([]);
    await kpx.mark();
    const connect = ['/usr/bin/node', '--eval', CONNECT];
    const program = ['/usr/bin/env', `--chdir=${machine.facts.checkout}`, ...connect];
    expect((await machine.run(program)).stdout).toBe('closed by the other side\n');
    expect(await kpx.helperSays({ event: 'refused connection' })).toMatchObject({
      peer: { uid: 0 },
      reason: `expected uid ${uid}, "kpx-broker"`,
    });
    expect((await machine.run(program, { user: 'ada' })).stdout).toMatch(/^refused: /);
    const { stdout: stranger } = await machine.run(['/usr/bin/id', '--user', 'ada']);
    const heard = (await machine.journal('--identifier=kpx-privhelper', `--after-cursor=${cursor}`)).filter(({ MESSAGE }) =>
      MESSAGE.includes(`"uid":${stranger.trim()}}`),
    );
    expect(heard).toEqual([]);
  });

  it('serves one connection: a second one is turned away by PID 1, and the first one does not notice', async () => {
    const kpx = await startKpx();
    const uid = (await machine.run(['/usr/bin/id', '--user', 'kpx-broker'])).stdout.trim();
    const gid = (await machine.run(['/usr/bin/id', '--group', 'kpx-broker'])).stdout.trim();
    const asBroker = ['/usr/bin/setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--'];
    const program = [...asBroker, '/usr/bin/env', `--chdir=${machine.facts.checkout}`, '/usr/bin/node', '--eval', CONNECT];
    expect((await machine.run(program)).stdout).toBe('closed by the other side\n');
    await kpx.publish(jobOf('quin', 'q'));
    await kpx.jobDone('quin', 'q');
    expect((await rootsOwn()).length).toBe(1);
  });

  it('sees a machine in which there is nothing for it to read, write or run but what it needs', async () => {
    const made = SECRETS_OF_OTHERS.map((path) => (path.endsWith('/') ? `${path}kpx-test` : path));
    for (const path of made) await machine.writeFile(path, 'secret', { mode: 0o600 });
    onTestFinished(async () => {
      for (const path of SECRETS_OF_OTHERS) await machine.remove(path);
    });
    await startKpx();
    const [helper] = await rootsOwn();
    const status = await machine.readFile(`/proc/${helper?.pid}/status`);
    // CHOWN 0, DAC_READ_SEARCH 2, FOWNER 3: capability.h
    for (const set of ['CapBnd', 'CapPrm', 'CapEff']) expect(status).toContain(`${set}:\t000000000000000d\n`);
    // systemd 257 and later leave PrivateNetwork= out where they may not make a network, and start the helper.
    const namespaces = ['net', 'ipc', 'mnt'].flatMap((name) => [`/proc/${helper?.pid}/ns/${name}`, `/proc/1/ns/${name}`]);
    const { stdout: links } = await machine.run(['/usr/bin/readlink', ...namespaces]);
    expect(new Set(links.trimEnd().split('\n')).size).toBe(namespaces.length);
    const inside = async (...argv: string[]) =>
      await machine.run(['/usr/bin/nsenter', `--target=${helper?.pid}`, '--mount', '--', ...argv], { allowFailure: true });

    for (const secret of ['/etc/shadow', '/etc/kpx/amqp-password', '/etc/kpx/job-mac-key', ...made]) {
      expect(await machine.readFile(secret)).not.toBe('');
      expect((await inside('/usr/bin/cat', secret)).stdout).toBe('');
    }
    expect((await machine.run(['/usr/bin/ls', '-A', '/root', '/var/log'])).stdout).toContain('journal');
    expect((await inside('/usr/bin/ls', '-A', '/root', '/var/log')).stdout).toBe('/root:\n\n/var/log:\nkpx\n');

    const writable = [];
    for (const directory of [...TOP_LEVEL, ...BELOW]) {
      const { exitCode } = await inside('/usr/bin/touch', `${directory}/kpx-test`);
      if (exitCode === 0) writable.push(directory);
      onTestFinished(() => machine.remove(`${directory}/kpx-test`));
    }
    expect(writable).toEqual([
      '/home',
      '/tmp',
      '/run/kpx/audit',
      '/run/kpx/executors',
      '/run/kpx/node',
      '/srv/kpx',
      '/var/log/kpx',
      '/var/tmp',
    ]);

    for (const program of [
      '/home/kpx-test-program',
      '/srv/kpx/kpx-test-program',
      '/run/kpx/audit/kpx-test-program',
      '/run/kpx/executors/kpx-test-program',
      '/run/kpx/node/kpx-test-program',
    ]) {
      await machine.run(['/usr/bin/install', '--mode=755', '/usr/bin/true', program]);
      onTestFinished(() => machine.remove(program));
      expect((await machine.run([program])).exitCode).toBe(0);
      expect((await inside(program)).stderr).toContain('Permission denied');
    }
    expect((await inside('/usr/bin/true')).exitCode).toBe(0);
  });

  it('starts no more executors than max_executors, however many are asked for at once', async () => {
    const policy = { max_executors: 40, max_starting: 40 };
    const kpx = await startKpx({ helper: { executor: { max_executors: 3 } }, broker: { policy } });
    const users = ['ada', 'cleo', 'kim', 'leo', 'mia', 'ned', 'olga', 'pia'];
    await kpx.publish(...users.map((user) => jobOf(user, 'limited')));
    for (const user of users) await kpx.helperSays({ verb: 'spawnExecutor', os_user: user });
    const { stdout } = await machine.run(['/usr/bin/systemctl', 'list-units', '--plain', '--no-legend', 'kpx-executor@*']);
    const running = stdout.trimEnd().split('\n');
    expect(running.length).toBe(3);
    expect(await kpx.helperSays({ code: 'LIMIT_REACHED' })).toMatchObject({ reason: 'max_executors of the helper is 3' });
  });

  it('says in --check what is missing, unit included', async () => {
    await startKpx();
    const check = ['/usr/sbin/kpx-privhelper', '--config', '/etc/kpx/privhelper.toml', '--check'];
    expect((await machine.run(check)).stdout).toBe('/etc/kpx/privhelper.toml: no errors; kpxctl doctor looks at the rest.\n');
    await machine.run(['/usr/bin/mv', '/usr/lib/systemd/system/kpx-executor@.service', '/root/']);
    onTestFinished(async () => {
      await machine.run(['/usr/bin/mv', '/root/kpx-executor@.service', '/usr/lib/systemd/system/']);
      await machine.systemctl('daemon-reload');
    });
    await machine.systemctl('daemon-reload');
    const { exitCode, stderr } = await machine.run(check, { allowFailure: true });
    expect({ exitCode, stderr }).toEqual({
      exitCode: 78,
      stderr: '/etc/kpx/privhelper.toml: executor.unit: systemd says of kpx-executor@kpx-check.service: not-found\n',
    });
  });
});

/** Has the temp directories age as the package has it, at another age than its 30 days. */
async function ageing(): Promise<(age: string) => Promise<void>> {
  const file = '/run/kpx-test-ageing.conf';
  const packaged = await machine.readFile('/usr/lib/tmpfiles.d/kpx-temp.conf');
  expect(packaged).toMatch(/^e \/srv\/kpx\/temp\/\* - - - 30d$/m);
  onTestFinished(() => machine.remove(file));
  return async (age) => {
    await machine.writeFile(file, packaged.replace(' 30d', ` ${age}`));
    await machine.run(['/usr/bin/systemd-tmpfiles', '--clean', file]);
  };
}

describe('temp directories', ON_EACH_DEBIAN, () => {
  it('age by tmpfiles.d: what is old goes, the directory stays with its ACL, links are not followed, and workspaces do not age', async () => {
    const kpx = await startKpx();
    await kpx.publish(jobOf('dora', 'd'));
    await kpx.jobDone('dora', 'd');
    const clean = await ageing();
    const acl = async () => (await machine.run(['/usr/bin/getfacl', '--absolute-names', `${TEMPS}/dora`])).stdout;
    const before = await acl();
    await machine.run(['/usr/bin/mkdir', '-p', `${TEMPS}/dora/deep/er`], { user: 'dora' });
    await machine.run(['/usr/bin/touch', `${TEMPS}/dora/deep/er/file`, '/home/dora/precious', `${WORKSPACES}/dora/flow`], { user: 'dora' });
    await machine.run(['/usr/bin/ln', '-s', '/home/dora', `${TEMPS}/dora/link`], { user: 'dora' });
    await clean('30d');
    expect(await machine.exists(`${TEMPS}/dora/deep/er/file`)).toBe(true);
    const empty = async () => {
      await clean('1s');
      return (await machine.run(['/usr/bin/ls', '-A', `${TEMPS}/dora`])).stdout === '';
    };
    await expect.poll(empty, { timeout: 10_000 }).toBe(true);
    expect(await machine.exists('/home/dora/precious')).toBe(true);
    expect(await machine.exists(`${WORKSPACES}/dora/flow`)).toBe(true);
    expect(await acl()).toBe(before);
  });

  it('lose the name of an old file that is held open, whose reader goes on, and nothing below a directory that is locked', async () => {
    const kpx = await startKpx();
    await kpx.publish(jobOf('dora', 'held'));
    await kpx.jobDone('dora', 'held');
    const clean = await ageing();
    const temp = `${TEMPS}/dora`;
    await machine.run(['/usr/bin/mkdir', '-p', `${temp}/locked`], { user: 'dora' });
    await machine.run(['/usr/bin/touch', `${temp}/open`, `${temp}/locked/file`], { user: 'dora' });
    const goesOn = async (unit: string, ...command: string[]) => {
      await machine.run(['/usr/bin/systemd-run', '--quiet', '--collect', `--unit=${unit}`, '--uid=dora', ...command]);
      onTestFinished(() => machine.run(['/usr/bin/systemctl', 'stop', unit], { allowFailure: true }).then(() => {}));
      return (await machine.show(`${unit}.service`, 'MainPID')).MainPID;
    };
    const reader = await goesOn('kpx-test-reads', '/usr/bin/tail', '--follow', `${temp}/open`);
    await goesOn('kpx-test-locks', '/usr/bin/flock', `${temp}/locked`, '/usr/bin/sleep', 'infinity');
    const opened = async () => (await machine.run(['/bin/sh', '-c', `readlink /proc/${reader}/fd/*`], { allowFailure: true })).stdout;
    await expect.poll(opened).toContain(`${temp}/open\n`);
    const unlocked = ['/usr/bin/flock', '--nonblock', `${temp}/locked`, '/usr/bin/true'];
    await expect.poll(async () => (await machine.run(unlocked, { user: 'dora', allowFailure: true })).exitCode).toBe(1);
    const left = async () => {
      await clean('1s');
      return (await machine.run(['/usr/bin/ls', '-A', temp])).stdout;
    };
    await expect.poll(left, { timeout: 10_000 }).toBe('locked\n');
    expect(await opened()).toContain(`${temp}/open (deleted)\n`);
    expect(await machine.exists(`${temp}/locked/file`)).toBe(true);
    await machine.run(['/usr/bin/systemctl', 'stop', 'kpx-test-locks']);
    await expect.poll(left, { timeout: 10_000 }).toBe('');
  });
});

/** Asks the broker as somebody who is in one group alone; prints the status, or why there is none. */
const ASK = `
  const [options] = process.argv.slice(1);
  require('node:http')
    .get(JSON.parse(options), (response) => response.on('data', (text) => process.stdout.write(text)))
    .on('error', ({ code }) => console.log(code));
`;

describe('the broker', ON_EACH_DEBIAN, () => {
  it('is told what to do by root and the group kpx-admin alone, and read by everybody on the machine', async () => {
    await startKpx();
    const socketPath = '/run/kpx-broker/control.sock';
    const { stdout: owner } = await machine.run(['/usr/bin/stat', '--format=%A %U %G', socketPath]);
    expect(owner).toBe('srw-rw---- kpx-broker kpx-admin\n');
    const ask = async (group: string, options: object) => {
      const { stdout: uid } = await machine.run(['/usr/bin/id', '--user', 'ada']);
      const { stdout: entry } = await machine.run(['/usr/bin/getent', 'group', group]);
      const gid = entry.split(':')[2];
      const as = ['/usr/bin/setpriv', `--reuid=${uid.trim()}`, `--regid=${gid}`, '--clear-groups', '--'];
      return (await machine.run([...as, '/usr/bin/node', '--eval', ASK, JSON.stringify(options)])).stdout;
    };
    const status = { socketPath, path: '/status' };
    expect(JSON.parse(await ask('kpx-admin', status))).toMatchObject({ helper: { connected: true }, executors: [] });
    expect(await ask('nogroup', status)).toBe('EACCES\n');
    const metrics = { host: '127.0.0.1', port: 9464, path: '/metrics' };
    expect(await ask('nogroup', metrics)).toContain('kpx_rabbitmq_connected 1\n');
    expect(await ask('nogroup', { ...metrics, path: '/' })).toContain('<title>kpx</title>');
  });

  it('that hangs is replaced by the watchdog', async () => {
    await machine.writeFile('/etc/systemd/system/kpx-broker.service.d/10-watchdog.conf', '[Service]\nWatchdogSec=2s\n');
    onTestFinished(() => machine.remove('/etc/systemd/system/kpx-broker.service.d'));
    await machine.systemctl('daemon-reload');
    const kpx = await startKpx();
    await kpx.mark();
    await machine.systemctl('kill', '--signal=SIGSTOP', BROKER);
    await kpx.inUse();
    const entries = await machine.journal(`--unit=${BROKER}`, '--lines=200');
    expect(entries.some(({ MESSAGE }) => MESSAGE.includes('Watchdog timeout'))).toBe(true);
  });

  it('with a wrong configuration says what is wrong and is not started over and over', async () => {
    const kpx = await startKpx();
    await kpx.configure({ broker: { policy: { max_executor: 3 } } });
    await kpx.mark();
    await machine.run(['/usr/bin/systemctl', 'restart', BROKER], { allowFailure: true });
    const [line] = (await machine.run(['/usr/bin/grep', '--line-number', '^max_executor ', '/etc/kpx/broker.toml'])).stdout.split(':');
    const problem = `line ${line}, policy.max_executor: unknown key; did you mean "max_executors"?`;
    const said = await kpx.brokerSays({ text: `/etc/kpx/broker.toml: ${problem}` });
    expect(said).toBeDefined();
    await expect
      .poll(() => machine.show(BROKER, 'ActiveState', 'ExecMainStatus', 'NRestarts'))
      .toEqual({
        ActiveState: 'failed',
        ExecMainStatus: '78',
        NRestarts: '0',
      });
  });
});
