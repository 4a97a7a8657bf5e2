// Runs in: the helper, as root.
import { constants } from 'node:os';
import { type AccountMap, knimeUsersOf } from './account-map.js';
import { KpxError } from './errors.js';
import { accountNameOf, type OsUser } from './names.js';
import { type PrivhelperConfig, templatesOf } from './privhelper-config.js';
import { type ExecutorInfo, ExecutorState } from './verbs.js';

/*
 * Systemd's answers about the units of executors, in the terms of the wire. Pure: the helper asks systemd, see its systemctl.ts and its launcher.
 */

/**
 * The properties of a unit that PID 1 is asked for, by the names of org.freedesktop.systemd1(5). Id: the full name. LoadState: loaded, not-found,
 * bad-setting, …. ActiveState: active, activating, deactivating, inactive, failed, …. MainPID: 0 without a process. UID: not a number when no process runs.
 * StateChangeTimestampMonotonic: microseconds. Result: success, exit-code, signal, timeout, oom-kill, …. ExecMainCode: how the last process ended,
 * as in waitid(2): 1 exited, 2 killed by a signal, 3 with a core dump; 0: none has. ExecMainStatus: its exit status or signal number.
 * CPUUsageNSec: of all its processes; not a number when it is not counted. StatusText: what its program says of itself, one line.
 * Job: the number of what PID 1 is still to do with it; empty: nothing.
 */
const STATE = ['Id', 'LoadState', 'ActiveState', 'MainPID', 'UID', 'StateChangeTimestampMonotonic', 'CPUUsageNSec', 'Job'] as const;
const END = ['Result', 'ExecMainCode', 'ExecMainStatus', 'StatusText'] as const;
export const PROPERTIES = [...STATE, ...END];

export type UnitState = Readonly<Record<(typeof PROPERTIES)[number], string>>;

type Executors = Readonly<{ accounts: AccountMap; executor: PrivhelperConfig['executor'] }>;

/** The output of `systemctl show`: a block of lines `NAME=value` for each unit. Properties that it leaves out are empty. */
export function statesIn(output: string): UnitState[] {
  const blocks = output
    .trimEnd()
    .split('\n\n')
    .filter((block) => block !== '');
  const unsaid = Object.fromEntries(PROPERTIES.map((name) => [name, '']));
  return blocks.map((block) => ({ ...unsaid, ...Object.fromEntries(block.split('\n').map((line) => line.split(/=(.*)/s))) }) as UnitState);
}

/** The output of `systemctl list-units --full --plain --no-legend`: the names of those that have not ended. UNIT LOAD ACTIVE SUB DESCRIPTION. */
export function aliveIn(output: string): string[] {
  const lines = [...output.matchAll(/^(\S+) +\S+ +(\S+) /gm)];
  return lines.filter(([, , ActiveState = '']) => isAlive({ ActiveState })).map(([, Id = '']) => Id);
}

export const nameOf = (template: string, osUser: string) => `${template}${osUser}.service`;

/** Undefined for what is no instance of a configured template, or not named like an account. */
export function accountOf(unit: string, executor: Executors['executor']): OsUser | undefined {
  const template = unit.slice(0, unit.indexOf('@') + 1);
  if (!templatesOf(executor).includes(template)) return undefined;
  return accountNameOf(unit.slice(template.length, -'.service'.length));
}

export const isAlive = ({ ActiveState }: Pick<UnitState, 'ActiveState'>) => !['inactive', 'failed'].includes(ActiveState);

/** It runs, or PID 1 is to start it once the units that it waits for are there. */
export const willRun = (unit: Pick<UnitState, 'ActiveState' | 'Job'>) => isAlive(unit) || unit.Job !== '';

/** Undefined where PID 1 does not know it, yet (a unit of Type=simple) or any more. */
export const uidOf = ({ UID }: UnitState) => (/^\d+$/.test(UID) ? Number(UID) : undefined);

/** One executor. `nowMs` is the time of the clock that systemd's timestamps are of, in milliseconds since the boot. */
export function executorOf(unit: UnitState, osUser: OsUser, { accounts }: Executors, nowMs: number): ExecutorInfo {
  const { exited, running, stopping } = ExecutorState;
  const state = isAlive(unit) ? (unit.ActiveState === 'deactivating' ? stopping : running) : exited;
  const ageMs = Math.max(0, nowMs - Number(unit.StateChangeTimestampMonotonic) / 1_000);
  const times = { sinceMs: Math.max(1, Math.round(Date.now() - ageMs)), cpuMs: isAlive(unit) ? cpuMsOf(unit) : 0 };
  const knimeUsers = knimeUsersOf(osUser, accounts);
  return { osUser, uid: uidOf(unit) ?? 0, knimeUsers, state, ...times, mainPid: Number(unit.MainPID), lastExit: lastExit(unit) };
}

/** One executor for each account, by name. */
export function executorsOf(units: readonly UnitState[], config: Executors, nowMs: number): ExecutorInfo[] {
  const executors = new Map<OsUser, ExecutorInfo>();
  for (const unit of units) {
    const osUser = accountOf(unit.Id, config.executor);
    // A failed unit of one profile is of no interest while another one runs; what runs, not before PID 1 knows its user, nor if that is
    // root: both would be an executor of uid 0, for which the broker would end the connection.
    const shown = osUser && (isAlive(unit) ? uidOf(unit) : !executors.has(osUser));
    if (osUser && shown) executors.set(osUser, executorOf(unit, osUser, config, nowMs));
  }
  return [...executors.values()].sort((a, b) => (a.osUser < b.osUser ? -1 : 1));
}

