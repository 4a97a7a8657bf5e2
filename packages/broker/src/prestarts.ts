import type { KnimeUser } from '@kpx/protocol';
import type { Logger } from 'pino';
import type { Engine } from './engine.js';
import type { GroupLookups } from './host/group-lookups.js';
import { logFailure } from './output/logged-failure.js';
import type { Prestart, Rule } from './policy/rules.js';
import { Due, LATE_MS } from './policy/schedule.js';

/** How often to look at the clock, in milliseconds. */
const LOOK_EVERY_MS = 1_000;

type PlannedRule = Rule & { readonly prestart: Prestart };
interface Plan extends Prestart {
  readonly rule: PlannedRule;
}

const hasPrestart = (rule: Rule): rule is PlannedRule => rule.prestart !== undefined;

/** Has executors started before the jobs, as `prestart` of rules says. */
export class Prestarts {
  readonly #log: Logger;
  readonly #engine: Engine;
  readonly #groups: GroupLookups;
  readonly #due = new Due<Plan>();
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Logger, engine: Engine, groups: GroupLookups) {
    this.#log = log;
    this.#engine = engine;
    this.#groups = groups;
  }

  /** Once it is known which executors run. Further calls change nothing. */
  begin(): void {
    this.#timer ??= setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const rules = this.#engine.machine.policy.rules.filter(hasPrestart);
    const plans = new Map(rules.map((rule) => [`${rule.label} ${rule.prestart.schedule.text}`, { ...rule.prestart, rule }]));
    for (const plan of this.#due.at(plans, Date.now()))
      this.#start(plan).catch(logFailure(this.#log, 'executors cannot be started before the jobs'));
  }

  /** One user after the other, in the order of the rule: so they stand in line. */
  async #start({ rule, schedule, users }: Plan): Promise<void> {
    const why = `prestart "${schedule.text}" of ${rule.label}`;
    this.#log.info({ reason: why, users: users.length }, 'executors are started before the jobs');
    for (const user of users) {
      const refused = await this.#startFor(user, rule, why);
      if (refused !== undefined) this.#log.warn({ user, reason: refused }, `no executor is started for this user before a job: ${why}`);
    }
  }

  /** Answers why not. */
  async #startFor(user: KnimeUser, rule: Rule, why: string): Promise<string | undefined> {
    const groups = this.#groups.asked ? await this.#groups.of(user).catch((error: Error) => error) : undefined;
    if (groups instanceof Error) return groups.message;
    const { rule: counts, decision, why: parked } = this.#engine.machine.explain(user, groups ?? []);
    if (decision === 'park') return parked;
    if (counts !== rule.label) return `${counts} counts for this user, as it is before this one or this one asks for another group`;
    this.#engine.emit({ kind: 'start planned', user, groups, forMs: LATE_MS, why });
    return undefined;
  }
}
