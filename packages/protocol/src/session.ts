// Runs in: the helper, as root.
import { decodeRequest, encodeResponse, executorBytes, ProtocolViolation } from './codec.js';
import { type ErrorCode, KpxError } from './errors.js';
import {
  EXECUTORS_PER_PAGE,
  FINISH_MS_MAX,
  PAGE_BYTES_MAX,
  PROTOCOL_VERSION,
  REQUEST_DEADLINE_MS,
  REQUESTS_IN_FLIGHT_MAX,
} from './limits.js';
import { type PrivhelperConfig, profileNamesOf } from './privhelper-config.js';
import { nodeOf } from './sealed.js';
import type { PacketConnection, PacketHandlers } from './transport.js';
import { type ExecutorInfo, type Request, type Response, type ResultBody, VERBS } from './verbs.js';

/** A response without the id of its request. */
export type Answer = Response extends infer R ? (R extends Response ? Omit<R, 'id'> : never) : never;

/** The serving side of one connection. */
interface Service {
  /**
   * Answers one request; several are asked at once. `signal` aborts at the request's deadline. A rejection ends the process. An error in
   * answer to Hello ends the connection.
   */
  answer(request: Request, signal: AbortSignal): Promise<Answer>;
  /** The peer did not speak the protocol, and the connection is about to be closed. */
  violated(reason: string): void;
}

/** A service that runs, on one connection or at a place where there may be several. */
export interface Serving {
  /**
   * Resolves with the reason when nobody is connected any more and nothing is under way. Requests under way are finished first, unanswered. A
   * request is waited for until FINISH_MS_MAX after it came; one that takes longer is counted in the reason.
   */
  readonly ended: Promise<string>;
  /** Takes no more requests. */
  end(): void;
}

/** The part of the helper's configuration that Hello is answered by. */
interface Greeting extends Pick<PrivhelperConfig, 'executor'> {
  readonly accounts: Pick<PrivhelperConfig['accounts'], 'case'>;
}

/** The answer to Hello. Throws VERSION_MISMATCH for a peer that speaks another version of the protocol. */
export function answerHello(version: number, { executor, accounts }: Greeting): Answer {
  if (version !== PROTOCOL_VERSION) {
    throw new KpxError('VERSION_MISMATCH', `the helper speaks version ${PROTOCOL_VERSION} of the protocol, the broker version ${version}`);
  }
  const sealed = executor.sealed ? { sealedNode: nodeOf(executor) } : {};
  const folds = accounts.case === 'lower' ? { foldsCase: true as const } : {};
  return { kind: 'hello', body: { version, profiles: profileNamesOf(executor), ...sealed, ...folds } };
}

/** The answer to what a handler has thrown, and the reason in full for root's log: what was not foreseen does not travel. */
export function answerError(error: unknown): { readonly answer: Answer; readonly code: ErrorCode; readonly reason: string } {
  const known = error instanceof KpxError;
  const { code, message } = known ? error : new KpxError('INTERNAL', 'the helper met an error it does not know; its audit log says more');
  const reason = known ? message : String(error instanceof Error ? error.stack : error);
  return { answer: { kind: 'error', body: { code, message } }, code, reason };
}

/** Of all executors, in their order, those of one page, which is counted from 1: as many as fit a packet, EXECUTORS_PER_PAGE at most. */
export function pageOf(all: readonly ExecutorInfo[], page: number): ResultBody<'executorPage'> {
  const pages: ExecutorInfo[][] = [];
  let room = 0;
  for (const executor of all) {
    const bytes = executorBytes(executor);
    const last = pages.at(-1);
    if (last && bytes <= room && last.length < EXECUTORS_PER_PAGE) last.push(executor);
    else {
      pages.push([executor]);
      room = PAGE_BYTES_MAX;
    }
    room -= bytes;
  }
  return { executors: pages[page - 1] ?? [], more: page < pages.length };
}

/**
 * The serving side of one connection. Hello comes first, once, and is answered before anything else is asked; requests in flight differ in their
 * ids and are at most REQUESTS_IN_FLIGHT_MAX. A packet that breaks that, or does not decode, closes the connection.
 */
export class ServingSession implements PacketHandlers, Serving {
  readonly ended: Promise<string>;
  readonly #service: Service;
  readonly #connection: () => PacketConnection;
  /** By the request's id. */
  readonly #inFlight = new Map<number, { readonly cameMs: number; readonly answered: Promise<void> }>();
  #greeted: 'no' | 'asked' | 'yes' = 'no';
  #tellEnded!: (why: string) => void;

  constructor(service: Service, connection: () => PacketConnection) {
    this.#service = service;
    this.#connection = connection;
    this.ended = new Promise((resolve) => {
      this.#tellEnded = resolve;
    });
  }

  end(): void {
    this.#connection().close('the helper ends');
  }

  packet(packet: Buffer): void {
    try {
      const request = decodeRequest(packet);
      this.#admit(request);
      this.#inFlight.set(request.id, { cameMs: performance.now(), answered: this.#serve(request) });
    } catch (error) {
      if (!(error instanceof ProtocolViolation)) throw error;
      this.#service.violated(error.message);
      this.#connection().close('protocol violation');
    }
  }

  closed(why: string): void {
    const over = [...this.#inFlight.values()].map(({ cameMs, answered }) => {
      const late = new Promise((resolve) => setTimeout(resolve, Math.max(1, cameMs + FINISH_MS_MAX - performance.now())));
      return Promise.race([answered, late]);
    });
    void Promise.all(over).then(() => {
      const { size } = this.#inFlight;
      this.#tellEnded(size === 0 ? why : `${why}; not finished in time: ${size}`);
    });
  }

  #admit({ id, verb }: Request): void {
    const { first } = VERBS[verb];
    const inOrder = { no: first, asked: false, yes: !first }[this.#greeted];
    if (!inOrder) throw new ProtocolViolation(`${verb} out of order`);
    if (this.#inFlight.has(id)) throw new ProtocolViolation(`${verb} with the id of a request in flight`);
    if (this.#inFlight.size >= REQUESTS_IN_FLIGHT_MAX)
      throw new ProtocolViolation(`more than ${REQUESTS_IN_FLIGHT_MAX} requests in flight`);
    if (first) this.#greeted = 'asked';
  }

  async #serve(request: Request): Promise<void> {
    const { id, verb } = request;
    const answer = await this.#service.answer(request, AbortSignal.timeout(REQUEST_DEADLINE_MS));
    this.#inFlight.delete(id);
    this.#connection().send(encodeResponse({ id, ...answer } as Response));
    if (answer.kind === 'hello') this.#greeted = 'yes';
    if (verb === 'hello' && answer.kind === 'error') this.#connection().close('the peer speaks another version');
  }
}