/** 0 where PID 1 does not count it: then its highest number stands there, which becomes 2^64, or no number. */
const cpuMsOf = ({ CPUUsageNSec: nanoseconds }: UnitState) =>
  Number(nanoseconds) < 2 ** 64 ? Math.ceil(Number(nanoseconds) / 1_000_000) : 0;

/** "exit 1", "signal SIGKILL", with systemd's own verdict where it says more; empty when no process has ended. */
function lastExit({ ExecMainCode: code, ExecMainStatus: status, Result: result }: UnitState): string {
  if (code === '0') return '';
  const signalName = Object.entries(constants.signals).find(([, number]) => number === Number(status))?.[0];
  const how = code === '1' ? `exit ${status}` : `signal ${signalName ?? status}`;
  return ['success', 'exit-code', 'signal', 'core-dump'].includes(result) ? how : `${how} (${result})`;
}

/** Templates of units that a drop-in has an executor require and follow, where they are installed: what it cannot do without. */
const FIRST_STEPS = ['kpx-ticket@', 'kpx-drive@'];
/** A first step ends with this status when the account is refused: to ask again would be refused again. EX_NOPERM of sysexits.h(3head). */
const EXIT_REFUSED = '77';
/** And with this one when nobody answers: it may go well later, for anybody. EX_TEMPFAIL. */
const EXIT_NO_ANSWER = '75';

export const firstStepsOf = (osUser: string) => FIRST_STEPS.map((template) => nameOf(template, osUser));

/** systemd could not set the process up: 200 to 243 of "Process Exit Codes" in systemd.exec(5), but for PAM's refusal of the user. */
const NOT_SET_UP = /^result resources|, exit (?!224)2([0-3]\d|4[0-3])\b/;

/** PID 1 goes on with the start, and has not told how it ends: it was executed anew, which ends the connection of a program that waits for it. */
const isUnderWay = ({ ActiveState, Job }: UnitState) => ['active', 'activating'].includes(ActiveState) || Job !== '';

/** For the broker: result and exit code, of the first step that has failed instead of the executor. Units' output stays in the journal, for root. */
export function notStarted(unit: string, state: UnitState | undefined, steps: readonly UnitState[] = []): KpxError {
  if (!state) return new KpxError('HOST_FAILED', `systemd knows nothing of ${unit}: see journalctl --unit '${unit}'`);
  if (state.LoadState !== 'loaded')
    return new KpxError('HOST_FAILED', `systemd cannot load ${unit} (${state.LoadState}): see systemctl status '${unit}'`);
  const changedAt = ({ StateChangeTimestampMonotonic: at }: UnitState) => Number(at);
  // A failure from before this start says nothing.
  const step = steps.find((one) => one.ActiveState === 'failed' && changedAt(one) > changedAt(state));
  if (step) return stepFailed(step);
  const how = `result ${state.Result}, ${lastExit(state) || 'no process'}`;
  const code = NOT_SET_UP.test(how) || isUnderWay(state) ? 'HOST_FAILED' : 'LAUNCH_FAILED';
  const why = how.replace(/exit 203\b/, 'exit 203, the program of ExecStart= cannot be run');
  return new KpxError(code, `${unit} did not start: ${why}: see journalctl --unit '${unit}'`);
}

/** PAM refused the user or failed, in its account step or for a session: "Process Exit Codes" in systemd.exec(5). */
const EXIT_PAM = '224';

/** The unit by which PID 1 asks PAM for an account. */
export const gateOf = (osUser: string) => nameOf('kpx-account@', osUser);

/**
 * For the broker: why PAM's account step, which `gate` asks, keeps the account from an executor. systemd has one exit code for a refusal and for a PAM
 * that has nobody to ask, for example while SSSD restarts. So it is asked again.
 */
export function notAdmitted(gate: string, state: UnitState | undefined): KpxError {
  if (state?.ExecMainCode !== '1' || state.ExecMainStatus !== EXIT_PAM) return notAnswered(gate, state);
  const why = 'PAM refuses the account, or cannot tell: it is disabled, locked or expired, or its password is, or SSSD was away';
  return new KpxError('LAUNCH_FAILED', `${why}: see journalctl --unit '${gate}'`);
}

/** Of a unit that asks servers. They have made it late, or a busy host has: neither is the account's fault. */
function notAnswered(unit: string, state: UnitState | undefined): KpxError {
  const failed = notStarted(unit, state);
  return state?.Result === 'timeout' ? new KpxError('HOST_FAILED', failed.message) : failed;
}

function stepFailed(step: UnitState): KpxError {
  const { ExecMainCode, ExecMainStatus, Id, StatusText } = step;
  const failed = notAnswered(Id, step);
  if (ExecMainCode !== '1' || ![EXIT_REFUSED, EXIT_NO_ANSWER].includes(ExecMainStatus)) return failed;
  const code = ExecMainStatus === EXIT_REFUSED ? 'CREDENTIALS_REFUSED' : 'HOST_FAILED';
  return new KpxError(code, StatusText === '' ? failed.message : `${StatusText} (journalctl --unit '${Id}')`);
}
