import { constants } from 'node:os';
import type { Environment, ExecutorInfo, OsUser, ProfileName } from '@kpx/protocol';
import { accountNameOf, ExecutorState, HOME_TEMPLATE, KpxError, SpawnOutcome, StopMode, templateOf, templatesOf } from '@kpx/protocol';
import { type Account, knimeUsersOf } from '../accounts.js';
import type { Config } from '../config.js';
import { environmentFile } from '../environment.js';
import type { Launcher, Started } from '../launcher.js';
import { lookUpAccount } from '../system/name-service.js';
import { writePrivateFile } from '../system/private-file.js';
import { showUnits, tellUnit, type UnitState } from '../system/systemctl.js';

/*
 * Executors as units of PID 1, instances of one template unit that administrators tune with drop-ins: own control group, own /tmp, own log.
 * They outlive the helper and the broker. Nothing is stored here: what runs is what PID 1 says.
 */

/** Root's directory for the environments of executors and copies, by name of the account. The template units name it, too. */
const ENVIRONMENT_DIRECTORY = '/run/kpx/executors';

export class SystemdLauncher implements Launcher {
  readonly #config: Config;
  /** Units that are being started and may not be in PID 1's list yet. */
  readonly #starting = new Set<string>();

  constructor(config: Config) {
    this.#config = config;
  }

  fill: Launcher['fill'] = async ({ osUser }, skeleton, { path, handle }, signal) => {
    const unit = unitOf(HOME_TEMPLATE, osUser);
    await tellUnit('end', unit, signal); // a copy that a helper has begun which is gone: its next command would see what is written here
    await writeEnvironment(osUser, 'home', { KPX_SKELETON: skeleton, KPX_HOME: path }, signal);
    await tellUnit('start', unit, signal);
    // Its last command leaves mode 0000.
    if ((await handle.stat()).mode & 0o777) throw new KpxError('DIRECTORY_FAILED', `the home was not filled: see journalctl -u '${unit}'`);
  };

