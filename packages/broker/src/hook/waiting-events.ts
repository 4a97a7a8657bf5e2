import type { HookEvent, VerdictEvent } from './events.js';

/** Calls of the program in any minute, at most. */
export const CALLS_A_MINUTE_MAX = 10;
const MINUTE_MS = 60_000;
/** Parked jobs that wait to be told; further ones are only counted. */
export const WAITING_MAX = 16;

/** A call of the program that is due. */
interface Due {
  readonly event: HookEvent;
  /** Events since the call before that no call is about. */
  readonly suppressed: number;
}

/** Events that wait for their call, so many and no more. Times in milliseconds of one clock. */
export class WaitingEvents {
  readonly #parked: HookEvent[] = [];
  /** The newest alone: an older one is not so any more. */
  #verdict: VerdictEvent | undefined;
  #suppressed = 0;
  /** When the calls of the last minute were made. */
  #calls: number[] = [];

  /** Answers whether there is a place for it. */
  parked(event: HookEvent): boolean {
    const fits = this.#parked.length < WAITING_MAX;
    if (fits) this.#parked.push(event);
    else this.#suppressed += 1;
    return fits;
  }

  /** Answers whether it takes the place of an older one that nobody was told. undefined: there is nothing to tell any more. */
  verdict(event: VerdictEvent | undefined): boolean {
    const replaces = this.#verdict !== undefined;
    this.#verdict = event;
    if (replaces) this.#suppressed += 1;
    return replaces;
  }

  clear(): void {
    this.#parked.length = 0;
    this.#verdict = undefined;
    this.#suppressed = 0;
  }

  /** How long until {@link take} may have one; undefined: nothing waits. */
  dueInMs(now: number): number | undefined {
    if (this.#verdict === undefined && this.#parked.length === 0) return undefined;
    this.#calls = this.#calls.filter((at) => now - at < MINUTE_MS);
    const [first = now] = this.#calls;
    return this.#calls.length < CALLS_A_MINUTE_MAX ? 0 : first + MINUTE_MS - now;
  }

  /** The next one, a verdict before parked jobs; undefined: nothing is due. */
  take(now: number): Due | undefined {
    if (this.dueInMs(now) !== 0) return undefined;
    const event = this.#verdict ?? this.#parked.shift();
    if (event === undefined) return undefined;
    this.#verdict = undefined;
    this.#calls.push(now);
    const due = { event, suppressed: this.#suppressed };
    this.#suppressed = 0;
    return due;
  }
}
