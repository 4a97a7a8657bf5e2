import { setTimeout as delay } from 'node:timers/promises';
import type { Channel, ChannelModel } from 'amqplib';
import type { Logger } from 'pino';
import { withAdvice } from '../amqp/advice.js';
import { ConfirmWatch } from '../amqp/confirm-watch.js';
import { close, connect, destroy } from '../amqp/connect.js';
import { answerInTime } from '../amqp/deadline.js';
import { type Compose, ConfirmedPublisher, NO_QUEUE } from '../amqp/publisher.js';
import { refuses } from '../amqp/refused-publish.js';
import { Suspects } from '../amqp/suspects.js';
import { type WireMessage, wireOf } from '../amqp/wire/amqplib.js';
import { SkippedBody } from '../amqp/wire/bodies.js';
import type { Address } from '../amqp/wire/frames.js';
import { WirePublisher } from '../amqp/wire/publish.js';
import { Receiver } from '../amqp/wire/receive.js';
import { CannotTravel } from '../amqp/wire/table.js';
import type { Config } from '../config/config.js';
import { isThere, keepConnected } from './server-connection.js';
import { Turns } from './turns.js';
import { UnderWay } from './under-way.js';

/** How long an end waits for RabbitMQ's answers, and how often it looks, in milliseconds. */
const ANSWERED_WITHIN_MS = 2_000;
const LOOK_EVERY_MS = 20;
/** How often exchanges that were not there are looked for, and a refusal is forgotten, in milliseconds. */
const LOOK_AGAIN_MS = 30_000;

/** The outcome of a message: RabbitMQ has it; nobody is there who would get it. */
export type Sent = 'taken' | 'nobody';

/** A message that is to be sent. */
export interface Outgoing {
  readonly to: Address;
  readonly compose: Compose;
  readonly content: Buffer;
  /** As the account has published it. It is known again by its content and properties. */
  readonly message: WireMessage;
  /** It is sent with other properties: RabbitMQ may take those. */
  readonly isBare?: boolean;
}

/** The connection went before RabbitMQ had answered: it may have the message. */
export class UplinkLost extends Error {
  override name = 'UplinkLost';
}

/** The server refuses the broker this exchange. The message says what to do. */
export class Forbidden extends Error {
  override name = 'Forbidden';
}

/** The server takes no message of this size. */
export class TooLarge extends CannotTravel {
  override name = 'TooLarge';
}

/** RabbitMQ's words for a message above `max_message_size`, a setting of the server's. */
const ABOVE_SIZE_MAX = /message size \d+ is larger than configured max size (\d+)/;

/** RabbitMQ's words where a user may not publish to an exchange. Tried with 3.10.8, 4.0.5 and 4.3.6. */
const REFUSED_EXCHANGE = /ACCESS_REFUSED - .*exchange '([^']+)'/;

/**
 * The name of a client's process in RabbitMQ begins like this, where it takes answers without a queue. The sender of a job can write any name, and RabbitMQ
 * may end the connection for what it cannot serve.
 */
const DIRECT_REPLY = 'amq.rabbitmq.reply-to.';
/** AMQP's code for it, in amqplib's words. */
const INTERNAL_ERROR = /\b541\b/;

interface Up {
  readonly connection: ChannelModel;
  /** Exchanges that are not at the server: nobody listens there. */
  readonly absent: Set<string>;
  readonly published: UnderWay<WireMessage>;
}

/** The one way from all accounts to the server: a connection of its own, made again whenever it is lost. Its failures end no connection of jobs. */
export class Uplink {
  readonly #log: Logger;
  readonly #config: Config;
  readonly #host: string;
  readonly #stopped = new AbortController();
  #up: Up | undefined;
  /** Exchanges that the server refuses the broker, and its words; looked at again from time to time. */
  readonly #forbidden = new Map<string, string>();
  /** Largest body that the server takes, in bytes, and its words; undefined: it has refused none lately. */
  #sizeMax: { readonly bytes: number; readonly why: string } | undefined;
  /** Messages for one of which the server has ended the connection: each is sent alone, until it is known which. */
  readonly #suspects = new Suspects();
  readonly #turns = new Turns();
  /** Settled when no answer to a {@link DIRECT_REPLY} is under way. */
  #directReplies: Promise<unknown> = Promise.resolve();
  /** Messages that wait for a connection. */
  #waiting: (() => void)[] = [];

