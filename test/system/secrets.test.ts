import { randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { type BootedKpx, BROKER, unitOf, WORKSPACES } from '../fixtures/booted/kpx.js';
import type { RunResult } from '../fixtures/booted/machine.js';
import { eventually } from '../fixtures/eventually.js';
import { jobOf } from '../fixtures/jobs.js';
import { withKpx } from './kpx-of-file.js';
import { bootedMachine } from './shared-machine.js';

/*
 * RabbitMQ's passwords, searched for after everything that might have spilled them: jobs done, an executor that could not be started, a
 * broker that RabbitMQ has refused, and secrets written where they do not belong. Patterns go through stdin: in an argument the search
 * would find itself.
 */

const machine = bootedMachine();
/** Has an account and nothing else. */
const ONLOOKER = 'emil';
/** Their executors: one works, of one the program does not exist, of one the MSGQ file is unusable. */
const [WORKING, FAILING, UNUSABLE] = ['ned', 'olga', 'dora'] as const;
const FAILING_DROP_IN = `/etc/systemd/system/${unitOf(FAILING)}.d/10-test.conf`;
const MSGQ_FILE = '/etc/kpx/executor-msgq';
const BROKER_CONFIG = '/etc/kpx/broker.toml';

/** In each there is a file with something to be found, which everybody may read: a search that finds it has been there. */
const DECOY_DIRECTORIES = ['dev/shm', 'etc', 'home', 'opt', 'root', 'run', 'srv', 'srv/kpx', 'tmp', 'usr/lib/kpx', 'var', 'var/log'];
const DECOYS = DECOY_DIRECTORIES.map((directory) => `/${directory}/kpx-test-decoy/below/decoy`).sort();
/** Written at boot. No secret of the tests is older. */
const WRITTEN_AT_BOOT = '/etc/machine-id';
/** Linux takes 2 MiB of arguments: with paths of 1 KiB these fit. */
const FILES_OF_A_COMMAND = 1_500;
/** All files of the machine, beside other work. */
const SEARCH_TIMEOUT_MS = 240_000;
vi.setConfig({ testTimeout: SEARCH_TIMEOUT_MS + 60_000 });
/** grep(1): nothing was found; something could not be read, whatever was found. */
const [GREP_NOTHING, GREP_PARTLY] = [1, 2];

const newSecret = () => randomBytes(18).toString('base64url');
const DECOY = newSecret();
const WRONG_PASSWORD = newSecret();
/** In a line of the MSGQ file that is no address of RabbitMQ, and in an address in broker.toml. */
const [MISPLACED_IN_MSGQ, MISPLACED_IN_URL] = [newSecret(), newSecret()];
const EXIT_CONFIG = 78;

/** systemd's copy of the broker's password: its account's and root's, and nobody else's. */
const BROKERS_CREDENTIAL = /^\/run\/credentials\/kpx-broker\.service\/amqp-password$/;
/** Where the stand-in executor, and no real one, writes down its environment: a file that only its user can read. */
const OWN_RECORD = /^\/srv\/kpx\/workspaces\/[^/]+\/started\.json$/;

const GREP = ['/usr/bin/grep', '--fixed-strings', '--files-with-matches', '--no-messages', '--devices=skip', '--file=-'];

let kpx: BootedKpx;
let secrets: string[];
/** Main processes, while everything runs. */
const pids = { broker: 0, helper: 0, executor: 0 };

const mainPidOf = async (unit: string) => Number((await machine.show(unit, 'MainPID')).MainPID);

async function helperUnit(): Promise<string> {
  const lines = await machine.systemctl('list-units', '--plain', '--no-legend', 'kpx-privhelper@*');
  return lines.split(' ')[0] ?? '';
}

/** Every unit of kpx that PID 1 knows, failed ones included. */
async function kpxUnits(): Promise<string[]> {
  const lines = await machine.systemctl('list-units', '--all', '--plain', '--no-legend', 'kpx*');
  return lines
    .trimEnd()
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '');
}

const found = (text: string) => secrets.filter((secret) => text.includes(secret));

/**
 * Every file of the machine with one of the texts in it that has changed in any way since the boot, as `user` may read them. Not in /proc
 * and /sys, nor in what is mounted read-only from outside.
 */
