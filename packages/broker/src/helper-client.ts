import { setTimeout as delay } from 'node:timers/promises';
import {
  connectTo,
  decodeResponse,
  ERRORS,
  type ExecutorInfo,
  encodeRequest,
  KpxError,
  type PacketConnection,
  PROTOCOL_VERSION,
  type ProfileName,
  ProtocolViolation,
  REQUEST_DEADLINE_MS,
  REQUESTS_IN_FLIGHT_MAX,
  type Request,
  type RequestBody,
  type Response,
  type ResultOf,
  VERBS,
  type Verb,
} from '@kpx/protocol';
import type { Logger } from 'pino';
import { Link, type LinkStatus } from './link.js';
import { backoffMs } from './policy/backoff.js';

/** How long an answer may take beyond the helper's own deadline before the helper counts as hanging, in milliseconds. */
const ANSWER_MARGIN_MS = 5_000;
const RECONNECT_INITIAL_MS = 100;
const RECONNECT_MAX_MS = 5_000;
/** Pages of ListExecutors that are asked for at most. */
const PAGES_MAX = 1_000;

/** The helper is not there, hangs, or does not speak the protocol. Says nothing about the user that was asked for. */
export class HelperUnavailable extends Error {
  override name = 'HelperUnavailable';
}

/** Who is told of the connection. */
export interface HelperObserver {
  /** On every new connection, after Hello, with the profiles that the helper has: executors may have come and gone meanwhile. */
  connected(profiles: readonly ProfileName[]): void;
  /** How long an answer took, in milliseconds. */
  answered(verb: Verb, ms: number): void;
}

interface Pending {
  readonly verb: Verb;
  readonly resolve: (response: Response) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** One connection to kpx-privhelper, made again whenever it is lost. Requests beyond the helper's bound wait their turn. */
export class HelperClient {
  readonly #path: string;
  readonly #log: Logger;
  readonly #observer: HelperObserver;
  readonly #link = new Link();
  readonly #pending = new Map<number, Pending>();
  readonly #turns: (() => void)[] = [];
  #connection: PacketConnection | undefined;
  #greeted = false;
  #lastId = 0;
  readonly #stopped = new AbortController();

  constructor(path: string, log: Logger, observer: HelperObserver) {
    this.#path = path;
    this.#log = log;
    this.#observer = observer;
  }

  get link(): LinkStatus {
    return this.#link.status;
  }

  /** Throws {@link KpxError} for the helper's typed errors, {@link HelperUnavailable} when there was no answer. */
  async request<V extends Verb>(verb: V, body: RequestBody<V>): Promise<ResultOf<V>> {
    if (!this.#greeted) throw new HelperUnavailable(`no connection to the helper at ${this.#path}`);
    while (this.#pending.size >= REQUESTS_IN_FLIGHT_MAX) await new Promise<void>((resolve) => this.#turns.push(resolve));
    if (!this.#greeted) throw new HelperUnavailable(`the connection to the helper at ${this.#path} was lost`);
    return await this.#ask(verb, body);
  }

  /** All executors that the helper knows, of all pages. `judge`: with why their accounts would be refused one now. */
  async listExecutors(judge: boolean): Promise<ExecutorInfo[]> {
    const all: ExecutorInfo[] = [];
    for (let page = 1; page <= PAGES_MAX; page++) {
      const { executors, more } = await this.request('listExecutors', judge ? { page, judge } : { page });
      all.push(...executors);
      if (!more) break;
    }
    return all;
  }

  /** Keeps a connection until {@link stop}. Says in the log, once per change, whether the helper can be reached. */
  async run(): Promise<void> {
    let failures = 0;
    let lastProblem = '';
    while (!this.#stopped.signal.aborted) {
      try {
        const { lost, profiles } = await this.#connect();
        if (this.#stopped.signal.aborted) this.#connection?.close('the broker ends');
        failures = 0;
        lastProblem = '';
        this.#link.up();
        this.#log.info({ socket: this.#path }, 'connected to the helper');
        this.#observer.connected(profiles);
        const why = await lost;
        this.#link.down(why);
        if (!this.#stopped.signal.aborted) this.#log.warn({ socket: this.#path, reason: why }, 'lost the helper');
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
    this.#connection?.close('the broker ends');
  }

  /** Connects, greets, and resolves with the end of the connection (wrapped: a promise in a promise would be awaited as one). */
  async #connect(): Promise<{ readonly lost: Promise<string>; readonly profiles: readonly ProfileName[] }> {
    let closed: (why: string) => void = () => {};
    const lost = new Promise<string>((resolve) => {
      closed = resolve;
    });
    this.#connection = await connectTo(this.#path, {
      packet: (packet) => this.#answered(packet),
      closed: (why) => {
        this.#lost(why);
        closed(why);
      },
    });
    try {
      const { profiles } = await this.#ask('hello', { version: PROTOCOL_VERSION });
      this.#greeted = true;
      return { lost, profiles };
    } catch (error) {
      this.#connection?.close('no greeting');
      await lost;
      if (error instanceof KpxError) throw new HelperUnavailable(`${error.message}. ${ERRORS[error.code].advice}`);
      if (!(error instanceof HelperUnavailable)) throw error;
      throw new HelperUnavailable(`the helper ended the connection before it said hello (${error.message}): see its log`);
    }
  }

  async #ask<V extends Verb>(verb: V, body: RequestBody<V>): Promise<ResultOf<V>> {
    const id = this.#nextId();
    const askedAt = performance.now();
    const response = await new Promise<Response>((resolve, reject) => {
      const timer = setTimeout(() => this.#connection?.close(`no answer to ${verb}`), REQUEST_DEADLINE_MS + ANSWER_MARGIN_MS);
      this.#pending.set(id, { verb, resolve, reject, timer });
      this.#connection?.send(encodeRequest({ id, verb, body } as Request));
    });
    this.#observer.answered(verb, performance.now() - askedAt);
    if (response.kind === 'error') throw new KpxError(response.body.code, response.body.message);
    return response.body as ResultOf<V>;
  }

  #nextId(): number {
    this.#lastId = (this.#lastId % 0xffff_ffff) + 1;
    return this.#lastId;
  }

  #answered(packet: Buffer): void {
    try {
      const response = decodeResponse(packet);
      const pending = this.#pending.get(response.id);
      if (!pending) throw new ProtocolViolation('an answer to nothing that was asked');
      if (response.kind !== 'error' && response.kind !== VERBS[pending.verb].kind)
        throw new ProtocolViolation(`${response.kind} to ${pending.verb}`);
      this.#pending.delete(response.id);
      clearTimeout(pending.timer);
      pending.resolve(response);
      this.#turns.shift()?.();
    } catch (error) {
      this.#connection?.close(`the helper does not speak the protocol: ${(error as Error).message}`);
    }
  }

  #lost(why: string): void {
    this.#greeted = false;
    this.#connection = undefined;
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new HelperUnavailable(why));
    }
    this.#pending.clear();
    for (const turn of this.#turns.splice(0)) turn();
  }
}
