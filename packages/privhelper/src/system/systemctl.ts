import { KpxError } from '@kpx/protocol';
import { runCommand } from './command.js';

/** What is asked of PID 1 about a unit, by the names of org.freedesktop.systemd1(5). */
const PROPERTIES = [
  'Id', // the unit's full name
  'LoadState', // loaded, not-found, bad-setting, …
  'ActiveState', // active, activating, deactivating, inactive, failed, …
  'MainPID', // 0: no process
  'UID', // not a number when no process runs
  'StateChangeTimestampMonotonic', // microseconds
  'Result', // success, exit-code, signal, timeout, oom-kill, …
  'ExecMainCode', // how the last process ended, as in waitid(2): 1 exited, 2 killed by a signal, 3 with a core dump; 0: none has
  'ExecMainStatus', // its exit status or signal number
  'CPUUsageNSec', // of all its processes; not a number when it is not counted
] as const;

export type UnitState = Readonly<Record<(typeof PROPERTIES)[number], string>>;

/**
 * `/usr/bin/systemctl show --property=… -- PATTERN…`: the units in PID 1's memory whose names match; for a plain name that unit, loaded for the
 * occasion if need be. Throws LAUNCH_FAILED when PID 1 does not answer.
 */
export async function showUnits(patterns: readonly string[], signal: AbortSignal): Promise<UnitState[]> {
  const { exitCode, stdout, stderr } = await systemctl(['show', `--property=${PROPERTIES.join(',')}`], patterns, signal);
  if (exitCode !== 0) throw new KpxError('LAUNCH_FAILED', `systemd does not answer: ${stderr}`);
  const blocks = stdout.split('\n\n').filter((block) => block.trim() !== '');
  return blocks.map((block) => {
    const values = new Map(block.split('\n').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
    return Object.fromEntries(PROPERTIES.map((name) => [name, values.get(name) ?? ''])) as UnitState;
  });
}

/** `/usr/bin/systemctl start -- UNIT`: resolves when the unit has started or failed to. Answers whether it has; PID 1 knows the rest. */
export async function startUnit(unit: string, signal: AbortSignal): Promise<boolean> {
  return (await systemctl(['start'], [unit], signal)).exitCode === 0;
}

/** `/usr/bin/systemctl stop --no-block -- UNIT`: SIGTERM to all its processes, SIGKILL after the unit's TimeoutStopSec=. */
export async function stopUnit(unit: string, signal: AbortSignal): Promise<boolean> {
  return (await systemctl(['stop', '--no-block'], [unit], signal)).exitCode === 0;
}

/** `/usr/bin/systemctl kill --signal=SIGKILL -- UNIT`: to all its processes. */
export async function killUnit(unit: string, signal: AbortSignal): Promise<boolean> {
  return (await systemctl(['kill', '--signal=SIGKILL'], [unit], signal)).exitCode === 0;
}

/** `units` are configured templates with the name of an account of the wire's syntax: nothing that systemctl would take for an option. */
async function systemctl(verb: readonly string[], units: readonly string[], signal: AbortSignal) {
  return await runCommand('/usr/bin/systemctl', ['--no-ask-password', ...verb, '--', ...units], signal);
}
