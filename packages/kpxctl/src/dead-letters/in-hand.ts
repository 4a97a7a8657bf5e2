import type { Letter } from '@kpx/broker/dead-letters/letter';
import type { DeadLetterQueue } from '@kpx/broker/dead-letters/queue';
import type { Selection } from '@kpx/broker/dead-letters/selection';
import { type Chosen, choose, type Shown, settle, show, type Way } from '@kpx/broker/dead-letters/work';

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
  settle(way: Way, chosen: Chosen, done: (letter: Letter) => void): Promise<string | undefined>;
  close(): Promise<void>;
}

/** By this process. */
export const inHand = (queue: DeadLetterQueue): DeadLetters => ({
  lost: queue.lost,
  choose: (selection) => choose(queue, selection),
  show: (id) => show(queue, id),
  settle: (way, { letters }, done) =>
    settle(
      queue,
      way,
      letters.map(({ key }) => key),
      done,
    ),
  close: () => queue.close(),
});
