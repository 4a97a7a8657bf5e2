import { KpxError, units } from '@kpx/protocol';
import { runCommand } from './command.js';

/**
 * `/usr/bin/systemctl show --property=… -- PATTERN…`: the units in PID 1's memory whose names match; for a plain name that unit, loaded for the
 * occasion if need be. Throws HOST_FAILED when PID 1 does not answer.
 */
export async function showUnits(patterns: readonly string[], signal: AbortSignal): Promise<units.UnitState[]> {
  const { exitCode, stdout, stderr } = await systemctl(['show', `--property=${units.PROPERTIES.join(',')}`], patterns, signal);
  if (exitCode !== 0) throw new KpxError('HOST_FAILED', `systemd does not answer: ${stderr}`);
  return units.statesIn(stdout);
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
