import type { Environment, ExecutorInfo, OsUser, ProfileName } from '@kpx/protocol';
import { environmentFile, HOME_TEMPLATE, KpxError, SpawnOutcome, StopMode, templateOf, templatesOf, units } from '@kpx/protocol';
import { type Account, denied } from '../accounts.js';
import type { Config } from '../config.js';
import type { Launcher, Started } from '../launcher.js';
import { lookUpAccount } from '../system/name-service.js';
import { passwordFiles } from '../system/password-files.js';
import { writePrivateFile } from '../system/private-file.js';
import { aliveUnits, showUnits, sinceBootMs, tellUnit } from '../system/systemctl.js';
import { readTrustedFile } from '../system/trusted-file.js';

/*
 * Executors as units of PID 1, instances of one template unit that administrators tune with drop-ins: own control group, own /tmp, own log.
 * They outlive the helper and the broker. Nothing is stored here: what runs is what PID 1 says.
 */

/** Root's directory for the environments of executors and copies, by name of the account. The template units name it, too. */
const ENVIRONMENT_DIRECTORY = '/run/kpx/executors';

/** Largest environment that is read back, in bytes: above what the kernel starts a program with. */
const ENVIRONMENT_BYTES_MAX = 16 * 1024 * 1024;

export class SystemdLauncher implements Launcher {
  readonly #config: Config;
  /** Units that are being started and may not be in PID 1's list yet, with the uids of their accounts. */
  readonly #starting = new Map<string, number>();
  /**
   * The uid of each unit that runs, from when PID 1 has told it until the unit is seen ended. To ask for all of them at each start would take longer the more
   * there are. Each list asks anew: an administrator may have restarted one as somebody else in between.
   */
  #uids: ReadonlyMap<string, number | undefined> = new Map();

  readonly passwords = passwordFiles(ENVIRONMENT_DIRECTORY);

  constructor(config: Config) {
    this.#config = config;
  }

  fill: Launcher['fill'] = async ({ osUser }, skeleton, { path, handle }, signal) => {
    const unit = units.nameOf(HOME_TEMPLATE, osUser);
    await tellUnit('end', unit, signal); // a copy that a helper has begun which is gone: its next command would see what is written here
    await writeEnvironment(osUser, 'home', { KPX_SKELETON: skeleton, KPX_HOME: path }, signal);
    await tellUnit('start', unit, signal);
    // Its last command leaves mode 0000.
    if ((await handle.stat()).mode & 0o777) throw new KpxError('DIRECTORY_FAILED', `the home was not filled: see journalctl -u '${unit}'`);
  };

