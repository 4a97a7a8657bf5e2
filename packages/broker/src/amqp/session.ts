import type { Channel, ChannelModel, ConfirmChannel, GetMessage, Message } from 'amqplib';
import type { Config } from '../config/config.js';
import { withAdvice } from './advice.js';
import { close, connect, destroy, type Secrets } from './connect.js';
import { ANSWER_TIMEOUT_MS, answerInTime } from './deadline.js';
import { BODY_BYTES_MAX } from './jobs.js';
import { REFERENCE_HEADER } from './mac.js';
import { refuses } from './refused-publish.js';
import { SettlingPublisher } from './settling.js';
import { checkKnimeTopology, DEAD_LETTER_QUEUE, declareOwnQueues } from './topology.js';
import { type WireMessage, wireMessage, wireOf } from './wire/amqplib.js';
import { HeldBytes, KeptBody, SkippedBody } from './wire/bodies.js';
import { CutThrough } from './wire/cut-through.js';
import type { WireProperties } from './wire/properties.js';
import { type Admit, Receiver } from './wire/receive.js';

/** How long a message waits for room before it is given back, in milliseconds. RabbitMQ ends a connection that does not read for 30 s. */
const ROOM_WAIT_MS = 5_000;

export interface SessionHandlers {
  delivery(message: WireMessage): void;
  /** RabbitMQ has stopped (or resumed) taking messages from us: an alarm. */
  blocked(reason: string | undefined): void;
  /** The properties of a message with a body above {@link BODY_BYTES_MAX}, as it is parked; undefined: such a body is kept like any other. */
  tooLarge?: (properties: WireProperties, bytes: number) => Buffer;
  /** Bodies that are held leave no room for more: no further jobs for now, or again. */
  crowded?: (on: boolean) => void;
}

/** Why a session is over. */
export interface Ending {
  readonly why: string;
  /** For what kpx has published. */
  readonly refused: boolean;
}

type Others = [config: Config['amqp'], host: string, handlers: SessionHandlers, signal: AbortSignal, secrets?: Secrets];

/** The parts of RabbitMQ that a session has. */
interface Channels {
  readonly source: ChannelModel;
  readonly channel: Channel;
  readonly destination: ChannelModel;
  readonly confirms: ConfirmChannel;
  readonly large: ConfirmChannel;
}

/** One of RabbitMQ's consumers, and how many of its messages are not settled. */
interface Consumer {
  tag: string;
  inHand: number;
}

/**
 * A connection that consumes and acknowledges, and one that publishes: where nothing is read from the first, because what was read has not been
 * passed on yet, confirms still come by the second. They live and die together, and with them all deliveries.
 */
export class AmqpSession {
  readonly channel: Channel;
  readonly publisher: SettlingPublisher;
  /** Resolves, with the reason, when a connection, a channel or the consumer has ended. */
  readonly ended: Promise<Ending>;
  readonly #channels: Channels;
  readonly #handlers: SessionHandlers;
  readonly #held: HeldBytes;
  readonly #receiver: Receiver;
  readonly #cutThrough: CutThrough;
  /** Consumers that run, the newest last. */
  #consumers: Consumer[] = [];
  /** By whom a message came. */
  readonly #consumerOf = new WeakMap<WireMessage, Consumer>();
  #consume: (() => Promise<void>) | undefined;
  /** Of the newest consumer. */
  #prefetch = 0;
  /** Changes of the consumer, one after the other. */
  #changing: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;
  /** Since when a message waits for room, in milliseconds of the machine's clock. */
  #waitsSince: number | undefined;
  /** There was no room: what comes is given back until there is. */
  #crowded = false;
  /** RabbitMQ has raised an alarm: it reads nothing of a connection that publishes, and answers to nothing there. */
  #blocked = false;

