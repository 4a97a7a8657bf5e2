import { unitOf } from '../fixtures/booted/kpx.js';
import { bootedMachine } from './shared-machine.js';

/** Whether the user's own code can do this where their executor runs: with its view of the file system, and its uid. */
export async function executorCan(user: string, ...argv: string[]): Promise<boolean> {
  const machine = bootedMachine();
  const { MainPID: pid } = await machine.show(unitOf(user), 'MainPID');
  const ids = ['--reuid', user, '--regid', user, '--clear-groups', '--no-new-privs', '--bounding-set=-all', '--inh-caps=-all'];
  const enter = ['/usr/bin/nsenter', '--mount', `--target=${pid}`, '--', '/usr/bin/setpriv', ...ids, '--', ...argv];
  return (await machine.run(enter, { allowFailure: true })).exitCode === 0;
}
