import type { Effect } from '../executors/events.js';
import { STATES, type State } from '../executors/states.js';

/** Decisions that are remembered; the oldest go. */
const DECISIONS_MAX = 200;

/** One decision in words. */
export interface Decision {
  /** ISO 8601. */
  readonly at: string;
  readonly user: string;
  readonly what: string;
}

/**
 * The latest decisions, for an operator who asks. Jobs that were sent on or deferred are not among them, nor the steps of a start between its beginning
 * and its end: they would drown the rest.
 */
export class Decisions {
  readonly #last: Decision[] = [];

  note(effects: readonly Effect[]): void {
    for (const effect of effects) {
      const what = inWords(effect);
      if (what === undefined) continue;
      if (this.#last.length >= DECISIONS_MAX) this.#last.shift();
      this.#last.push({ at: new Date().toISOString(), user: effect.user, what });
    }
  }

  /** Oldest first. */
  get last(): readonly Decision[] {
    return this.#last;
  }
}

const isStep = (state: State, detail: string) =>
  STATES[state].phase === 'starts' || state === 'booting' || (state === 'queued' && detail === '');

function inWords(effect: Effect): string | undefined {
  switch (effect.kind) {
    case 'start':
      return `an executor is started, profile "${effect.profile}": ${effect.why}`;
    case 'stop':
      return `the executor is asked to end: ${effect.why}`;
    case 'kill':
      return `the executor is ended by force: ${effect.why}`;
    case 'park':
      return `a job is parked: ${effect.reason}: ${effect.detail}`;
    case 'state':
      return isStep(effect.state, effect.detail) ? undefined : `${effect.state}${effect.detail === '' ? '' : `: ${effect.detail}`}`;
    default:
      return undefined;
  }
}
