import type { KnimeUser, StopMode } from '@kpx/protocol';
import type { Logger } from 'pino';
import type { EarlyStart } from './early-start.js';
import type { Engine } from './engine.js';
import type { Explanation, Planned } from './executors/explanation.js';
import { RESTING } from './executors/states.js';
import type { KeptOrders, Leaving } from './host/kept-orders.js';
import type { Operator } from './operator.js';
import { CommandError, EXIT } from './output/exit.js';
import { localTime } from './output/format.js';
import { logFailure } from './output/logged-failure.js';
import { LATE_MS } from './policy/schedule.js';

/** How often to look at the clock, in milliseconds: no timer that is set to a time would notice that the clock is changed. */
const LOOK_EVERY_MS = 1_000;
/** Starts that may be planned at once: each is a line of a file that is written as a whole. */
export const PLANNED_MAX = 1_000;

const NOT_LISTED =
  'The broker does not know yet which executors run, as kpx-privhelper has not told it: try again in some seconds. kpxctl status says more.';

interface Start {
  readonly atMs: number;
  /** `given`: the machine has it. */
  phase: 'planned' | 'due' | 'given';
  /** Why none was started at its time. */
  refused: string | undefined;
}

/** Why a restart of the broker will not know of an order; absent: it will. */
interface Kept {
  readonly forgotten?: string;
}

const timeText = (atMs: number) => new Date(atMs).toISOString();

/**
 * Carries out the orders of operators whose time comes later: executors that are started at a time, and those that end once they are idle. Over
 * restarts of the broker too.
 */
export class LaterOrders {
  readonly #log: Logger;
  readonly #engine: Engine;
  readonly #operator: Operator;
  readonly #early: EarlyStart;
  readonly #kept: KeptOrders;
  /** One a user. */
  readonly #starts = new Map<KnimeUser, Start>();
  /** Of before the restart, until it is known which executors run. */
  #leaving: readonly Leaving[] = [];
  #timer: NodeJS.Timeout | undefined;
  /** Why they could not be kept, as the log has it. */
  #problem: string | undefined;

  constructor(log: Logger, engine: Engine, operator: Operator, early: EarlyStart, kept: KeptOrders) {
    this.#log = log;
    this.#engine = engine;
    this.#operator = operator;
    this.#early = early;
    this.#kept = kept;
  }

  /** Knows of the orders of before the restart again. */
  restore(): void {
    const { file } = this.#kept;
    try {
      const { starts, leaving, unread } = this.#kept.last();
      for (const [user, atMs] of starts) this.#starts.set(user, { atMs, phase: 'planned', refused: undefined });
      this.#leaving = leaving;
      if (starts.size > 0) this.#log.info({ file, starts: starts.size }, 'starts are planned from before the restart: kpxctl status');
      if (unread > 0) this.#log.error({ file, lines: unread }, 'some orders of operators are forgotten: their lines cannot be read');
    } catch (error) {
      this.#log.error({ file, reason: (error as Error).message }, 'the orders of operators from before the restart are not known');
    }
  }

