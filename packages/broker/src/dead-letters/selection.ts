import { CommandError, EXIT } from '../output/exit.js';
import type { Letter } from './letter.js';

/** Selects dead letters by ids, or by all other filters together. No filter selects everything. */
export interface Selection {
  /** Beginnings of keys, in lower case. */
  readonly ids: readonly string[];
  /** As KNIME names them; capitals make no difference, as in policy.deny. */
  readonly user?: string | undefined;
  readonly reason?: string | undefined;
}

export const isAll = ({ ids, user, reason }: Selection) => ids.length === 0 && user === undefined && reason === undefined;

/** Throws {@link CommandError} when an id stands for no letter or for several: then nothing is to be done with the others either. */
export function select(letters: readonly Letter[], { ids, user, reason }: Selection): Letter[] {
  if (ids.length > 0) {
    const keys = new Set(ids.map((id) => keyOf(letters, id)));
    return letters.filter(({ key }) => keys.has(key));
  }
  const name = user?.toLowerCase();
  return letters.filter(
    (letter) => (name === undefined || letter.user.toLowerCase() === name) && (reason === undefined || letter.reason === reason),
  );
}

function keyOf(letters: readonly Letter[], id: string): string {
  const keys = new Set(letters.flatMap(({ key }) => (key.startsWith(id) ? [key] : [])));
  const [key, another] = keys;
  if (key === undefined) {
    throw new CommandError(EXIT.noInput, `There is no dead letter ${id}. See: kpxctl dead-letters list`);
  }
  if (another !== undefined) {
    throw new CommandError(EXIT.usage, `${id} stands for ${keys.size} dead letters: give more of it, such as ${distinct(key, another)}`);
  }
  return key;
}

/** As much of a key as tells it from another. */
function distinct(key: string, another: string): string {
  const shared = [...key].findIndex((digit, at) => digit !== another[at]);
  return key.slice(0, shared + 1);
}
