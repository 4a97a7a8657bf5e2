import { askStatus } from '@kpx/broker/control/client';
import { ANY_STATES } from '@kpx/broker/executors/states';
import { jsonLine } from '@kpx/broker/output/format';
import { say, screenWidth } from '@kpx/broker/output/terminal';
import { type Command, Option } from 'commander';
import { asksBroker, type BrokerOptions } from './broker-options.js';
import { controlSocket } from './control-socket.js';
import { ORDERS, type Order, rowsOf, sorted, tableOf } from './rows.js';

interface Options extends BrokerOptions {
  readonly sort: Order;
  readonly state?: string;
}

/** The order of the lines. */
export const sortOption = () => new Option('--sort <BY>', 'the order of the lines').choices(ORDERS).default('trouble');

export function addList(program: Command): void {
  const command = program
    .command('list')
    .summary('a line for each user and executor')
    .description(
      'Prints a line for each user who has jobs, an executor or a history here, and for each other executor. Asks the running broker.',
    )
    .addOption(sortOption())
    .addOption(new Option('--state <STATE>', 'only users in this state').choices(ANY_STATES));
  asksBroker(command, 'print JSON for programs, an object a line').action(list);
}

async function list({ config, json, sort, state }: Options): Promise<void> {
  const status = await askStatus(await controlSocket(config));
  const rows = sorted(rowsOf(status), sort).filter((row) => state === undefined || row.state === state);
  const lines = json ? rows.map(jsonLine) : rows.length > 0 ? tableOf(rows, screenWidth(), Date.now()) : [noneIn(state)];
  say(lines.map((line) => `${line}\n`).join(''));
}

const noneIn = (state: string | undefined) =>
  state === undefined ? 'No executor runs here, and no user has jobs here.' : `No user is in the state "${state}" here.`;
