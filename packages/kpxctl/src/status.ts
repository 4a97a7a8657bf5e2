import { readConfig } from '@kpx/broker/config/config';
import { askBroker } from '@kpx/broker/control/client';
import { differences } from '@kpx/broker/control/difference';
import { jsonLine } from '@kpx/broker/output/format';
import { bold, say, warning } from '@kpx/broker/output/terminal';
import type { Status } from '@kpx/broker/record/status';
import { ConfigError, printable } from '@kpx/protocol';
import type { Command } from 'commander';
import { asksBroker, type BrokerOptions } from './broker-options.js';
import { controlSocket } from './control-socket.js';

export function addStatus(program: Command): void {
  const command = program
    .command('status')
    .summary('what the running broker is doing')
    .description(
      'Asks the running broker what it is doing, and whether the configuration file is the one that is in force. Changes nothing.',
    );
  asksBroker(command).action(status);
}

/** The changes that a reload would make, or why the file does not tell. */
type Compared = { readonly changed: readonly string[] } | { readonly wrong: string } | { readonly unread: string };

async function status({ config, json }: BrokerOptions): Promise<void> {
  const socket = await controlSocket(config);
  const now = (await askBroker(socket, '/status')) as Status;
  const compared = await compare(config, await askBroker(socket, '/configuration'));
  say(json ? `${jsonLine({ ...now, config_file: { path: config, ...compared } })}\n` : forPeople(now, config, compared));
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

function forPeople({ doing, draining, sick, rabbitmq, job_queue }: Status, file: string, compared: Compared): string {
  const rows = [
    ['broker', printable(doing)],
    ['starts', draining ? warning('none: the host is being drained') : sick ? warning(sickness(sick)) : 'executors, as jobs come'],
    ['file', aboutFile(file, compared)],
    // A queue that is refused is in the first line already.
    ...(job_queue?.danger && rabbitmq.connected
      ? [['queue', warning(printable(`jobs can be lost: ${job_queue.danger}; ${job_queue.fix}`))]]
      : []),
  ];
  return rows.map(([name = '', value = '']) => `${bold(name.padEnd(6))}  ${value}\n`).join('');
}

const sickness = ({ since, why, next_try }: NonNullable<Status['sick']>) =>
  `none since ${since}: those of several users in a row failed, the last one: ${printable(why)}; tried again after ${next_try}`;

function aboutFile(file: string, compared: Compared): string {
  if ('unread' in compared) return compared.unread;
  if ('wrong' in compared) return warning(`a reload would refuse it:\n  ${compared.wrong.replaceAll('\n', '\n  ')}`);
  if (compared.changed.length === 0) return `${file} is in force`;
  return warning(`a reload would change:\n  ${compared.changed.map(printable).join('\n  ')}`);
}
