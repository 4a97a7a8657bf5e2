import { parseArgs } from 'node:util';
import { CommandError, EXIT } from '../exit.js';
import { CONFIG_FILE, openDeadLetters, PASSWORD_FILE } from './access.js';
import { drop, list, reasons, replay, show } from './commands.js';
import type { DeadLetterQueue } from './queue.js';
import type { Selection } from './selection.js';

const USAGE = `kpx-broker dead-letters: the jobs in kpx.dead-letter, which could not be run. May be used while kpx-broker runs.

Usage: kpx-broker dead-letters list   [--user NAME] [--reason CODE] [--json]
       kpx-broker dead-letters show   ID [--json]
       kpx-broker dead-letters replay --all | [--user NAME] [--reason CODE] | ID...
       kpx-broker dead-letters drop   --all | [--user NAME] [--reason CODE] | ID... [--yes]
       kpx-broker dead-letters reasons

list has a line for each, oldest first. show has one of them with headers, properties and body. replay puts jobs back for another trial.
drop removes them for good, after a question. reasons explains the codes.

  --user NAME           those of a KNIME user
  --reason CODE         those parked for a reason; with --user both must hold
  --all                 all of them
  --yes                 drop without a question
  --json                for programs: a JSON object a line
  --config FILE         configuration of kpx-broker; ${CONFIG_FILE} when not given
  --password-file FILE  RabbitMQ's password; when not given, amqp.password_file, or ${PASSWORD_FILE}
  --help                this text

An ID is what list shows, or the beginning of it, 4 digits or more. When killed at any point, nothing is lost; a job may be replayed twice.
Exit codes: 0 done, 64 wrong usage, 66 no such dead letter, 69 RabbitMQ cannot be used, 77 not permitted, 78 wrong configuration.
`;

const GENERAL = {
  config: { type: 'string', default: CONFIG_FILE },
  'password-file': { type: 'string' },
  help: { type: 'boolean' },
} as const;
const FILTERS = { user: { type: 'string' }, reason: { type: 'string' } } as const;
const ALL = { all: { type: 'boolean' } } as const;
const JSON_LINES = { json: { type: 'boolean' } } as const;

/** Every option of every verb, and which verb takes which. */
type Options = typeof GENERAL & typeof FILTERS & typeof ALL & typeof JSON_LINES & { readonly yes: { readonly type: 'boolean' } };
const OPTIONS: Record<Verb, Partial<Options>> = {
  list: { ...FILTERS, ...JSON_LINES },
  show: JSON_LINES,
  replay: { ...FILTERS, ...ALL },
  drop: { ...FILTERS, ...ALL, yes: { type: 'boolean' } },
  reasons: {},
};
const VERBS = ['list', 'show', 'replay', 'drop', 'reasons'] as const;
type Verb = (typeof VERBS)[number];

type Values = ReturnType<typeof parseArgs<{ options: Options }>>['values'];

const ID = /^[0-9a-f]{4,64}$/;

/** `kpx-broker dead-letters ARG…`. Throws {@link CommandError}, ConfigError and the errors of parseArgs. */
export async function deadLetters([verb, ...args]: string[]): Promise<void> {
  if (verb === '--help') {
    process.stdout.write(USAGE);
    return;
  }
  if (!isVerb(verb)) throw new CommandError(EXIT.usage, `expected one of: ${VERBS.join(', ')}\nTry kpx-broker dead-letters --help.`);
  const options = { ...GENERAL, ...OPTIONS[verb] } as Options;
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  // Whoever reads may have read enough: `… | head`.
  process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => code === 'EPIPE' && process.exit());
  const ids = positionals.map(idOf);
  const work = workOf(verb, ids, values);
  if (!work) {
    reasons();
    return;
  }
  const { config, 'password-file': passwordFile } = values;
  const note = (text: string) => process.stderr.write(`${text}\n`);
  const queue = await openDeadLetters({ configFile: config, passwordFile, note });
  try {
    await Promise.race([work(queue), queue.lost]);
  } finally {
    await queue.close();
  }
}

const isVerb = (text: string | undefined): text is Verb => VERBS.some((verb) => verb === text);

function idOf(text: string): string {
  const id = text.toLowerCase();
  if (!ID.test(id))
    throw new CommandError(EXIT.usage, `not an ID: ${JSON.stringify(text)}; expected 4 to 64 of 0-9 a-f, as list shows them`);
  return id;
}

/** What is to be done with the queue; undefined: nothing. Judges the usage before anything is connected. */
function workOf(verb: Verb, ids: readonly string[], values: Values): ((queue: DeadLetterQueue) => Promise<void>) | undefined {
  const { user, reason, json = false, yes = false } = values;
  const selection: Selection = { ids, user, reason };
  switch (verb) {
    case 'list':
      none(ids);
      return (queue) => list(queue, selection, json);
    case 'show': {
      const [id, ...more] = ids;
      if (id === undefined || more.length > 0) throw new CommandError(EXIT.usage, 'show takes one ID, as list shows them');
      return (queue) => show(queue, id, json);
    }
    case 'replay':
      checkOneWay(verb, selection, values.all);
      return (queue) => replay(queue, selection);
    case 'drop':
      checkOneWay(verb, selection, values.all);
      if (!yes && !process.stdin.isTTY) {
        throw new CommandError(EXIT.usage, 'drop asks before it removes anything, and there is no terminal to ask on: say --yes');
      }
      return (queue) => drop(queue, selection, !yes);
    case 'reasons':
      none(ids);
      return undefined;
  }
}

function none(ids: readonly string[]): void {
  if (ids.length > 0) throw new CommandError(EXIT.usage, `unexpected: ${ids.join(' ')}\nTry kpx-broker dead-letters --help.`);
}

/** So that nobody replays or drops more than they have meant to, which letters are meant is said in one way. */
function checkOneWay(verb: string, { ids, user, reason }: Selection, all = false): void {
  const ways = [all, user !== undefined || reason !== undefined, ids.length > 0].filter(Boolean).length;
  if (ways !== 1) throw new CommandError(EXIT.usage, `${verb} takes either --all, or --user and --reason, or IDs`);
}
