import { BootedKpx, type BootedKpxOptions } from '../fixtures/booted/kpx.js';
import { installPackage } from './installed-kpx.js';
import { bootedMachine, bootedRabbitmq } from './shared-machine.js';

/** What a failure shows of the journal. */
const JOURNAL_LINES = 120;

/**
 * For `beforeAll`, whose answer it is: kpx, installed and configured on a virtual host of its own for all tests of a file, not started yet.
 * `use` brings about what the tests then look at; what it throws comes with the journal's end.
 * @returns stops kpx
 */
export async function withKpx(options: BootedKpxOptions, use: (kpx: BootedKpx) => Promise<void>): Promise<() => Promise<void>> {
  await installPackage();
  const machine = bootedMachine();
  const vhost = await bootedRabbitmq().createKnimeVhost();
  const kpx = new BootedKpx(machine, vhost);
  const end = async () => {
    await kpx.stop();
    await vhost.delete();
  };
  try {
    await kpx.configure(options);
    await use(kpx);
    return end;
  } catch (error) {
    const { stdout } = await machine.run(['/usr/bin/journalctl', '--no-pager', `--lines=${JOURNAL_LINES}`]);
    console.log(stdout);
    await end();
    throw error;
  }
}
