import type { KnimeUser } from '@kpx/protocol';
import type { Logger } from 'pino';
import { rulesAskForGroups } from '../policy/rules.js';
import { Groups } from './groups.js';

type Rules = Parameters<typeof rulesAskForGroups>[0];

/** Looks up the groups of users, where a rule asks for groups. */
export class GroupLookups {
  readonly #log: Logger;
  #asked: boolean;
  #groups: Groups;
  #isLooking = false;

  constructor(log: Logger, rules: Rules) {
    this.#log = log;
    this.#asked = rulesAskForGroups(rules);
    this.#groups = this.#newGroups();
  }

  /** Other rules are in force: each user is looked up again. */
  replace(rules: Rules): void {
    this.#asked = rulesAskForGroups(rules);
    this.#groups = this.#newGroups();
  }

  /** Does a rule ask for groups? */
  get asked(): boolean {
    return this.#asked;
  }

  /** Rejects when the name service does not say. */
  of(user: KnimeUser): Promise<readonly string[]> {
    return this.#groups.of(user);
  }

  /** One after the other. A user whose groups cannot be told is left out: the next list asks again. */
  async tell(users: () => Iterable<KnimeUser>, found: (user: KnimeUser, groups: readonly string[]) => void): Promise<void> {
    if (!this.#asked || this.#isLooking) return;
    this.#isLooking = true;
    try {
      for (const user of users()) {
        const groups = await this.#groups.of(user).catch(() => undefined);
        if (groups) found(user, groups);
      }
    } finally {
      this.#isLooking = false;
    }
  }

  #newGroups(): Groups {
    const nameless = (user: KnimeUser, gids: readonly string[]) =>
      this.#log.warn({ user, gids }, 'a user is in a group that has no name: no rule can match it, see getent group GID');
    return new Groups(() => performance.now(), nameless);
  }
}
