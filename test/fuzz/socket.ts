import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { BROKER_ACCOUNT, createAccounts, PEOPLE } from '../fixtures/accounts.js';
import { lastLook } from '../fixtures/eventually.js';
import { checkout, HelperInstallation, idsOf, node } from '../fixtures/helper-installation.js';
import type { LogLine } from '../fixtures/json-log.js';
import { argumentsOf, childrenOf, processesOfUids, statusOf } from '../fixtures/process.js';
import { oneLine, type Tally } from './finding.js';
import { batchOf, corpusBatch } from './scripts.js';
import type { BatchResult } from './socket-client.js';

/** Resident memory of the helper, in MB: 50 at the start, and it may not grow with what it is sent. */
const RESIDENT_MB_MAX = 120;
/** One batch, the honest client included, in milliseconds. */
const BATCH_TIMEOUT_MS = 300_000;
/** How long a process or a directory may be there before the audit line that explains it, in milliseconds: a request's deadline and more. */
const EXPLAINED_WITHIN_MS = 30_000;
const EXECUTORS_MAX = 4;
/** Executors end by themselves after this many seconds. */
const EXECUTOR_SECONDS = '2';
const USER_UIDS = [1_000, 60_000] as const;
/** Where nothing may appear but what the audit log says. */
const WATCHED = ['/etc', '/home', '/run', '/srv'];

/** What the audit log allows to be there. */
class Allowed {
  readonly directories = new Set<string>();
  readonly executors = new Map<number, string>();
  readonly wrong: string[] = [];
  readonly #installation: HelperInstallation;

  constructor(installation: HelperInstallation) {
    this.#installation = installation;
  }

  /** Takes the lines out of the log: an hour has millions of them. */
  readLog(): void {
    for (const line of this.#installation.helperLog.lines.splice(0)) this.#read(line);
  }

  #read(line: LogLine): void {
    const { event, os_user: osUser, created, outcome, pid, code, decision, verb } = line as Record<string, string>;
    if (code === 'INTERNAL') this.wrong.push(`the audit log: ${JSON.stringify(line)}`);
    if (event === 'executor ended') this.executors.delete(Number(pid));
    if (event !== 'request' || osUser === undefined) return;
    const { srv, workspaces, temps } = this.#installation;
    const places: Record<string, string> = { home: '/home', workspace: workspaces, temp: temps };
    for (const kind of created ?? []) this.directories.add(`${places[kind] ?? srv}/${osUser}`);
    const started = /^started, pid (\d+)$/.exec(outcome ?? '')?.[1];
    if (started !== undefined) this.executors.set(Number(started), osUser);
    if (decision === 'done' && verb !== 'stopExecutor' && !PEOPLE.includes(osUser)) this.wrong.push(`done for ${osUser}`);
  }
}

/** Directories below what is watched. */
function directoriesIn(path: string): string[] {
  if (path === checkout()) return [];
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) => [join(path, name), ...directoriesIn(join(path, name))]);
}

/** A root helper at a socket, and a client of the broker's account that sends it batches of scripts. */
export class SocketFuzzer {
  readonly tally: Tally = { part: 'socket', unit: 'packets', count: 0, seconds: 0, findings: [] };
  connections = 0;
  residentMbMax = 0;
  readonly #installation: HelperInstallation;
  readonly #allowed: Allowed;
  readonly #before: ReadonlySet<string>;
  #client!: ChildProcess;
  #clientEnded!: Promise<never>;

  constructor() {
    createAccounts();
    const executor = { command: ['/usr/bin/sleep', EXECUTOR_SECONDS], max_executors: EXECUTORS_MAX };
    this.#installation = new HelperInstallation({ config: { executor } });
    this.#allowed = new Allowed(this.#installation);
    this.#before = new Set(WATCHED.flatMap(directoriesIn));
  }