async function search(texts: string[], user = 'root'): Promise<string[]> {
  const as = user === 'root' ? {} : { user };
  const options = { ...as, timeoutMs: SEARCH_TIMEOUT_MS, allowFailure: true };
  const apart = ['/proc', '/sys', machine.facts.checkout, machine.facts.packages];
  const prune = apart.flatMap((path) => ['-path', path, '-prune', '-o']);
  // It fails in every directory that may not be read: what it has seen is shown by the decoys.
  const { stdout } = await machine.run(['/usr/bin/find', '/', ...prune, '-type', 'f', '-cnewer', WRITTEN_AT_BOOT, '-print0'], options);
  const files = stdout.split('\0').filter(Boolean);
  const matches: string[] = [];
  while (files.length > 0) {
    const argv = [...GREP, '--', ...files.splice(0, FILES_OF_A_COMMAND)];
    matches.push(...matchesOf(await machine.run(argv, { ...options, input: texts.join('\n') })));
  }
  return matches.sort();
}

function matchesOf({ exitCode, stdout, stderr }: RunResult): string[] {
  if (![0, GREP_NOTHING, GREP_PARTLY].includes(exitCode)) throw new Error(`grep: exit code ${exitCode}\n${stderr}`);
  return stdout.split('\n').filter(Boolean).sort();
}

/** Processes in whose /proc/PID/`file` one of the texts is. */
async function processesWith(file: 'cmdline' | 'environ', texts: string[]): Promise<number[]> {
  const { stdout } = await machine.run(['/usr/bin/find', '/proc', '-maxdepth', '1', '-regex', '/proc/[0-9]+', '-printf', '%p\n']);
  const files = stdout
    .trimEnd()
    .split('\n')
    .map((directory) => `${directory}/${file}`);
  const result = await machine.run([...GREP, ...files], { input: texts.join('\n'), allowFailure: true });
  return matchesOf(result).map((path) => Number(path.split('/')[2]));
}

/** All but those in directories that a user may not enter, such as /root. */
async function readableDecoys(user: string): Promise<string[]> {
  const looks = DECOYS.map(async (decoy) => {
    const { exitCode } = await machine.run(['/usr/bin/test', '-r', decoy], { user, allowFailure: true });
    return exitCode === 0 ? [decoy] : [];
  });
  const readable = (await Promise.all(looks)).flat();
  expect(readable.length).toBeGreaterThan(DECOYS.length - 3);
  return readable;
}

async function refusedByRabbitmq(): Promise<void> {
  await machine.writeFile('/etc/kpx/amqp-password', `${WRONG_PASSWORD}\n`, { mode: 0o600 });
  await kpx.mark();
  await machine.systemctl('start', BROKER);
  const { reason } = await kpx.brokerSays({ msg: 'RabbitMQ cannot be used; trying again' });
  expect(reason).toContain('ACCESS_REFUSED');
  await machine.systemctl('stop', BROKER);
}

async function configuredWithPasswordInUrl(): Promise<void> {
  const config = await machine.readFile(BROKER_CONFIG);
  const urls = config.replace(/amqp:\/\/([^@]+)@/, `amqp://$1:${MISPLACED_IN_URL}@`);
  expect(urls).toContain(MISPLACED_IN_URL);
  await machine.writeFile(BROKER_CONFIG, urls, { mode: 0o640, owner: 'root:kpx-broker' });
  await machine.systemctl('start', BROKER).catch(() => {});
  await eventually('the broker has ended', async () => (await machine.show(BROKER, 'ExecMainStatus')).ExecMainStatus === `${EXIT_CONFIG}`);
  await machine.writeFile(BROKER_CONFIG, config, { mode: 0o640, owner: 'root:kpx-broker' });
}

async function unusableMsgqFile(): Promise<void> {
  const msgq = await machine.readFile(MSGQ_FILE);
  await machine.writeFile(MSGQ_FILE, `password = ${MISPLACED_IN_MSGQ}\n`, { mode: 0o600 });
  await kpx.publish(jobOf(UNUSABLE));
  expect(await kpx.helperSays({ verb: 'spawnExecutor', os_user: UNUSABLE })).toMatchObject({ decision: expect.not.stringMatching('done') });
  await machine.writeFile(MSGQ_FILE, msgq, { mode: 0o600 });
}

