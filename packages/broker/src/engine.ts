import { performance } from 'node:perf_hooks';
import type { Logger } from 'pino';
import { Alarm } from './alarm.js';
import type { Effect, Event } from './executors/events.js';
import { Machine } from './executors/machine.js';
import type { Policy } from './policy/policy.js';

const DEFECT =
  'a defect of kpx: the state of its users contradicts itself. All jobs go back to the queue, and the broker ends for another one to start; please report this line';

/** Where effects go. */
interface Carriers {
  /** An effect as it is carried out. */
  marked(effect: Effect): Effect;
  observe(event: Event, effects: readonly Effect[], now: number): void;
  carryOut(effect: Effect): void;
}

/** Tells the machine one event after the other, with the time, and has its effects carried out. Decides nothing itself. */
export class Engine {
  readonly machine: Machine;
  readonly #log: Logger;
  readonly #carriers: Carriers;
  /** The machine is told that time has passed. */
  readonly #tick = new Alarm(() => this.emit({ kind: 'tick' }));
  #onDefect = () => {};
  /** The machine has failed: nothing that it holds to be so may decide anything any more. */
  #defective = false;
  /** Has the log that this host can start no executor? */
  #sick = false;

  constructor(log: Logger, policy: Policy, carriers: Carriers) {
    this.#log = log;
    this.#carriers = carriers;
    this.machine = new Machine(policy);
  }

  readonly emit = (event: Event): void => {
    const now = performance.now();
    const effects = this.#stepped(event, now).map((effect) => this.#carriers.marked(effect));
    this.#sayHealth();
    this.#carriers.observe(event, effects, now);
    for (const effect of effects) this.#carriers.carryOut(effect);
    if (!this.#defective) this.#tick.set(now + this.machine.tickInMs);
  };

  /** Calls `listener` once, when the machine has failed. */
  onDefect(listener: () => void): void {
    this.#onDefect = listener;
  }

  /** For good: no time passes any more. */
  stop(): void {
    this.#tick.off();
  }

  /** The machine's conclusion; nothing at all once it has failed. */
  #stepped(event: Event, now: number): Effect[] {
    if (this.#defective) return [];
    try {
      return this.machine.step(event, now, Math.random());
    } catch (error) {
      this.#defective = true;
      const { message, stack } = error as Error;
      const facts = { event: event.kind, ...('user' in event && { user: event.user }), ...this.machine.counts };
      this.#log.fatal({ reason: message, ...facts, stack }, DEFECT);
      this.#onDefect();
      return [];
    }
  }

  #sayHealth(): void {
    const { sickness } = this.machine.health;
    if (this.#sick === (sickness !== undefined)) return;
    this.#sick = sickness !== undefined;
    if (sickness)
      this.#log.error(
        { reason: sickness.why },
        'this host starts no executor: those of several users in a row failed; other hosts get their jobs',
      );
    else this.#log.info('this host starts executors again');
  }
}
