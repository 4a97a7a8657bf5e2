import { cpSync } from 'node:fs';
import type { BootedMachine } from '../fixtures/booted/machine.js';

/*
 * For scripts/coverage.mjs: what is installed is what is delivered, and a drop-in has Node write down what the helper has run when it exits. In
 * /run, where tests do not look for an administrator's.
 */
const DIRECTORY = '/var/lib/coverage';
const DROP_IN = '/run/systemd/system/kpx-privhelper@.service.d/coverage.conf';

/** Nothing unless the run is one that counts. Resolves with what takes the result out of the machine. */
export async function recordCoverage(machine: BootedMachine): Promise<() => void> {
  if (process.env.KPX_COVERAGE !== '1') return () => {};
  await machine.run(['/usr/bin/mkdir', '--parents', DIRECTORY]);
  await machine.writeFile(DROP_IN, `[Service]\nEnvironment=NODE_V8_COVERAGE=${DIRECTORY}\nReadWritePaths=${DIRECTORY}\n`);
  await machine.systemctl('daemon-reload');
  return () => cpSync(`/proc/${machine.facts.leader}/root${DIRECTORY}`, 'dist/coverage/processes', { recursive: true });
}

/** For tests of the units themselves and of what the helper uses: exactly as delivered. */
export async function stopRecording(machine: BootedMachine): Promise<void> {
  await machine.remove(DROP_IN);
  await machine.systemctl('daemon-reload');
}
