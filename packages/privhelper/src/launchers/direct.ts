import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type Environment,
  type ExecutorInfo,
  ExecutorState,
  KpxError,
  type OsUser,
  type ProfileName,
  SpawnOutcome,
  StopMode,
} from '@kpx/protocol';
import type { Account } from '../accounts.js';
import type { Audit } from '../audit.js';
import type { Config } from '../config.js';
import { userPaths } from '../directories.js';
import type { Launcher, Started } from '../launcher.js';
import { maskedStdio } from '../system/descriptors.js';
import { copyAsUser } from './direct/copy.js';
import { WaitingPasswords } from './direct/passwords.js';
import { readProcess } from './direct/system/child.js';

/*
 * Executors as children of the helper: for containers, the demo and the tests. Where systemd runs, let PID 1 start them.
 * They end with the helper (parent death signal), and processes that an executor moves to another session are out of reach of `stop`.
 */

/**
 * When to look first whether setpriv has become the executor, in milliseconds, and at most how long after that again: each pause is twice the one
 * before. There is no event for an exec of a child, and looking takes time that the executors of others need to get started.
 */
const EXEC_POLL_FIRST_MS = 2;
const EXEC_POLL_MAX_MS = 32;

/** How long executors may take to end after SIGTERM, when the helper ends, before they are ended by force, in milliseconds. */
const STOP_GRACE_MS = 5_000;

/** The child's name in the kernel before the exec of the executor. */
const LAUNCHER_NAME = 'setpriv';

/** setpriv found no such program, could not run it, or was not started itself: setpriv(1). */
const NOT_RUN = /^(exit 12[67]$|setpriv )/;

interface Child {
  readonly account: Account;
  /** Sealed: as long as it runs. */
  msgq: string | undefined;
  readonly process: ChildProcess;
  /** Milliseconds since the epoch of the last change of state. */
  sinceMs: number;
  state: ExecutorInfo['state'];
  lastExit: string;
}

export class DirectLauncher implements Launcher {
  readonly #config: Config;
  readonly #audit: Audit;
  readonly #children = new Map<string, Child>();
  #ending = false;
  readonly passwords = new WaitingPasswords();

  constructor(config: Config, audit: Audit) {
    this.#config = config;
    this.#audit = audit;
  }

  fill = copyAsUser;

