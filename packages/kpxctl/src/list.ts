import { askStatus } from '@kpx/broker/control/client';
import { ANY_STATES } from '@kpx/broker/executors/states';
import { jsonLine } from '@kpx/broker/format';
import { say } from '@kpx/broker/terminal';
import { type Command, Option } from 'commander';
import { asksBroker, type BrokerOptions } from './broker-options.js';
import { controlSocket } from './control-socket.js';
import { ORDERS, type Order, rowsOf, sorted, tableOf } from './rows.js';

interface Options extends BrokerOptions {
  readonly sort: Order;
  readonly state?: string;
}

/** In which order there are rows. */
export const sortOption = () => new Option('--sort <BY>', 'in which order').choices(ORDERS).default('user');

export function addList(program: Command): void {
  const command = program
    .command('list')
    .summary('a line for each user and executor')
    .description('A line for each user who has jobs here, an executor or a past, and for each other executor. Asks the running broker.')
    .addOption(sortOption())
    .addOption(new Option('--state <STATE>', 'those in this state alone').choices(ANY_STATES));
  asksBroker(command, 'for programs: a JSON object a line').action(list);
}

async function list({ config, json, sort, state }: Options): Promise<void> {
  const status = await askStatus(await controlSocket(config));
  const rows = sorted(rowsOf(status), sort).filter((row) => state === undefined || row.state === state);
  const width = process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY;
  const lines = json ? rows.map(jsonLine) : rows.length > 0 ? tableOf(rows, width, Date.now()) : [noneIn(state)];
  say(lines.map((line) => `${line}\n`).join(''));
}

const noneIn = (state: string | undefined) =>
  state === undefined ? 'No executor runs here, and no user has jobs here.' : `No user is in the state "${state}" here.`;
