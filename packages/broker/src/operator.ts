import { type KnimeUser, StopMode } from '@kpx/protocol';
import type { Logger } from 'pino';
import type { Engine } from './engine.js';
import type { Explanation } from './executors/explanation.js';
import type { GroupLookups } from './host/group-lookups.js';
import type { Drain } from './host/kept-drain.js';
import { JobOperator } from './job-operator.js';
import { localTime } from './output/format.js';
import { DRAINED } from './policy/policy.js';
import type { ReadModel } from './record/read-model.js';
import { type Links, meanwhile } from './record/standing.js';
import type { UserDetail } from './record/status.js';

/** Answers the questions and carries out the orders of an operator of the running broker. */
export class Operator {
  readonly jobs: JobOperator;
  readonly #log: Logger;
  readonly #engine: Engine;
  readonly #groups: GroupLookups;
  readonly #record: ReadModel;
  readonly #links: () => Links;

  constructor(log: Logger, engine: Engine, groups: GroupLookups, record: ReadModel, links: () => Links) {
    this.#log = log;
    this.#engine = engine;
    this.#groups = groups;
    this.#record = record;
    this.#links = links;
    this.jobs = new JobOperator(log, engine, record, (user) => this.explain(user, undefined));
  }

  get draining(): boolean {
    return this.#engine.machine.draining;
  }

  /** Starts no executor any more, or, undefined, starts them again. Running ones get their jobs. */
  drain(drain: Drain | undefined): void {
    const on = drain !== undefined;
    const { untilMs, reason } = drain ?? {};
    const until = untilMs === undefined ? '' : ` until ${localTime(untilMs)}`;
    const more = { ...(until && { until: new Date(untilMs ?? 0).toISOString() }), ...(reason && { reason }) };
    this.#log.warn({ draining: on, ...more }, on ? 'draining: no executor is started any more' : 'executors are started again');
    this.#engine.emit({ kind: 'drain', on, ...(on && { why: `${DRAINED}${until}${reason === undefined ? '' : `: ${reason}`}` }) });
  }

  /** Asks for an executor as a job of this user would, and at once where earlier starts have failed. */
  async startFor(user: KnimeUser): Promise<Explanation> {
    const groups = this.#groups.asked ? await this.#groups.of(user) : undefined;
    this.#log.warn({ user }, 'an operator has an executor started');
    this.#engine.emit({ kind: 'start asked', user, groups });
    return await this.explain(user, groups);
  }

  /** Ends the executor that this user's jobs go to; undefined: there is none. */
  async stopOf(user: KnimeUser, mode: StopMode): Promise<Explanation | undefined> {
    if (!this.#engine.machine.executorOf(user)) return undefined;
    this.#log.warn({ user, mode }, 'an operator has an executor ended');
    this.#engine.emit({ kind: 'stop asked', user, force: mode === StopMode.kill });
    return await this.explain(user, undefined);
  }

  /** The same once they are idle: of this user, or all that run. Answers how many, and for how long each has to be idle, in milliseconds. */
  stopWhenIdle(only: KnimeUser | undefined): { readonly executors: number; readonly idle: number } | undefined {
    const { machine } = this.#engine;
    const own = only === undefined ? undefined : machine.executorOf(only);
    if (only !== undefined && !own) return undefined;
    const pids = new Set((own ? [own] : [...machine.running()]).map(({ pid }) => pid));
    this.#engine.emit({ kind: 'stop when idle asked', pids });
    const executors = [...machine.running()].filter(({ pid, leaving, ending }) => pids.has(pid) && leaving && !ending).length;
    this.#log.warn({ ...(only !== undefined && { user: only }), executors }, 'an operator has executors ended once they are idle');
    return { executors, idle: machine.policy.evictIdleAfterMs };
  }

  /** Says what a job of this user would meet now. Groups that are not given are looked up where a rule asks for them. */
  async explain(user: KnimeUser, groups: readonly string[] | undefined): Promise<Explanation> {
    const { machine } = this.#engine;
    const known = groups ?? (this.#groups.asked ? await this.#groups.of(user).catch((error: Error) => error) : []);
    const planned = this.#record.planned.get(user);
    const later = planned && { planned };
    if (known instanceof Error) return { ...machine.explain(user, []), decision: 'hand back', why: known.message, ...later };
    return { ...meanwhile(machine.explain(user, known), this.#links()), ...later };
  }

  /** All that is known of one user. */
  async user(user: KnimeUser): Promise<UserDetail> {
    return this.#record.user(await this.explain(user, undefined));
  }
}
