import { setTimeout as delay } from 'node:timers/promises';
import { type ExecutorInfo, type HelperFacts, HelperSession, type RequestBody, type ResultOf, type Verb } from '@kpx/protocol';
import type { Logger } from 'pino';
import { backoffMs } from '../policy/backoff.js';
import { Link, type LinkStatus } from './link.js';

const RECONNECT_INITIAL_MS = 100;
const RECONNECT_MAX_MS = 5_000;

/** The observer of the connection. */
export interface HelperObserver {
  /** On every new connection, after Hello: executors may have come and gone meanwhile. */
  connected(helper: HelperFacts): void;
  /** How long an answer took, in milliseconds. */
  answered(verb: Verb, ms: number): void;
}

/** The broker's connection to kpx-privhelper, made again whenever it is lost. */
export class HelperClient {
  readonly #path: string;
  readonly #log: Logger;
  readonly #observer: HelperObserver;
  readonly #link = new Link();
  #session: HelperSession;
  readonly #stopped = new AbortController();

  constructor(path: string, log: Logger, observer: HelperObserver) {
    this.#path = path;
    this.#log = log;
    this.#observer = observer;
    this.#session = this.#newSession();
  }

  get link(): LinkStatus {
    return this.#link.status;
  }

  /** See {@link HelperSession.request}. */
  async request<V extends Verb>(verb: V, body: RequestBody<V>, sent?: (id: number) => void): Promise<ResultOf<V>> {
    return await this.#session.request(verb, body, sent);
  }

  /** See {@link HelperSession.listExecutors}. */
  async listExecutors(judge: boolean): Promise<ExecutorInfo[]> {
    return await this.#session.listExecutors(judge);
  }

  /** Keeps a connection until {@link stop}. Says in the log, once per change, whether the helper can be reached. */
  async run(): Promise<void> {
    let failures = 0;
    let lastProblem = '';
    while (!this.#stopped.signal.aborted) {
      try {
        this.#session = this.#newSession();
        await this.#session.open();
        if (this.#stopped.signal.aborted) this.#session.close('the broker ends');
        failures = 0;
        lastProblem = '';
        this.#link.up();
        this.#log.info({ socket: this.#path }, 'connected to the helper');
        this.#observer.connected(this.#session.helper);
        const why = await this.#session.lost;
        this.#link.down(why);
        if (!this.#stopped.signal.aborted) this.#log.warn({ socket: this.#path, reason: why }, 'lost the helper; connecting again');
      } catch (error) {
        const problem = (error as Error).message;
        this.#link.down(problem);
        if (problem !== lastProblem) this.#log.error({ socket: this.#path, reason: problem }, 'the helper cannot be used; trying again');
        lastProblem = problem;
      }
      const wait = backoffMs(failures++, RECONNECT_INITIAL_MS, RECONNECT_MAX_MS, Math.random());
      this.#link.waits(wait);
      await delay(wait, undefined, { signal: this.#stopped.signal }).catch(() => {}); // woken by stop()
      this.#link.tries();
    }
  }

  stop(): void {
    this.#stopped.abort();
    this.#session.close('the broker ends');
  }

  #newSession(): HelperSession {
    return new HelperSession(this.#path, (verb, ms) => this.#observer.answered(verb, ms));
  }
}
