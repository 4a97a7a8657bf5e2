import { onTestFailed, onTestFinished } from 'vitest';
import { BootedKpx, type BootedKpxOptions } from '../fixtures/booted/kpx.js';
import { BootedRpm } from '../fixtures/booted/rpm.js';
import type { Vhost } from '../fixtures/rabbitmq-access.js';
import { bootedMachine, takeKnimeVhost } from './shared-machine.js';

const DPKG_TIMEOUT_MS = 90_000;
/** What a failure shows of the journal. */
const JOURNAL_LINES = 80;

/** Installs the package if it is not there yet. */
export async function installPackage(): Promise<void> {
  const machine = bootedMachine();
  if (await machine.exists('/usr/lib/kpx/kpx-broker.cjs')) return;
  await BootedKpx.install(machine, await BootedKpx.packageFile(machine));
}

/** A machine with neither package, and without a configuration: what installs kpx does so for the first time. */
export async function removePackages(): Promise<void> {
  const machine = bootedMachine();
  await machine.run(['/usr/bin/dpkg', '--purge', 'kpx'], { timeoutMs: DPKG_TIMEOUT_MS }); // not an error where there is none
  await new BootedRpm(machine).erase();
  await machine.run(['/usr/bin/find', '/etc/kpx', '-type', 'f', '-delete'], { allowFailure: true });
}

/** Programs of kpx and executors, whoever started them, as "PID COMMAND…". */
export async function runningPrograms(): Promise<string[]> {
  const argv = ['/usr/bin/pgrep', '--full', '--list-full', '/usr/lib/kpx/|/opt/knime/knime'];
  return (await bootedMachine().run(argv, { allowFailure: true })).stdout.split('\n').filter(Boolean);
}

/** kpx, installed and configured on a virtual host of its own for one test, not started yet; stopped when the test is finished. */
export async function installKpx(options: BootedKpxOptions = {}, vhost?: Vhost): Promise<BootedKpx> {
  await installPackage();
  const machine = bootedMachine();
  const kpx = new BootedKpx(machine, vhost ?? (await takeKnimeVhost()));
  const cursor = await machine.journalCursor();
  onTestFailed(async () => {
    const { stdout } = await machine.run(['/usr/bin/journalctl', '--no-pager', `--after-cursor=${cursor}`]);
    console.log(stdout.split('\n').slice(-JOURNAL_LINES).join('\n'));
  });
  onTestFinished(() => kpx.stop());
  await kpx.configure(options);
  return kpx;
}

/** The same, with both units running. */
export async function startKpx(options: BootedKpxOptions = {}): Promise<BootedKpx> {
  const kpx = await installKpx(options);
  await kpx.start();
  return kpx;
}