  private constructor(channels: Channels, ended: Promise<Ending>, handlers: SessionHandlers, config: Config['amqp'], settledAt: number) {
    this.#channels = channels;
    this.channel = channels.channel;
    this.publisher = new SettlingPublisher(channels.confirms, config.queue, settledAt, () => this.#receiver.goOn());
    this.ended = ended;
    this.#handlers = handlers;
    this.#held = new HeldBytes(config.held_bytes_max);
    this.#cutThrough = new CutThrough(channels.large, (properties) => properties.header(REFERENCE_HEADER));
    this.#receiver = new Receiver(wireOf(channels.source), this.#admit);
    // A message that comes back by this one was not taken: it is still in hand.
    new Receiver(wireOf(channels.destination), (_, bytes) => new SkippedBody(bytes));
    channels.destination.on('blocked', () => {
      this.#blocked = true;
    });
    channels.destination.on('unblocked', () => {
      this.#blocked = false;
    });
  }

  /**
   * Connects, checks what must be there, declares what is ours. Consuming begins with {@link consume}. Throws an Error without secrets and with
   * advice, also when `signal` asks it to give up once it is connected.
   */
  static async open(url: string, ...others: Others): Promise<AmqpSession> {
    try {
      return await AmqpSession.#open(url, ...others);
    } catch (error) {
      throw new Error(withAdvice((error as Error).message, url), { cause: error });
    }
  }

  static async #open(url: string, ...[config, host, handlers, signal, secrets]: Others): Promise<AmqpSession> {
    let end: (ending: Ending) => void = () => {};
    const ended = new Promise<Ending>((resolve) => {
      end = resolve;
    });
    const connections: ChannelModel[] = [];
    const link = async (name: string) => {
      const connection = await connect(url, config, name, secrets);
      connections.push(connection);
      connection.on('error', (error: Error) => end({ why: `connection: ${error.message}`, refused: refuses(error) }));
      connection.on('close', () => end({ why: 'the connection was closed', refused: false }));
      connection.on('blocked', (reason: string) => handlers.blocked(reason));
      connection.on('unblocked', () => handlers.blocked(undefined));
      signal.throwIfAborted();
      return connection;
    };
    const watched = async <C extends Channel>(opening: Promise<C>, asked: string) => {
      const channel = await answerInTime(opening, asked);
      channel.on('error', (error: Error) => end({ why: `channel: ${error.message}`, refused: refuses(error) }));
      channel.on('close', () => end({ why: 'the channel was closed', refused: false }));
      return channel;
    };
    const giveUp = () => {
      for (const connection of connections) destroy(connection, 'the broker ends');
    };
    signal.addEventListener('abort', giveUp);
    try {
      const source = await link(host);
      await checkKnimeTopology(source, config);
      const destination = await link(`${host}, publishing`);
      const channel = await watched(source.createChannel(), 'channel.open');
      const confirms = await watched(destination.createConfirmChannel(), 'channel.open or confirm.select');
      const large = await watched(destination.createConfirmChannel(), 'channel.open or confirm.select');
      const settledAt = await declareOwnQueues(source, confirms, config.queue);
      return new AmqpSession({ source, channel, destination, confirms, large }, ended, handlers, config, settledAt);
    } catch (error) {
      await Promise.all(connections.map((connection) => close(connection)));
      throw error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  /** Takes at most `prefetch` messages that are not acknowledged. */
  async consume(queue: string, prefetch: number, cancelled: () => void): Promise<void> {
    this.#consume = async () => {
      const consumer: Consumer = { tag: '', inHand: 0 };
      await this.#answer(this.channel.prefetch(this.#prefetch), 'basic.qos');
      const consuming = this.channel.consume(queue, (message) => {
        if (message) this.#delivered(wireMessage(message), consumer);
        else cancelled();
      });
      consumer.tag = (await this.#answer(consuming, `basic.consume of "${queue}"`)).consumerTag;
      this.#consumers.push(consumer);
    };
    await this.widen(prefetch);
  }

  /** Half of the room stays free for jobs that pass, and for those of others. */
  get crowded(): boolean {
    return this.#held.held > this.#held.max / 2;
  }

  #delivered(message: WireMessage, consumer: Consumer): void {
    consumer.inHand += 1;
    this.#consumerOf.set(message, consumer);
    const { passage } = message.properties;
    if (passage && passage.passedOn === undefined) this.putBack(message);
    else this.#handlers.delivery(message);
  }

  /** Where a body goes, by its length: nothing of it is there yet. */
  readonly #admit: Admit = (properties, bytes) => {
    const { tooLarge } = this.#handlers;
    if (bytes > BODY_BYTES_MAX && tooLarge) {
      if (this.publisher.isSettling) return undefined;
      const to = { exchange: '', routingKey: DEAD_LETTER_QUEUE };
      const { body, passedOn } = this.#cutThrough.begin(to, tooLarge(properties, bytes), bytes, () => this.#receiver.goOn());
      properties.passage = { bytes, passedOn };
      return body;
    }
    if (!this.#crowded && !this.#held.hasRoomFor(bytes)) {
      this.#waitsSince ??= performance.now();
      if (performance.now() - this.#waitsSince < ROOM_WAIT_MS) return undefined;
      this.#crowd();
    }
    this.#waitsSince = undefined;
    if (this.#crowded) {
      properties.passage = { bytes, passedOn: undefined };
      return new SkippedBody(bytes);
    }
    this.#held.add(bytes);
    return new KeptBody(bytes);
  };

  /** No more of them until half of what is held is gone. A quorum queue counts what is given back: so it is done once, not again and again. */
  #crowd(): void {
    this.#crowded = true;
    this.#handlers.crowded?.(true);
    this.#change(() => this.#end(() => true)).catch(() => {}); // the session has ended, and says so itself
  }

