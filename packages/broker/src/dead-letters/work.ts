import { setTimeout as delay } from 'node:timers/promises';
import type { WireMessage } from '../amqp/wire/amqplib.js';
import { CommandError, EXIT } from '../output/exit.js';
import type { Letter } from './letter.js';
import type { DeadLetterQueue, Visitor } from './queue.js';
import { type Selection, select } from './selection.js';

/** RabbitMQ takes letters of another connection back when that ends, which may take a moment: how long before a second look, in milliseconds. */
const SECOND_LOOK_MS = 500;

/** How long letters that a look has hidden are waited for, and how often it is looked, in milliseconds. */
const HIDDEN_WAIT_MS = 30_000;
const HIDDEN_POLL_MS = 1_000;

export const WAYS = ['replay', 'drop'] as const;
export type Way = (typeof WAYS)[number];

/** `all`: no more than these were there to be looked at. */
export interface Chosen {
  readonly letters: readonly Letter[];
  readonly all: boolean;
  /** Why there may be others, and what to do, for the operator. */
  readonly hint?: string | undefined;
  /** The broker's name for them, where it has looked. */
  readonly choice?: string;
}

/** One letter with what is in it, and how often the same is there. */
export interface Shown {
  readonly letter: Letter;
  readonly copies: number;
  readonly all: boolean;
  /** Those that it has; `headers` is a table of its own, and is missing where that cannot be read. */
  readonly properties: Readonly<Record<string, unknown>>;
  readonly content: Buffer;
}

export async function choose(queue: DeadLetterQueue, selection: Selection): Promise<Chosen> {
  const letters: Letter[] = [];
  const all = await queue.pass((letter) => {
    letters.push(letter);
    return 'stays';
  });
  return { letters: selected(queue, letters, selection), all, ...(queue.hint !== undefined && { hint: queue.hint }) };
}

/** As {@link select}. */
function selected(queue: DeadLetterQueue, letters: readonly Letter[], selection: Selection): Letter[] {
  try {
    return select(letters, selection);
  } catch (error) {
    if (!(error instanceof CommandError && error.exitCode === EXIT.noInput && queue.hint !== undefined)) throw error;
    throw new CommandError(EXIT.noInput, `${error.message}. ${queue.hint}`);
  }
}

export async function show(queue: DeadLetterQueue, id: string): Promise<Shown> {
  const letters: Letter[] = [];
  let first: WireMessage | undefined; // of several the bodies are not needed
  const all = await queue.pass((letter, message) => {
    if (letter.key.startsWith(id)) {
      letters.push(letter);
      first ??= message;
    }
    return 'stays';
  });
  const [letter] = selected(queue, letters, { ids: [id] });
  if (!letter || !first) throw new CommandError(EXIT.noInput, `There is no dead letter ${id}.`);
  return { letter, copies: letters.length, all, properties: first.properties.shown(), content: first.content };
}

/**
 * A pass in which each of the letters with these keys is settled, as often as its key is there. They were chosen before, so that a job that is
 * parked again meanwhile is not taken a second time. Answers undefined, or why some had to stay.
 */
export async function settle(
  queue: DeadLetterQueue,
  way: Way,
  keys: readonly string[],
  done: (letter: Letter) => void,
): Promise<string | undefined> {
  const wanted = new Map<string, number>();
  for (const key of keys) wanted.set(key, (wanted.get(key) ?? 0) + 1);
  let left = keys.length;
  let problem: string | undefined;
  const visitor: Visitor = async (letter, message) => {
    if (left === 0 || problem !== undefined) return 'stop';
    const copies = wanted.get(letter.key) ?? 0;
    if (copies === 0) return 'stays';
    wanted.set(letter.key, copies - 1);
    const why = way === 'drop' ? queue.drop(message) : await queue.replay(message);
    if (why !== undefined) {
      problem = why;
      return 'stop';
    }
    left -= 1;
    done(letter);
    return 'gone';
  };
  let unseen = await queue.search(visitor);
  const [waitMs, pollMs] = queue.hint === undefined ? [SECOND_LOOK_MS, SECOND_LOOK_MS] : [HIDDEN_WAIT_MS, HIDDEN_POLL_MS];
  for (const until = performance.now() + waitMs; left > 0 && problem === undefined && performance.now() < until; ) {
    await delay(pollMs);
    unseen = await queue.search(visitor);
  }
  return problem ?? (left > 0 ? unseen : undefined);
}
