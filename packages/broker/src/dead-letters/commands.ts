import { setTimeout as delay } from 'node:timers/promises';
import type { GetMessage } from 'amqplib';
import { CommandError, EXIT } from '../exit.js';
import { bodyLines, utf8Of } from './body.js';
import { BROKER_REASONS, type Entry, entryOf, FAILURES, REFUSALS } from './catalogue.js';
import { confirmed } from './confirm.js';
import { jsonLine, printable, table } from './format.js';
import type { Letter } from './letter.js';
import { type DeadLetterQueue, LETTERS_MAX, type Visitor } from './queue.js';
import { isAll, type Selection, select } from './selection.js';

/** Most dead letters that a question shows. */
const ASKED_ROWS_MAX = 20;
/** What another connection had is given back when that ends, which may take a moment: how long before a second look, in milliseconds. */
const SECOND_LOOK_MS = 500;

const HEADING = ['ID', 'PARKED', 'REASON', 'USER', 'JOB', 'DETAIL'];
const NONE = 'No dead letters.';

const print = (text: string) => process.stdout.write(`${text}\n`);
const warn = (text: string) => process.stderr.write(`${text}\n`);
const screenWidth = () => (process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY);
const rowOf = ({ id, parkedAt, reason, user, job, detail }: Letter) => [id, parkedAt, reason, user, job, detail];
const counted = (count: number) => (count === 1 ? '1 dead letter' : `${count} dead letters`);

export async function list(queue: DeadLetterQueue, selection: Selection, json: boolean): Promise<void> {
  const chosen = select(await lookAtAll(queue), selection).sort(byTime);
  if (json) {
    for (const letter of chosen) print(jsonLine(factsOf(letter)));
  } else if (chosen.length === 0) print(isAll(selection) ? NONE : 'No dead letter matches.');
  else {
    for (const line of table(HEADING, chosen.map(rowOf), screenWidth())) print(line);
    print(`\n${summary(chosen)}`);
  }
}

export async function show(queue: DeadLetterQueue, id: string, json: boolean): Promise<void> {
  const letters: Letter[] = [];
  let first: GetMessage | undefined; // of several the bodies are not needed
  const all = await queue.pass((letter, message) => {
    if (letter.key.startsWith(id)) {
      letters.push(letter);
      first ??= message;
    }
    return 'stays';
  });
  tellOfMore(all);
  const [letter] = select(letters, { ids: [id] });
  if (!letter || !first) return;
  if (json) print(jsonLine({ ...factsOf(letter), ...contentsOf(first) }));
  else {
    for (const line of describe(letter, first)) print(line);
    if (letters.length > 1) print(`\nIt is there ${letters.length} times, all the same.`);
  }
}

export async function replay(queue: DeadLetterQueue, selection: Selection): Promise<void> {
  const chosen = await choose(queue, selection);
  let problem: string | undefined;
  const done = await settle(queue, chosen, async (letter, message) => {
    const why = await queue.replay(message);
    if (why !== undefined) {
      problem = why;
      return 'stop';
    }
    print(`replayed ${rowOf(letter).slice(0, -1).map(cell).join(' ')}`);
    return 'gone';
  });
  report('Replayed', done, chosen.length);
  if (problem !== undefined) {
    throw new CommandError(EXIT.unavailable, `${problem}. The dead letters that were not reported as replayed are where they were.`);
  }
  checkComplete(done, chosen.length);
}

/** `ask`: on the terminal, before anything is dropped. */
export async function drop(queue: DeadLetterQueue, selection: Selection, ask: boolean): Promise<void> {
  const chosen = await choose(queue, selection);
  if (chosen.length > 0 && ask) {
    for (const line of table(HEADING, chosen.slice(0, ASKED_ROWS_MAX).map(rowOf), screenWidth())) print(line);
    if (chosen.length > ASKED_ROWS_MAX) print(`… and ${chosen.length - ASKED_ROWS_MAX} more`);
    print(`\n${summary(chosen)}`);
    if (!(await confirmed(`drop ${chosen.length}`, queue.lost))) {
      print('Nothing was dropped.');
      return;
    }
  }
  const done = await settle(queue, chosen, (letter, message) => {
    queue.drop(message);
    print(`dropped ${rowOf(letter).map(cell).join(' ')}`);
    return 'gone';
  });
  report('Dropped', done, chosen.length);
  checkComplete(done, chosen.length);
}