  async start(account: Account, profile: ProfileName, environment: Environment, signal: AbortSignal): Promise<Started> {
    const unit = unitOf(templateOf(this.#config.executor, profile), account.osUser);
    // Starts that began before are counted, whether or not PID 1 shows them yet: of two starts, the later one always sees the earlier one.
    const earlier = [...this.#starting];
    this.#starting.add(unit);
    try {
      const alive = (await this.#units(signal)).filter(isAlive);
      const running = alive.find(({ Id }) => this.#osUserOf(Id) === account.osUser);
      if (running) return await this.#judged(SpawnOutcome.alreadyRunning, running, account, signal);
      const same = alive.find((state) => uidOf(state) === account.uid);
      if (same) throw new KpxError('LIMIT_REACHED', `${same.Id} has the uid ${account.uid}, too, and still runs: one executor a uid`);
      const limit = this.#config.executor.max_executors;
      if (new Set([...alive.map(({ Id }) => Id), ...earlier]).size >= limit)
        throw new KpxError('LIMIT_REACHED', `max_executors of the helper is ${limit}`);
      await writeEnvironment(account.osUser, 'env', environment, signal);
      const started = await tellUnit('start', unit, signal);
      const [state] = await showUnits([unit], signal);
      if (!started || !state || !isAlive(state)) throw notStarted(unit, state);
      return await this.#judged(SpawnOutcome.started, state, account, signal);
    } finally {
      this.#starting.delete(unit);
    }
  }

  async stop(osUser: OsUser, mode: StopMode, signal: AbortSignal): Promise<number> {
    const state = (await this.#units(signal)).find((unit) => isAlive(unit) && this.#osUserOf(unit.Id) === osUser);
    if (!state) throw new KpxError('NOT_RUNNING', `no executor of "${osUser}" runs`);
    const done = await tellUnit(mode === StopMode.kill ? 'kill' : 'stop', state.Id, signal);
    if (!done) throw new KpxError('LAUNCH_FAILED', `systemd did not stop ${state.Id}: see systemctl status`);
    return uidOf(state) ?? 0;
  }

  async list(signal: AbortSignal): Promise<readonly ExecutorInfo[]> {
    const executors = new Map<OsUser, ExecutorInfo>();
    for (const unit of await this.#units(signal)) {
      const osUser = this.#osUserOf(unit.Id);
      // A failed unit of one profile is of no interest while another one runs; what runs, not before PID 1 knows its user, nor if that is
      // root: both would be an executor of uid 0, for which the broker would end the connection.
      if (osUser && (isAlive(unit) ? uidOf(unit) : !executors.has(osUser))) executors.set(osUser, this.#describe(unit, osUser));
    }
    return [...executors.values()].sort((a, b) => (a.osUser < b.osUser ? -1 : 1));
  }

  /** Executors are children of PID 1 and live on. */
  async stopAll(): Promise<void> {}

  async #units(signal: AbortSignal): Promise<UnitState[]> {
    const allOf = (template: string) => unitOf(template, '*');
    return await showUnits(templatesOf(this.#config.executor).map(allOf), signal);
  }

  /** Undefined for what is no instance of a configured template, or not named like an account. */
  #osUserOf(unit: string): OsUser | undefined {
    const template = unit.slice(0, unit.indexOf('@') + 1);
    if (!templatesOf(this.#config.executor).includes(template)) return undefined;
    return accountNameOf(unit.slice(template.length, -'.service'.length));
  }

  /** PID 1 looks the account up by itself, later than the helper has, and a drop-in may say another one: what runs as somebody else is ended. */
  async #judged(outcome: SpawnOutcome, unit: UnitState, { osUser, uid }: Account, signal: AbortSignal): Promise<Started> {
    if ((uidOf(unit) ?? uid) === uid) return { outcome, executor: { ...this.#describe(unit, osUser), uid } };
    await tellUnit('kill', unit.Id, signal);
    throw new KpxError('LAUNCH_FAILED', `${unit.Id} ran as uid ${unit.UID}, expected ${uid}, and has been ended`);
  }

  #describe(unit: UnitState, osUser: OsUser): ExecutorInfo {
    const knimeUsers = knimeUsersOf(osUser, this.#config.accounts);
    const { exited, running, stopping } = ExecutorState;
    const state = isAlive(unit) ? (unit.ActiveState === 'deactivating' ? stopping : running) : exited;
    const ageMs = Math.max(0, (Number(process.hrtime.bigint() / 1_000n) - Number(unit.StateChangeTimestampMonotonic)) / 1_000);
    const times = { sinceMs: Math.max(1, Math.round(Date.now() - ageMs)), cpuMs: isAlive(unit) ? cpuMsOf(unit) : 0 };
    return { osUser, uid: uidOf(unit) ?? 0, knimeUsers, state, ...times, mainPid: Number(unit.MainPID), lastExit: lastExit(unit) };
  }
}

async function writeEnvironment(osUser: OsUser, kind: 'env' | 'home', environment: Environment, signal: AbortSignal): Promise<void> {
  // PID 1 takes the file's name for a glob(7) pattern, in which a backslash is not itself: DOM\alice names the file DOMalice.env. Were
  // there an account DOMalice, one could be started with the other's environment.
  const name = osUser.replace(/\\(.?)/g, '$1');
  if (name !== osUser && (await lookUpAccount(name, signal)))
    throw new KpxError('ACCOUNT_DENIED', `the account "${osUser}" may not have an executor: systemd cannot tell it from "${name}"`);
  await writePrivateFile(ENVIRONMENT_DIRECTORY, `${name}.${kind}`, environmentFile(environment));
}

const unitOf = (template: string, osUser: string) => `${template}${osUser}.service`;

const isAlive = ({ ActiveState }: UnitState) => !['inactive', 'failed'].includes(ActiveState);

/** Undefined where PID 1 does not know it, yet (a unit of Type=simple) or any more. */
const uidOf = ({ UID }: UnitState) => (/^\d+$/.test(UID) ? Number(UID) : undefined);

/** 0 where PID 1 does not count it: then its highest number stands there, which becomes 2^64, or no number. */
const cpuMsOf = ({ CPUUsageNSec: nanoseconds }: UnitState) =>
  Number(nanoseconds) < 2 ** 64 ? Math.ceil(Number(nanoseconds) / 1_000_000) : 0;

/** "exit 1", "signal SIGKILL", with systemd's own verdict where it says more; empty when no process has ended. */
function lastExit({ ExecMainCode: code, ExecMainStatus: status, Result: result }: UnitState): string {
  if (code === '0') return '';
  const signalName = Object.entries(constants.signals).find(([, number]) => number === Number(status))?.[0];
  const how = code === '1' ? `exit ${status}` : `signal ${signalName ?? status}`;
  return ['success', 'exit-code', 'signal', 'core-dump'].includes(result) ? how : `${how} (${result})`;
}

/** systemd could not set the process up: 200 to 243 of "Process Exit Codes" in systemd.exec(5), but for PAM's refusal of the user. */
const NOT_SET_UP = /^result resources|, exit (?!224)2([0-3]\d|4[0-3])\b/;

/** For the broker: result and exit code. The unit's output stays in the journal, for root. */
function notStarted(unit: string, state: UnitState | undefined): KpxError {
  if (!state) return new KpxError('HOST_FAILED', `systemd knows nothing of ${unit}: see journalctl --unit '${unit}'`);
  if (state.LoadState !== 'loaded')
    return new KpxError('HOST_FAILED', `systemd cannot load ${unit} (${state.LoadState}): see systemctl status '${unit}'`);
  const how = `result ${state.Result}, ${lastExit(state) || 'no process'}`;
  const code = NOT_SET_UP.test(how) ? 'HOST_FAILED' : 'LAUNCH_FAILED';
  return new KpxError(code, `${unit} did not start: ${how}: see journalctl --unit '${unit}'`);
}