async function programThatDoesNotExist(): Promise<void> {
  await machine.writeFile(FAILING_DROP_IN, '[Service]\nExecStart=\nExecStart=/nonexistent/knime -data here\n');
  await machine.systemctl('daemon-reload');
  await kpx.publish(jobOf(FAILING));
  await eventually('its executor has failed', async () => (await machine.show(unitOf(FAILING), 'Result')).Result === 'exit-code');
}

beforeAll(async () => {
  for (const decoy of DECOYS) await machine.writeFile(decoy, `${DECOY}\n`);
  const end = await withKpx({}, async (running) => {
    kpx = running;
    const { broker, executor } = kpx.vhost.server.users;
    secrets = [broker.password, executor.password, WRONG_PASSWORD, MISPLACED_IN_MSGQ, MISPLACED_IN_URL];
    await refusedByRabbitmq();
    await configuredWithPasswordInUrl();
    await machine.writeFile('/etc/kpx/amqp-password', `${broker.password}\n`, { mode: 0o600 });
    await machine.run(['/usr/bin/systemctl', 'reset-failed', BROKER], { allowFailure: true });
    await kpx.start();
    await programThatDoesNotExist();
    await unusableMsgqFile();
    await kpx.jobsDone(UNUSABLE, 1);
    await kpx.publish(jobOf(WORKING), jobOf(WORKING));
    await kpx.jobsDone(WORKING, 2);
    const [brokerPid, helperPid, executorPid] = await Promise.all([BROKER, await helperUnit(), unitOf(WORKING)].map(mainPidOf));
    Object.assign(pids, { broker: brokerPid, helper: helperPid, executor: executorPid });
  });
  return async () => {
    await end();
    await machine.remove(FAILING_DROP_IN);
    for (const directory of DECOY_DIRECTORIES) await machine.remove(`/${directory}/kpx-test-decoy`);
    await machine.systemctl('daemon-reload');
  };
});

describe('the passwords are where they have to be', () => {
  it('and root, who may read everything, finds them nowhere else', async () => {
    const files = await search([...secrets, DECOY]);
    expect(files).toEqual(expect.arrayContaining(DECOYS));
    const others = files.filter((file) => !DECOYS.includes(file));
    expect(others).toEqual(expect.arrayContaining(['/etc/kpx/amqp-password', MSGQ_FILE, `/run/kpx/executors/${WORKING}.env`]));
    // Other users' executors may have run on this machine, too.
    const kept = /^\/etc\/kpx\/(amqp-password|executor-msgq)$|^\/run\/kpx\/executors\/[^/]+\.env$/;
    expect(others.filter((file) => !kept.test(file) && !BROKERS_CREDENTIAL.test(file) && !OWN_RECORD.test(file))).toEqual([]);
  });

  it("in files of root's that nobody else can read", async () => {
    const files = ['/etc/kpx/amqp-password', MSGQ_FILE, ...[WORKING, FAILING].map((user) => `/run/kpx/executors/${user}.env`)];
    const { stdout } = await machine.run(['/usr/bin/stat', '--format=%a %U %G', ...files]);
    expect(stdout.trimEnd().split('\n')).toEqual(files.map(() => '600 root root'));
    for (const file of files) expect((await machine.run(['/usr/bin/getfacl', '--skip-base', file])).stdout).toBe('');
  });

  it("in the environment of executors: RabbitMQ's address for executors, and in that of no other process anything", async () => {
    const executors = [pids.executor, await mainPidOf(unitOf(UNUSABLE))]; // whose file has been fixed since
    expect(await processesWith('environ', secrets)).toEqual(executors.sort((a, b) => a - b));
    expect(
      await processesWith(
        'environ',
        secrets.filter((secret) => secret !== kpx.vhost.server.users.executor.password),
      ),
    ).toEqual([]);
  });
});

