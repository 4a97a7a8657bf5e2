import type { Logger } from 'pino';
import type { EarlyStart } from './early-start.js';
import type { Engine } from './engine.js';
import { logFailure } from './output/logged-failure.js';
import type { Prestart, Rule } from './policy/rules.js';
import { Due } from './policy/schedule.js';

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
  readonly #early: EarlyStart;
  readonly #due = new Due<Plan>();
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Logger, engine: Engine, early: EarlyStart) {
    this.#log = log;
    this.#engine = engine;
    this.#early = early;
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
    for (const user of users) await this.#early.of(user, why, { rule: rule.label });
  }
}
