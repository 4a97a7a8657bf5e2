import { askBroker, tellBroker } from '@kpx/broker/control/client';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { jsonLine, table } from '@kpx/broker/output/format';
import { bold, say, screenWidth } from '@kpx/broker/output/terminal';
import type { Some } from '@kpx/broker/rabbitmq/provisioning';
import type { Learned } from '@kpx/broker/sealed/learned';
import type { RefusedCounts, RefusedRow } from '@kpx/broker/sealed/refused';
import { REFUSED_FOR } from '@kpx/broker/sealed/rules';
import type { SealedAccount, SealedList } from '@kpx/broker/sealed/standing';
import type { Holdings } from '@kpx/broker/sealed/vhosts';
import { type OsUser, osUserSchema, printable } from '@kpx/protocol';
import { type Command, InvalidArgumentError } from 'commander';
import { asksBroker, type BrokerOptions } from '../broker-options.js';
import { controlSocket } from '../control-socket.js';
import { orRefusal } from '../refusal.js';
import { addSetup } from './setup.js';

/** The broker may ask RabbitMQ of hundreds of virtual hosts, and gives a removal a minute; in milliseconds. */
const LIST_TIMEOUT_MS = 60_000;
const PURGE_TIMEOUT_MS = 90_000;

/** Queues without a mirror that are printed. */
const PROBLEMS_MAX = 10;

interface RefusedOptions extends BrokerOptions {
  readonly account?: OsUser;
}

interface PurgeOptions extends BrokerOptions {
  readonly apply?: boolean;
}

/** The verbs about the virtual hosts that accounts have where executors are sealed. */
export function addSealed(program: Command): void {
  const group = program
    .command('sealed')
    .helpCommand(false)
    .summary("the accounts' virtual hosts, where executors are sealed")
    .description(
      "Shows the virtual hosts that accounts have in a RabbitMQ of the executors' own, and what their code was refused. Removes those of accounts that need none any more, and makes that RabbitMQ. All but setup ask the running broker.",
    );
  const inLines = 'print JSON for programs, an object a line';
  const list = group.command('list').summary('print a line for each account with a virtual host');
  list.description(
    'Prints a line for each account with a virtual host: its state, what waits in there, how many answers it may give, what it was refused, and when it was used last.',
  );
  asksBroker(list, inLines).action(listAccounts);
  const refused = group.command('refused').summary('print what accounts have published and may not');
  refused
    .description('Prints what accounts have published and may not, since the broker started: exchange, routing key, reason, and how often.')
    .option('--account <ACCOUNT>', 'only of this account of the operating system', accountOf);
  asksBroker(refused, inLines).action(listRefused);
  const learn = group.command('learn').summary('print what an executor has declared itself, as blocks for broker.toml');
  learn
    .description(
      'Prints what the executor of an account has declared in its virtual host, and what no table of [sealed] names yet, as blocks for broker.toml. Its code chooses the names: read them before you take one over.',
    )
    .argument('<ACCOUNT>', 'an account of the operating system', accountOf);
  asksBroker(learn).action(printLearned);
  const purge = group.command('purge').summary('remove the virtual host and the RabbitMQ user of an account');
  purge
    .description(
      "Says what an account has at the accounts' RabbitMQ. With --apply puts its jobs back into the server's queue, carries its answers, and removes its virtual host and its user. Refuses while its executor runs.",
    )
    .argument('<ACCOUNT>', 'an account of the operating system', accountOf)
    .option('--apply', 'make the changes');
  asksBroker(purge).action(purgeAccount);
  addSetup(group);
}

function accountOf(text: string): OsUser {
  const account = osUserSchema.safeParse(text);
  if (account.success) return account.data;
  throw new InvalidArgumentError(`Expected the name of an account: ${account.error.issues[0]?.message ?? ''}.`);
}

function sayRows<Row>(
  rows: readonly Row[],
  json: boolean | undefined,
  heading: string[],
  cells: (row: Row) => string[],
  none: string,
): void {
  const [head = '', ...lines] = table(heading, rows.map(cells), screenWidth());
  const text = json ? rows.map(jsonLine) : rows.length > 0 ? [bold(head), ...lines] : [none];
  say(text.map((line) => `${line}\n`).join(''));
}

async function listAccounts({ config, json }: BrokerOptions): Promise<void> {
  const answer = askBroker(await controlSocket(config), '/sealed', { timeoutMs: LIST_TIMEOUT_MS });
  const { accounts, problem } = (await orRefusal(answer)) as SealedList;
  sayRows(accounts, json, LIST_HEADING, listCells, 'No account has a virtual host here.');
  if (problem !== null)
    throw new CommandError(EXIT.unavailable, `Accounts without an executor are not in this list: ${printable(problem)}.`);
}

