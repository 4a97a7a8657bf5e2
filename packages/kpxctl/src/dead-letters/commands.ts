import type { Letter } from '@kpx/broker/dead-letters/letter';
import { LETTERS_MAX } from '@kpx/broker/dead-letters/queue';
import { isAll, type Selection } from '@kpx/broker/dead-letters/selection';
import type { Chosen, Shown, Way } from '@kpx/broker/dead-letters/work';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { cut, jsonLine, table } from '@kpx/broker/output/format';
import { complain, say, screenWidth } from '@kpx/broker/output/terminal';
import { type Entry, entryOf, FAILURES, PARKED } from '@kpx/broker/policy/reasons';
import { printable } from '@kpx/protocol';
import { bodyLines, utf8Of } from './body.js';
import { confirmed } from './confirm.js';
import type { DeadLetters } from './in-hand.js';

/** Most dead letters that a question shows. */
const ASKED_ROWS_MAX = 20;

/** Most of one header or property that is shown to people, in characters; --json has all of it. */
const VALUE_CHARS_MAX = 1_000;

const HEADING = ['ID', 'PARKED', 'HOST', 'REASON', 'USER', 'JOB', 'DETAIL'];
const NONE = 'No dead letters.';

const print = (text: string) => say(`${text}\n`);
const warn = (text: string) => complain(`${text}\n`);
/** Nothing proves that kpx has written it. */
const marked = ({ reason, verified }: Letter) => (reason === '' || verified ? reason : `${reason} (unverified)`);
const rowOf = (letter: Letter) => {
  const { id, parkedAt, host, user, job, detail } = letter;
  return [id, parkedAt, host, marked(letter), user, job, detail];
};
const counted = (count: number) => (count === 1 ? '1 dead letter' : `${count} dead letters`);

export async function list(letters: DeadLetters, selection: Selection, json: boolean): Promise<void> {
  const { letters: found, all, hint } = await letters.choose(selection);
  tellOfMore(all);
  const chosen = found.toSorted(byTime);
  if (chosen.length === 0 && hint !== undefined) warn(hint);
  if (json) {
    for (const letter of chosen) print(jsonLine(factsOf(letter)));
  } else if (chosen.length === 0) print(isAll(selection) ? NONE : 'No dead letter matches.');
  else {
    for (const line of table(HEADING, chosen.map(rowOf), screenWidth())) print(line);
    print(`\n${summary(chosen)}`);
  }
}

export async function show(letters: DeadLetters, id: string, json: boolean): Promise<void> {
  const shown = await letters.show(id);
  tellOfMore(shown.all);
  if (json) print(jsonLine({ ...factsOf(shown.letter), ...contentsOf(shown) }));
  else {
    for (const line of describe(shown)) print(line);
    if (shown.copies > 1) print(`\nIt is there ${shown.copies} times, all the same.`);
  }
}

export async function replay(letters: DeadLetters, selection: Selection): Promise<void> {
  await settleAll('replay', letters, await choose(letters, selection));
}

/** `ask`: on the terminal, before anything is dropped. */
export async function drop(letters: DeadLetters, selection: Selection, ask: boolean): Promise<void> {
  const chosen = await choose(letters, selection);
  if (chosen.letters.length > 0 && ask) {
    const rows = chosen.letters.slice(0, ASKED_ROWS_MAX).map(rowOf);
    for (const line of table(HEADING, rows, screenWidth())) print(line);
    if (chosen.letters.length > ASKED_ROWS_MAX) print(`… and ${chosen.letters.length - ASKED_ROWS_MAX} more`);
    print(`\n${summary(chosen.letters)}`);
    if (!(await confirmed(`drop ${chosen.letters.length}`, letters.lost))) {
      print('Nothing was dropped.');
      return;
    }
  }
  await settleAll('drop', letters, chosen);
}

const DONE: Record<Way, { readonly each: string; readonly all: string }> = {
  replay: { each: 'replayed', all: 'Replayed' },
  drop: { each: 'dropped', all: 'Dropped' },
};

async function settleAll(way: Way, letters: DeadLetters, chosen: Chosen): Promise<void> {
  const all = chosen.letters.length;
  if (all === 0) return;
  let done = 0;
  const problem = await letters.settle(way, chosen, (letter) => {
    done += 1;
    const row = way === 'replay' ? rowOf(letter).slice(0, -1) : rowOf(letter);
    print(`${DONE[way].each} ${row.map(cell).join(' ')}`);
  });
  print(`${DONE[way].all}: ${done} of ${counted(all)}.`);
  if (problem !== undefined) {
    const rest = `The dead letters that were not reported as ${DONE[way].each} are where they were.`;
    throw new CommandError(EXIT.unavailable, `${problem}. ${rest}`);
  }
  if (done < all) {
    const taken = 'The others are no longer in the queue: something else has taken them meanwhile.';
    throw new CommandError(EXIT.noInput, chosen.hint === undefined ? taken : `${taken} Or: ${chosen.hint}`);
  }
}

