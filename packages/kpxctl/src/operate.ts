import { UNITS_MS } from '@kpx/broker/config/values';
import { tellBroker } from '@kpx/broker/control/client';
import type { Reloaded } from '@kpx/broker/control/server';
import type { Explanation } from '@kpx/broker/executors/explanation';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { inWhole, jsonLine, localTime } from '@kpx/broker/output/format';
import { say, warning } from '@kpx/broker/output/terminal';
import { printable } from '@kpx/protocol';
import type { Command } from 'commander';
import { asksBroker, type BrokerOptions } from './broker-options.js';
import { controlSocket } from './control-socket.js';
import { knimeUser } from './explain.js';
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
  told(program, 'start', 'start the executor of a KNIME user, without a job')
    .argument('<USER>', 'name of a KNIME user', knimeUser)
    .action((user: string, options: Options) => tell(`/start?${about(user)}`, options, outcome()));
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
  return `${what} after ${inWhole(idle, UNITS_MS)} without work. A job after that starts another one. kpxctl list shows which still run.\n`;
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

async function tell(path: string, { config, json }: Options, forPeople: (answer: unknown) => string): Promise<void> {
  const answer = await tellBroker(await controlSocket(config), path);
  say(json ? `${jsonLine(answer)}\n` : forPeople(answer));
}

function reloaded({ changed, restart, reasons }: Reloaded): string {
  const lines = changed.map((line) => `  ${printable(line)}\n`).join('');
  const now = changed.length === 0 ? 'Reloaded. Nothing has changed.\n' : `Reloaded. Changed:\n${lines}`;
  if (restart.length === 0) return now;
  const later = warning(`With a restart only: ${restart.map((name) => `[${name}]`).join(', ')}`);
  return `${now}${later}\n${reasons.map((reason) => `  ${printable(reason)}\n`).join('')}`;
}
