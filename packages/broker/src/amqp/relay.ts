import type { Config } from '../config/config.js';
import { userFrom } from '../config/user-from.js';
import type { DelayMs } from '../policy/policy.js';
import { type Destination, type Elsewhere, withExpiration, withoutExpiration } from './destination.js';
import {
  DETAIL_HEADER,
  HOST_HEADER,
  idHeader,
  type Own,
  onTheWay,
  PARKED_AT_HEADER,
  REASON_HEADER,
  replaced,
  type Seal,
  travelling,
} from './headers.js';
import type { JobMac } from './mac.js';
import { type Compose, ConfirmedPublisher, type Prepared, type Publisher } from './publisher.js';
import type { Parked, RelayObserver, Sender, Source } from './relay-observer.js';
import { recorded, type Undecodable } from './submitter.js';
import type { Standing, Suspects } from './suspects.js';
import { DEAD_LETTER_QUEUE, delayQueue } from './topology.js';
import type { WireMessage } from './wire/amqplib.js';
import type { PassedOn } from './wire/cut-through.js';
import type { WireProperties } from './wire/properties.js';
import { CannotTravel } from './wire/table.js';

/** How long a delivery that RabbitMQ took nowhere is kept before it is put back, in milliseconds. */
export const PUT_BACK_AFTER_MS = 5_000;
/** Where jobs wait that the exchange did not route. */
const UNROUTABLE_DELAY_MS: DelayMs = 10_000;

export class Relay {
  readonly #source: Source;
  readonly #publisher: ConfirmedPublisher;
  /** By whom jobs are forwarded, and as whose. */
  readonly #forwards: { readonly by: ConfirmedPublisher; readonly amqp: Config['amqp'] };
  readonly #config: Config;
  readonly #host: string;
  readonly #mac: () => JobMac;
  readonly #observer: RelayObserver;
  readonly #waiting = new Set<NodeJS.Timeout>();
  readonly #suspects: Suspects;
  /** Messages that are sent when nothing else is under way, or no suspect is. */
  #line: (() => void)[] = [];
  /** One is under way with which nothing else is sent. */
  #alone = false;
  #open = true;
  /** Published and not confirmed, by a number of its own. */
  readonly #inFlight = new Map<number, WireMessage>();
  /** Those that were {@link given}: another session publishes them, and watches for their confirms. */
  readonly #given = new Map<number, WireMessage>();
  #lastMove = 0;
  #whenSettled: (() => void) | undefined;

