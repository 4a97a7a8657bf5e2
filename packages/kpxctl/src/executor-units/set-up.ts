import { basename, dirname } from 'node:path';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { printableLines } from '@kpx/broker/output/format';
import { readConfig as readHelperConfig } from '@kpx/privhelper/config';
import { runCommand } from '@kpx/privhelper/system/command';
import { templatesOf } from '@kpx/protocol';
import { needReload, showUnit } from '../doctor/systemd.js';
import { isThere, type Step, tell } from '../sealed/steps.js';
import { type DropIn, presence, removal, UNITS } from './drop-ins.js';

const RELOAD_TIMEOUT_MS = 60_000;
const LOOK_UP_TIMEOUT_MS = 10_000;

export interface SetUpOptions {
  readonly apply?: boolean;
  readonly remove?: boolean;
  readonly helperConfig: string;
}

/** `what`: begins the sentence "… systemd". `before` and `after`: steps around the drop-ins, when these are not removed. */
interface SetUp {
  readonly command: string;
  readonly what: string;
  /** It has each executor start with another unit of its user. */
  readonly dropIn: DropIn;
  readonly next: string;
  before(): Promise<Step[]>;
  after(): Promise<Step[]>;
  /** Steps behind the drop-ins, when these are removed. */
  removed?(): Promise<Step[]>;
}

/** Says what has to be done for it, and does it with `apply`. */
export async function setUpDropIns({ apply = false, remove = false, helperConfig }: SetUpOptions, setUp: SetUp): Promise<void> {
  if (process.getuid?.() !== 0) throw new CommandError(EXIT.noPermission, `kpxctl ${setUp.command} has to be run as root.`);
  const { executor } = await readHelperConfig(helperConfig);
  if (executor.launcher !== 'systemd')
    throw new CommandError(EXIT.config, `${setUp.what} systemd, and executor.launcher in privhelper.toml is "direct".`);
  const dropIns = await (remove ? removal : presence)(templatesOf(executor), setUp.dropIn);
  const steps = remove
    ? [...dropIns, ...((await setUp.removed?.()) ?? [])]
    : [...(await setUp.before()), ...dropIns, ...(await setUp.after())];
  const fails = steps.some(({ state }) => state === 'fails');
  if (await isReloadDue(steps.filter(({ name }) => name.startsWith(UNITS)))) steps.push(reload);
  const done = new Set<Step>();
  for (const step of apply && !fails ? steps : []) {
    if (step.state !== 'to do') continue;
    await step.apply?.();
    done.add(step);
  }
  tell(steps, done, apply, remove ? 'kpxctl doctor' : setUp.next);
  if (fails) process.exitCode = EXIT.config;
}

/** Whether PID 1 has not read drop-ins: those that are about to change, and those of a run that ended before PID 1 had. */
async function isReloadDue(dropIns: readonly Step[]): Promise<boolean> {
  if (dropIns.some(({ state }) => state === 'to do')) return true;
  const signal = AbortSignal.timeout(LOOK_UP_TIMEOUT_MS);
  const unread = dropIns.map(({ name }) => isUnread(name, signal));
  return await Promise.all(unread).then(
    (each) => each.includes(true),
    (error: Error) => {
      throw new CommandError(EXIT.unavailable, error.message);
    },
  );
}

/** Of a template: an instance that is loaded for this question, and all that are loaded. systemd 252 sees no new directory until it is reloaded. */
async function isUnread(dropIn: string, signal: AbortSignal): Promise<boolean> {
  const unit = basename(dirname(dropIn), '.d');
  const { LoadState, NeedDaemonReload, DropInPaths } = await showUnit(unit.replace('@.', '@kpx-check.'), signal);
  if (LoadState !== 'loaded') return false;
  if (NeedDaemonReload === 'yes' || DropInPaths.split(' ').includes(dropIn) !== (await isThere(dropIn))) return true;
  return await needReload(unit.replace('@.', '@*.'), signal);
}

const reload: Step = {
  name: 'systemctl daemon-reload',
  state: 'to do',
  why: 'PID 1 reads the drop-ins; executors that run go on',
  apply: async () => {
    const { exitCode, stderr } = await runCommand(
      '/usr/bin/systemctl',
      ['--no-ask-password', 'daemon-reload'],
      AbortSignal.timeout(RELOAD_TIMEOUT_MS),
    );
    if (exitCode !== 0) throw new CommandError(EXIT.unavailable, `systemctl daemon-reload has failed: ${printableLines(stderr.trim())}`);
  },
};
