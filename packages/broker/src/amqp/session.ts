import type { ChannelModel, ConfirmChannel, GetMessage, Message } from 'amqplib';
import type { Config } from '../config.js';
import { withAdvice } from './advice.js';
import { connect, destroy } from './connect.js';
import { answerInTime } from './deadline.js';
import { checkKnimeTopology, declareOwnQueues } from './topology.js';
import { type WireMessage, wireMessage, wireOf } from './wire/amqplib.js';
import { WirePublisher } from './wire/publish.js';
import { takeContent } from './wire/receive.js';

/** How long an orderly close may take before the connection is ended without order, in milliseconds. */
const CLOSE_TIMEOUT_MS = 2_000;

export interface SessionHandlers {
  delivery(message: WireMessage): void;
  /** RabbitMQ has stopped (or resumed) taking messages from us: an alarm. */
  blocked(reason: string | undefined): void;
}

type Others = [config: Config['amqp'], host: string, handlers: SessionHandlers, signal: AbortSignal];

/** A connection with one confirm channel that consumes and publishes: they live and die together, and with them all deliveries. */
export class AmqpSession {
  readonly channel: ConfirmChannel;
  readonly publisher: WirePublisher;
  /** Resolves, with the reason, when the connection, the channel or the consumer has ended. */
  readonly ended: Promise<string>;
  readonly #connection: ChannelModel;
  #consumerTag = '';
  #closing: Promise<void> | undefined;

  private constructor(connection: ChannelModel, channel: ConfirmChannel, ended: Promise<string>) {
    this.#connection = connection;
    this.channel = channel;
    this.publisher = new WirePublisher(channel);
    this.ended = ended;
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

  static async #open(url: string, ...[config, host, handlers, signal]: Others): Promise<AmqpSession> {
    const connection = await connect(url, config, host);
    let end: (why: string) => void = () => {};
    const ended = new Promise<string>((resolve) => {
      end = resolve;
    });
    connection.on('error', (error: Error) => end(`connection: ${error.message}`));
    connection.on('close', () => end('the connection was closed'));
    connection.on('blocked', (reason: string) => handlers.blocked(reason));
    connection.on('unblocked', () => handlers.blocked(undefined));
    const giveUp = () => destroy(connection, 'the broker ends');
    signal.addEventListener('abort', giveUp);
    try {
      signal.throwIfAborted();
      takeContent(wireOf(connection));
      await checkKnimeTopology(connection, config);
      const channel = await answerInTime(connection.createConfirmChannel(), 'channel.open or confirm.select');
      channel.on('error', (error: Error) => end(`channel: ${error.message}`));
      channel.on('close', () => end('the channel was closed'));
      await declareOwnQueues(channel, config.queue);
      await answerInTime(channel.prefetch(config.prefetch), 'basic.qos');
      return new AmqpSession(connection, channel, ended);
    } catch (error) {
      await close(connection);
      throw error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  async consume(queue: string, handlers: SessionHandlers, cancelled: () => void): Promise<void> {
    const consuming = this.channel.consume(queue, (message) => {
      if (message) handlers.delivery(wireMessage(message));
      else cancelled();
    });
    const { consumerTag } = await answerInTime(consuming, `basic.consume of "${queue}"`);
    this.#consumerTag = consumerTag;
  }

  ack(message: WireMessage): void {
    this.channel.ack(message as unknown as Message);
  }

  putBack(message: WireMessage): void {
    this.channel.nack(message as unknown as Message, false, true);
  }

  /** One message of a queue, not acknowledged; undefined: it is empty. */
  async get(queue: string): Promise<WireMessage | undefined> {
    const message: GetMessage | false = await this.channel.get(queue);
    return message ? wireMessage(message) : undefined;
  }

  /** No further deliveries. */
  async cancel(): Promise<void> {
    await answerInTime(this.channel.cancel(this.#consumerTag), 'basic.cancel');
  }

  /** Idempotent: who asks second, because the channel has ended, waits for what was begun first. */
  close(): Promise<void> {
    this.#closing ??= close(this.#connection, this.channel);
    return this.#closing;
  }
}

/** In order if that is soon done, but in any case: it may be closed already, or the other side may be gone, and both are all that was wanted. */
async function close(connection: ChannelModel, channel?: ConfirmChannel): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
  });
  const inOrder = async () => {
    // The channel first: a connection's close overtakes acknowledgements that wait to be written.
    await channel?.close().catch(() => {});
    await connection.close().catch(() => {});
  };
  await Promise.race([inOrder(), timeout]);
  clearTimeout(timer);
  destroy(connection, 'closed');
}
