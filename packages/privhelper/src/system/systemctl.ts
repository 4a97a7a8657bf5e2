import { KpxError } from '@kpx/protocol';
import { runCommand } from './command.js';

/*
 * The properties of a unit that PID 1 is asked for, by the names of org.freedesktop.systemd1(5). Id: the full name. LoadState: loaded, not-found,
 * bad-setting, …. ActiveState: active, activating, deactivating, inactive, failed, …. MainPID: 0 without a process. UID: not a number when no process runs.
 * StateChangeTimestampMonotonic: microseconds. Result: success, exit-code, signal, timeout, oom-kill, …. ExecMainCode: how the last process ended,
 * as in waitid(2): 1 exited, 2 killed by a signal, 3 with a core dump; 0: none has. ExecMainStatus: its exit status or signal number.
 * CPUUsageNSec: of all its processes; not a number when it is not counted.
 */
const STATE = ['Id', 'LoadState', 'ActiveState', 'MainPID', 'UID', 'StateChangeTimestampMonotonic', 'CPUUsageNSec'] as const;
const END = ['Result', 'ExecMainCode', 'ExecMainStatus'] as const;
const PROPERTIES = [...STATE, ...END];

export type UnitState = Readonly<Record<(typeof PROPERTIES)[number], string>>;

/**
 * `/usr/bin/systemctl show --property=… -- PATTERN…`: the units in PID 1's memory whose names match; for a plain name that unit, loaded for the
 * occasion if need be. Throws HOST_FAILED when PID 1 does not answer.
 */
export async function showUnits(patterns: readonly string[], signal: AbortSignal): Promise<UnitState[]> {
  const { exitCode, stdout, stderr } = await systemctl(['show', `--property=${PROPERTIES.join(',')}`], patterns, signal);
  if (exitCode !== 0) throw new KpxError('HOST_FAILED', `systemd does not answer: ${stderr}`);
  const blocks = stdout.split('\n\n').filter((block) => block.trim() !== '');
  const unsaid = Object.fromEntries(PROPERTIES.map((name) => [name, '']));
  return blocks.map((block) => ({ ...unsaid, ...Object.fromEntries(block.split('\n').map((line) => line.split(/=(.*)/s))) }) as UnitState);
}

const COMMANDS = { start: ['start'], end: ['stop'], stop: ['stop', '--no-block'], kill: ['kill', '--signal=SIGKILL'] } as const;

/**
 * `/usr/bin/systemctl start|stop|stop --no-block|kill --signal=SIGKILL -- UNIT`. A start resolves when the unit has started or failed to, an end when
 * nothing of it runs; a stop is SIGTERM to all its processes, and SIGKILL after the unit's TimeoutStopSec=. Answers whether systemctl is content; PID 1 knows the rest.
 */
export const tellUnit = async (command: keyof typeof COMMANDS, unit: string, signal: AbortSignal) =>
  (await systemctl(COMMANDS[command], [unit], signal)).exitCode === 0;

/** `units` are configured templates with the name of an account of the wire's syntax: nothing that systemctl would take for an option. */
const systemctl = (verb: readonly string[], units: readonly string[], signal: AbortSignal) =>
  runCommand('/usr/bin/systemctl', ['--no-ask-password', ...verb, '--', ...units], signal);
