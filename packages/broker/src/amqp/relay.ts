import type { ConsumeMessage, MessageProperties, Options } from 'amqplib';
import type { Config } from '../config.js';
import { HOPS_HEADER, SEEN_AT_HEADER } from '../jobs.js';
import type { DelayMs } from '../policy/policy.js';
import { DEAD_LETTER_QUEUE, delayQueue } from './topology.js';

/*
 * The one way a delivery leaves kpx: published elsewhere, confirmed by RabbitMQ, then acknowledged. Nothing is acknowledged before it is
 * elsewhere, so a crash at any point loses nothing. A crash after RabbitMQ has got the copy, and before it has got the acknowledgement, leaves
 * the job in both places: the one window in which a job can be done twice.
 */

/** What the relay needs of a confirm channel of amqplib. */
export interface RelayChannel {
  publish(exchange: string, routingKey: string, content: Buffer, options: Options.Publish, confirmed: (error: unknown) => void): boolean;
  ack(message: ConsumeMessage): void;
  nack(message: ConsumeMessage, allUpTo: boolean, requeue: boolean): void;
  on(event: 'return', listener: (message: { properties: MessageProperties }) => void): unknown;
}

/** How long a delivery that RabbitMQ took nowhere is kept before it is put back, in milliseconds. */
export const PUT_BACK_AFTER_MS = 5_000;
/** Where jobs wait that the exchange did not route. */
const UNROUTABLE_DELAY_MS: DelayMs = 10_000;

/** Tells a returned message from its neighbours; RabbitMQ returns it before it confirms it. */
const REFERENCE_HEADER = 'x-kpx-ref';
/** A delay queue would take the time to live for its own, and RabbitMQ removes it when it moves a message. */
const EXPIRATION_HEADER = 'x-kpx-expiration';
export const REASON_HEADER = 'x-kpx-reason';
export const DETAIL_HEADER = 'x-kpx-detail';

/** Where a job has gone: to the executors, to a delay queue, to the dead letters, or back into the queue. */
export type Outcome = 'forwarded' | 'deferred' | 'parked' | 'returned';

/** Who is told what becomes of jobs. */
export interface RelayObserver {
  problem(message: ConsumeMessage, why: string): void;
  /** The job is elsewhere, confirmed; `reason` with those that were parked. */
  left(outcome: Outcome, reason?: string): void;
}

interface Destination {
  readonly left: () => void;
  readonly exchange: string;
  readonly routingKey: string;
  readonly headers: Record<string, unknown>;
  /** Does the job travel with its own time to live? */
  readonly expires: boolean;
  readonly elsewise: (why: string) => void;
}

export class Relay {
  readonly #channel: RelayChannel;
  readonly #config: Config;
  readonly #host: string;
  readonly #observer: RelayObserver;
  readonly #returned = new Set<number>();
  readonly #waiting = new Set<NodeJS.Timeout>();
  #open = true;
  #lastReference = 0;
  #unsettled = 0;
  #whenSettled: (() => void) | undefined;

  constructor(channel: RelayChannel, config: Config, host: string, observer: RelayObserver) {
    this.#channel = channel;
    this.#config = config;
    this.#host = host;
    this.#observer = observer;
    channel.on('return', ({ properties }) => {
      this.#returned.add(Number(properties.headers?.[REFERENCE_HEADER]));
    });
  }

