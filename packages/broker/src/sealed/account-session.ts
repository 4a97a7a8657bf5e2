import { setTimeout as delay } from 'node:timers/promises';
import type { Channel, ChannelModel, ConfirmChannel, Message } from 'amqplib';
import { type Acknowledging, acknowledgingOn } from '../amqp/acknowledging.js';
import { ConfirmWatch } from '../amqp/confirm-watch.js';
import { close, connect, destroy } from '../amqp/connect.js';
import { answerInTime } from '../amqp/deadline.js';
import { type Compose, ConfirmedPublisher } from '../amqp/publisher.js';
import { refuses } from '../amqp/refused-publish.js';
import { isRefusal, NOT_FOUND } from '../amqp/reply-codes.js';
import { type WireMessage, wireMessage, wireOf } from '../amqp/wire/amqplib.js';
import { type HeldBytes, KeptBody, SkippedBody } from '../amqp/wire/bodies.js';
import type { Address } from '../amqp/wire/frames.js';
import { WirePublisher } from '../amqp/wire/publish.js';
import { Receiver } from '../amqp/wire/receive.js';
import type { Config } from '../config/config.js';
import { UP_BYTES_MAX } from './rules.js';
import { type Told, UnderWay } from './under-way.js';

/** Of each queue, that are not acknowledged. */
const PREFETCH = 64;
/** How long a message is kept from being read again for which there was no memory, in milliseconds. */
const AGAIN_AFTER_MS = 1_000;
/** How long a session that ends in order waits for what it has read, and how often it looks, in milliseconds. */
const SETTLED_WITHIN_MS = 2_000;
const LOOK_EVERY_MS = 20;

/** The end of a session. */
export interface Ending {
  readonly why: string;
  /** For what kpx has published. */
  readonly refused: boolean;
}

/** The broker's connection to the virtual host of one account. */
export class AccountSession {
  /** Resolves when it is of no use any more. */
  readonly ended: Promise<Ending>;
  readonly #published: UnderWay<WireMessage>;
  readonly #confirms: ConfirmWatch;
  readonly #connection: ChannelModel;
  readonly #channel: ConfirmChannel;
  readonly #up: Channel;
  readonly #acks: Acknowledging;
  readonly #held: HeldBytes;
  readonly #waiting = new Set<NodeJS.Timeout>();
  /** For questions that close their channel where the answer is no. */
  #looking: Channel | undefined;
  /** Of consumers. */
  readonly #tags: string[] = [];
  #inHand = 0;
  /** RabbitMQ reads nothing of this connection: the reason. */
  #blocked: string | undefined;
  /** Of what all sessions hold, in bytes. */
  #heldHere = 0;
  #open = true;

  private constructor(
    connection: ChannelModel,
    channels: { channel: ConfirmChannel; up: Channel },
    ended: Promise<Ending>,
    held: HeldBytes,
  ) {
    this.#connection = connection;
    this.#channel = channels.channel;
    this.#up = channels.up;
    this.#held = held;
    this.ended = ended;
    // Before anything comes in: what is larger than may be carried, or than there is memory for, is not kept.
    const wire = wireOf(connection);
    this.#acks = acknowledgingOn(channels.up, wire.stream);
    // Once closed it keeps nothing either: RabbitMQ puts that back, and nobody would release its bytes.
    new Receiver(wire, (properties, bytes) => {
      if (this.#open && bytes <= UP_BYTES_MAX && held.hasRoomFor(bytes)) {
        this.#hold(bytes);
        return new KeptBody(bytes);
      }
      properties.passage = { bytes, passedOn: undefined };
      return new SkippedBody(bytes);
    });
    this.#published = new UnderWay(new ConfirmedPublisher(new WirePublisher(channels.channel)));
    ended.then(({ why }) => this.#published.lost(why), NEVER);
    this.#confirms = new ConfirmWatch(
      () => this.#published.oldest(),
      (why) => destroy(connection, why),
    );
    connection.on('blocked', (reason: string) => {
      this.#blocked = reason;
      this.#confirms.blocked(true);
    });
    connection.on('unblocked', () => {
      this.#blocked = undefined;
      this.#confirms.blocked(false);
    });
  }

