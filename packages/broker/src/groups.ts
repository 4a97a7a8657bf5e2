import type { KnimeUser } from '@kpx/protocol';
import { runCommand } from './command.js';

/** For how long an answer of the name service is used again, in milliseconds. */
const FRESH_MS = 300_000;
/** For how long a user without an account counts as one without groups, in milliseconds: the name service may only be restarting. */
const UNKNOWN_FRESH_MS = 5_000;
/** Answers kept; beyond, the oldest go. */
const ANSWERS_MAX = 10_000;
const LOOK_UP_TIMEOUT_MS = 5_000;

const NONE: readonly string[] = [];

interface Answer {
  readonly groups: Promise<readonly string[]>;
  until: number;
}

/**
 * The OS groups of a KNIME user's account of the same name, folded to lower case (the helper's map is not known here: rules for mapped users go
 * by name). `/usr/bin/id -G -n -z -- NAME`, of which NAME has the wire's syntax; asked once in a while for each user. A user without an account
 * has no groups. Rejects when the name service does not say; the next look asks again.
 */
export class Groups {
  readonly #answers = new Map<KnimeUser, Answer>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  of(user: KnimeUser): Promise<readonly string[]> {
    const known = this.#answers.get(user);
    if (known && known.until > this.#now()) return known.groups;
    const groups = lookUp(user.toLowerCase());
    this.#answers.delete(user);
    const answer: Answer = { groups, until: this.#now() + FRESH_MS };
    this.#answers.set(user, answer);
    groups.then(
      (found) => found === NONE && Object.assign(answer, { until: this.#now() + UNKNOWN_FRESH_MS }),
      () => this.#answers.delete(user),
    );
    const [oldest] = this.#answers.keys();
    if (this.#answers.size > ANSWERS_MAX && oldest !== undefined) this.#answers.delete(oldest);
    return groups;
  }
}

async function lookUp(name: string): Promise<readonly string[]> {
  const { exitCode, stdout, stderr } = await runCommand('/usr/bin/id', ['-G', '-n', '-z', '--', name], LOOK_UP_TIMEOUT_MS);
  if (exitCode === 0) return stdout.split('\0').filter((group) => group !== '');
  if (/no such user/.test(stderr)) return NONE;
  throw new Error(`the groups of "${name}" could not be looked up`, { cause: stderr });
}