const LIST_HEADING = ['ACCOUNT', 'VIRTUAL HOST', 'STATE', 'JOBS', 'UP', 'REPLIES', 'OPEN', 'LAST USED', 'REFUSED'];

const numberOf = (count: number | null) => (count === null ? '?' : `${count}`);

const listCells = ({ account, vhost, state, jobs, up, replies, open_answers, last_used, refused }: SealedAccount) => [
  ...[account, vhost, state, numberOf(jobs), numberOf(up), numberOf(replies), `${open_answers}`],
  ...[last_used === null ? '?' : last_used.replace(/\.\d+Z$/, 'Z'), refusedText(refused)],
];

function refusedText(refused: RefusedCounts): string {
  const counted = Object.entries(refused).filter(([, count]) => count > 0);
  return counted.length === 0 ? '0' : counted.map(([reason, count]) => `${reason} ${count}`).join(', ');
}

async function listRefused({ config, json, account }: RefusedOptions): Promise<void> {
  const path = account === undefined ? '/sealed/refused' : `/sealed/refused?${new URLSearchParams({ account })}`;
  const { refused } = (await orRefusal(askBroker(await controlSocket(config), path))) as { refused: RefusedRow[] };
  const none = `Nothing was refused${account === undefined ? '' : ` to "${account}"`} since the broker started.`;
  sayRows(refused, json, ['ACCOUNT', 'COUNT', 'LAST', 'REASON', 'EXCHANGE', 'KEY', 'MEANING'], refusedCells, none);
}

/** An empty name is a name: in quotes it is seen. */
const nameOf = (name: string | null) => (name === null ? '(others)' : name === '' ? '""' : name);

const refusedCells = ({ account, count, last, reason, exchange, key }: RefusedRow) => [
  ...[account, `${count}`, last.replace(/\.\d+Z$/, 'Z'), reason, nameOf(exchange), nameOf(key), REFUSED_FOR[reason]],
];

async function printLearned(account: OsUser, { config, json }: BrokerOptions): Promise<void> {
  const path = `/sealed/learn?${new URLSearchParams({ account })}`;
  const learned = (await orRefusal(askBroker(await controlSocket(config), path, { timeoutMs: LIST_TIMEOUT_MS }))) as Learned;
  say(json ? `${jsonLine(learned)}\n` : learnedText(learned));
}

/** All of it is TOML: what is no block is a comment. */
function learnedText({ account, queues, exchanges, problems, toml }: Learned): string {
  const seen = (what: string, { items, total }: Some<unknown>) =>
    `${total} ${what}${items.length < total ? `, of which ${items.length} are looked at` : ''}`;
  const mirrored = queues.items.filter((queue) => queue.mirrored);
  const lines = [
    `# ${printable(account)}: ${seen('queues', queues)}; ${seen('exchanges', exchanges)}; calls of the server reach ${mirrored.length} queues`,
    ...problems.slice(0, PROBLEMS_MAX).map(({ queue, why }) => `# no call reaches ${JSON.stringify(printable(queue))}: ${printable(why)}`),
    ...(problems.length > PROBLEMS_MAX ? [`# and ${problems.length - PROBLEMS_MAX} more: --json has them`] : []),
    ...(toml === '' ? ['# [sealed] of broker.toml names all of them.'] : ['', toml]),
  ];
  return lines.map((line) => `${line}\n`).join('');
}

async function purgeAccount(account: OsUser, { config, json, apply = false }: PurgeOptions): Promise<void> {
  const [socket, about] = [await controlSocket(config), new URLSearchParams({ account })];
  const answer = apply
    ? tellBroker(socket, `/sealed/purge?${about}`, { timeoutMs: PURGE_TIMEOUT_MS })
    : askBroker(socket, `/sealed/account?${about}`, { timeoutMs: LIST_TIMEOUT_MS });
  const holdings = (await orRefusal(answer)) as Holdings;
  say(json ? `${jsonLine({ applied: apply, ...holdings })}\n` : purgeText(holdings, apply));
}

function purgeText({ vhost, has_vhost, has_user, jobs, up, replies }: Holdings, applied: boolean): string {
  const lines = [
    `${bold(`virtual host ${printable(vhost)}`)}: ${has_vhost ? (applied ? 'removed' : 'is removed') : 'there is none'}`,
    `${bold(`user ${printable(vhost)}`)}: ${has_user ? (applied ? 'removed' : 'is removed') : 'there is none'}`,
    `${bold('jobs')}: ${numberOf(jobs)} ${applied ? 'went' : 'go'} back to the queue of the server first`,
    `${bold('published by the account')}: ${numberOf(up)} messages and ${numberOf(replies)} answers ${applied ? 'were' : 'are'} carried first, as far as the rules allow`,
    '',
    applied ? 'Done: nothing of the account is left at the accounts’ RabbitMQ.' : 'Nothing was changed: --apply does it.',
  ];
  return lines.map((line) => `${line}\n`).join('');
}
