import { readConfig } from '@kpx/broker/config/config';
import { askBroker } from '@kpx/broker/control/client';
import { differences } from '@kpx/broker/control/difference';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { jsonLine } from '@kpx/broker/output/format';
import { bold, failure, say, success, warning } from '@kpx/broker/output/terminal';
import { DRAINED } from '@kpx/broker/policy/policy';
import type { Status } from '@kpx/broker/record/status';
import { ConfigError, printable } from '@kpx/protocol';
import type { Command } from 'commander';
import { asksBroker, type BrokerOptions } from './broker-options.js';
import { controlSocket } from './control-socket.js';
import { plannedOf } from './explain.js';

export function addStatus(program: Command): void {
  const command = program
    .command('status')
    .summary('what the running broker is doing')
    .description(
      'Asks the running broker whether all is well, what it is doing, and whether the configuration file is the one that is in force. Changes nothing.',
    )
    .option('--check', 'for programs that watch: end with 1 where something needs attention, with 2 where jobs do not get through');
  asksBroker(command).action(status);
}

/** Of planned starts; `list` has all. */
const PLANNED_SHOWN_MAX = 3;

/** The changes that a reload would make, or why the file does not tell. */
type Compared = { readonly changed: readonly string[] } | { readonly wrong: string } | { readonly unread: string };

interface StatusOptions extends BrokerOptions {
  readonly check?: boolean;
}

/** Until it is restarted after an upgrade, a broker of before answers, which does not have all. */
type Added = 'verdict' | 'queues' | 'drain' | 'planned_starts';
type Answered = Omit<Status, Added> & Partial<Pick<Status, Added>>;

async function status({ config, json, check }: StatusOptions): Promise<void> {
  const socket = await controlSocket(config);
  const now = (await askBroker(socket, '/status')) as Answered;
  const compared = await compare(config, await askBroker(socket, '/configuration'));
  if (check) process.exitCode = exitCodeOf(now.verdict, compared);
  say(json ? `${jsonLine({ ...now, config_file: { path: config, ...compared } })}\n` : forPeople(now, config, compared));
}

/** A file that is not in force needs attention, too: the next start of the broker reads it, or fails at it. */
function exitCodeOf(verdict: Status['verdict'] | undefined, compared: Compared): number {
  if (!verdict) {
    const why = 'The running broker is of an earlier version, which does not say whether all is well';
    throw new CommandError(EXIT.unavailable, `${why}: systemctl restart kpx-broker`);
  }
  const { level } = verdict;
  if (level === 'trouble') return EXIT.trouble;
  const isInForce = 'unread' in compared || ('changed' in compared && compared.changed.length === 0);
  return level === 'attention' || !isInForce ? EXIT.attention : 0;
}

async function compare(file: string, running: unknown): Promise<Compared> {
  try {
    return { changed: differences(running, JSON.parse(JSON.stringify(await readConfig(file)))) };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const { code } = (error.cause ?? {}) as NodeJS.ErrnoException;
    return code === 'EACCES' ? { unread: `${file}: only root may read it` } : { wrong: error.message };
  }
}

function forPeople(now: Answered, file: string, compared: Compared): string {
  const { verdict, doing, draining, drain, sick, planned_starts: starts = [] } = now;
  const rows = [
    ['broker', printable(doing)],
    ['starts', draining ? warning(`none: ${printable(drain ?? DRAINED)}`) : sick ? warning(sickness(sick)) : 'executors, as jobs come'],
    ...(starts.length === 0 ? [] : [['later', printable(startsText(starts))]]),
    ['queues', printable(queuesText(now.queues))],
    ['file', aboutFile(file, compared)],
  ];
  return `${verdict ? verdictText(verdict) : ''}${rows.map(([name = '', value = '']) => `${bold(name.padEnd(6))}  ${value}\n`).join('')}`;
}

/** The answer first, then a line each for what is not well, and what to do about it. */
function verdictText({ level, headline, problems }: Status['verdict']): string {
  if (level === 'well') return `${success(capitalized(printable(headline)))}\n`;
  const style = { attention: warning, trouble: failure };
  return problems.map(({ level, what, next }) => `${style[level](`${level}: ${printable(what)}`)}\n  ${printable(next)}\n`).join('');
}

const capitalized = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

const queuesText = (queues: Answered['queues']) =>
  queues
    ? `in RabbitMQ, of all hosts: jobs ${queues.jobs}, delayed ${queues.delayed}, dead letters ${queues.dead_letters}`
    : 'RabbitMQ does not say how many messages there are';

function startsText(starts: Status['planned_starts']): string {
  const told = starts.slice(0, PLANNED_SHOWN_MAX).map((start) => `${start.user}: ${plannedOf(start)}`);
  const more = starts.length - told.length;
  return `${told.join('; ')}${more === 0 ? '' : `; and ${more} more: kpxctl list`}`;
}

const sickness = ({ since, why, next_try }: NonNullable<Status['sick']>) =>
  `none since ${since}: those of several users in a row failed, the last one: ${printable(why)}; tried again after ${next_try}`;

function aboutFile(file: string, compared: Compared): string {
  if ('unread' in compared) return compared.unread;
  if ('wrong' in compared) return warning(`a reload would refuse it:\n  ${compared.wrong.replaceAll('\n', '\n  ')}`);
  if (compared.changed.length === 0) return `${file} is in force`;
  return warning(`a reload would change:\n  ${compared.changed.map(printable).join('\n  ')}`);
}