/** The catalogue of reasons. */
export function reasons(): void {
  const sections: [title: string, entries: readonly Entry[]][] = [
    ['Reasons that a job is parked for:', [...BROKER_REASONS, ...REFUSALS]],
    ['Failures that are tried again, and are then in the detail of START_FAILED:', FAILURES],
  ];
  for (const [title, entries] of sections) {
    print(`${title}\n`);
    for (const { code, meaning, advice } of entries) print(`${code}\n    ${meaning}\n    ${advice}\n`);
  }
}

async function lookAtAll(queue: DeadLetterQueue): Promise<Letter[]> {
  const letters: Letter[] = [];
  const all = await queue.pass((letter) => {
    letters.push(letter);
    return 'stays';
  });
  tellOfMore(all);
  return letters;
}

function tellOfMore(all: boolean): void {
  if (!all)
    warn(`There are more than ${LETTERS_MAX} dead letters: only the first ${LETTERS_MAX} were looked at. Replay or drop some first.`);
}

/** The letters that are meant. Throws {@link CommandError} when there is none, unless all were meant. */
async function choose(queue: DeadLetterQueue, selection: Selection): Promise<Letter[]> {
  const chosen = select(await lookAtAll(queue), selection);
  if (chosen.length > 0) return chosen;
  if (isAll(selection)) print(NONE);
  else throw new CommandError(EXIT.noInput, 'No dead letter matches. See: kpxctl dead-letters list');
  return [];
}

/**
 * A second pass, in which each of the chosen letters is settled. They were chosen before, so that a job that is parked again meanwhile is
 * not taken a second time. Answers how many were settled.
 */
async function settle(
  queue: DeadLetterQueue,
  chosen: readonly Letter[],
  visit: (letter: Letter, message: GetMessage) => 'gone' | Promise<'gone' | 'stop'>,
): Promise<number> {
  const wanted = new Map<string, number>();
  for (const { key } of chosen) wanted.set(key, (wanted.get(key) ?? 0) + 1);
  let left = chosen.length;
  let stopped = false;
  const visitor: Visitor = async (letter, message) => {
    if (left === 0 || stopped) return 'stop';
    const copies = wanted.get(letter.key) ?? 0;
    if (copies === 0) return 'stays';
    wanted.set(letter.key, copies - 1);
    const done = await visit(letter, message);
    if (done === 'gone') left -= 1;
    else stopped = true;
    return done;
  };
  await queue.pass(visitor);
  if (left > 0 && !stopped) {
    await delay(SECOND_LOOK_MS);
    await queue.pass(visitor);
  }
  return chosen.length - left;
}

function report(what: string, done: number, all: number): void {
  if (all > 0) print(`${what}: ${done} of ${counted(all)}.`);
}

/** Throws {@link CommandError} when somebody else was faster. */
function checkComplete(done: number, all: number): void {
  if (done < all) throw new CommandError(EXIT.noInput, 'The others are no longer in the queue: something else has taken them meanwhile.');
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

function factsOf({ id, parkedAt, reason, detail, host, user, job, bytes }: Letter) {
  const orNull = (text: string) => (text === '' ? null : text);
  return {
    id,
    parked_at: orNull(parkedAt),
    reason: orNull(reason),
    detail: orNull(detail),
    host: orNull(host),
    user: orNull(user),
    job: orNull(job),
    bytes,
  };
}

function contentsOf({ content, properties }: GetMessage): Record<string, unknown> {
  const { headers, ...others } = properties;
  const text = utf8Of(content);
  return {
    headers: headers ?? {},
    properties: others,
    ...(text === undefined ? { body_base64: content.toString('base64') } : { body: text }),
  };
}

function describe(letter: Letter, { content, properties }: GetMessage): string[] {
  const { headers, ...others } = properties;
  const { id, parkedAt, host, user, job, reason, detail } = letter;
  const { meaning, advice } = entryOf(reason) ?? { meaning: '', advice: '' };
  return [
    ...pairs({ id, parked: parkedAt, host, user, job, reason, meaning, detail, advice }),
    '\nheaders',
    ...pairs(headers ?? {}),
    '\nproperties',
    ...pairs(others),
    `\nbody, ${content.length} bytes`,
    ...bodyLines(content),
  ];
}

function pairs(values: object): string[] {
  const shown = Object.entries(values).filter(([, value]) => value !== undefined && value !== '');
  const width = Math.max(0, ...shown.map(([name]) => printable(name).length));
  return shown.map(
    ([name, value]) => `  ${printable(name).padEnd(width)}  ${typeof value === 'string' ? printable(value) : jsonLine(value)}`,
  );
}