  constructor(log: Logger, config: Config, host: string) {
    this.#log = log;
    this.#config = config;
    this.#host = host;
  }

  get connected(): boolean {
    return this.#up !== undefined;
  }

  /** No message is sent any more. */
  get stopped(): boolean {
    return this.#stopped.signal.aborted;
  }

  /** Runs until {@link stop}. */
  async run(): Promise<void> {
    await keepConnected(
      this.#stopped.signal,
      () => this.#config.amqp.urls,
      (url) => this.#serve(url),
    );
  }

  /** Sends nothing more, and waits for the answers to what is under way, but for no longer than a few seconds. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    const up = this.#up;
    this.#up = undefined;
    for (const resolve of this.#waiting.splice(0)) resolve();
    if (!up) return;
    const deadline = performance.now() + ANSWERED_WITHIN_MS;
    while (up.published.oldest() !== undefined && performance.now() < deadline) await delay(LOOK_EVERY_MS);
    await close(up.connection);
  }

  /** Resolves when there is a connection, or after {@link stop}. */
  async ready(): Promise<void> {
    while (this.#up === undefined && !this.#stopped.signal.aborted) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Waits for a connection. Throws CannotTravel; {@link Forbidden}; {@link UplinkLost} where nobody knows whether RabbitMQ has it. */
  async send(outgoing: Outgoing): Promise<Sent> {
    const { exchange, routingKey } = outgoing.to;
    if (exchange !== '' || !routingKey.startsWith(DIRECT_REPLY)) return await this.#send(outgoing);
    const sent = this.#directReplies.then(() => this.#sendDirect(outgoing));
    this.#directReplies = sent.catch(() => {});
    return await sent;
  }

  /** One at a time: so it is known which one has ended the connection. */
  async #sendDirect(outgoing: Outgoing): Promise<Sent> {
    return await this.#send(outgoing).catch((error: Error) => {
      if (!(error instanceof UplinkLost && INTERNAL_ERROR.test(error.message))) throw error;
      throw new CannotTravel(`RabbitMQ ends the connection when an answer is sent to "${outgoing.to.routingKey}" (${error.message})`);
    });
  }

  async #send(outgoing: Outgoing): Promise<Sent> {
    await this.ready();
    const standing = this.#suspects.standingOf(outgoing.message);
    if (standing === 'aside' || (standing === 'bare' && !outgoing.isBare))
      throw new CannotTravel(`RabbitMQ has ended the connection each time that it was sent (${this.#suspects.why})`);
    return await this.#turns.run(standing !== 'free', () => this.#sendNow(outgoing));
  }

  async #sendNow({ to, compose, content, message }: Outgoing): Promise<Sent> {
    const up = this.#up;
    if (!up) throw new UplinkLost('another connection takes its place');
    if (up.absent.has(to.exchange)) return 'nobody';
    const forbidden = this.#forbidden.get(to.exchange);
    if (forbidden !== undefined) throw new Forbidden(forbidden);
    if (this.#sizeMax && content.length > this.#sizeMax.bytes)
      throw new TooLarge(`its body has ${content.length} bytes, and the server does not take it (${this.#sizeMax.why})`);
    const why = await up.published.publish(message, to, compose, content).catch((error: Error) => {
      throw error instanceof CannotTravel ? error : new UplinkLost(error.message); // amqplib's, of a channel that has just closed, too
    });
    if (why !== undefined && why !== NO_QUEUE) throw new UplinkLost(why);
    this.#suspects.clear(message);
    return why === undefined ? 'taken' : 'nobody';
  }

  /** One connection from beginning to end; answers whether it could be opened. */
  async #serve(url: string): Promise<boolean> {
    const server = new URL(url).host;
    let connection: ChannelModel | undefined;
    try {
      connection = await connect(url, this.#config.amqp, `${this.#host}, from accounts`);
      const ended = endingOf(connection);
      this.#stopped.signal.throwIfAborted(); // stop() did not see this connection
      const channel = await answerInTime(connection.createConfirmChannel(), 'channel.open or confirm.select');
      const over = Promise.race([ended, endingOf(channel)]);
      // A message that comes back was not taken: it is in hand.
      new Receiver(wireOf(connection), (_, bytes) => new SkippedBody(bytes));
      const absent = await this.#absent(connection, url, this.#forbidden);
      const published = new UnderWay<WireMessage>(new ConfirmedPublisher(new WirePublisher(channel)));
      this.#stopped.signal.throwIfAborted(); // nor one without a channel
      this.#open({ connection, published, absent });
      this.#log.info({ server, ...(absent.size > 0 && { absent: [...absent] }) }, 'what accounts publish can be carried to the server');
      const looking = setInterval(() => this.#lookAgain(connection as ChannelModel, url), LOOK_AGAIN_MS);
      const confirms = watchConfirms(connection, published);
      const { why, refused } = await over;
      if (refused) this.#refused(published.all, why);
      published.lost(why);
      confirms.stop();
      clearInterval(looking);
      const [, exchange] = REFUSED_EXCHANGE.exec(why) ?? [];
      if (exchange !== undefined) this.#forbidden.set(exchange, withAdvice(why, url));
      if (!this.#stopped.signal.aborted)
        this.#log.warn({ server, reason: withAdvice(why, url) }, 'what accounts publish waits: lost RabbitMQ; connecting again');
      return true;
    } catch (error) {
      const reason = withAdvice((error as Error).message, url);
      if (!this.#stopped.signal.aborted)
        this.#log.error({ server, reason }, 'what accounts publish waits: RabbitMQ cannot be used; trying again');
      return false;
    } finally {
      this.#up = undefined;
      if (connection) await close(connection);
    }
  }

  /** The server has ended the connection for one of these. */
  #refused(underWay: readonly WireMessage[], why: string): void {
    const [, bytes] = ABOVE_SIZE_MAX.exec(why) ?? [];
    if (bytes !== undefined) this.#sizeMax = { bytes: Number(bytes), why };
    this.#suspects.note(underWay, why);
  }

  #open(up: Up): void {
    this.#up = up;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /**
   * Of the exchanges that executors may publish to. One that is missing would end the channel. RabbitMQ 4.3 refuses the question where the broker has no right
   * on the exchange. `known`: refusals that are in the log.
   */
  async #absent(connection: ChannelModel, url: string, known: ReadonlyMap<string, string>): Promise<Set<string>> {
    const absent = new Set<string>();
    for (const { exchange } of this.#config.sealed.up) {
      const found = await isThere(connection, exchange).catch(({ message }: Error) => {
        if (!REFUSED_EXCHANGE.test(message)) throw new Error(message);
        const reason = withAdvice(message, url);
        if (!known.has(exchange)) this.#log.warn({ exchange, reason }, 'what accounts publish to this exchange is parked: it is refused');
        this.#forbidden.set(exchange, reason);
        return true;
      });
      if (!found) absent.add(exchange);
    }
    return absent;
  }

  #lookAgain(connection: ChannelModel, url: string): void {
    const known = new Map(this.#forbidden);
    this.#forbidden.clear();
    this.#sizeMax = undefined;
    const up = this.#up;
    if (!up || (up.absent.size === 0 && known.size === 0)) return;
    this.#absent(connection, url, known).then(
      (absent) => {
        for (const exchange of up.absent) if (!absent.has(exchange)) up.absent.delete(exchange);
      },
      () => {}, // the connection has ended, and says so itself
    );
  }
}

/** Why a connection or channel has ended, and whether for a message that was published there. */
const endingOf = (of: ChannelModel | Channel) =>
  new Promise<{ readonly why: string; readonly refused: boolean }>((resolve) => {
    of.on('error', (error: Error) => resolve({ why: error.message, refused: refuses(error) }));
    of.on('close', () => resolve({ why: 'the connection was closed', refused: false }));
  });

/** Ends a connection that confirms nothing any more: what is under way is then sent again by another one. */
function watchConfirms(connection: ChannelModel, published: UnderWay<WireMessage>): ConfirmWatch {
  const confirms = new ConfirmWatch(
    () => published.oldest(),
    (why) => destroy(connection, why),
  );
  connection.on('blocked', () => confirms.blocked(true));
  connection.on('unblocked', () => confirms.blocked(false));
  return confirms;
}