  async start(account: Account, profile: ProfileName, environment: () => Promise<Environment>, signal: AbortSignal): Promise<Started> {
    const unit = units.nameOf(templateOf(this.#config.executor, profile), account.osUser);
    // Starts that began before are counted, whether or not PID 1 shows them yet: of two starts, the later one always sees the earlier one.
    const earlier = [...this.#starting];
    this.#starting.set(unit, account.uid);
    try {
      const alive = await aliveUnits(namesOf(this.#config, '*'), signal);
      const uids = new Map(alive.map((id) => [id, this.#uids.get(id)]));
      const isOwn = (id: string) => units.accountOf(id, this.#config.executor) === account.osUser;
      const asked = alive.filter((id) => isOwn(id) || !(uids.get(id) ?? this.#starting.has(id)));
      const shown = await showUnits(asked, signal);
      for (const state of shown) uids.set(state.Id, units.uidOf(state));
      this.#uids = uids;
      const running = shown.find((state) => isOwn(state.Id) && units.isAlive(state));
      if (running) return await this.#judged(SpawnOutcome.alreadyRunning, running, account, signal);
      const counted = new Map([...uids, ...earlier]);
      const [same] = [...counted].find(([, uid]) => uid === account.uid) ?? [];
      if (same) throw new KpxError('LIMIT_REACHED', `${same} has the uid ${account.uid}, too, and still runs: one executor a uid`);
      // As cor\palice is to corp\alice: one could be started with the other's environment.
      const names = namesOf(this.#config, fileNameOf(account.osUser));
      const alike = [...counted.keys()].find((id) => !isOwn(id) && names.includes(fileNameOf(id)));
      if (alike) throw denied(account.osUser, `systemd cannot tell it from "${alike}"`);
      const { max_executors } = this.#config.executor;
      if (counted.size >= max_executors) throw new KpxError('LIMIT_REACHED', `max_executors of the helper is ${max_executors}`);
      const gate = units.gateOf(account.osUser);
      if (this.#config.accounts.ask_pam && !(await tellUnit('start', gate, signal)))
        throw units.notAdmitted(gate, (await showUnits([gate], signal))[0]);
      await writeEnvironment(account.osUser, 'env', await environment(), signal);
      if (this.#config.executor.sealed) await this.passwords.delete(account.osUser);
      const started = await tellUnit('start', unit, signal);
      const [state, ...steps] = await showUnits([unit, ...units.firstStepsOf(account.osUser)], signal);
      if (!started || !state || !units.isAlive(state)) throw units.notStarted(unit, state, steps);
      return await this.#judged(SpawnOutcome.started, state, account, signal);
    } finally {
      this.#starting.delete(unit);
    }
  }

  async stop(osUser: OsUser, mode: StopMode, signal: AbortSignal): Promise<number> {
    const state = (await showUnits(namesOf(this.#config, osUser), signal)).find(units.willRun);
    if (!state) throw new KpxError('NOT_RUNNING', `no executor of "${osUser}" runs`);
    // A stop takes back a start that waits; there is nothing to kill.
    const done = await tellUnit(mode === StopMode.kill && units.isAlive(state) ? 'kill' : 'stop', state.Id, signal);
    if (!done) throw new KpxError('LAUNCH_FAILED', `systemd did not stop ${state.Id}: see systemctl status`);
    return units.uidOf(state) ?? 0;
  }

  async msgqOf(osUser: OsUser, signal: AbortSignal): Promise<string | undefined> {
    if (!(await showUnits(namesOf(this.#config, osUser), signal)).some(units.willRun)) return undefined;
    const text = await readTrustedFile(`${ENVIRONMENT_DIRECTORY}/${fileNameOf(osUser)}.env`, 'secret', ENVIRONMENT_BYTES_MAX);
    return /^KNIME_EXECUTOR_MSGQ="(.*)"$/m.exec(text)?.[1] ?? '';
  }

  async list(signal: AbortSignal): Promise<readonly ExecutorInfo[]> {
    const states = await showUnits(namesOf(this.#config, '*'), signal);
    this.#uids = new Map(states.map((state) => [state.Id, units.uidOf(state)]));
    return units.executorsOf(states, this.#config, sinceBootMs());
  }

  /** Executors are children of PID 1 and live on. */
  async stopAll(): Promise<void> {}

  /** PID 1 looks the account up by itself, later than the helper has, and a drop-in may say another one: what runs as somebody else is ended. */
  async #judged(outcome: SpawnOutcome, unit: units.UnitState, { osUser, uid }: Account, signal: AbortSignal): Promise<Started> {
    if ((units.uidOf(unit) ?? uid) === uid)
      return { outcome, executor: { ...units.executorOf(unit, osUser, this.#config, sinceBootMs()), uid } };
    await tellUnit('kill', unit.Id, signal);
    throw new KpxError('LAUNCH_FAILED', `${unit.Id} ran as uid ${unit.UID}, expected ${uid}, and has been ended`);
  }
}

/** The names that an account's executor may have, one for each profile; with `*`, patterns for those of all accounts. */
const namesOf = ({ executor }: Config, osUser: string) => templatesOf(executor).map((template) => units.nameOf(template, osUser));

/** PID 1 takes the name of an EnvironmentFile= for a glob(7) pattern, in which a backslash is not itself: DOM\alice names the file DOMalice.env. */
const fileNameOf = (name: string) => name.replace(/\\(.?)/g, '$1');

async function writeEnvironment(osUser: OsUser, kind: 'env' | 'home', environment: Environment, signal: AbortSignal): Promise<void> {
  // Were there an account DOMalice, one could be started with the other's environment.
  const name = fileNameOf(osUser);
  if (name !== osUser && (await lookUpAccount(name, signal))) throw denied(osUser, `systemd cannot tell it from "${name}"`);
  await writePrivateFile(ENVIRONMENT_DIRECTORY, `${name}.${kind}`, environmentFile(environment));
}
