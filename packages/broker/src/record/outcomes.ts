import type { Outcome } from '../amqp/relay-observer.js';

/** Counts the jobs that have left the broker since it started: for status, metrics and the page. */
export class Outcomes {
  readonly jobs: Record<Outcome, number> = { forwarded: 0, deferred: 0, parked: 0, returned: 0 };
  /** The parked ones of these, by reason. */
  readonly parked = new Map<string, number>();
  /** The reason of the latest; undefined: none yet. */
  lastParked: string | undefined;

  left(outcome: Outcome, reason = ''): void {
    this.jobs[outcome] += 1;
    if (outcome !== 'parked') return;
    this.parked.set(reason, (this.parked.get(reason) ?? 0) + 1);
    this.lastParked = reason;
  }
}

/** The end of a call of the hook's program. `not_started`: there is no such program, or it may not be executed. */
export const HOOK_RESULTS = ['ok', 'failed', 'timeout', 'not_started'] as const;
export type HookResult = (typeof HOOK_RESULTS)[number];
