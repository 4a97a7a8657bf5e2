import { randomUUID } from 'node:crypto';
import { CommandError, EXIT } from '../output/exit.js';
import type { Letter } from './letter.js';
import type { Selection } from './selection.js';

/** Kept at once, each with up to 10,000 keys: about 1 MB. */
const CHOICES_MAX = 16;
/** Longer than a question to an operator is open, in milliseconds. */
const CHOICE_MS = 600_000;

/** Letters that an operator has seen. `keys`: each as often as its letter was there. */
interface Choice {
  readonly selection: Selection;
  readonly keys: readonly string[];
  readonly until: number;
}

/** The last choices, by names that the broker gives them: these letters and no others are settled. A restart forgets them. */
export class Choices {
  /** Oldest first. */
  readonly #kept = new Map<string, Choice>();

  /** Answers its name. */
  keep(selection: Selection, letters: readonly Letter[]): string {
    const name = randomUUID();
    this.#kept.set(name, { selection, keys: letters.map(({ key }) => key), until: performance.now() + CHOICE_MS });
    for (const oldest of this.#kept.keys()) if (this.#kept.size > CHOICES_MAX) this.#kept.delete(oldest);
    return name;
  }

  /** Once: another letter may have the same key later, if somebody publishes it again. Throws a {@link CommandError} where it is not known. */
  take(name: string): Omit<Choice, 'until'> {
    const choice = this.#kept.get(name);
    this.#kept.delete(name);
    if (choice !== undefined && performance.now() <= choice.until) return choice;
    throw new CommandError(EXIT.noInput, 'The broker no longer knows which dead letters were shown: look again. Nothing was changed.');
  }
}