  /** To whichever node of `sealed.urls` answers. Throws an Error for operators, without secrets. */
  static async openAny({ amqp, sealed }: Config, vhost: string, name: string, held: HeldBytes): Promise<AccountSession> {
    const login = { ...amqp, password_file: sealed.management_password_file };
    const problems: string[] = [];
    for (const url of sealed.urls) {
      const at = new URL(`/${encodeURIComponent(vhost)}`, url).href;
      try {
        return await AccountSession.#openAt(at, login, name, held);
      } catch (error) {
        problems.push(`${new URL(url).host}: ${(error as Error).message}`);
      }
    }
    throw new Error(problems.join('; '));
  }

  static async #openAt(url: string, amqp: Config['amqp'], name: string, held: HeldBytes): Promise<AccountSession> {
    const connection = await connect(url, amqp, name);
    let end: (ending: Ending) => void = () => {};
    const ended = new Promise<Ending>((resolve) => {
      end = resolve;
    });
    const watch = (of: ChannelModel | Channel, what: string) => {
      of.on('error', (error: Error) => end({ why: `${what}: ${error.message}`, refused: refuses(error) }));
      of.on('close', () => end({ why: `the ${what} was closed`, refused: false }));
    };
    watch(connection, 'connection');
    try {
      const opening = [connection.createConfirmChannel(), connection.createChannel()] as const;
      const [channel, up] = await answerInTime(Promise.all(opening), 'channel.open or confirm.select');
      watch(channel, 'channel');
      watch(up, 'channel');
      await answerInTime(up.prefetch(PREFETCH), 'basic.qos');
      return new AccountSession(connection, { channel, up }, ended, held);
    } catch (error) {
      await close(connection);
      throw error;
    }
  }

  /** For declarations: RabbitMQ closes it, and with it the session, where it refuses one. */
  get channel(): ConfirmChannel {
    return this.#channel;
  }

  /** Messages that were read and are not settled. */
  get inHand(): number {
    return this.#inHand;
  }

  /** It can be used. */
  get open(): boolean {
    return this.#open;
  }

  /** Published and not confirmed; of one that has ended, when that was. */
  get underWay(): readonly WireMessage[] {
    return this.#published.all;
  }

  /** Throws CannotTravel, and an Error when the session has ended: then nothing is told. */
  send(message: WireMessage, to: Address, compose: Compose, told: Told): void {
    this.#published.send(message, to, compose, message.content, told);
  }

  /** Ends it: something that was declared is gone. */
  fail(why: string): void {
    destroy(this.#connection, why);
  }

  /** `cancelled`: the queue is gone. */
  async consume(queue: string, taken: (message: WireMessage) => void, cancelled: () => void): Promise<void> {
    const consuming = this.#up.consume(queue, (message) => {
      if (message) this.#taken(wireMessage(message), taken);
      else cancelled();
    });
    this.#tags.push((await answerInTime(consuming, `basic.consume of "${queue}"`)).consumerTag);
  }

  /** Does something that RabbitMQ may refuse, on a channel of its own: answers why it has. */
  async apart(action: (channel: Channel) => Promise<unknown>): Promise<string | undefined> {
    const channel = await this.#newLook();
    const refused = await action(channel).then(
      () => undefined,
      ({ message }: Error) => message,
    );
    if (refused === undefined) await answerInTime(channel.close(), 'channel.close');
    return refused;
  }

  /** Reads no more, and resolves when what was read is settled, or after some seconds. */
  async settled(): Promise<void> {
    const deadline = performance.now() + SETTLED_WITHIN_MS;
    await Promise.all(this.#tags.map((tag) => answerInTime(this.#up.cancel(tag), 'basic.cancel', SETTLED_WITHIN_MS))).catch(() => {});
    while (this.#inHand > 0 && performance.now() < deadline) await delay(LOOK_EVERY_MS);
  }

  #taken(message: WireMessage, taken: (message: WireMessage) => void): void {
    this.#took(message);
    const { passage } = message.properties;
    if (passage === undefined || passage.bytes > UP_BYTES_MAX) taken(message);
    else this.putBackLater(message);
  }

  #took(message: WireMessage): void {
    this.#inHand += 1;
    this.#acks.delivered(message.fields.deliveryTag);
  }

  /** One message of a queue, not acknowledged; undefined: it is empty. Throws where there is no memory for it. */
  async get(queue: string): Promise<WireMessage | undefined> {
    const got = await answerInTime(this.#up.get(queue), `basic.get of "${queue}"`);
    if (!got) return undefined;
    const message = wireMessage(got);
    this.#took(message);
    const { passage } = message.properties;
    if (passage === undefined || passage.bytes > UP_BYTES_MAX) return message;
    this.putBackLater(message);
    throw new Error(`messages in hand leave no memory for one of ${passage.bytes} bytes`);
  }

  /** Nothing happens where the session has ended: RabbitMQ has put it back. */
  ack(message: WireMessage): void {
    this.#settle(message, () => this.#acks.ack(message.fields.deliveryTag));
  }

  putBackLater(message: WireMessage): void {
    const timer = setTimeout(() => {
      this.#waiting.delete(timer);
      this.#settle(message, () => {
        if (this.#acks.settled(message.fields.deliveryTag)) this.#up.nack(message as unknown as Message, false, true);
      });
    }, AGAIN_AFTER_MS);
    this.#waiting.add(timer);
  }

  #hold(bytes: number): void {
    this.#heldHere += bytes;
    this.#held.add(bytes);
  }

  #settle(message: WireMessage, action: () => void): void {
    if (!this.#open) return;
    this.#inHand -= 1;
    this.#hold(-message.content.length);
    try {
      action();
    } catch (error) {
      // amqplib throws on a channel that has just closed.
      if (!(error instanceof Error && error.name === 'IllegalOperationError')) throw error;
    }
  }

  /** Why RabbitMQ takes nothing by this connection at the moment; undefined: it does. */
  get blocked(): string | undefined {
    return this.#blocked;
  }

  /** How many messages and consumers a queue has; undefined: there is no such queue. Throws also while it is {@link blocked}. */
  async look(queue: string): Promise<{ readonly messages: number; readonly consumers: number } | undefined> {
    const looking = this.#looking ?? (await this.#newLook());
    this.#looking = looking;
    try {
      const { messageCount, consumerCount } = await answerInTime(looking.checkQueue(queue), `queue.declare of "${queue}"`);
      return { messages: messageCount, consumers: consumerCount };
    } catch (error) {
      if (isRefusal(error, NOT_FOUND)) return undefined;
      throw error;
    }
  }

  async #newLook(): Promise<Channel> {
    // Channels would be opened and never closed until it reads again.
    if (this.#blocked !== undefined) throw new Error(`RabbitMQ takes nothing at the moment: ${this.#blocked}`);
    const channel = await answerInTime(this.#connection.createChannel(), 'channel.open');
    channel.on('error', () => {}); // rejects the question as well
    channel.on('close', () => {
      if (this.#looking === channel) this.#looking = undefined;
    });
    return channel;
  }

  /** Messages that are not acknowledged go back into the account's queues. */
  async close(): Promise<void> {
    this.#open = false;
    this.#acks.flush();
    this.#confirms.stop();
    this.#hold(-this.#heldHere);
    for (const timer of this.#waiting) clearTimeout(timer);
    this.#waiting.clear();
    await close(this.#connection, this.#up);
  }
}

/** The promise of an end never rejects. */
const NEVER = () => {};
