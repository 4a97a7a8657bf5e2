import { setTimeout as delay } from 'node:timers/promises';
import type { WireMessage } from '../amqp/wire/amqplib.js';
import { CommandError, EXIT } from '../exit.js';
import type { Letter } from './letter.js';
import type { DeadLetterQueue, Visitor } from './queue.js';
import { type Selection, select } from './selection.js';

/** What another connection had is given back when that ends, which may take a moment: how long before a second look, in milliseconds. */
const SECOND_LOOK_MS = 500;

export const WAYS = ['replay', 'drop'] as const;
export type Way = (typeof WAYS)[number];

/** `all`: no more than these were there to be looked at. */
export interface Chosen {
  readonly letters: readonly Letter[];
  readonly all: boolean;
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

/**
 * Dead letters at an operator's hand, whether this process has the queue or the running broker has it. Each rejects with a
 * {@link CommandError}, also where a letter is meant that is not there.
 */
export interface DeadLetters {
  /** Rejects when nothing more can be done. */
  readonly lost: Promise<never>;
  choose(selection: Selection): Promise<Chosen>;
  show(id: string): Promise<Shown>;
  /** Settles those that were chosen; `done` hears of each. Answers why the others had to stay, where that is known. */
  settle(way: Way, selection: Selection, chosen: Chosen, done: (letter: Letter) => void): Promise<string | undefined>;
  close(): Promise<void>;
}

/** By this process. */
export const inHand = (queue: DeadLetterQueue): DeadLetters => ({
  lost: queue.lost,
  choose: (selection) => choose(queue, selection),
  show: (id) => show(queue, id),
  settle: (way, _selection, { letters }, done) => settle(queue, way, letters, done),
  close: () => queue.close(),
});

export async function choose(queue: DeadLetterQueue, selection: Selection): Promise<Chosen> {
  const letters: Letter[] = [];
  const all = await queue.pass((letter) => {
    letters.push(letter);
    return 'stays';
  });
  return { letters: select(letters, selection), all };
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
  const [letter] = select(letters, { ids: [id] });
  if (!letter || !first) throw new CommandError(EXIT.noInput, `There is no dead letter ${id}.`);
  return { letter, copies: letters.length, all, properties: first.properties.shown(), content: first.content };
}

/**
 * A pass in which each of the chosen letters is settled. They were chosen before, so that a job that is parked again meanwhile is not taken a
 * second time.
 */
export async function settle(
  queue: DeadLetterQueue,
  way: Way,
  chosen: readonly Letter[],
  done: (letter: Letter) => void,
): Promise<string | undefined> {
  const wanted = new Map<string, number>();
  for (const { key } of chosen) wanted.set(key, (wanted.get(key) ?? 0) + 1);
  let left = chosen.length;
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
  await queue.pass(visitor);
  if (left > 0 && problem === undefined) {
    await delay(SECOND_LOOK_MS);
    await queue.pass(visitor);
  }
  return problem;
}