describe('the passwords are not', () => {
  it.each([
    ['an ordinary user', ONLOOKER],
    ['the account of the broker', 'kpx-broker'],
    ['the user whose executor has it', WORKING],
  ])('in any file that %s can read', async (_, user) => {
    const files = await search([...secrets, DECOY], user);
    // Of an executor of their own, which another file's test may have started.
    const own = `${WORKSPACES}/${user}/started.json`;
    const others = files.filter((file) => file !== own && !(user === 'kpx-broker' && BROKERS_CREDENTIAL.test(file)));
    expect(others).toEqual(await readableDecoys(user));
  });

  it("the executors' in any file that the account of the broker can read, its own credential included", async () => {
    const { password } = kpx.vhost.server.users.executor;
    expect(await search([password, DECOY], 'kpx-broker')).toEqual(await readableDecoys('kpx-broker'));
  });

  it.each(['root', ONLOOKER])('in what systemd tells of its units and of itself: %s asks', async (user) => {
    const units = await kpxUnits();
    expect(units).toEqual(expect.arrayContaining([BROKER, await helperUnit(), unitOf(WORKING), unitOf(FAILING)]));
    const asks: [expected: string, ...argv: string[]][] = [
      [`Id=${unitOf(WORKING)}`, '/usr/bin/systemctl', 'show', '--all', ...units],
      [`Id=${BROKER}`, '/usr/bin/systemctl', 'show', '--all', '*'],
      ['Version=', '/usr/bin/systemctl', 'show', '--all'],
      ['LoadCredential=', '/usr/bin/systemctl', '--no-pager', 'cat', ...units.filter((unit) => !unit.endsWith('.slice'))],
      [unitOf(FAILING), '/usr/bin/systemctl', '--no-pager', '--full', '--all', '--lines=1000', 'status', 'kpx*'],
      ['LANG=', '/usr/bin/systemctl', 'show-environment'],
      [unitOf(WORKING), '/usr/bin/systemd-analyze', '--no-pager', 'dump'],
    ];
    for (const [expected, ...argv] of asks) {
      // systemctl status: 3 says that one of the units does not run.
      const { stdout } = await machine.run(argv, { ...(user === 'root' ? {} : { user }), allowFailure: true });
      expect(stdout, argv.join(' ')).toContain(expected);
      expect(found(stdout), argv.join(' ')).toEqual([]);
    }
  });

  it('in the environment that PID 1 knows of the units', async () => {
    const shown = await machine.run(['/usr/bin/systemctl', 'show', '--property=Environment,EnvironmentFiles', unitOf(WORKING)], {
      user: ONLOOKER,
    });
    expect(shown.stdout.trimEnd().split('\n')).toEqual([
      'Environment=',
      `EnvironmentFiles=/run/kpx/executors/${WORKING}.env (ignore_errors=no)`,
    ]);
  });

  it('in any command line', async () => {
    expect(await processesWith('cmdline', ['kpx-broker.cjs', 'kpx-privhelper.cjs', 'KNIME_REMOTE_APPLICATION'])).toEqual(
      expect.arrayContaining([pids.broker, pids.helper, pids.executor]),
    );
    expect(await processesWith('cmdline', secrets)).toEqual([]);
  });

  it('in any field of the journal, after everything that went wrong', async () => {
    await machine.run(['/usr/bin/journalctl', '--sync']);
    const { stdout } = await machine.run(['/usr/bin/journalctl', '--output=export', '--all', '--no-pager'], {
      timeoutMs: SEARCH_TIMEOUT_MS,
    });
    for (const said of ['ACCESS_REFUSED', 'holds a password', 'does not hold one line', '/nonexistent/knime', BROKER, unitOf(FAILING)])
      expect(stdout).toContain(said);
    expect(found(stdout)).toEqual([]);
  });

  it("in RabbitMQ's own log, which says whom it has refused", async () => {
    const { broker } = kpx.vhost.server.users;
    const log = (await machine.run(['/usr/bin/find', '/var/log/rabbitmq', '-name', '*.log'])).stdout.trimEnd().split('\n');
    const { stdout } = await machine.run(['/usr/bin/cat', ...log]);
    expect(stdout).toContain(`user '${broker.name}'`);
    expect(found(stdout)).toEqual([]);
  });

  it('in bus messages that others may watch', async () => {
    const watching = ['/usr/bin/timeout', '2', '/usr/bin/busctl', 'monitor'];
    const { exitCode, stderr } = await machine.run(watching, { user: ONLOOKER, allowFailure: true });
    expect(exitCode).toBe(1);
    expect(stderr).toContain('Access denied');
    const ended = await machine.run(watching, { allowFailure: true });
    expect(ended.exitCode).toBe(124); // root watches until timeout(1) ends it
  });

  it.each(['broker', 'helper', 'executor'] as const)('in a core dump: the %s may leave none', async (name) => {
    const limits = await machine.readFile(`/proc/${pids[name]}/limits`);
    // Less than a page is no dump at all, see core(5).
    expect(limits).toMatch(/^Max core file size +[01] +[01] +bytes/m);
  });
});
