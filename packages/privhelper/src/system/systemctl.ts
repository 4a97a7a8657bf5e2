import { KpxError, units } from '@kpx/protocol';
import { runCommand } from './command.js';

/**
 * `/usr/bin/systemctl show --property=… -- PATTERN…`: the units in PID 1's memory whose names match; for a plain name that unit, loaded for the
 * occasion if need be. PID 1 is asked once for each. Throws HOST_FAILED when it does not answer.
 */
export async function showUnits(patterns: readonly string[], signal: AbortSignal): Promise<units.UnitState[]> {
  if (patterns.length === 0) return []; // systemctl would show PID 1 itself
  return units.statesIn(await askSystemd(['show', `--property=${units.PROPERTIES.join(',')}`], patterns, signal));
}

/**
 * `/usr/bin/systemctl list-units --all --full --plain --no-legend -- PATTERN…`: the names of those in PID 1's memory that match and have not ended. PID 1 is
 * asked once for all. Throws HOST_FAILED when it does not answer.
 */
export const aliveUnits = async (patterns: readonly string[], signal: AbortSignal) =>
  units.aliveIn(await askSystemd(['list-units', '--all', '--full', '--plain', '--no-legend'], patterns, signal));

async function askSystemd(question: readonly string[], names: readonly string[], signal: AbortSignal): Promise<string> {
  const { exitCode, stdout, stderr } = await systemctl(question, names, signal);
  if (exitCode !== 0) throw new KpxError('HOST_FAILED', `systemd does not answer: ${stderr}`);
  return stdout;
}

/** The time of the clock that systemd's timestamps are of, in milliseconds: clock_gettime(2), CLOCK_MONOTONIC. */
export const sinceBootMs = () => Number(process.hrtime.bigint() / 1_000n) / 1_000;

const COMMANDS = { start: ['start'], end: ['stop'], stop: ['stop', '--no-block'], kill: ['kill', '--signal=SIGKILL'] } as const;

/**
 * `/usr/bin/systemctl start|stop|stop --no-block|kill --signal=SIGKILL -- UNIT`. A start resolves when the unit has started or failed to, an end when
 * nothing of it runs; a stop is SIGTERM to all its processes, and SIGKILL after the unit's TimeoutStopSec=. Answers whether systemctl is content; PID 1 knows the rest.
 */
export const tellUnit = async (command: keyof typeof COMMANDS, unit: string, signal: AbortSignal) =>
  (await systemctl(COMMANDS[command], [unit], signal)).exitCode === 0;

/** `names` are configured templates with the name of an account of the wire's syntax: nothing that systemctl would take for an option. */
const systemctl = (verb: readonly string[], names: readonly string[], signal: AbortSignal) =>
  runCommand('/usr/bin/systemctl', ['--no-ask-password', ...verb, '--', ...names], signal);
