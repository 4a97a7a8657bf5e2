import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { type Config as HelperConfig, readConfig as readHelperConfig } from '@kpx/privhelper/config';
import { runCommand } from '@kpx/privhelper/system/command';
import { printable, templatesOf } from '@kpx/protocol';
import { fileStep, isThere, type Step, tell } from '../sealed/steps.js';

export const UNITS = '/etc/systemd/system';
const RELOAD_TIMEOUT_MS = 60_000;

/** A file that has each executor start with another unit of its user. */
interface ExecutorDropIn extends DropIn {
  /** Of the file, below the directory of each template unit of executors. */
  readonly name: string;
}

interface DropIn {
  readonly text: string;
  readonly why: string;
  /** Said of executors when it goes. */
  readonly without: string;
}

export interface SetUpOptions {
  readonly apply?: boolean;
  readonly remove?: boolean;
  readonly helperConfig: string;
}

/** `what`: begins the sentence "… systemd". `before` and `after`: steps around the drop-ins, when these are not removed. */
interface SetUp {
  readonly command: string;
  readonly what: string;
  readonly dropIn: ExecutorDropIn;
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
  const files = filesOf(executor, setUp.dropIn);
  const dropIns = await Promise.all(files.map((path) => (remove ? removal(path, setUp.dropIn) : presence(path, setUp.dropIn))));
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

const filesOf = (executor: HelperConfig['executor'], { name }: ExecutorDropIn) =>
  templatesOf(executor).map((template) => `${UNITS}/${template}.service.d/${name}`);

/** A drop-in that has to be there, and is shown where it is not. */
export async function presence(path: string, { text, why }: DropIn): Promise<Step> {
  const step = await fileStep({ path, content: text, mode: 0o644, gid: 0, why });
  if (step.state !== 'to do') return step;
  const apply = async () => {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await step.apply?.();
  };
  return { ...step, apply, lines: text.trimEnd().split('\n') };
}

export async function removal(path: string, { without }: DropIn): Promise<Step> {
  if (!(await isThere(path))) return { name: path, state: 'ok', why: `it is not there: ${without}` };
  return { name: path, state: 'to do', why: `it goes: ${without}`, apply: () => rm(path) };
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