  async start(account: Account, _profile: ProfileName, environment: () => Promise<Environment>, signal: AbortSignal): Promise<Started> {
    const running = this.#children.get(account.osUser);
    if (running && running.state !== ExecutorState.exited) return { outcome: SpawnOutcome.alreadyRunning, executor: describe(running) };
    const variables = await environment();
    // From here to the child's place among #children nothing is awaited: what others start meanwhile is counted.
    if (this.#ending) throw new KpxError('LAUNCH_FAILED', 'the helper is about to end');
    const same = this.#alive().find(({ account: { uid } }) => uid === account.uid);
    if (same)
      throw new KpxError(
        'LIMIT_REACHED',
        `"${same.account.osUser}" has the uid ${account.uid}, too, and its executor still runs: one executor a uid`,
      );
    const limit = this.#config.executor.max_executors;
    if (this.#alive().length >= limit) throw new KpxError('LIMIT_REACHED', `max_executors of the helper is ${limit}`);
    this.passwords.delete(account.osUser);
    const child = this.#spawn(account, variables);
    await untilExecuted(child, signal);
    return { outcome: SpawnOutcome.started, executor: describe(child) };
  }

  async stop(osUser: OsUser, mode: StopMode): Promise<number> {
    const child = this.#children.get(osUser);
    if (!child || child.state === ExecutorState.exited) throw new KpxError('NOT_RUNNING', `no executor of "${osUser}" runs`);
    signalGroup(child, mode === StopMode.kill ? 'SIGKILL' : 'SIGTERM');
    if (child.state === ExecutorState.running) {
      child.state = ExecutorState.stopping;
      child.sinceMs = Date.now();
    }
    return child.account.uid;
  }

  async msgqOf(osUser: OsUser): Promise<string | undefined> {
    const child = this.#children.get(osUser);
    return child && child.state !== ExecutorState.exited ? (child.msgq ?? '') : undefined;
  }

  async list(): Promise<readonly ExecutorInfo[]> {
    const executors = [...this.#children.values()].map((child) => ({ ...describe(child), cpuMs: cpuMsOf(child) }));
    return executors.sort((a, b) => (a.osUser < b.osUser ? -1 : 1));
  }

  async stopAll(): Promise<void> {
    this.#ending = true;
    const alive = this.#alive();
    const gone = Promise.all(alive.map(({ process }) => new Promise((resolve) => process.once('exit', resolve))));
    for (const child of alive) signalGroup(child, 'SIGTERM');
    const force = setTimeout(() => {
      for (const child of this.#alive()) signalGroup(child, 'SIGKILL');
    }, STOP_GRACE_MS);
    await gone;
    clearTimeout(force);
  }

  #alive(): Child[] {
    return [...this.#children.values()].filter(({ state }) => state !== ExecutorState.exited);
  }

  #spawn(account: Account, env: Environment): Child {
    const { command, working_directory: directory } = this.#config.executor;
    const paths = userPaths(account, this.#config.directories);
    const values = { workspace: paths.workspace, temp: paths.temp, user: account.osUser };
    const argv = command.map((argument) => argument.replace(/\{(workspace|temp|user)\}/g, (_, key: keyof typeof values) => values[key]));
    const process = spawn('/usr/bin/setpriv', [...dropPrivileges(account), '--', ...argv], {
      cwd: directory === '' ? paths.workspace : directory,
      env,
      stdio: maskedStdio(['ignore', 'ignore', 'ignore']),
      detached: true, // a session of its own
    });
    const msgq = this.#config.executor.sealed ? env.KNIME_EXECUTOR_MSGQ : undefined;
    const child: Child = { account, msgq, process, sinceMs: Date.now(), state: ExecutorState.running, lastExit: '' };
    const ended = (lastExit: string) => {
      Object.assign(child, { msgq: undefined, state: ExecutorState.exited, sinceMs: Date.now(), lastExit });
      this.#audit.info('audit', {
        event: 'executor ended',
        os_user: account.osUser,
        uid: account.uid,
        pid: process.pid ?? 0,
        last_exit: lastExit,
      });
    };
    process.once('error', (error) => ended(`setpriv could not be started: ${error.message}`));
    process.once('exit', (code, by) => ended(by ? `signal ${by}` : `exit ${code}`));
    this.#children.set(account.osUser, child);
    return child;
  }
}

/**
 * `/usr/bin/setpriv`: ids first, groups from the name service, then nothing left to regain: no_new_privs, empty bounding and inheritable sets.
 * The parent death signal is set after the change of uid, which would clear it. Child processes given uid and gid by Node would keep none of
 * the user's supplementary groups. setpriv executes the program with root's permission to do so; then no capability is left.
 */
function dropPrivileges({ uid, gid }: Account): string[] {
  const ids = ['--reuid', `${uid}`, '--regid', `${gid}`, '--init-groups'];
  return [...ids, '--no-new-privs', '--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all', '--pdeathsig', 'TERM'];
}

/**
 * Waits until the child has the user's uid and is no longer setpriv: between fork and exec it bears our own name, afterwards setpriv's until the
 * executor's program takes its place. A program that ends within a few milliseconds may have been seen running.
 */
async function untilExecuted(child: Child, signal: AbortSignal): Promise<void> {
  for (let pauseMs = EXEC_POLL_FIRST_MS; child.state !== ExecutorState.exited; pauseMs = Math.min(2 * pauseMs, EXEC_POLL_MAX_MS)) {
    const status = readProcess(child.process.pid, 'status');
    const field = (name: string) => new RegExp(`^${name}:\\s+(\\S+)`, 'm').exec(status)?.[1];
    if (field('Name') !== LAUNCHER_NAME && field('Uid') === `${child.account.uid}`) return;
    if (signal.aborted) {
      signalGroup(child, 'SIGKILL');
      throw new KpxError('DEADLINE_EXCEEDED', 'the executor was not running in time and has been ended');
    }
    await delay(pauseMs);
  }
  const code = NOT_RUN.test(child.lastExit) ? 'HOST_FAILED' : 'LAUNCH_FAILED';
  throw new KpxError(code, `the executor ended at once: ${child.lastExit}`);
}

/** To the whole process group, which exists for as long as its leader, our child, has not been waited for. */
function signalGroup({ process: { pid, exitCode, signalCode } }: Child, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (pid === undefined || exitCode !== null || signalCode !== null) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function describe({ account, process, sinceMs, state, lastExit }: Child): ExecutorInfo {
  const { osUser, uid, knimeUsers } = account;
  const mainPid = state === ExecutorState.exited ? 0 : (process.pid ?? 0);
  return { osUser, uid, knimeUsers: [...knimeUsers], sinceMs, state, mainPid, lastExit, cpuMs: 0 };
}

/** Of its main process and the children that it has waited for. Source of the fields and of 100 ticks a second: proc_pid_stat(5), sysconf(3). */
function cpuMsOf({ process: { pid }, state }: Child): number {
  if (state === ExecutorState.exited) return 0;
  const stat = readProcess(pid, 'stat');
  if (stat === '') return 0;
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return Math.max(1, ticks * 10);
}