  get #helperPid(): number {
    return this.#installation.helper?.pid ?? 0;
  }

  async start(): Promise<void> {
    const { socket } = this.#installation;
    await this.#installation.startHelper();
    const { uid, gid } = idsOf(BROKER_ACCOUNT);
    const become = ['--reuid', String(uid), '--regid', String(gid), '--init-groups', '--'];
    const program = [node(), '--import', 'tsx', join(checkout(), 'test/fuzz/socket-client.ts'), socket];
    this.#client = spawn('/usr/bin/setpriv', [...become, ...program], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      serialization: 'advanced',
    });
    this.#clientEnded = once(this.#client, 'exit').then(() => Promise.reject(new Error('the client ended')));
    this.#clientEnded.catch(() => {}); // expected at the end
    await once(this.#client, 'message');
  }

  /** One batch and what must hold after it. False when something was found: nothing after that means anything. */
  async batch(seed: number | 'corpus'): Promise<boolean> {
    const began = performance.now();
    const wrong = await this.#play(seed).catch((error) => [oneLine(error)]);
    wrong.push(...(await this.#lookAround()));
    this.tally.seconds += (performance.now() - began) / 1_000;
    if (wrong.length === 0) return true;
    const scripts = seed === 'corpus' ? corpusBatch() : batchOf(seed);
    this.tally.findings.push({
      what: `batch ${seed}: ${wrong.join('; ')} ${this.#installation.helperLog.stderr}`.trim(),
      connections: scripts.map(({ packets }) => packets),
    });
    return false;
  }

  async #play(seed: number | 'corpus'): Promise<string[]> {
    const answer = once(this.#client, 'message', { signal: AbortSignal.timeout(BATCH_TIMEOUT_MS) });
    this.#client.send(seed);
    const [result] = (await Promise.race([answer, this.#clientEnded])) as [BatchResult];
    this.tally.count += result.packets;
    this.connections += result.connections;
    return result.wrong;
  }

  /** Everything that is not as it must be. */
  async #lookAround(): Promise<string[]> {
    const { helper } = this.#installation;
    if (helper?.exitCode !== null || helper.signalCode !== null) return [`the helper ended: ${helper?.exitCode ?? helper?.signalCode}`];
    const look = () => {
      this.#allowed.readLog();
      return [...this.#strangeProcesses(), ...this.#strangeDirectories()];
    };
    const unexplained = await lastLook(look, (seen) => seen.length === 0, EXPLAINED_WITHIN_MS);
    const residentMb = Math.round(Number.parseInt(statusOf(this.#helperPid)?.VmRSS ?? 'none', 10) / 1_024);
    this.residentMbMax = Math.max(this.residentMbMax, residentMb);
    const memory = residentMb <= RESIDENT_MB_MAX ? [] : [`${residentMb} MB resident`];
    return [...unexplained, ...memory, ...this.#allowed.wrong.splice(0)];
  }

  /** Children of the helper and processes of users that are no executor of the audit log, and executors of the audit log that are not there. */
  #strangeProcesses(): string[] {
    const there = new Set([...childrenOf(this.#helperPid), ...processesOfUids(...USER_UIDS)]);
    const { executors } = this.#allowed;
    const strange = [...there].filter((pid) => !executors.has(pid)).map((pid) => `process ${argumentsOf(pid).join(' ')}`);
    const missing = [...executors].filter(([pid]) => !there.has(pid)).map(([pid, osUser]) => `executor ${pid} of ${osUser} is missing`);
    return [...strange, ...missing];
  }

  #strangeDirectories(): string[] {
    const fresh = WATCHED.flatMap(directoriesIn).filter((path) => !this.#before.has(path));
    return fresh.filter((path) => !this.#allowed.directories.has(path)).map((path) => `directory ${path}`);
  }

  async end(): Promise<void> {
    this.#client.disconnect();
    const code = await this.#installation.endHelper();
    if (code !== 0)
      this.tally.findings.push({ what: `the helper ended with ${code}: ${this.#installation.helperLog.stderr}`, connections: [] });
    this.#installation.removeDirectories();
  }
}
