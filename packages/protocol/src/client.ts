// Runs in: the broker, and kpxctl doctor: never as root.
import { decodeResponse, encodeRequest, ProtocolViolation } from './codec.js';
import { ERRORS, KpxError } from './errors.js';
import { PROTOCOL_VERSION, REQUEST_DEADLINE_MS, REQUESTS_IN_FLIGHT_MAX } from './limits.js';
import type { ProfileName } from './names.js';
import { connectTo, type PacketConnection } from './transport.js';
import { type ExecutorInfo, type Request, type RequestBody, type Response, type ResultOf, VERBS, type Verb } from './verbs.js';

/** How long an answer may take beyond the helper's own deadline before the helper counts as hanging, in milliseconds. */
const ANSWER_MARGIN_MS = 5_000;
/** Pages of ListExecutors that are asked for at most. */
const PAGES_MAX = 1_000;

/** The helper is not there, hangs, or does not speak the protocol. Says nothing about the user that was asked for. */
export class HelperUnavailable extends Error {
  override name = 'HelperUnavailable';
}

/** Facts of the helper's configuration that a broker has to know. */
export interface HelperFacts {
  /** Every profile that it starts an executor with. */
  readonly profiles: readonly ProfileName[];
  /** The node of its sealed executors; undefined: they are not sealed. */
  readonly sealedNode: string | undefined;
  /** KNIME names that differ in case alone are one user's. */
  readonly foldsCase: boolean;
}

interface Pending {
  readonly verb: Verb;
  readonly resolve: (response: Response) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** The asking side of one connection to the helper, past the Hello. Requests beyond the helper's bound wait for a free place. */
export class HelperSession {
  /** Resolves with the reason when the connection has ended. */
  readonly lost: Promise<string>;
  readonly #path: string;
  readonly #answered: (verb: Verb, ms: number) => void;
  readonly #pending = new Map<number, Pending>();
  readonly #turns: (() => void)[] = [];
  #connection: PacketConnection | undefined;
  #greeted = false;
  #helper: HelperFacts = { profiles: [], sealedNode: undefined, foldsCase: false };
  #lastId = 0;
  #tellLost!: (why: string) => void;

  /** `answered` is told how long each answer took, in milliseconds. */
  constructor(path: string, answered: (verb: Verb, ms: number) => void) {
    this.#path = path;
    this.#answered = answered;
    this.lost = new Promise((resolve) => {
      this.#tellLost = resolve;
    });
  }

  /** Connects and says Hello: once. Throws {@link HelperUnavailable}, or the reason of transport.ts. */
  async open(): Promise<void> {
    this.#connection = await connectTo(this.#path, {
      packet: (packet) => this.#receive(packet),
      closed: (why) => this.#end(why),
    });
    try {
      const { profiles, sealedNode, foldsCase = false } = await this.#ask('hello', { version: PROTOCOL_VERSION });
      this.#helper = { profiles, sealedNode, foldsCase };
      this.#greeted = true;
    } catch (error) {
      this.close('no greeting');
      await this.lost;
      if (error instanceof KpxError) throw new HelperUnavailable(`${error.message}. ${ERRORS[error.code].advice}`);
      if (!(error instanceof HelperUnavailable)) throw error;
      throw new HelperUnavailable(`the helper ended the connection before it said hello (${error.message}): see its log`);
    }
  }

  /** The helper's answer to Hello. */
  get helper(): HelperFacts {
    return this.#helper;
  }

  /**
   * Throws {@link KpxError} for the helper's typed errors, {@link HelperUnavailable} when there was no answer. `sent` is told the number of the request,
   * which the helper's audit log has.
   */
  async request<V extends Verb>(verb: V, body: RequestBody<V>, sent?: (id: number) => void): Promise<ResultOf<V>> {
    if (!this.#greeted) throw new HelperUnavailable(`no connection to the helper at ${this.#path}`);
    while (this.#pending.size >= REQUESTS_IN_FLIGHT_MAX) await new Promise<void>((resolve) => this.#turns.push(resolve));
    if (!this.#greeted) throw new HelperUnavailable(`the connection to the helper at ${this.#path} was lost`);
    return await this.#ask(verb, body, sent);
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

  close(why: string): void {
    this.#connection?.close(why);
  }

  async #ask<V extends Verb>(verb: V, body: RequestBody<V>, sent?: (id: number) => void): Promise<ResultOf<V>> {
    const id = this.#nextId();
    sent?.(id);
    const askedAt = performance.now();
    const response = await new Promise<Response>((resolve, reject) => {
      const timer = setTimeout(() => this.close(`no answer to ${verb}`), REQUEST_DEADLINE_MS + ANSWER_MARGIN_MS);
      this.#pending.set(id, { verb, resolve, reject, timer });
      this.#connection?.send(encodeRequest({ id, verb, body } as Request));
    });
    this.#answered(verb, performance.now() - askedAt);
    if (response.kind === 'error') throw new KpxError(response.body.code, response.body.message);
    return response.body as ResultOf<V>;
  }

  #nextId(): number {
    this.#lastId = (this.#lastId % 0xffff_ffff) + 1;
    return this.#lastId;
  }

  #receive(packet: Buffer): void {
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
      this.close(`the helper does not speak the protocol: ${(error as Error).message}`);
    }
  }

  #end(why: string): void {
    this.#greeted = false;
    this.#connection = undefined;
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new HelperUnavailable(why));
    }
    this.#pending.clear();
    for (const turn of this.#turns.splice(0)) turn();
    this.#tellLost(why);
  }
}
