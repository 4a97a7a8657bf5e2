import { existsSync, readdirSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { ExecutorState, StopMode } from '@kpx/protocol';
import { expect } from 'vitest';
import { BROKER_ACCOUNT } from '../fixtures/accounts.js';
import { eventually, lastLook } from '../fixtures/eventually.js';
import { HelperConnection } from '../fixtures/helper-connection.js';
import { HelperInstallation, type HelperOptions, type HelperStart } from '../fixtures/helper-installation.js';
import type { LogLine } from '../fixtures/json-log.js';
import { argumentsOf, descriptorsOf, everyProcess, statOf } from '../fixtures/process.js';
import { snapshot } from '../fixtures/tree.js';
import { Attacker } from './attacker.js';

/** Who may have an executor in most configurations of these tests. */
export const ELIGIBLE = ['alice', 'bob', 'carol'];
const HONEST = 'alice';

/** Watched with everything below them. */
const TREES = ['/etc', '/home', '/run', '/dev/shm', '/var/spool'];
/** Watched for names that come and go. /tmp is not among them: it is everybody's. */
const DIRECTORIES = ['/', '/root', '/srv', '/usr/bin', '/usr/sbin', '/usr/local/bin', '/var', '/var/lib'];
/** How long what was begun may take to end, in milliseconds. */
const SETTLE_TIMEOUT_MS = 5_000;
/** Whose children orphans are. */
const INIT = 1;
/** Part of {@link snapshot}: setfacl changes it each time, even where it changes nothing else. */
const CHANGE_TIME = / c \d+/;

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

/** All that run, but for those that end while they are looked at. */
function runningProcesses(): Process[] {
  return everyProcess().flatMap((pid) => {
    const parent = statOf(pid)?.parent;
    return parent === undefined ? [] : [{ pid, parent, command: argumentsOf(pid).join(' ') }];
  });
}

/** A process, its parent, that one's parent and so on, as far as they still run. */
function lineage(pid: number, running: readonly Process[]): number[] {
  const parent = running.find((process) => process.pid === pid)?.parent;
  return parent === undefined ? [] : [pid, ...lineage(parent, running)];
}

/**
 * A root helper under attack, an attacker who has the broker's account, and the canary that is looked at after each attack. One for all tests
 * of a file.
 */
export class Target {
  attacker!: Attacker;
  /** Processes of the tests' own that may come and go. */
  readonly bystanders = new Set<number>();
  /** Processes that were there before, with all that they start: of other tests, and of RabbitMQ, which starts programs now and then. */
  readonly #others: ReadonlySet<number>;
  readonly #connections: HelperConnection[] = [];
  #before!: Readonly<ReturnType<Target['look']>>;
  /** Where the audit lines of this attack begin. */
  #from = 0;
  /** Up to where {@link expectViolation} has read them. */
  #read = 0;

  private constructor(
    readonly installation: HelperInstallation,
    readonly eligible: readonly string[],
  ) {
    const running = runningProcesses();
    const others = running.filter(({ pid }) => pid !== INIT && !lineage(pid, running).includes(process.pid));
    this.#others = new Set(others.map(({ pid }) => pid));
  }

  /** Accounts have to be there by now: what is there is what is compared with. */
  static async start(options: HelperOptions = {}, start: HelperStart = {}): Promise<Target> {
    return await Target.of(new HelperInstallation(options), start);
  }

  /** `eligible`: who may have an executor; nobody else ever gets one. */
  static async of(installation: HelperInstallation, start: HelperStart = {}, eligible = ELIGIBLE): Promise<Target> {
    const target = new Target(installation, eligible);
    await installation.startHelper(start);
    target.attacker = await Attacker.as(BROKER_ACCOUNT);
    const connection = await target.greeted();
    for (const user of eligible) expect(await connection.prepare(user)).toMatchObject({ kind: 'userPrepared' });
    await target.#quiet();
    await eventually('all is quiet', () => {
      const before = target.#before;
      target.#before = target.look();
      return isDeepStrictEqual(target.#before, before);
    });
    target.#from = target.#read = installation.helperLog.lines.length;
    return target;
  }

  get pid(): number {
    return this.installation.helper?.pid ?? 0;
  }

  /** A connection of the attacker's, and nothing said yet. */
  async connected(): Promise<HelperConnection> {
    return this.#opened(await HelperConnection.open(this.installation.socket, this.attacker.connect));
  }

  /** The same, past the Hello. */
  async greeted(): Promise<HelperConnection> {
    return this.#opened(await HelperConnection.greeted(this.installation.socket, this.attacker.connect));
  }

  #opened(connection: HelperConnection): HelperConnection {
    this.#connections.push(connection);
    return connection;
  }

  /** The first audit line of this attack with all these values. */
  async audited(values: LogLine): Promise<LogLine> {
    return await this.installation.helperLog.line(values, { from: this.#from });
  }

  /** All audit lines of this attack so far. */
  get heard(): LogLine[] {
    return this.installation.helperLog.lines.slice(this.#from);
  }

  /** A connection that the helper has closed without an answer, and has said why. */
  async expectViolation(connection: HelperConnection, reason: string): Promise<void> {
    await connection.closed;
    expect(connection.unclaimed).toEqual([]);
    const { helperLog } = this.installation;
    const line = await helperLog.line({ event: 'violation' }, { from: this.#read });
    expect(line).toMatchObject({ decision: 'refused', reason: expect.stringContaining(reason) });
    this.#read = helperLog.lines.indexOf(line) + 1;
  }

  /** Ends an executor that this attack has started. */
  async stopped(connection: HelperConnection, osUser: string): Promise<void> {
    const from = this.installation.helperLog.lines.length;
    expect(await connection.stop(osUser, StopMode.kill)).toMatchObject({ kind: 'executorStopped' });
    await this.installation.helperLog.line({ event: 'executor ended', os_user: osUser }, { from });
  }

  /**
   * After each attack: the same helper serves an honest client; the machine has the processes and files that it had; whatever the helper says
   * it has done it has done for those who may have an executor.
   */
  async canary(settleTimeoutMs = SETTLE_TIMEOUT_MS): Promise<void> {
    await this.#quiet();
    const connection = await this.greeted();
    expect(await connection.prepare(HONEST)).toMatchObject({ kind: 'userPrepared', body: { osUser: HONEST, created: [] } });
    const { body } = (await connection.list()) as { body: { executors: { osUser: string; state: number }[] } };
    expect(body.executors.filter(({ osUser, state }) => !this.eligible.includes(osUser) || state !== ExecutorState.exited)).toEqual([]);
    await this.#quiet();
    const before = this.#before;
    // What one attack has done is not held against the next.
    this.#before = await lastLook(
      () => this.look(),
      (seen) => isDeepStrictEqual(seen, before),
      settleTimeoutMs,
    );
    const done = this.heard.filter(({ decision, os_user }) => decision === 'done' && os_user !== undefined);
    this.#from = this.#read = this.installation.helperLog.lines.length;
    expect(this.#before).toEqual(before);
    expect(done.filter(({ os_user }) => !this.eligible.includes(String(os_user)))).toEqual([]);
  }

  /** Every connection is closed, and the helper has said so. */
  async #quiet(): Promise<void> {
    for (const connection of this.#connections.splice(0)) connection.close();
    const said = (event: string) => this.installation.helperLog.lines.filter((line) => line.event === event).length;
    await eventually('all connections are closed', () => said('connected') === said('disconnected'));
  }

  /** What runs and is no matter of the others. */
  #processes(): string[] {
    const running = runningProcesses();
    const ofOthers = (pid: number) => {
      const line = lineage(pid, running);
      return !line.includes(process.pid) && line.some((ancestor) => this.#others.has(ancestor));
    };
    return running
      .filter(({ pid }) => pid !== this.attacker.pid && !this.bystanders.has(pid) && !ofOthers(pid))
      .map(({ pid, parent, command }) => `${pid} of ${parent}: ${command}`);
  }

  /** What an attack must not change. */
  look() {
    const { workspaces, temps, srv } = this.installation;
    const prepared = new Set(this.eligible.flatMap((user) => [`${workspaces}/${user}`, `${temps}/${user}`]));
    const files = Object.assign({}, ...[...TREES, srv].filter(existsSync).map(snapshot)) as Record<string, string>;
    for (const path of prepared) if (files[path] !== undefined) files[path] = files[path].replace(CHANGE_TIME, '');
    return {
      helper: statOf(this.pid)?.parent,
      descriptors: Object.keys(descriptorsOf(this.pid)).length,
      processes: this.#processes(),
      names: Object.fromEntries(DIRECTORIES.filter(existsSync).map((path) => [path, readdirSync(path)])),
      files,
    };
  }

  async end(): Promise<void> {
    await this.attacker.end();
    await this.installation.endHelper();
    this.installation.removeDirectories();
  }
}
