import { type ChildProcess, spawn } from 'node:child_process';
import { chownSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { ExecutorState, REQUESTS_IN_FLIGHT_MAX, SpawnOutcome, StopMode } from '@kpx/protocol';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { BROKER_ACCOUNT, LOW_UID_ACCOUNT } from '../fixtures/accounts.js';
import { eventually } from '../fixtures/eventually.js';
import type { HelperConnection } from '../fixtures/helper-connection.js';
import { end, HelperInstallation, idsOf } from '../fixtures/helper-installation.js';
import {
  argumentsOf,
  childrenOf,
  environmentOf,
  executorEnvironmentOf,
  hasOnlyDevNullOpen,
  isGone,
  processesOfUids,
  statOf,
  statusOf,
} from '../fixtures/process.js';
import { RawAccounts } from '../fixtures/raw-accounts.js';
import { refusal } from '../integration/installed-helper.js';
import { Attacker } from './attacker.js';
import { rawSocket, SEND_DESCRIPTORS } from './raw-socket.js';
import { ELIGIBLE, Target } from './target.js';
import { request } from './wire.js';

/*
 * Starting and stopping: more than one executor for an account, another program, another environment, another process to be ended. The direct
 * launcher; what PID 1 does instead of it: test/system/attacks.test.ts. What an executor gets at by itself: test/integration/helper-drop.test.ts.
 */

const EXECUTORS_MAX = 2;
const STARTS = 10_000;
/** Where the canary does not look: what executors do is in a script there for their user; without one they wait. */
const SCRATCH = `/tmp/kpx-test-scratch-${process.pid}`;
const MISBEHAVE = `f=${SCRATCH}/$USER; if [ -e "$f" ]; then . "$f"; fi; exec /usr/bin/sleep infinity`;

/** Neither stopped nor a zombie. */
const ALIVE = /^[SRD]$/;

let target: Target;

describe('with hostile surroundings', () => {
  /** What a service manager, a shell or an administrator may have left in root's environment. */
  const SURROUNDINGS: Record<string, string> = {
    LD_PRELOAD: '/nonexistent/evil.so',
    LD_LIBRARY_PATH: '/nonexistent',
    LD_AUDIT: '/nonexistent/evil.so',
    GLIBC_TUNABLES: 'glibc.malloc.check=1',
    GCONV_PATH: '/nonexistent',
    LOCPATH: '/nonexistent',
    BASH_ENV: '/nonexistent/evil.sh',
    ENV: '/nonexistent/evil.sh',
    IFS: 'x',
    NODE_OPTIONS: '--no-warnings',
    NODE_PATH: '/nonexistent',
    PERL5OPT: '-Mevil',
    PYTHONPATH: '/nonexistent',
    JAVA_TOOL_OPTIONS: '-javaagent:/nonexistent/evil.jar',
    PATH: '/nonexistent:/usr/bin:/bin',
    HOME: '/nonexistent',
    USER: 'root',
    TMPDIR: '/nonexistent',
    KNIME_EXECUTOR_MSGQ: 'amqp://evil@127.0.0.1',
    KPX_AMQP_URL: 'amqp://evil@127.0.0.1',
    KPX_USER: 'root',
    DBUS_SYSTEM_BUS_ADDRESS: 'unix:path=/nonexistent',
    SYSTEMD_LOG_LEVEL: 'debug',
    LISTEN_FDS: '1',
    LC_ALL: 'de_DE.UTF-8',
  };
  /** Values of an account that are strange, and do no harm: all that comes of them is a variable of the user's own executor. */
  const STRANGE: readonly (readonly [what: string, given: { gecos?: string; home?: string; shell?: string }])[] = [
    ['a person called by a command', { gecos: '$(touch /srv/pwned)' }],
    ['a person called by a terminal’s escape sequence', { gecos: '\u001b]0;root\u0007' }],
    ['a person with 10,000 letters', { gecos: 'p'.repeat(10_000) }],
    ['a home that is a command', { home: '/home/$(id)' }],
    ['a home with two commands', { home: '/home/a; id' }],
    ['a home with quotes', { home: `/home/o'b"rien` }],
    ['a home with a blank', { home: '/home/a b' }],
    ['a home that is an option', { home: '/home/--help' }],
    ['a home that is a wildcard', { home: '/home/*' }],
    ['a home with a backslash', { home: '/home/a\\nb' }],
    ['a home with a specifier of systemd', { home: '/home/%h' }],
    ['a home with a placeholder of kpx', { home: '/home/{workspace}' }],
    ['a home with an equals sign', { home: '/home/LD_PRELOAD=x' }],
    ['a home written from right to left', { home: '/home/\u202egpj' }],
    ['a shell with arguments', { shell: '/bin/sh -c id' }],
    ['a shell that is a command', { shell: '/bin/$(id)' }],
    ['a shell that is a variable', { shell: '/LD_PRELOAD=x' }],
    ['a shell that does not exist', { shell: '/nonexistent/shell' }],
  ];
  const strangers = STRANGE.map(([what, given], index) => [what, { name: `strange${index}`, ...given }] as const);
  const accounts = new RawAccounts();

  beforeAll(async () => {
    for (const [, { name, ...given }] of strangers) accounts.account(name, given);
    const installation = new HelperInstallation({ config: { executor: { max_executors: EXECUTORS_MAX } } });
    mkdirSync(SCRATCH, { mode: 0o755 });
    const seeing = installation.inPlaceOf('/usr/bin/getent', `cat /proc/$$/environ >${SCRATCH}/environ; exec $real "$@"`);
    const surroundings = Object.entries(SURROUNDINGS).map(([name, value]) => `${name}=${value}`);
    const names = strangers.map(([, { name }]) => name);
    target = await Target.of(installation, { wrap: [...seeing, '/usr/bin/env', ...surroundings] }, [...ELIGIBLE, ...names]);
    return async () => {
      await target.end();
      accounts.remove();
      rmSync(SCRATCH, { recursive: true });
    };
  });
  afterEach(() => target.canary());

  it('nothing of the helper’s environment gets into a command or an executor', async () => {
    const connection = await target.greeted();
    const { mainPid } = await connection.spawned('bob');
    expect(environmentOf(target.pid)).toMatchObject(SURROUNDINGS);
    const environment = await executorEnvironmentOf(mainPid);
    for (const [name, value] of Object.entries(SURROUNDINGS)) expect([name, environment[name]]).not.toEqual([name, value]);
    const ofCommand = readFileSync(`${SCRATCH}/environ`, 'utf8').split('\0').filter(Boolean);
    expect(ofCommand).toEqual(['PATH=/usr/bin:/usr/sbin:/bin:/sbin', 'LC_ALL=C']);
    await target.stopped(connection, 'bob');
  });

  it.each(strangers)('%s: no more than a variable', async (_what, { name, home = `/home/${name}`, shell = '/bin/bash' }) => {
    const connection = await target.greeted();
    const { mainPid } = await connection.spawned(name);
    const { workspaces, temps } = target.installation;
    await expect
      .poll(() => environmentOf(mainPid))
      .toEqual({
        PATH: '/usr/local/bin:/usr/bin:/bin',
        LANG: 'C.UTF-8',
        HOME: home,
        USER: name,
        LOGNAME: name,
        SHELL: shell,
        TMPDIR: `${temps}/${name}`,
        KPX_USER: name,
        KPX_WORKSPACE: `${workspaces}/${name}`,
        KNIME_EXECUTOR_TEMP_DIR: `${temps}/${name}`,
        KNIME_EXECUTOR_RESERVATION: `(user = '${name}')`,
        KNIME_EXECUTOR_MSGQ: 'amqp://executor:secret@127.0.0.1/knime',
        KPX_AMQP_URL: 'amqp://executor:secret@127.0.0.1/knime',
      });
    await target.stopped(connection, name);
  });
});

describe('with executors that misbehave', () => {
  beforeAll(async () => {
    mkdirSync(SCRATCH, { mode: 0o755 });
    target = await Target.start({ config: { executor: { command: ['/bin/sh', '-c', MISBEHAVE], max_executors: EXECUTORS_MAX } } });
    return async () => {
      await target.end();
      rmSync(SCRATCH, { recursive: true });
    };
  });
  afterEach(async () => {
    rmSync(`${SCRATCH}/bob`, { force: true });
    await target.canary();
  });

  const { uid } = idsOf('bob');
  const ofBob = () => processesOfUids(uid, uid);

  /** Bob's executor, and what bob has it do before it waits. It may be over before it is answered. */
  async function misbehaving(script: string): Promise<HelperConnection> {
    writeFileSync(`${SCRATCH}/bob`, script, { mode: 0o644 });
    const connection = await target.greeted();
    await connection.spawn('bob');
    return connection;
  }

  async function endAllOfBob(): Promise<void> {
    await eventually('nothing of bob’s is left', () => {
      for (const pid of ofBob()) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // it has ended while we looked
        }
      }
      return ofBob().length === 0;
    });
  }

  /** What it leaves running has the user's rights and no more, however it came to be. */
  function expectHarmless(pids: readonly number[]): void {
    for (const status of pids.map(statusOf)) {
      expect(status).toMatchObject({
        Uid: Array(4).fill(uid).join('\t'),
        CapEff: '0000000000000000',
        CapBnd: '0000000000000000',
        NoNewPrivs: '1',
      });
    }
  }

  it.each([
    ['forks away and ends', '/usr/bin/sleep 987 & exit 0', 1],
    ['forks away twice and ends', '(/usr/bin/sleep 987 &) & exit 0', 1],
    ['forks away into a session of its own and ends', '/usr/bin/setsid --fork /usr/bin/sleep 987; exit 0', 1],
    ['leaves a hundred processes and ends', 'for i in $(seq 100); do /usr/bin/setsid --fork /usr/bin/sleep 987; done; exit 0', 100],
  ])('one that %s is over: what it leaves is its user’s own, and not stopped in its place', async (_what, script, count) => {
    const connection = await misbehaving(script);
    await target.audited({ event: 'executor ended', os_user: 'bob' });
    const waiting = () => ofBob().filter((pid) => argumentsOf(pid)[0] === '/usr/bin/sleep');
    const left = await eventually(
      'what it leaves runs, and nothing else',
      () => ofBob().length === count && waiting().length === count && waiting(),
    );
    expectHarmless(left);
    expect(await connection.stop('bob', StopMode.kill)).toEqual(refusal('NOT_RUNNING'));
    expect(left.map(statOf).every((stat) => stat !== undefined)).toBe(true);
    await endAllOfBob();
  });

  it.each([
    ['a hundred children', 'for i in $(seq 100); do /usr/bin/sleep 987 & done; wait', 101],
    ['children that have children', '(/usr/bin/sleep 987; true) & (/usr/bin/sleep 987; true) & wait', 5],
  ])('one with %s is ended with all of them', async (_what, script, count) => {
    const connection = await misbehaving(script);
    expectHarmless(await eventually('all run', () => ofBob().length === count && ofBob()));
    await target.stopped(connection, 'bob');
    await eventually('all are ended', () => ofBob().length === 0);
  });

  it.each([
    ['stops itself', 'kill -STOP $$'],
    ['ignores every signal that it may', 'trap "" TERM HUP INT QUIT USR1 USR2 PIPE ALRM'],
    ['closes all that is open', 'exec 0<&- 1>&- 2>&-'],
    ['writes as much as it can', 'head --bytes=100000000 /dev/zero; head --bytes=100000000 /dev/zero >&2'],
  ])('one that %s can be ended', async (_what, script) => {
    const connection = await misbehaving(script);
    await target.stopped(connection, 'bob');
  });

  it.each([
    ['its parent', 'kill -KILL $PPID'],
    ['its parent’s group', 'kill -KILL -- -$(ps -o pgid= -p $PPID | tr -d " ")'],
    ['whatever it may', 'trap "" TERM; kill -TERM -1'],
  ])('one that kills %s reaches nobody but its user', async (_what, script) => {
    const connection = await target.greeted();
    const { mainPid } = await connection.spawned('carol');
    const done = `${SCRATCH}/done`;
    writeFileSync(done, '');
    chownSync(done, uid, uid);
    const other = await misbehaving(`${script}; echo done >${done}`);
    await eventually('it has killed', () => readFileSync(done, 'utf8') !== '');
    rmSync(done);
    expect([isGone(target.pid), isGone(target.attacker.pid), isGone(mainPid)]).toEqual([false, false, false]);
    await target.stopped(other, 'bob');
    await target.stopped(connection, 'carol');
  });

  it('one that ends at once, 20 times: none is left as a zombie', async () => {
    writeFileSync(`${SCRATCH}/bob`, 'exit 3', { mode: 0o644 });
    const connection = await target.greeted();
    let starts = 0;
    for (let round = 0; round < 20; round++) {
      const { kind, body } = await connection.spawn('bob');
      if (kind === 'error' || (kind === 'executorSpawned' && body.outcome === SpawnOutcome.started)) starts += 1;
    }
    await eventually('all have ended', () => target.heard.filter(({ event }) => event === 'executor ended').length === starts);
    expect(childrenOf(target.pid)).toEqual([]);
  });
});

