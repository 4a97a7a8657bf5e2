import { readdir, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { runCommand } from '@kpx/privhelper/system/command';
import { templatesOf } from '@kpx/protocol';
import { ASK_AS_ROOT, type Check, fail, ok, Skipped, type Verdict, warn } from './check.js';
import { chain, trustIn } from './file-system.js';
import { BROKER_UNIT, type Scene } from './scene.js';
import { programOf, showUnit, type Unit } from './systemd.js';

/** Where the helper leaves the executors' environments, each with RabbitMQ's password in it. */
const ENVIRONMENTS = '/run/kpx/executors';
/** Problems of units that are told. */
const PROBLEMS_MAX = 5;
const NOBODYS_INSTANCE = 'kpx-check';
const DEFAULT_TEMPLATE = 'kpx-executor@';

/** The units of systemd: can they be loaded, and is what they name there? */
export function unitChecks(scene: Scene): Check[] {
  return [unitsLoad(scene), unitsAsMeant(scene), profileDropIns(scene), executorProgram(scene), environments(scene)];
}

/** The executors' unit that is looked at: of the account that was asked about, with its own drop-ins, or of nobody. */
async function executorUnits({ account, helper }: Scene): Promise<string[]> {
  const config = await helper().catch(() => undefined);
  if (config === undefined) return [`${DEFAULT_TEMPLATE}${NOBODYS_INSTANCE}.service`];
  if (config.executor.launcher === 'direct') return [];
  const judged = await account().catch(() => undefined);
  return templatesOf(config.executor).map((template) => `${template}${judged?.osUser ?? NOBODYS_INSTANCE}.service`);
}

const unitsLoad = (scene: Scene): Check => ({
  name: 'units',
  fix: 'Look at what systemctl status and systemd-analyze verify say of the unit, and at its drop-ins: systemctl cat UNIT. An ExecStart= in a drop-in needs an empty "ExecStart=" line before it. After an edit: systemctl daemon-reload.',
  look: async (signal) => {
    await scene.underSystemd();
    const own = [BROKER_UNIT, 'kpx-privhelper.socket', 'kpx-privhelper@0-0-0.service', 'kpx-executors.slice'];
    const units = [...own, ...(await executorUnits(scene))];
    const states = await Promise.all(units.map(async (unit) => ({ unit, ...(await showUnit(unit, signal)) })));
    const bad = states.filter(({ LoadState }) => LoadState !== 'loaded');
    if (bad.length > 0) throw new Error(bad.map(({ unit, LoadState }) => `systemd cannot load ${unit}: ${LoadState}`).join('; '));
    const old = states.filter(({ NeedDaemonReload }) => NeedDaemonReload === 'yes').map(({ unit }) => unit);
    if (old.length > 0) return warn(`${old.join(', ')}: changed on disk since systemd has read it`, 'systemctl daemon-reload');
    return ok(`${units.length} units are loaded`);
  },
});

/** Of what `systemd-analyze verify` says, the lines about kpx's units and drop-ins that systemd does not do as they say. */
export function ignoredLines(said: string): string[] {
  return said.split('\n').filter((line) => /^\/\S*\/kpx-\S+:\d+: /.test(line));
}

/** A key that systemd does not know is left out by it, and said in its log only. */
const unitsAsMeant = (scene: Scene): Check => ({
  name: 'unit settings',
  fix: 'Try systemd-analyze verify by hand.',
  look: async (signal) => {
    await scene.underSystemd();
    const units = [BROKER_UNIT, ...(await executorUnits(scene))];
    const verify = ['verify', '--man=no', '--generators=no', '--recursive-errors=no', '--', ...units];
    const { stderr } = await runCommand('/usr/bin/systemd-analyze', verify, signal);
    const problems = ignoredLines(stderr);
    if (problems.length === 0) return ok('no setting that systemd does not know');
    return warn(
      problems.slice(0, PROBLEMS_MAX).join('; '),
      'systemd ignores these lines: fix their spelling, or remove what this systemd has dropped, then systemctl daemon-reload.',
    );
  },
});

/** A copy of the executors' unit has none of its drop-ins: what was said for all users does not hold for those of the profile. */
const profileDropIns = ({ helper, underSystemd }: Scene): Check => ({
  name: 'profile drop-ins',
  fix: 'Look at systemctl cat of the units in [executor.profiles].',
  look: async (signal) => {
    await underSystemd();
    const { executor } = await helper();
    const dropInsOf = async (template: string) => {
      const { DropInPaths } = await showUnit(`${template}${NOBODYS_INSTANCE}.service`, signal);
      return DropInPaths.split(' ').filter((path) => path.startsWith('/etc/'));
    };
    const forAll = await dropInsOf(executor.unit);
    for (const template of templatesOf(executor).filter((each) => each !== executor.unit)) {
      const names = new Set((await dropInsOf(template)).map((path) => basename(path)));
      const missing = forAll.filter((path) => !names.has(basename(path)));
      if (missing.length === 0) continue;
      return warn(
        `${template}.service has not ${missing.join(', ')}: users of this profile run without it`,
        `ln -s ${missing.join(' ')} /etc/systemd/system/${template}.service.d; or, where it is not meant for them, an empty file of that name there. Then systemctl daemon-reload.`,
      );
    }
    return ok('every profile has the drop-ins of the default unit');
  },
});

const executorProgram = (scene: Scene): Check => ({
  name: 'executor program',
  fix: 'Name the KNIME Executor of this machine in /etc/systemd/system/kpx-executor@.service.d/10-all.conf: an empty ExecStart=, then ExecStart= with the whole command, and WorkingDirectory= (install.md, "When something is elsewhere").',
  look: async (signal) => {
    const { executor } = await scene.helper();
    if (executor.launcher === 'direct') return await judgeProgram(executor.command[0] ?? '', executor.working_directory, signal);
    const verdicts: Verdict[] = [];
    for (const name of await executorUnits(scene)) {
      const unit = await showUnit(name, signal);
      verdicts.push(await judgeUnit(name, unit, signal));
    }
    return (
      verdicts.find(({ result }) => result === 'fail') ?? verdicts.find(({ result }) => result === 'warn') ?? verdicts[0] ?? ok('none')
    );
  },
});

async function judgeUnit(name: string, unit: Unit, signal: AbortSignal): Promise<Verdict> {
  if (unit.LoadState !== 'loaded') throw new Skipped('the unit cannot be loaded');
  const program = programOf(unit);
  if (program === undefined) throw new Error(`${name} has no ExecStart=`);
  if (!unit.EnvironmentFiles.includes(`${ENVIRONMENTS}/`))
    return fail(
      `${name} does not read ${ENVIRONMENTS}/%i.env`,
      `Let it have EnvironmentFile=${ENVIRONMENTS}/%i.env: without it executors do not know RabbitMQ.`,
    );
  const account = name.slice(name.indexOf('@') + 1, -'.service'.length);
  if (unit.User !== account)
    return fail(
      `${name} runs as "${unit.User}", and not as "${account}"`,
      'Take User= out of its drop-ins (systemctl cat shows them), then systemctl daemon-reload: kpx ends what runs as somebody else.',
    );
  return await judgeProgram(program, unit.WorkingDirectory.replace(/^!/, ''), signal);
}

async function judgeProgram(program: string, directory: string, signal: AbortSignal): Promise<Verdict> {
  const paths = directory.startsWith('/') ? [program, directory] : [program];
  for (const path of paths) {
    const steps = await chain(path, signal);
    const missing = steps.find(({ found }) => found === undefined);
    if (missing) throw new Error(`${missing.path} does not exist`);
    const last = steps.at(-1)?.found;
    if (path === program && !/^(regular|symbolic link)/.test(last?.type ?? '')) throw new Error(`${program} is a ${last?.type}`);
    const closed = steps.find(({ found }) => found !== undefined && (found.mode & 0o111) === 0);
    if (closed)
      throw new Error(
        path === program && closed.path === program ? `${program} is not executable` : `${closed.path} may be entered by nobody`,
      );
    const untrusted = trustIn(steps);
    if (untrusted !== undefined)
      return warn(
        `${untrusted}: who can change ${program}, has a program run as every user`,
        `Make it root's and writable by nobody else: chown root:root, chmod go-w.`,
      );
  }
  return ok(`${program} can be executed, and only root may change it`);
}

const environments = ({ isRoot, underSystemd }: Scene): Check => ({
  name: 'environment files',
  fix: `chown -R root:root ${ENVIRONMENTS} && chmod 0700 ${ENVIRONMENTS} && chmod 0600 ${ENVIRONMENTS}/*; then change the executors' password (operate.md): others could read it.`,
  look: async () => {
    await underSystemd();
    if (!isRoot) throw new Skipped(ASK_AS_ROOT);
    const directory = await stat(ENVIRONMENTS).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (!directory) return fail(`${ENVIRONMENTS} does not exist`, 'systemd-tmpfiles --create kpx.conf');
    const names = await readdir(ENVIRONMENTS);
    const all = [ENVIRONMENTS, ...names.map((name) => `${ENVIRONMENTS}/${name}`)];
    for (const path of all) {
      const { uid, mode } = await stat(path);
      if (uid !== 0 || (mode & 0o077) !== 0) throw new Error(`${path} can be read by others than root`);
    }
    return ok(`${ENVIRONMENTS} has ${names.length} files, which only root may read`);
  },
});
