import { UNITS_MS } from '@kpx/broker/config/values';
import { askBroker } from '@kpx/broker/control/client';
import { shownState } from '@kpx/broker/executors/states';
import { durationText } from '@kpx/broker/output/duration';
import { inWhole, jsonLine } from '@kpx/broker/output/format';
import { bold, say, warning } from '@kpx/broker/output/terminal';
import type { Change } from '@kpx/broker/record/histories';
import { nextStepOf } from '@kpx/broker/record/next-step';
import type { UserDetail } from '@kpx/broker/record/status';
import type { KnimeUser } from '@kpx/protocol';
import { printable } from '@kpx/protocol';
import type { Command } from 'commander';
import { seen } from './account.js';
import { asksBroker, type BrokerOptions, judgesAccount } from './broker-options.js';
import { controlSocket } from './control-socket.js';
import { decisionOf, knimeUser, plannedOf, stateOf } from './explain.js';
import { forHowLong, mebibytes } from './rows.js';
import { unitOf } from './unit.js';

/** Of the longest name of a state. */
const STATE_CHARS = 12;

interface Options extends BrokerOptions {
  readonly helperConfig: string;
}

export function addShow(program: Command): void {
  const command = program
    .command('show')
    .summary('all that the broker knows of a KNIME user')
    .description('Prints all that the running broker knows of this KNIME user: state, executor, limits, jobs and recent events.')
    .argument('<USER>', 'name of a KNIME user', knimeUser);
  asksBroker(judgesAccount(command)).action(show);
}

async function show(user: KnimeUser, { config, helperConfig, json }: Options): Promise<void> {
  const path = `/user?${new URLSearchParams({ user })}`;
  const answer = (await askBroker(await controlSocket(config), path)) as UserDetail;
  const { account, explanation: detail } = await seen(answer, user, helperConfig);
  const unit = detail.process === null ? undefined : await unitOf(detail.process.pid);
  const lines = json ? [jsonLine({ ...detail, unit: unit ?? null })] : forPeople(detail, account, unit, Date.now());
  say(lines.map((line) => `${line}\n`).join(''));
}

function forPeople(detail: UserDetail, seenAccount: string, unit: string | undefined, now: number): string[] {
  const { user, groups, rule, profile, account, jobs, changes, failures, last_parked: parked, planned } = detail;
  const rows: [name: string, value: string][] = [
    ['user', user],
    ['account', account === null ? seenAccount : `${account.os_user}, uid ${account.uid}`],
    ['groups', groups.length === 0 ? 'none, or not asked for by any rule' : groups.join(', ')],
    ['rule', rule],
    ['profile', profile],
    ['state', detail.since === null ? stateOf(detail) : `${stateOf(detail)}, for ${forHowLong(detail.since, now)}`],
    ...(planned ? ([['planned', plannedOf(planned)]] as [string, string][]) : []),
    ['executor', processOf(detail, now)],
    ...(unit === undefined ? [] : ([['unit', unit]] as [string, string][])),
    ['limits', limitsOf(detail)],
    ['jobs', `${jobs.held} held; ${jobs.forwarded} forwarded, ${jobs.deferred} deferred, ${jobs.parked} parked by this broker`],
    ['a job now', decisionOf(detail)],
    ['next step', nextStepOf(detail)],
  ];
  return [
    ...rows.map(([name, value]) => `${bold(name.padEnd(10))} ${printable(value)}`),
    ...(parked === null ? [] : [`${bold('last parked')} ${warning(printable(`${parked.at} ${parked.reason}: ${parked.detail}`))}`]),
    ...section('failed starts', failures),
    ...section('changes of state', changes),
  ];
}

function processOf({ process: executor }: UserDetail, now: number): string {
  if (executor === null) return 'none';
  const { pid, state, since, cpu, memory, idle } = executor;
  const share = cpu === null ? '' : `, ${Math.round(cpu * 100)} % of a processor`;
  const size = memory === null ? '' : `, ${mebibytes(memory)} of memory`;
  const rest = idle === null ? '' : `, idle for ${durationText(idle)}`;
  return `pid ${pid}, ${state}, runs for ${forHowLong(since, now)}${share}${size}${rest}`;
}

function limitsOf({ limits }: UserDetail): string {
  const limited = (name: string, value: number | string | null) => (value === null ? [] : [`${name} ${value}`]);
  const inUnits = (ms: number | null | undefined) => (ms ? inWhole(ms, UNITS_MS) : null);
  return [
    ...limited('max_executors of the rule', limits.max_executors_of_rule),
    ...limited('priority', limits.priority),
    ...limited('share', limits.share ?? null),
    ...limited('held_per_user', limits.held),
    ...limited('start_attempts', limits.start_attempts),
    ...limited('idle_stop', inUnits(limits.idle_stop)),
    ...limited('keep_warm', inUnits(limits.keep_warm)),
    ...limited('max_age', inUnits(limits.max_age)),
    ...limited('run_time_max', inUnits(limits.run_time_max)),
    ...limited('prestart', limits.prestart),
    ...limited('job_max_age', inUnits(limits.job_max_age)),
  ].join(', ');
}

function section(title: string, changes: readonly Change[]): string[] {
  if (changes.length === 0) return [];
  const lines = changes.map(({ at, state, why }) => printable(`  ${at}  ${shownState(state).padEnd(STATE_CHARS)}  ${why}`).trimEnd());
  return ['', bold(title), ...lines];
}
