import { UNITS_MS } from '@kpx/broker/config/values';
import { tellBroker } from '@kpx/broker/control/client';
import type { Reloaded } from '@kpx/broker/control/server';
import type { Explanation } from '@kpx/broker/executors/explanation';
import { STARTING } from '@kpx/broker/executors/states';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { inWhole, jsonLine, localTime, shellWord } from '@kpx/broker/output/format';
import { say, warning } from '@kpx/broker/output/terminal';
import { type KnimeUser, printable } from '@kpx/protocol';
import type { Command } from 'commander';
import { seen } from './account.js';
import { asksBroker, type BrokerOptions, judgesAccount } from './broker-options.js';
import { controlSocket } from './control-socket.js';
import { decisionOf, knimeUser, rowsForPeople, timeHere } from './explain.js';
import { orRefusal } from './refusal.js';
import { timeOf } from './time.js';

interface Options extends BrokerOptions {
  readonly kill?: boolean;
  readonly all?: boolean;
  readonly whenIdle?: boolean;
}

/** The verbs that change something in the running broker. */
export function addOperate(program: Command): void {
  told(program, 'drain', 'stop starting executors, so that this host can be emptied')
    .option('--until <TIME>', 'start them again then: "18:00", "2026-11-30 18:00", or after "2h"', (text) => timeOf(text, Date.now()))
    .option('--reason <TEXT>', 'told to everybody who asks why jobs wait')
    .action(drain);
  told(program, 'resume', 'start executors again, after drain').action((options: Options) =>
    tell('/resume', options, (answer) => `Executors are started, as jobs come.\n${unlessForgotten(answer)}`),
  );
  told(program, 'reload', 'read the configuration again').action((options: Options) =>
    tell('/reload', options, (answer) => reloaded(answer as Reloaded)),
  );
  judgesAccount(told(program, 'start', 'start the executor of a KNIME user, without a job'))
    .argument('<USER>', 'name of a KNIME user', knimeUser)
    .option('--at <TIME>', 'at this time: "07:30", "2026-11-30 07:30", or after "2h"', (text) => timeOf(text, Date.now()))
    .option('--cancel', 'take back a start that is planned or stands in line')
    .action(start);
  told(program, 'stop', 'end the executor of a KNIME user, or all once they are idle')
    .argument('[USER]', 'name of a KNIME user', knimeUser)
    .option('--kill', 'end it at once, by force')
    .option('--when-idle', 'end it once it has been idle for evict_idle_after; until then it works on')
    .option('--all', 'with --when-idle: each executor that runs')
    .action(stop);
}

interface DrainOptions extends BrokerOptions {
  readonly until?: number;
  readonly reason?: string;
}

async function drain(options: DrainOptions): Promise<void> {
  const { until, reason } = options;
  const said = new URLSearchParams({
    ...(until !== undefined && { until: new Date(until).toISOString() }),
    ...(reason !== undefined && { reason }),
  });
  const end = until === undefined ? '' : ` until ${localTime(until)}`;
  const now = `No executor is started any more${end}. Running ones get their jobs; those of others wait, or go to other hosts.`;
  const drained = async () => await tell(`/drain?${said}`, options, (answer) => `${now}\n${unlessForgotten(answer)}`);
  await orRefusal(drained());
}

interface StartOptions extends BrokerOptions {
  readonly at?: number;
  readonly cancel?: boolean;
  readonly helperConfig: string;
}

async function start(user: KnimeUser, options: StartOptions): Promise<void> {
  const { at, cancel, helperConfig } = options;
  if (at !== undefined && cancel)
    throw new CommandError(EXIT.usage, '--at plans a start, and --cancel takes it back: take one of the two.');
  if (cancel) await orRefusal(tell(`/start/cancel?${about(user)}`, options, takenBack));
  else if (at === undefined) await tell(`/start?${about(user)}`, options, begun);
  else {
    const when = new URLSearchParams({ user, at: new Date(at).toISOString() });
    await orRefusal(tell(`/start?${when}`, options, async (answer) => await planned(answer as PlannedStart, user, helperConfig)));
  }
}

/** A user in line stays there: says for how long, and what the operator can do. */
function begun(answer: unknown): string {
  const { state, user, held } = answer as Explanation;
  if (state !== 'queued' || held > 0) return outcome()(answer);
  const stays = `It stays in line until there is room, for a day at most; a restart of the broker forgets it. kpxctl start ${shellWord(user)} --cancel takes it back.`;
  return `${outcome()(answer)}${printable(stays)}\n`;
}

