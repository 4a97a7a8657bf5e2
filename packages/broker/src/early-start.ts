import type { KnimeUser } from '@kpx/protocol';
import type { Logger } from 'pino';
import type { Engine } from './engine.js';
import type { GroupLookups } from './host/group-lookups.js';
import { LATE_MS } from './policy/schedule.js';

interface Asked {
  readonly rule?: string;
  readonly isWanted?: () => boolean;
}

/** Has executors started before the job, as a first job would, within all limits. */
export class EarlyStart {
  readonly #log: Logger;
  readonly #engine: Engine;
  readonly #groups: GroupLookups;

  constructor(log: Logger, engine: Engine, groups: GroupLookups) {
    this.#log = log;
    this.#engine = engine;
    this.#groups = groups;
  }

  /**
   * Answers why not, and has that in the log. `why` is for people. `rule`: only where this one counts for the user. `isWanted` is asked once the groups of
   * the user are known.
   */
  async of(user: KnimeUser, why: string, { rule, isWanted = () => true }: Asked = {}): Promise<string | undefined> {
    const groups = this.#groups.asked ? await this.#groups.of(user).catch((error: Error) => error) : undefined;
    const refused = groups instanceof Error ? groups.message : this.#refusal(user, groups ?? [], rule);
    if (!isWanted()) return undefined;
    if (refused !== undefined || groups instanceof Error) {
      this.#log.warn({ user, reason: refused }, `no executor is started for this user before a job: ${why}`);
      return refused;
    }
    this.#engine.emit({ kind: 'start planned', user, groups, forMs: LATE_MS, why });
    this.#sayIfItWaits(user, groups ?? [], why);
    return undefined;
  }

  #refusal(user: KnimeUser, groups: readonly string[], rule: string | undefined): string | undefined {
    const { rule: counts, decision, why: parked } = this.#engine.machine.explain(user, groups);
    if (decision === 'park') return parked;
    if (rule === undefined || counts === rule) return undefined;
    return `${counts} counts for this user, as it is before this one or this one asks for another group`;
  }

  /** One after the other is no wait. */
  #sayIfItWaits(user: KnimeUser, groups: readonly string[], why: string): void {
    const { state, why: reason, cause } = this.#engine.machine.explain(user, groups);
    if (state === 'queued' && cause !== undefined && cause !== 'max_starting')
      this.#log.warn({ user, reason }, `an executor before the job has to wait: ${why}`);
  }
}
