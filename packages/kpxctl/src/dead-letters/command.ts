import { createInterface } from 'node:readline';
import type { Writable } from 'node:stream';
import { askBroker, BrokerUnreachable } from '@kpx/broker/control/client';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { complain, passOn, screenIs } from '@kpx/broker/output/terminal';
import { type Command, InvalidArgumentError } from 'commander';
import { CONFIG_FILE, PASSWORD_FILE } from '../broker-options.js';
import { controlSocket } from '../control-socket.js';
import { goesOn, goOnAs, isRoot, takenOver } from '../leave-root.js';
import { type Access, openDeadLetters, readAccess } from './access.js';
import { drop, list, reasons, replay, show } from './commands.js';
import { type DeadLetters, inHand } from './in-hand.js';
import { throughBroker } from './through-broker.js';

const ID = /^[0-9a-f]{4,64}$/;

interface Options {
  readonly config: string;
  readonly passwordFile?: string;
  readonly direct?: boolean;
  readonly user?: string;
  readonly reason?: string;
  readonly all?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function addDeadLetters(program: Command): void {
  const group = program
    .command('dead-letters')
    .helpCommand(false)
    .summary('the jobs that could not be run')
    .description(
      'Lists, shows, replays and removes the jobs in kpx.dead-letter, which could not be run. May be used while kpx-broker runs.',
    )
    .addHelpText(
      'after',
      '\nAn ID is what list shows, or the beginning of it, 4 digits or more. When killed at any point, nothing is lost; a job may be replayed twice.',
    );
  const verb = (name: string, summary: string) => withAccess(group.command(name).summary(summary).description(sentence(summary)));
  withJson(withFilters(verb('list', 'print a line for each, oldest first, and a count for each reason'))).action((options: Options) =>
    withLetters(options, (letters) => list(letters, { ids: [], ...filtersOf(options) }, options.json === true)),
  );
  withJson(verb('show', 'print one with headers, properties and body'))
    .argument('<ID>', 'as list shows it', idOf)
    .action((id: string, options: Options) => withLetters(options, (letters) => show(letters, id, options.json === true)));
  withSelection(verb('replay', 'put jobs back, to be tried again')).action((ids: string[], options: Options) => {
    checkOneWay('replay', ids, options);
    return withLetters(options, (letters) => replay(letters, { ids, ...filtersOf(options) }));
  });
  withSelection(verb('drop', 'remove jobs for good, after a question'))
    .option('--yes', 'do not ask')
    .action((ids: string[], options: Options) => {
      checkOneWay('drop', ids, options);
      checkCanAsk(options);
      return withLetters(options, (letters) => drop(letters, { ids, ...filtersOf(options) }, options.yes !== true), options.yes !== true);
    });
  const catalogue = 'explain every reason, and what to do about it';
  group.command('reasons').summary(catalogue).description(sentence(catalogue)).action(reasons);
}

const sentence = (text: string) => `${text.replace(/^./, (letter) => letter.toUpperCase())}.`;

const withAccess = (command: Command) =>
  command
    .option('--config <FILE>', 'configuration of kpx-broker', CONFIG_FILE)
    .option('--password-file <FILE>', `RabbitMQ's password; when not given, amqp.password_file, or ${PASSWORD_FILE}`)
    .option('--direct', 'go to RabbitMQ directly, even if the broker runs; --password-file does so, too');

const withFilters = (command: Command) =>
  command
    .option('--user <NAME>', 'only jobs of this KNIME user')
    .option('--reason <CODE>', 'only jobs parked for this reason; with --user both must hold');

const withJson = (command: Command) => command.option('--json', 'print JSON for programs, an object a line');

const withSelection = (command: Command) =>
  withFilters(command)
    .option('--all', 'all jobs')
    .argument('[ID...]', 'as list shows them', (text: string, before: string[] = []) => [...before, idOf(text)]);

function idOf(text: string): string {
  const id = text.toLowerCase();
  if (!ID.test(id)) throw new InvalidArgumentError('Expected 4 to 64 of 0-9 a-f, as list shows them.');
  return id;
}

const filtersOf = ({ user, reason }: Options) => ({ user, reason });

/** One way of selecting at a time: nobody replays or drops more than they meant to. */
function checkOneWay(verb: string, ids: readonly string[], { all = false, user, reason }: Options): void {
  const ways = [all, user !== undefined || reason !== undefined, ids.length > 0].filter(Boolean).length;
  if (ways !== 1) throw new CommandError(EXIT.usage, `${verb} takes either --all, or --user and --reason, or IDs`);
}

function checkCanAsk({ yes }: Options): void {
  if (yes || process.stdin.isTTY || goesOn()) return;
  throw new CommandError(EXIT.usage, 'drop asks before it removes anything, and there is no terminal to ask on: say --yes');
}

/** The running broker does it. With --direct, or where none answers, this process does it, or one of its own without root. */
async function withLetters(options: Options, work: (letters: DeadLetters) => Promise<void>, asks = false): Promise<void> {
  const handedOver = (await takenOver()) as HandedOver | undefined;
  if (handedOver !== undefined) screenIs(handedOver.columns);
  const letters = handedOver === undefined ? await byBroker(options) : undefined;
  if (letters !== undefined) return await withThese(letters, work);
  const access = handedOver?.access ?? (await readAccess({ configFile: options.config, passwordFile: options.passwordFile }));
  if (isRoot()) process.exitCode = await withoutRoot({ access, columns: process.stdout.columns }, asks);
  else await withThese(inHand(await openDeadLetters(access, (text) => complain(`${text}\n`))), work);
}

async function withThese(letters: DeadLetters, work: (letters: DeadLetters) => Promise<void>): Promise<void> {
  try {
    await Promise.race([work(letters), letters.lost]);
  } finally {
    await letters.close();
  }
}

interface HandedOver {
  readonly access: Access;
  /** Of the terminal. */
  readonly columns: number | undefined;
}

/** Messages come from the network: what reads them is not root. Resolves with its exit code. `asks`: it has a question for the operator. */
async function withoutRoot(handedOver: HandedOver, asks: boolean): Promise<number> {
  const { stdin, stdout, stderr, ended } = goOnAs(handedOver);
  if (asks) answerOnce(stdin);
  else stdin.end();
  const said = Promise.all([passOn(stdout, 'stdout'), passOn(stderr, 'stderr')]);
  said.catch(() => {}); // where it cannot be started, which is said below
  const code = await ended;
  await said;
  return code;
}

/** The terminal's next line, which is the answer; Ctrl-C and Ctrl-D are a no, and from then on end everything. */
function answerOnce(stdin: Writable): void {
  const terminal = createInterface({ input: process.stdin, terminal: false });
  const no = () => terminal.close();
  process.once('SIGINT', no);
  terminal.once('line', (line) => {
    stdin.write(`${line}\n`);
    terminal.close();
  });
  terminal.once('close', () => {
    process.off('SIGINT', no);
    stdin.end();
  });
}

async function byBroker({ config, passwordFile, direct }: Options): Promise<DeadLetters | undefined> {
  if (direct || passwordFile !== undefined) return undefined;
  const socket = await controlSocket(config);
  try {
    await askBroker(socket, '/configuration');
    return throughBroker(socket);
  } catch (error) {
    if (!(error instanceof BrokerUnreachable)) throw error;
    return undefined;
  }
}