  /** Once it is known which executors run. Further calls change nothing. */
  begin(): void {
    if (this.#timer) return;
    const isLeaving = ({ osUser, pid }: Leaving) => this.#leaving.some((one) => one.osUser === osUser && one.pid === pid);
    const pids = new Set([...this.#engine.machine.running()].filter(isLeaving).map(({ pid }) => pid));
    if (pids.size > 0) {
      this.#engine.emit({ kind: 'stop when idle asked', pids });
      this.#log.info({ executors: pids.size }, 'an operator has ordered before the restart that these executors end once they are idle');
    }
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Starts whose time has not come, or that wait since then. */
  get planned(): ReadonlyMap<KnimeUser, Planned> {
    const told = ({ atMs, refused }: Start): Planned => ({ at: timeText(atMs), ...(refused !== undefined && { refused }) });
    return new Map([...this.#starts].map(([user, start]) => [user, told(start)]));
  }

  /** Has an executor started then, in milliseconds since the epoch. `replaced`: the time for which the same was planned before. */
  async plan(user: KnimeUser, atMs: number): Promise<Explanation & Kept & { readonly replaced?: string }> {
    const before = this.#starts.get(user);
    if (!before && this.#starts.size >= PLANNED_MAX)
      throw new CommandError(
        EXIT.unavailable,
        `${PLANNED_MAX} starts are planned on this host, and no more may be. kpxctl status --json has them, and kpxctl start USER --cancel takes one back.`,
      );
    this.#starts.set(user, { atMs, phase: 'planned', refused: undefined });
    this.#log.warn({ user, at: timeText(atMs) }, 'an operator plans the start of an executor');
    const replaced = before?.phase === 'planned' && before.atMs !== atMs ? { replaced: timeText(before.atMs) } : {};
    return { ...this.#keep(), ...replaced, ...(await this.#operator.explain(user, undefined)) };
  }

  /** Takes back a start that is planned, or stands in line. `taken_back`: its time; null: it stood in line without one. */
  async cancel(user: KnimeUser): Promise<Explanation & Kept & { readonly taken_back: string | null }> {
    const start = this.#starts.get(user);
    if (!start && !this.#engine.machine.wantsBeforeJob(user))
      throw new CommandError(EXIT.unavailable, `no start of the executor of "${user}" is planned or in line on this host`);
    this.#starts.delete(user);
    this.#engine.emit({ kind: 'start cancelled', user });
    this.#log.warn({ user, ...(start && { at: timeText(start.atMs) }) }, 'an operator takes the start of an executor back');
    const taken_back = start ? timeText(start.atMs) : null;
    return { ...this.#keep(), taken_back, ...(await this.#operator.explain(user, undefined)) };
  }

  /** As {@link Operator.stopWhenIdle}. */
  async stopWhenIdle(only: KnimeUser | undefined): Promise<(NonNullable<ReturnType<Operator['stopWhenIdle']>> & Kept) | undefined> {
    this.#knowsWhichRun();
    const stopped = this.#operator.stopWhenIdle(only);
    return stopped && { ...stopped, ...this.#keep() };
  }

  /** As {@link Operator.stopOf}. */
  async stopOf(user: KnimeUser, mode: StopMode): Promise<Explanation | undefined> {
    this.#knowsWhichRun();
    return await this.#operator.stopOf(user, mode);
  }

  #knowsWhichRun(): void {
    if (!this.#timer) throw new CommandError(EXIT.unavailable, NOT_LISTED);
  }

  #look(): void {
    const due: (readonly [KnimeUser, Start])[] = [];
    for (const [user, start] of this.#starts) {
      const late = Date.now() - start.atMs;
      if (start.phase === 'given' && start.refused === undefined) this.#follow(user, start);
      else if (late >= LATE_MS) this.#giveUp(user, start);
      else if (late >= 0 && start.phase === 'planned') due.push([user, start]);
    }
    for (const [, start] of due) start.phase = 'due';
    if (due.length > 0) this.#startAll(due).catch(logFailure(this.#log, 'executors cannot be started at their time'));
    this.#keep();
  }

  /** One user after the other, in the order of the orders. */
  async #startAll(due: readonly (readonly [KnimeUser, Start])[]): Promise<void> {
    for (const [user, start] of due) {
      if (this.#starts.get(user) !== start) continue; // taken back meanwhile, or replaced
      const isWanted = () => this.#starts.get(user) === start;
      start.refused = await this.#early.of(user, `kpxctl start --at ${localTime(start.atMs)}`, { isWanted });
      start.phase = 'given';
    }
  }

  /** The machine goes on with it; once it does not, the executor is there, or there will be none. */
  #follow(user: KnimeUser, { atMs }: Start): void {
    const { machine } = this.#engine;
    if (machine.wantsBeforeJob(user)) return;
    this.#starts.delete(user);
    const state = machine.stateOf(user);
    if (machine.executorOf(user) || !(state === 'idle' || RESTING.has(state))) return;
    const say = ({ why: reason }: Explanation) =>
      this.#log.warn({ user, at: timeText(atMs), reason }, 'no executor was started at the time that an operator has named');
    this.#operator.explain(user, undefined).then(say, logFailure(this.#log, 'what became of a planned start is not known'));
  }

  #giveUp(user: KnimeUser, { atMs, refused }: Start): void {
    this.#starts.delete(user);
    if (refused === undefined)
      this.#log.warn({ user, at: timeText(atMs) }, 'the broker was not there in time for a planned start: no executor is started for it');
  }

  #keep(): Kept {
    const starts = new Map([...this.#starts].map(([user, { atMs }]) => [user, atMs]));
    const leaving = this.#timer ? [...this.#engine.machine.running()].filter((executor) => executor.leaving) : this.#leaving;
    const reason = this.#kept.keep({ starts, leaving });
    if (reason !== undefined && reason !== this.#problem)
      this.#log.error({ file: this.#kept.file, reason }, 'a restart of the broker will not know of the orders of operators');
    this.#problem = reason;
    return reason === undefined ? {} : { forgotten: reason };
  }
}