  /** To the executors: same body and properties, with the header that lets an executor take it. */
  forward(message: ConsumeMessage, hops: number): void {
    const { exchange, routing_key, queue } = this.#config.amqp;
    const target = exchange === '' ? { exchange: '', routingKey: queue } : { exchange, routingKey: routing_key };
    const elsewise = (why: string) => {
      this.#observer.problem(
        message,
        `${why} from exchange "${target.exchange}" with routing key "${target.routingKey}"; tried again later`,
      );
      this.defer(message, hops, UNROUTABLE_DELAY_MS);
    };
    const left = () => this.#observer.left('forwarded');
    this.#move(message, { ...target, headers: this.#travelling(message, hops), expires: true, left, elsewise });
  }

  /** Back to the queue after a wait. */
  defer(message: ConsumeMessage, hops: number, delayMs: DelayMs): void {
    const routingKey = delayQueue(this.#config.amqp.queue, delayMs);
    const elsewise = (why: string) => this.#putBack(message, `${why} in ${routingKey}`);
    const left = () => this.#observer.left('deferred');
    this.#move(message, { exchange: '', routingKey, headers: this.#travelling(message, hops), expires: false, left, elsewise });
  }

  /** To the dead letters, readable as it came, with the reason. */
  park(message: ConsumeMessage, reason: string, detail: string): void {
    const headers = {
      [REASON_HEADER]: reason,
      [DETAIL_HEADER]: detail,
      'x-kpx-parked-at': new Date().toISOString(),
      'x-kpx-host': this.#host,
    };
    const elsewise = (why: string) => this.#putBack(message, `${why} in ${DEAD_LETTER_QUEUE}`);
    const left = () => this.#observer.left('parked', reason);
    this.#move(message, { exchange: '', routingKey: DEAD_LETTER_QUEUE, headers, expires: false, left, elsewise });
  }

  /** At once, for others to take. */
  putBackNow(message: ConsumeMessage): void {
    this.#return(message);
  }

  /** Resolves when every delivery that was given to the relay is settled, one way or the other. */
  async settled(): Promise<void> {
    if (this.#unsettled > 0) await new Promise<void>((resolve) => (this.#whenSettled = resolve));
  }

  /** The channel is gone: RabbitMQ has put back what was not acknowledged. */
  close(): void {
    this.#open = false;
    for (const timer of this.#waiting) clearTimeout(timer);
    this.#waiting.clear();
    this.#unsettled = 0;
    this.#whenSettled?.();
  }

  #travelling({ properties }: ConsumeMessage, hops: number): Record<string, unknown> {
    const seen = properties.headers?.[SEEN_AT_HEADER] ?? Date.now();
    return { [this.#config.jobs.can_handle_header]: true, [HOPS_HEADER]: hops + 1, [SEEN_AT_HEADER]: seen };
  }

  #move(message: ConsumeMessage, { exchange, routingKey, headers, expires, left, elsewise }: Destination): void {
    if (!this.#open) return;
    const reference = ++this.#lastReference;
    const options = travelOptions(message.properties, { ...headers, [REFERENCE_HEADER]: reference }, expires);
    this.#unsettled += 1;
    const confirmed = (error: unknown) => {
      // amqplib ends open confirms with an error when the channel dies, just before it says so: then there is nothing to do here.
      if (error) setImmediate(() => this.#confirmed(reference, () => elsewise('RabbitMQ refused a place')));
      else if (this.#returned.delete(reference)) this.#confirmed(reference, () => elsewise('RabbitMQ found no queue'));
      else this.#confirmed(reference, () => this.#settle(() => this.#channel.ack(message), left));
    };
    this.#settle(() => this.#channel.publish(exchange, routingKey, message.content, options, confirmed));
  }

  #confirmed(reference: number, next: () => void): void {
    if (!this.#open) return;
    this.#returned.delete(reference);
    this.#unsettled -= 1;
    next();
    if (this.#unsettled === 0) this.#whenSettled?.();
  }

  #putBack(message: ConsumeMessage, why: string): void {
    this.#observer.problem(message, `${why}; put back into the queue after ${PUT_BACK_AFTER_MS} ms`);
    const timer = setTimeout(() => {
      this.#waiting.delete(timer);
      this.#return(message);
    }, PUT_BACK_AFTER_MS);
    this.#waiting.add(timer);
  }

  #return(message: ConsumeMessage): void {
    this.#settle(
      () => this.#channel.nack(message, false, true),
      () => this.#observer.left('returned'),
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

/** Headers that are RabbitMQ's about an earlier way of the message, or orders to it: repeated, they would route copies or look like a loop. */
const SERVER_HEADERS = /^(x-death|x-first-death-.*|x-last-death-.*|CC|BCC)$/;

/** The properties of a delivery as they go on. In plain loops, as this is done for every job. */
function travelOptions(properties: MessageProperties, ours: Record<string, unknown>, expires: boolean): Options.Publish {
  const { headers: theirs, expiration, userId, ...rest } = properties;
  const headers: Record<string, unknown> = {};
  for (const name in theirs) if (!SERVER_HEADERS.test(name)) headers[name] = theirs[name];
  // RabbitMQ closes the channel of whoever publishes under another user's id: said in a header instead.
  if (userId !== undefined) headers['x-kpx-user-id'] = userId;
  const original = expiration ?? headers[EXPIRATION_HEADER];
  delete headers[EXPIRATION_HEADER];
  if (original !== undefined && !expires) headers[EXPIRATION_HEADER] = original;
  const options: Record<string, unknown> = { headers: Object.assign(headers, ours), mandatory: true };
  for (const name in rest) {
    const value: unknown = rest[name as keyof typeof rest];
    if (value !== undefined && value !== null) options[name] = value;
  }
  if (original !== undefined && expires) options.expiration = String(original);
  return options;
}
