import type { ProfileName } from '@kpx/protocol';
import type { Logger } from 'pino';
import { groupsOf, namesThatDoNotExist } from '../policy/rule-names.js';
import type { Rule } from '../policy/rules.js';
import { missingGroups } from './missing-groups.js';

/** Sentences in the log at once; the first of them tell the operator to look. */
const SAID_AT_ONCE_MAX = 50;

/** Says in the log which groups and profiles of the rules do not exist: after a start, a reload, and when the helper has told its profiles. */
export class RuleNames {
  readonly #log: Logger;
  #rules: readonly Rule[] = [];
  #profiles: ReadonlySet<ProfileName> | undefined;
  /** Of the rules in force, so that a helper that connects again has nothing repeated. */
  readonly #said = new Set<string>();
  #judging: Promise<void> = Promise.resolve();

  constructor(log: Logger, rules: readonly Rule[]) {
    this.#log = log;
    this.rules(rules);
  }

  /** The helper's last answer; undefined: nothing yet. */
  get known(): readonly ProfileName[] | undefined {
    return this.#profiles && [...this.#profiles];
  }

  /** Other rules are in force. */
  rules(rules: readonly Rule[]): void {
    this.#rules = rules;
    this.#said.clear();
    this.#judgeInTurn();
  }

  /** The helper has said which profiles it has. */
  profiles(profiles: readonly ProfileName[]): void {
    this.#profiles = new Set(profiles);
    this.#judgeInTurn();
  }

  #judgeInTurn(): void {
    this.#judging = this.#judging.then(() => this.#judge());
  }

  async #judge(): Promise<void> {
    const rules = this.#rules;
    if (rules.length === 0) return;
    const unknown = namesThatDoNotExist(rules, { missingGroups: await this.#missing(rules), profiles: this.#profiles });
    if (rules !== this.#rules) return; // these are judged next
    const fresh = unknown.filter((reason) => !this.#said.has(reason));
    for (const reason of fresh.slice(0, SAID_AT_ONCE_MAX)) this.#log.warn({ reason }, 'a rule names something that does not exist');
    for (const reason of fresh) this.#said.add(reason);
    if (unknown.length === 0 && this.#profiles) this.#log.debug('every group and profile of the rules exists');
  }

  async #missing(rules: readonly Rule[]): Promise<ReadonlySet<string>> {
    return await missingGroups(groupsOf(rules)).catch((error: Error) => {
      this.#log.warn({ reason: error.message }, 'the groups of rules could not be looked up; they are judged with the next reload');
      return new Set<string>();
    });
  }
}