describe('with ordinary executors', () => {
  /** Processes of accounts that kpx has not started. */
  const strangers = new Map<string, ChildProcess>();

  function processOf({ uid, gid }: ReturnType<typeof idsOf>): ChildProcess {
    const become = ['--reuid', `${uid}`, '--regid', `${gid}`, '--clear-groups', '--', '/usr/bin/sleep', 'infinity'];
    return spawn('/usr/bin/setpriv', become, { stdio: 'ignore', detached: true });
  }

  const NOT_STARTED = ['alice', 'bob', 'mallory', 'root', 'daemon', 'nobody', LOW_UID_ACCOUNT, BROKER_ACCOUNT];

  beforeAll(async () => {
    for (const account of NOT_STARTED) strangers.set(account, processOf(idsOf(account)));
    target = await Target.start({ config: { executor: { max_executors: EXECUTORS_MAX } } });
    return async () => {
      await target.end();
      for (const child of strangers.values()) await end(child, 'SIGKILL');
    };
  });
  afterEach(() => target.canary());

  it.each(NOT_STARTED.flatMap((name) => [[name, 'graceful'] as const, [name, 'kill'] as const]))(
    'a process of %s that kpx has not started is not ended: %s',
    async (name, mode) => {
      const connection = await target.greeted();
      expect(await connection.stop(name, StopMode[mode])).toEqual(refusal('NOT_RUNNING', `no executor of "${name}" runs`));
      const { pid = 0 } = strangers.get(name) ?? {};
      expect(statOf(pid)?.state).toMatch(ALIVE);
    },
  );

  describe('that have ended', () => {
    /** A process that has the number of one that is gone, as leader of a group of that number. */
    async function inPlaceOf(pid: number, account: string): Promise<ChildProcess> {
      const ids = idsOf(account);
      for (let tried = 0; tried < 200; tried++) {
        writeFileSync('/proc/sys/kernel/ns_last_pid', `${pid - 1}`);
        const child = processOf(ids);
        if (child.pid === pid) return child;
        await end(child, 'SIGKILL');
      }
      throw new Error(`no process got the number ${pid}`);
    }

    it.each(['root', 'alice', 'bob', BROKER_ACCOUNT].flatMap((name) => [[name, 'graceful'] as const, [name, 'kill'] as const]))(
      'another process with its number, of %s, is not ended in its place: %s',
      async (account, mode) => {
        const connection = await target.greeted();
        const { mainPid } = await connection.spawned('bob');
        await target.stopped(connection, 'bob');
        const other = await inPlaceOf(mainPid, account);
        target.bystanders.add(mainPid);
        expect(await connection.stop('bob', StopMode[mode])).toEqual(refusal('NOT_RUNNING'));
        expect(await connection.list()).toMatchObject({ body: { executors: [{ state: ExecutorState.exited, mainPid: 0 }] } });
        expect(statOf(mainPid)).toMatchObject({ state: expect.stringMatching(ALIVE), group: mainPid });
        await end(other, 'SIGKILL');
        target.bystanders.delete(mainPid);
      },
    );
  });

  it.each([
    ...['large', 'constructor', 'prototype', 'tostring', 'valueof', 'hasownproperty', 'length', 'name', 'unit', 'command', 'environment'],
    ...['default-', 'default2', 'kpx-executor', 'systemd-run', 'root', 'a'.repeat(32)],
  ])('a profile that is not configured starts nothing: %s', async (profile) => {
    const connection = await target.greeted();
    expect(await connection.spawn('bob', profile)).toEqual(refusal('PROFILE_UNKNOWN', `there is no executor profile "${profile}"`));
    expect(await target.audited({ verb: 'spawnExecutor', decision: 'refused', code: 'PROFILE_UNKNOWN' })).toMatchObject({
      knime_user: 'bob',
    });
    expect(childrenOf(target.pid)).toEqual([]);
  });

  it.each([
    ['the default in capitals', 'DEFAULT'],
    ['with a blank before it', ' default'],
    ['with a blank after it', 'default '],
    ['with NUL after it', 'default\0'],
    ['with a newline after it', 'default\n'],
    ['with a newline and an argument', 'default\n--property=User=root'],
    ['a unit', 'default.service'],
    ['a template', 'kpx-executor@'],
    ['an instance', 'kpx-executor@root'],
    ['a path', '../default'],
    ['an absolute path', '/etc/systemd/system/evil@'],
    ['an option', '--user'],
    ['a specifier', '%i'],
    ['__proto__', '__proto__'],
    ['toString', 'toString'],
    ['a number', '0'],
    ['full-width letters', '\uff44efault'],
    ['33 letters', 'a'.repeat(33)],
    ['60,000 letters', 'a'.repeat(60_000)],
    ['bytes that are not UTF-8', Buffer.from([0x61, 0xff])],
  ])('a profile that is none closes the connection: %s', async (_what, profile) => {
    const connection = await target.greeted();
    connection.send(
      request('spawnExecutor', [
        [1, 'bob'],
        [2, profile],
      ]),
    );
    await target.expectViolation(connection, typeof profile === 'string' ? 'spawnExecutor: profile' : 'a packet that is not protobuf');
    expect(childrenOf(target.pid)).toEqual([]);
  });

  it('10,000 requests to start: as many run as may, none is left over', async () => {
    const connection = await target.greeted();
    /** Most are refused before anybody is looked up, many after one look-up, the rest may have an executor. */
    const next = (index: number) => {
      if (index % 100 === 0) return connection.spawn(ELIGIBLE[(index / 100) % ELIGIBLE.length] ?? '');
      return index % 20 === 1 ? connection.spawn('root') : connection.spawn('bob', 'large');
    };
    const outcomes: Record<string, number> = {};
    for (let sent = 0; sent < STARTS; sent += REQUESTS_IN_FLIGHT_MAX) {
      for (const { kind, body } of await Promise.all(Array.from({ length: REQUESTS_IN_FLIGHT_MAX }, (_, index) => next(sent + index)))) {
        const outcome = kind === 'error' ? body.code : kind === 'executorSpawned' ? `${body.outcome}` : kind;
        outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      }
      expect(childrenOf(target.pid).length).toBeLessThanOrEqual(EXECUTORS_MAX);
    }
    expect(Object.keys(outcomes).sort()).toEqual(
      [`${SpawnOutcome.started}`, `${SpawnOutcome.alreadyRunning}`, 'ACCOUNT_DENIED', 'LIMIT_REACHED', 'PROFILE_UNKNOWN'].sort(),
    );
    expect(outcomes[SpawnOutcome.started]).toBe(EXECUTORS_MAX);
    const running = childrenOf(target.pid);
    expect(running).toHaveLength(EXECUTORS_MAX);
    const { body } = (await connection.list()) as { body: { executors: { osUser: string; mainPid: number }[] } };
    expect(body.executors.map(({ mainPid }) => mainPid).sort()).toEqual(running.sort());
    for (const { osUser } of body.executors) await target.stopped(connection, osUser);
  });

  it('16 starts of one account at once, in the name of two brokers: one executor', async () => {
    const connections = [await target.greeted(), await target.greeted()] as const;
    const starts = connections.flatMap((connection) => Array.from({ length: 8 }, () => connection.spawned('bob')));
    const pids = new Set((await Promise.all(starts)).map(({ mainPid }) => mainPid));
    expect(childrenOf(target.pid)).toEqual([...pids]);
    expect(pids.size).toBe(1);
    await target.stopped(connections[0], 'bob');
  });

  it.each([1, 100])('an executor has none of the helper’s descriptors, nor of %i that were passed along', async (count) => {
    const passed = await rawSocket(
      target.attacker,
      target.installation.socket,
      SEND_DESCRIPTORS,
      request('listExecutors', [[1, 1]]),
      `${count}`,
    );
    expect(passed).toMatchObject({ value: '' });
    const [connection] = [await target.greeted(), await target.greeted()];
    const { mainPid } = await connection.spawned('bob');
    await hasOnlyDevNullOpen(mainPid);
    await target.stopped(connection, 'bob');
  });

  describe('and signals', () => {
    const SIGNALS = ['SIGTERM', 'SIGKILL', 'SIGSTOP', 'SIGCONT', 'SIGHUP', 'SIGUSR1', 'SIGSEGV'];
    const attackers = new Map<string, Attacker>();
    beforeAll(async () => {
      for (const account of ['bob', 'mallory']) attackers.set(account, await Attacker.as(account));
      for (const { pid } of attackers.values()) target.bystanders.add(pid);
      return async () => {
        for (const attacker of attackers.values()) await attacker.end();
      };
    });

    it.each(SIGNALS)('of nobody else reach the helper or an executor: %s', async (signal) => {
      const connection = await target.greeted();
      const { mainPid } = await connection.spawned('carol');
      for (const attacker of [target.attacker, ...attackers.values()]) {
        for (const pid of [target.pid, mainPid, -mainPid])
          expect(await attacker.tries('signal', pid, signal)).toMatchObject({ code: 'EPERM' });
      }
      for (const pid of [target.pid, mainPid]) expect(statOf(pid)?.state).toMatch(ALIVE);
      await target.stopped(connection, 'carol');
    });
  });
});
