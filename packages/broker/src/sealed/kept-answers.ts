import type { OsUser } from '@kpx/protocol';
import type { DeclaredQueue } from '../rabbitmq/provisioning.js';
import { OpenAnswers } from './open-answers.js';

/** Longest that a timer of Node takes, in milliseconds. */
const TIMER_MS_MAX = 2 ** 31 - 1;

interface Kept {
  readonly answers: OpenAnswers;
  readonly queues: readonly DeclaredQueue[];
  readonly timer: NodeJS.Timeout;
}

/**
 * Which answers accounts may still give whose executors have ended: for `graceMs`. RabbitMQ 3.10 that is killed gives out jobs once more that were taken back
 * in its last moments, and the next executor answers them.
 */
export class KeptAnswers {
  readonly #graceMs: () => number;
  readonly #kept = new Map<OsUser, Kept>();

  constructor(graceMs: () => number) {
    this.#graceMs = graceMs;
  }

  /** For an executor that starts. */
  of(account: OsUser): OpenAnswers {
    return this.#kept.get(account)?.answers ?? new OpenAnswers(this.#graceMs);
  }

  /** The queues for answers that the account's last executor has left; undefined: nobody knows. */
  queuesOf(account: OsUser): readonly DeclaredQueue[] | undefined {
    return this.#kept.get(account)?.queues;
  }

  /** Of an executor that has ended. */
  keep(account: OsUser, answers: OpenAnswers, queues: readonly DeclaredQueue[]): void {
    answers.ended(performance.now());
    clearTimeout(this.#kept.get(account)?.timer);
    const timer = setTimeout(() => this.#kept.delete(account), Math.min(this.#graceMs(), TIMER_MS_MAX)).unref();
    this.#kept.set(account, { answers, queues, timer });
  }

  /** Nothing is left that could be answered. */
  forget(account: OsUser): void {
    clearTimeout(this.#kept.get(account)?.timer);
    this.#kept.delete(account);
  }
}
