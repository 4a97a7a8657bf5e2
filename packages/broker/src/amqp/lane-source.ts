import type { Channel, ChannelModel, GetMessage, Message } from 'amqplib';
import { type Acknowledging, acknowledgingOn } from './acknowledging.js';
import { close } from './connect.js';
import { ANSWER_TIMEOUT_MS, answerInTime } from './deadline.js';
import { BODY_BYTES_MAX } from './jobs.js';
import { DEAD_LETTER_QUEUE } from './topology.js';
import { type WireMessage, wireMessage, wireOf } from './wire/amqplib.js';
import { HeldBytes, KeptBody, SkippedBody } from './wire/bodies.js';
import type { CutThrough } from './wire/cut-through.js';
import type { WireProperties } from './wire/properties.js';
import { type Admit, Receiver } from './wire/receive.js';

/** How long a message waits for room before it is given back, in milliseconds. RabbitMQ ends a connection that does not read for 30 s. */
const ROOM_WAIT_MS = 5_000;

/** The events and questions of a source. */
export interface SourceHandlers {
  delivery(message: WireMessage): void;
  /** The properties of a message with a body above {@link BODY_BYTES_MAX}, as it is parked; undefined: such a body is kept like any other. */
  tooLarge?: (properties: WireProperties, bytes: number) => Buffer;
  /** Bodies that are held leave no room for more: no further jobs for now, or again. */
  crowded?: (on: boolean) => void;
}

/** One of RabbitMQ's consumers, and how many of its messages are not settled. */
interface Consumer {
  tag: string;
  inHand: number;
}

/** Where a source gets rid of what it does not keep. */
export interface Aside {
  /** Jobs that are parked while they come in wait for this to be over. */
  readonly isSettling: boolean;
  /** RabbitMQ has raised an alarm. */
  readonly isBlocked: boolean;
  /** As {@link CutThrough.begin}. */
  passOn: CutThrough['begin'];
}

/** Where a lane takes messages from: a connection that consumes and acknowledges. Without it RabbitMQ puts everything back that is in hand. */
export class LaneSource {
  /** The connection, for questions on channels of their own. */
  readonly connection: ChannelModel;
  readonly channel: Channel;
  readonly #aside: Aside;
  readonly #handlers: SourceHandlers;
  readonly #held: HeldBytes;
  readonly #receiver: Receiver;
  readonly #acks: Acknowledging;
  /** Consumers that run, the newest last. */
  #consumers: Consumer[] = [];
  /** By whom a message came. */
  readonly #consumerOf = new WeakMap<WireMessage, Consumer>();
  #consume: (() => Promise<void>) | undefined;
  /** Of the newest consumer. */
  #prefetch = 0;
  /** Changes of the consumer, one after the other. */
  #changing: Promise<void> = Promise.resolve();
  /** Since when a message waits for room, in milliseconds of the machine's clock. */
  #waitsSince: number | undefined;
  /** There was no room: what comes is given back until there is. */
  #crowded = false;

  /** Bodies that are held have at most `heldBytesMax` bytes together. */
  constructor(connection: ChannelModel, channel: Channel, heldBytesMax: number, aside: Aside, handlers: SourceHandlers) {
    this.connection = connection;
    this.channel = channel;
    this.#aside = aside;
    this.#handlers = handlers;
    this.#held = new HeldBytes(heldBytesMax);
    const wire = wireOf(connection);
    this.#receiver = new Receiver(wire, this.#admit);
    this.#acks = acknowledgingOn(channel, wire.stream);
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
    this.#acks.delivered(message.fields.deliveryTag);
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
      if (this.#aside.isSettling) return undefined;
      const to = { exchange: '', routingKey: DEAD_LETTER_QUEUE };
      const { body, passedOn } = this.#aside.passOn(to, tooLarge(properties, bytes), bytes, () => this.goOn());
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
    if (this.#waitsSince !== undefined) this.goOn();
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

  /** No further deliveries. */
  async cancel(): Promise<void> {
    this.#consume = undefined;
    await this.#change(() => this.#end(() => true));
  }

  async #end(chosen: (consumer: Consumer) => boolean): Promise<void> {
    const ending = this.#consumers.filter(chosen);
    this.#consumers = this.#consumers.filter((consumer) => !ending.includes(consumer));
    this.#acks.flush(); // before RabbitMQ ends them
    await Promise.all(ending.map(({ tag }) => this.#answer(this.channel.cancel(tag), 'basic.cancel')));
  }

  #answer<T>(answer: Promise<T>, asked: string): Promise<T> {
    return answerInTime(answer, asked, ANSWER_TIMEOUT_MS, () => this.#aside.isBlocked);
  }

  async #change(change: () => Promise<void>): Promise<void> {
    this.#changing = this.#changing.catch(() => {}).then(change);
    await this.#changing;
  }

  ack(message: WireMessage): void {
    this.#acks.ack(message.fields.deliveryTag);
    this.#released(message);
  }

  putBack(message: WireMessage): void {
    if (!this.#acks.settled(message.fields.deliveryTag)) return;
    this.channel.nack(message as unknown as Message, false, true);
    this.#released(message);
  }

  /** All that is in hand. */
  putAllBack(): void {
    this.#acks.flush();
    this.channel.nackAll(true);
  }

  /** One message of a queue, not acknowledged; undefined: it is empty. */
  async get(queue: string): Promise<WireMessage | undefined> {
    const message: GetMessage | false = await this.channel.get(queue);
    if (message) this.#acks.delivered(message.fields.deliveryTag);
    return message ? wireMessage(message) : undefined;
  }

  /** Something of what aside had no room for may be read again. */
  goOn(): void {
    this.#receiver.goOn();
  }

  /** In order, so that acknowledgements are there first. */
  async close(): Promise<void> {
    this.#acks.flush();
    await close(this.connection, this.channel);
  }
}