type PlannedStart = Explanation & { readonly replaced?: string };

/** Whether it would work now is worth knowing before the time comes. */
async function planned(answer: PlannedStart, user: KnimeUser, helperConfig: string): Promise<string> {
  const { account, explanation } = await seen(answer, user, helperConfig);
  const { planned: start, replaced } = explanation;
  const not = replaced === undefined ? '' : `, and not at ${timeHere(replaced)}`;
  const then = `${user}: an executor is started at ${timeHere(start?.at ?? '')}${not}. kpxctl start ${shellWord(user)} --cancel takes that back.`;
  return `${printable(then)}\n${rowsForPeople([
    ['account', account],
    ['a job now', decisionOf(explanation)],
  ])}${unlessForgotten(answer)}`;
}

function takenBack(answer: unknown): string {
  const { user, taken_back, state, executor } = answer as Explanation & { readonly taken_back: string | null };
  const none = taken_back === null ? 'no executor is started without a job any more' : `no executor is started at ${timeHere(taken_back)}`;
  const stays = executor !== 'none' || STARTING.has(state) ? ` The one that is there stays: kpxctl stop ${shellWord(user)} ends it.` : '';
  return `${printable(`${user}: ${none}.${stays}`)}\n${unlessForgotten(answer)}`;
}

async function stop(user: string | undefined, options: Options): Promise<void> {
  const { kill, all, whenIdle } = options;
  if ((user === undefined) === !all) throw new CommandError(EXIT.usage, 'Name a user, or say --all --when-idle.');
  if (all && !whenIdle)
    throw new CommandError(
      EXIT.usage,
      '--all needs --when-idle. To end all executors now, with the jobs in them: systemctl stop kpx-executors.slice',
    );
  if (kill && whenIdle)
    throw new CommandError(EXIT.usage, '--kill ends an executor at work, and --when-idle does not: take one of the two.');
  if (whenIdle) await tell(`/stop-when-idle${user === undefined ? '' : `?${about(user)}`}`, options, later);
  else if (user !== undefined)
    await tell(
      `/stop?${about(user)}&mode=${kill ? 'kill' : 'graceful'}`,
      options,
      outcome(` (${kill ? 'by force' : 'SIGTERM; by force in 90 s at most'}). The user's next job starts another one.`),
    );
}

/** How many executors end, and when. */
function later(answer: unknown): string {
  const { executors, idle } = answer as { executors: number; idle: number };
  if (executors === 0) return 'No executor runs here.\n';
  const what = executors === 1 ? '1 executor ends' : `${executors} executors end`;
  const then = `${what} after ${inWhole(idle, UNITS_MS)} without work. A job after that starts another one. kpxctl list shows which still run.`;
  return `${then}\n${unlessForgotten(answer)}`;
}

const about = (user: string) => new URLSearchParams({ user });

/** Says what the executor does now, and what comes next. */
const outcome =
  (next = '') =>
  (answer: unknown) => {
    const { user, place, why } = answer as Explanation;
    return `${printable(place === undefined ? `${user}: ${why}` : `${user} is in line, place ${place}: ${why}`)}${next}\n`;
  };

/** Nothing, where a restart of the broker changes nothing. */
function unlessForgotten(answer: unknown): string {
  const { forgotten } = answer as { forgotten?: string };
  return forgotten === undefined ? '' : `${warning(`A restart of the broker will not know of this: ${printable(forgotten)}`)}\n`;
}

function told(program: Command, name: string, summary: string): Command {
  return asksBroker(program.command(name).summary(summary).description(`Tells the running broker: ${summary}.`));
}

async function tell(
  path: string,
  { config, json }: BrokerOptions,
  forPeople: (answer: unknown) => string | Promise<string>,
): Promise<void> {
  const answer = await tellBroker(await controlSocket(config), path);
  say(json ? `${jsonLine(answer)}\n` : await forPeople(answer));
}

function reloaded({ changed, restart, reasons }: Reloaded): string {
  const lines = changed.map((line) => `  ${printable(line)}\n`).join('');
  const now = changed.length === 0 ? 'Reloaded. Nothing has changed.\n' : `Reloaded. Changed:\n${lines}`;
  if (restart.length === 0) return now;
  const later = warning(`With a restart only: ${restart.map((name) => `[${name}]`).join(', ')}`);
  return `${now}${later}\n${reasons.map((reason) => `  ${printable(reason)}\n`).join('')}`;
}
