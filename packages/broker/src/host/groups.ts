import { accountNameOf, type KnimeUser } from '@kpx/protocol';
import { runCommand } from './command.js';
import { InTurn } from './in-turn.js';
import { nameServiceIsDown } from './name-service-down.js';

/** For how long an answer of the name service is used again, in milliseconds. */
const FRESH_MS = 300_000;
/** For how long a user without an account counts as one without groups, in milliseconds: the name service may only be restarting. */
const UNKNOWN_FRESH_MS = 5_000;
/** Answers kept; beyond, the oldest go. */
const ANSWERS_MAX = 10_000;
const LOOK_UP_TIMEOUT_MS = 5_000;
/** Look-ups at once: each is a process, of which the broker may have few (TasksMax= of its unit). */
const AT_ONCE_MAX = 8;
/** How long a look-up waits for its turn, in milliseconds. */
const TURN_WAIT_MS_MAX = 30_000;
/** id(1): it could not tell everything. Killed, it has another one. */
const ID_FAILED = 1;

const NONE: readonly string[] = [];

interface Answer {
  readonly groups: Promise<readonly string[]>;
  until: number;
}

/**
 * The OS groups of a KNIME user's account of the same name, folded to lower case (the helper's map is not known here: rules for mapped users go
 * by name). `/usr/bin/id -G -n -z -- NAME`, of which NAME has the syntax of accounts; asked once in a while for each user. A user without an account
 * has no groups. A group without a name, which no rule can match, is told with its gid, and `nameless` hears of it. Rejects when the name service does
 * not say; the next look asks again.
 */
export class Groups {
  readonly #answers = new Map<KnimeUser, Answer>();
  readonly #now: () => number;
  readonly #nameless: (user: KnimeUser, gids: readonly string[]) => void;
  readonly #isDown: typeof nameServiceIsDown;
  readonly #inTurn = new InTurn(AT_ONCE_MAX, TURN_WAIT_MS_MAX);

  constructor(now: () => number, nameless: (user: KnimeUser, gids: readonly string[]) => void, isDown = nameServiceIsDown) {
    this.#now = now;
    this.#nameless = nameless;
    this.#isDown = isDown;
  }

  of(user: KnimeUser): Promise<readonly string[]> {
    const known = this.#answers.get(user);
    if (known && known.until > this.#now()) return known.groups;
    const groups = this.#inTurn.run(() => this.#lookUp(user));
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

  async #lookUp(user: KnimeUser): Promise<readonly string[]> {
    const name = user.toLowerCase();
    const groups = await lookUp(name, (gids) => this.#nameless(user, gids));
    // To id(1), an account of a directory service that is down does not exist.
    const down = groups === NONE && accountNameOf(name) !== undefined ? await this.#isDown() : undefined;
    if (down !== undefined) throw new Error(`the groups of "${name}" could not be looked up: ${down}`);
    return groups;
  }
}

async function lookUp(name: string, nameless: (gids: readonly string[]) => void): Promise<readonly string[]> {
  if (accountNameOf(name) === undefined) return NONE;
  const { exitCode, stdout, stderr } = await runCommand('/usr/bin/id', ['-G', '-n', '-z', '--', name], LOOK_UP_TIMEOUT_MS);
  const groups = stdout.split('\0').filter((group) => group !== '');
  if (exitCode === 0) return groups;
  if (/no such user/.test(stderr)) return NONE;
  // id(1) says the number in place of a name that there is not, and fails in the end. With any other complaint it may not have told all groups.
  const complaints = stderr.trim().split('\n');
  const gids = complaints.flatMap((line) => /cannot find name for group ID (\d+)$/.exec(line)?.[1] ?? []);
  if (exitCode !== ID_FAILED || gids.length !== complaints.length)
    throw new Error(`the groups of "${name}" could not be looked up (id ended with ${exitCode}: ${stderr.trim()})`);
  nameless(gids);
  return groups.map((group) => (gids.includes(group) ? `${group} (no name)` : group));
}