/** A word before the advice, where it matters. */
const REPLAY: Record<Entry['replay'], string> = { 'in vain': 'A replay ends here again. ', 'once fixed': '' };

/** The catalogue of reasons. */
export function reasons(): void {
  const sections: [title: string, entries: readonly Entry[]][] = [
    ['Reasons that a job is parked for:', PARKED],
    ['Failures that are tried again, and are then in the detail of START_FAILED or HOSTS_FAILED:', FAILURES],
  ];
  for (const [title, entries] of sections) {
    print(`${title}\n`);
    for (const { code, meaning, advice, replay } of entries) print(`${code}\n    ${meaning}\n    ${REPLAY[replay]}${advice}\n`);
  }
}

function tellOfMore(all: boolean): void {
  if (!all)
    warn(`There are more than ${LETTERS_MAX} dead letters: only the first ${LETTERS_MAX} were looked at. Replay or drop some first.`);
}

/** The letters that are meant. Throws {@link CommandError} when there is none, unless all were meant. */
async function choose(letters: DeadLetters, selection: Selection): Promise<Chosen> {
  const chosen = await letters.choose(selection);
  tellOfMore(chosen.all);
  if (chosen.letters.length > 0) return chosen;
  const hint = chosen.hint === undefined ? '' : ` ${chosen.hint}`;
  if (!isAll(selection)) throw new CommandError(EXIT.noInput, `No dead letter matches. See: kpxctl dead-letters list.${hint}`);
  print(`${NONE}${hint}`);
  return chosen;
}

/** Oldest first; those of one millisecond always in the same order, which the queue itself does not keep when they were looked at. */
const byTime = (one: Letter, other: Letter) => compare(one.parkedAt, other.parkedAt) || compare(one.key, other.key);
const compare = (one: string, other: string) => (one < other ? -1 : Number(one > other));
const cell = (text: string) => printable(text) || '-';

/** How many, and for which reasons. */
function summary(letters: readonly Letter[]): string {
  const counts = new Map<string, number>();
  for (const { reason } of letters) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const sorted = [...counts].sort(([, one], [, other]) => other - one);
  return `${counted(letters.length)}: ${sorted.map(([reason, count]) => `${cell(reason)} ${count}`).join(', ')}`;
}

function factsOf({ id, parkedAt, reason, verified, detail, host, user, readFrom, job, bytes }: Letter) {
  const orNull = (text: string) => (text === '' ? null : text);
  return {
    id,
    parked_at: orNull(parkedAt),
    reason: orNull(reason),
    verified,
    detail: orNull(detail),
    host: orNull(host),
    user: orNull(user),
    user_from: orNull(readFrom),
    job: orNull(job),
    bytes,
  };
}

function contentsOf({ content, properties }: Shown): Record<string, unknown> {
  const { headers, ...others } = properties;
  const text = utf8Of(content);
  return {
    headers: headers ?? {},
    properties: others,
    ...(text === undefined ? { body_base64: content.toString('base64') } : { body: text }),
  };
}

function describe({ letter, content, properties }: Shown): string[] {
  const { headers, ...others } = properties;
  const { id, parkedAt, host, user, readFrom, opaque, job, reason, detail } = letter;
  const entry = entryOf(reason);
  const { meaning, advice } = { meaning: entry?.meaning ?? '', advice: entry ? `${REPLAY[entry.replay]}${entry.advice}` : '' };
  return [
    ...pairs({ id, parked: parkedAt, host, user, 'named in': readFrom, job, reason: marked(letter), meaning, detail, advice }),
    '\nheaders',
    ...pairs(headers ?? {}),
    '\nproperties',
    ...pairs(others),
    `\nbody, ${content.length} bytes${opaque ? ', which kpx does not read' : ''}`,
    ...bodyLines(content, opaque),
  ];
}

function pairs(values: object): string[] {
  const shown = Object.entries(values).filter(([, value]) => value !== undefined && value !== '');
  const width = Math.max(0, ...shown.map(([name]) => printable(name).length));
  return shown.map(
    ([name, value]) =>
      `  ${printable(name).padEnd(width)}  ${cut(typeof value === 'string' ? printable(value) : jsonLine(value), VALUE_CHARS_MAX)}`,
  );
}
