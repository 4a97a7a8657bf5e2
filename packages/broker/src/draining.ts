import type { Logger } from 'pino';
import type { Drain, KeptDrain } from './host/kept-drain.js';
import type { Operator } from './operator.js';

/** How often to look whether a drain ends, in milliseconds. */
const LOOK_EVERY_MS = 1_000;

/** Drains the host over restarts, and ends that at its time. */
export class Draining {
  readonly #operator: Operator;
  readonly #kept: KeptDrain;
  readonly #log: Logger;
  /** Ends the drain. */
  #timer: NodeJS.Timeout | undefined;

  constructor(operator: Operator, kept: KeptDrain, log: Logger) {
    this.#operator = operator;
    this.#kept = kept;
    this.#log = log;
  }

  /** Drains the host if it was being drained before, and its time has not come meanwhile. */
  restore(): void {
    const { file } = this.#kept;
    try {
      const drain = this.#kept.last;
      if (!drain) return;
      if (isOver(drain)) {
        this.#log.warn({ file }, 'this host was being drained before the restart; the time of that is over');
        this.#kept.keep(undefined);
        return;
      }
      this.#log.warn({ file }, 'this host was being drained before the restart, and still is: kpxctl resume ends it');
      this.#put(drain);
    } catch (error) {
      const reason = (error as Error).message;
      this.#log.error({ file, reason }, 'whether this host was being drained is not known: executors are started, kpxctl drain ends that');
    }
  }

  /** Undefined: executors are started again. Answers why the next restart will not know of it; undefined: it will. */
  readonly set = (drain: Drain | undefined): string | undefined => {
    this.#put(drain);
    const reason = this.#kept.keep(drain);
    const draining = drain !== undefined;
    if (reason !== undefined) this.#log.error({ draining, file: this.#kept.file, reason }, 'a restart of the broker will not know of this');
    return reason;
  };

  /** As often as the clock may be changed: no timer that is set to the end would notice. */
  #put(drain: Drain | undefined): void {
    clearInterval(this.#timer);
    this.#operator.drain(drain);
    if (drain?.untilMs === undefined) return;
    this.#timer = setInterval(() => {
      if (!isOver(drain)) return;
      this.#log.warn('the time is over for which this host was to be drained');
      this.set(undefined);
    }, LOOK_EVERY_MS).unref();
  }
}

const isOver = ({ untilMs }: Drain) => untilMs !== undefined && Date.now() >= untilMs;