  /** `publisher`: to where `source` is, for all that is not forwarded `elsewhere`. */
  constructor(
    source: Source,
    publisher: Publisher,
    { config, host, mac }: Sender,
    suspects: Suspects,
    observer: RelayObserver,
    elsewhere?: Elsewhere,
  ) {
    this.#source = source;
    this.#publisher = new ConfirmedPublisher(publisher);
    this.#forwards = elsewhere
      ? { by: new ConfirmedPublisher(elsewhere.publisher), amqp: elsewhere.amqp }
      : { by: this.#publisher, amqp: config.amqp };
    this.#config = config;
    this.#host = host;
    this.#mac = mac;
    this.#suspects = suspects;
    this.#observer = observer;
  }

  /** To the executors: same body and properties, with the header that lets an executor take it. */
  forward(message: WireMessage, hops: number): void {
    const { by, amqp } = this.#forwards;
    const { exchange, routing_key, queue } = amqp;
    const target = exchange === '' ? { exchange: '', routingKey: queue } : { exchange, routingKey: routing_key };
    const fallback = (why: string) => {
      const tried = `${why} from exchange "${target.exchange}" with routing key "${target.routingKey}"`;
      this.#observer.problem(message, `${tried}; tried again later`);
      this.defer(message, hops, UNROUTABLE_DELAY_MS);
    };
    const left = () => this.#observer.left(message, 'forwarded');
    this.#move(message, { ...target, by, ...this.#onTheWay(message, hops), compose: withExpiration, left, fallback });
  }

  /** Back to the queue after a wait. */
  defer(message: WireMessage, hops: number, delayMs: DelayMs, marks: Own = {}): void {
    const routingKey = delayQueue(this.#config.amqp.queue, delayMs);
    const fallback = (why: string) => this.#putBack(message, `${why} in ${routingKey}`);
    const left = () => this.#observer.left(message, 'deferred', undefined, delayMs);
    this.#move(message, { exchange: '', routingKey, ...this.#onTheWay(message, hops, marks), compose: withoutExpiration, left, fallback });
  }

  /** To the dead letters, readable as it came, with the reason. `facts` are for the observer. */
  park(message: WireMessage, reason: string, detail: string, facts: object = {}): void {
    const parked = { ...facts, reason, detail };
    const without = (why: string) => (why === detail ? detail : `${detail} (without its properties: ${why})`);
    const unusable = (why: string) => this.#parkAnew(message, { ...parked, detail: without(why) });
    this.#move(message, { ...this.#deadLetters(message, parked), compose: withoutExpiration, unusable });
  }

  /** The properties that {@link park} would give a message: for one that is passed on while it comes in. */
  parkedAs(properties: WireProperties, bytes: number, why: Undecodable): Buffer {
    this.#mac().judge(properties, bytes);
    this.#observer.named(properties);
    const seal: Seal = (own) => this.#mac().sealed(own, bytes);
    const compose: Compose = (reference, bytesMax) => {
      const own = { ...this.#parkedHeaders(why), ...reference };
      try {
        return travelling(properties, own, seal, false, bytesMax);
      } catch (error) {
        if (error instanceof CannotTravel) return replaced(properties, { ...this.#recorded(properties), ...own }, seal, bytesMax);
        throw error;
      }
    };
    return this.#publisher.prepare(compose).properties;
  }

  /** A message that was published to the dead letters while it came in: acknowledged when RabbitMQ has it. */
  parked(message: WireMessage, passedOn: PassedOn, why: Undecodable): void {
    const left = () => this.#observer.left(message, 'parked', why);
    this.#passed(this.#begin(message), message, passedOn, left, (why) => this.#putBack(message, `${why} in ${DEAD_LETTER_QUEUE}`));
  }

  /** To an executor by another way than the job queue: acknowledged when it is there. `refused` is called where it is not: it is in hand as before. */
  given(message: WireMessage, passedOn: PassedOn, refused: (why: string) => void): void {
    const move = this.#begin(message, this.#given);
    this.#passed(move, message, passedOn, () => this.#observer.left(message, 'forwarded'), refused);
  }

  #passed(move: number, message: WireMessage, passedOn: PassedOn, left: () => void, refused: (why: string) => void): void {
    const settle = (why: string | undefined) => (why === undefined ? this.#settle(() => this.#source.ack(message), left) : refused(why));
    // As with other confirms: where the channel has ended there is nothing to do here.
    passedOn((why) => setImmediate(() => this.#confirmed(move, () => settle(why))));
  }

  /** At once, for others to take. */
  putBackNow(message: WireMessage): void {
    this.#return(message);
  }

  /** Published by this relay's own session and not confirmed. */
  get underWay(): readonly WireMessage[] {
    return [...this.#inFlight.values()];
  }

  /** Of those the one that was published first, by a number of its own. */
  get oldestUnderWay(): number | undefined {
    return this.#inFlight.keys().next().value;
  }

  /** How many are. */
  get underWayCount(): number {
    return this.#inFlight.size;
  }

  /** Resolves when every delivery that was given to the relay is settled, one way or the other. */
  async settled(): Promise<void> {
    if (this.#inFlight.size + this.#given.size + this.#line.length > 0) await new Promise<void>((resolve) => (this.#whenSettled = resolve));
  }

  /** The channel is gone: RabbitMQ has put back what was not acknowledged. */
  close(): void {
    this.#open = false;
    for (const timer of this.#waiting) clearTimeout(timer);
    this.#waiting.clear();
    for (const moves of [this.#inFlight, this.#given]) moves.clear();
    this.#line = [];
    this.#whenSettled?.();
  }

  #onTheWay(message: WireMessage, hops: number, marks: Own = {}): Pick<Destination, 'own' | 'unusable'> {
    return {
      own: { ...onTheWay(message.properties, this.#config.jobs.can_handle_header, hops), ...marks },
      unusable: (why) => this.#parkAnew(message, { reason: 'HEADERS_UNUSABLE', detail: why }),
    };
  }

  /** To the dead letters with new properties. */
  #parkAnew(message: WireMessage, parked: Parked): void {
    this.#move(message, { ...this.#bare(message, parked), unusable: (why) => this.#putBack(message, why) });
  }

  #parkedHeaders({ reason, detail }: Parked): Own {
    return { [REASON_HEADER]: reason, [DETAIL_HEADER]: detail, [PARKED_AT_HEADER]: new Date().toISOString(), [HOST_HEADER]: this.#host };
  }

  #deadLetters(message: WireMessage, parked: Parked): Omit<Destination, 'compose' | 'unusable'> {
    const fallback = (why: string) => this.#putBack(message, `${why} in ${DEAD_LETTER_QUEUE}`);
    const own = this.#parkedHeaders(parked);
    const left = () => this.#observer.left(message, 'parked', parked);
    return { exchange: '', routingKey: DEAD_LETTER_QUEUE, own, left, fallback };
  }

  /** To the dead letters without what it came with. */
  #bare(message: WireMessage, parked: Parked): Omit<Destination, 'unusable'> {
    const { own, ...to } = this.#deadLetters(message, parked);
    return { ...to, own: { ...this.#recorded(message.properties), ...own }, compose: replaced };
  }

  #recorded(properties: WireProperties): Own {
    return { ...recorded(properties, userFrom(this.#config.jobs)), ...idHeader(properties) };
  }

  /** At once, or in line: a suspect is sent when nothing else is under way, and nothing else is then. */
  #move(message: WireMessage, destination: Destination): void {
    const standing = this.#suspects.standingOf(message);
    if (standing === 'free' && !this.#alone && this.#line.length === 0) this.#send(message, destination);
    else this.#line.push(() => this.#sendSuspect(message, destination, standing));
    this.#goOn();
  }

  #goOn(): void {
    while (this.#line.length > 0 && !this.#alone && this.#inFlight.size === 0) this.#line.shift()?.();
  }

  #sendSuspect(message: WireMessage, destination: Destination, standing: Standing): void {
    if (standing === 'aside') {
      const why = `RabbitMQ ends the connection when this job is sent, also without its properties (${this.#suspects.why})`;
      this.#observer.problem(message, `${why}; it is set aside until the next connection`);
      return;
    }
    this.#alone = standing !== 'free';
    if (standing === 'bare' && destination.compose !== replaced) {
      const why = `RabbitMQ has ended the connection each time that it was sent (${this.#suspects.why})`;
      const unusable = (problem: string) => this.#putBack(message, problem);
      this.#send(message, { ...this.#bare(message, { reason: 'HEADERS_UNUSABLE', detail: why }), unusable });
    } else this.#send(message, destination);
  }

  #send(message: WireMessage, destination: Destination): void {
    if (!this.#open) return;
    const { left, own, compose, unusable, fallback, by = this.#publisher } = destination;
    let prepared: Prepared;
    try {
      const seal: Seal = (all) => this.#mac().sealed(all, message.content);
      prepared = by.prepare((reference, bytesMax) => compose(message.properties, { ...own, ...reference }, seal, bytesMax));
    } catch (error) {
      // A fault of one message must not end the session, nor the broker.
      if (!(error instanceof CannotTravel)) this.#observer.problem(message, String((error as Error).stack));
      if (this.#inFlight.size === 0) this.#alone = false;
      unusable((error as Error).message);
      return;
    }
    const move = this.#begin(message);
    const answered = (why: string | undefined) => {
      if (why === undefined) this.#suspects.clear(message);
      this.#confirmed(move, () => (why === undefined ? this.#settle(() => this.#source.ack(message), left) : fallback(why)));
    };
    this.#settle(() => by.send(prepared, destination, message.content, answered));
  }

  /** Answers what {@link #confirmed} is to be told. */
  #begin(message: WireMessage, moves = this.#inFlight): number {
    moves.set(++this.#lastMove, message);
    return this.#lastMove;
  }

  #confirmed(move: number, next: () => void): void {
    if (!this.#open) return;
    for (const moves of [this.#inFlight, this.#given]) moves.delete(move);
    if (this.#inFlight.size === 0) this.#alone = false;
    next();
    this.#goOn();
    if (this.#inFlight.size + this.#given.size + this.#line.length === 0) this.#whenSettled?.();
  }

  #putBack(message: WireMessage, why: string): void {
    this.#observer.problem(message, `${why}; put back into the queue after ${PUT_BACK_AFTER_MS} ms`);
    const timer = setTimeout(() => {
      this.#waiting.delete(timer);
      this.#return(message);
    }, PUT_BACK_AFTER_MS);
    this.#waiting.add(timer);
  }

  #return(message: WireMessage): void {
    this.#settle(
      () => this.#source.putBack(message),
      () => this.#observer.left(message, 'returned'),
    );
  }

  /** amqplib throws on a channel that has just closed. There is nothing to do then: RabbitMQ puts everything back. */
  #settle(action: () => unknown, done?: () => void): void {
    if (!this.#open) return;
    try {
      action();
      done?.();
    } catch (error) {
      if (!(error instanceof Error && error.name === 'IllegalOperationError')) throw error;
    }
  }
}