  #released(message: WireMessage): void {
    this.#held.release(message.content.length);
    const consumer = this.#consumerOf.get(message);
    if (consumer) {
      consumer.inHand -= 1;
      if (consumer.inHand === 0 && consumer !== this.#consumers.at(-1)) this.#retire();
    }
    if (this.#crowded && this.#held.held <= this.#held.max / 2) {
      this.#crowded = false;
      this.#handlers.crowded?.(false);
      this.#change(async () => await this.#consume?.()).catch(() => {}); // as above
    }
    if (this.#waitsSince !== undefined) this.#receiver.goOn();
  }

  /**
   * Takes more at once, by another consumer: another prefetch is not that of one that runs. Those before it end when nothing of theirs is in hand.
   * When the node of a connection is lost, a quorum queue hands the jobs of a running consumer to others at once. It keeps those of a cancelled
   * one until the node is back (seen with RabbitMQ 3.10).
   */
  async widen(prefetch: number): Promise<void> {
    await this.#change(async () => {
      this.#prefetch = prefetch;
      if (!this.#crowded) await this.#consume?.();
    });
    this.#retire();
  }

  /** Ends consumers that another one has taken the place of. */
  #retire(): void {
    const idle = (consumer: Consumer) => consumer.inHand === 0 && consumer !== this.#consumers.at(-1);
    if (this.#consumers.some(idle)) this.#change(() => this.#end(idle)).catch(() => {}); // the session has ended, and says so itself
  }

  /** The connection that consumes, for questions on channels of their own. */
  get source(): ChannelModel {
    return this.#channels.source;
  }

  /** No further deliveries. */
  async cancel(): Promise<void> {
    this.#consume = undefined;
    await this.#change(() => this.#end(() => true));
  }

  async #end(chosen: (consumer: Consumer) => boolean): Promise<void> {
    const ending = this.#consumers.filter(chosen);
    this.#consumers = this.#consumers.filter((consumer) => !ending.includes(consumer));
    await Promise.all(ending.map(({ tag }) => this.#answer(this.channel.cancel(tag), 'basic.cancel')));
  }

  #answer<T>(answer: Promise<T>, asked: string): Promise<T> {
    return answerInTime(answer, asked, ANSWER_TIMEOUT_MS, () => this.#blocked);
  }

  async #change(change: () => Promise<void>): Promise<void> {
    this.#changing = this.#changing.catch(() => {}).then(change);
    await this.#changing;
  }

  ack(message: WireMessage): void {
    this.channel.ack(message as unknown as Message);
    this.#released(message);
  }

  putBack(message: WireMessage): void {
    this.channel.nack(message as unknown as Message, false, true);
    this.#released(message);
  }

  /** One message of a queue, not acknowledged; undefined: it is empty. */
  async get(queue: string): Promise<WireMessage | undefined> {
    const message: GetMessage | false = await this.channel.get(queue);
    return message ? wireMessage(message) : undefined;
  }

  /** Idempotent: who asks second, because the channel has ended, waits for what was begun first. */
  close(): Promise<void> {
    const { source, channel, destination } = this.#channels;
    this.#closing ??= Promise.all([close(source, channel), close(destination)]).then(() => {});
    return this.#closing;
  }
}
