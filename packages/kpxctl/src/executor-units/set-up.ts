import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { readConfig as readHelperConfig } from '@kpx/privhelper/config';
import { runCommand } from '@kpx/privhelper/system/command';
import { printable, templatesOf } from '@kpx/protocol';
import { type Step, tell } from '../sealed/steps.js';
import { type DropIn, presence, removal, UNITS } from './drop-ins.js';

const RELOAD_TIMEOUT_MS = 60_000;

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
  if (steps.some(({ name, state }) => state === 'to do' && name.startsWith(UNITS))) steps.push(reload);
  const done = new Set<Step>();
  for (const step of apply && !fails ? steps : []) {
    if (step.state !== 'to do') continue;
    await step.apply?.();
    done.add(step);
  }
  tell(steps, done, apply, remove ? 'kpxctl doctor' : setUp.next);
  if (fails) process.exitCode = EXIT.config;
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
    if (exitCode !== 0) throw new CommandError(EXIT.unavailable, `systemctl daemon-reload has failed: ${printable(stderr.trim())}`);
  },
};
