import type { ChannelModel, ConfirmChannel, GetMessage, Message } from 'amqplib';
import type { Config } from '../config.js';
import { withAdvice } from './advice.js';
import { connect, destroy } from './connect.js';
import { ANSWER_TIMEOUT_MS, answerInTime } from './deadline.js';
import { checkKnimeTopology, declareOwnQueues } from './topology.js';
import { type WireMessage, wireMessage, wireOf } from './wire/amqplib.js';
import { WirePublisher } from './wire/publish.js';
import { takeContent } from './wire/receive.js';

/**
 * Codes of RabbitMQ for a message, or a frame, that it does not take; the connection may have a code of its own for a channel's. Others are about
 * rights, queues, or the server itself. Source: AMQP 0-9-1, "Constants".
 */
const REFUSING_A_FRAME = new Set([311, 501, 502, 503, 505, 541]);
const PRECONDITION_FAILED = 406;
const CLASS_BASIC = 60;
const METHOD_PUBLISH = 40;

/** Has RabbitMQ ended this for what was published? */
function refuses(error: Error): boolean {
  const { code, classId, methodId } = error as Error & { code?: unknown; classId?: unknown; methodId?: unknown };
  const published = classId === CLASS_BASIC && methodId === METHOD_PUBLISH;
  return REFUSING_A_FRAME.has(Number(code)) || (code === PRECONDITION_FAILED && published);
}

/** How long an orderly close may take before the connection is ended without order, in milliseconds. */
const CLOSE_TIMEOUT_MS = 2_000;

export interface SessionHandlers {
  delivery(message: WireMessage): void;
  /** RabbitMQ has stopped (or resumed) taking messages from us: an alarm. */
  blocked(reason: string | undefined): void;
}

/** Why a session is over. */
export interface Ending {
  readonly why: string;
  /** For what kpx has published. */
  readonly refused: boolean;
}

type Others = [config: Config['amqp'], host: string, handlers: SessionHandlers, signal: AbortSignal];

/** A connection with one confirm channel that consumes and publishes: they live and die together, and with them all deliveries. */
export class AmqpSession {
  readonly channel: ConfirmChannel;
  readonly publisher: WirePublisher;
  /** Resolves, with the reason, when the connection, the channel or the consumer has ended. */
  readonly ended: Promise<Ending>;
  readonly #connection: ChannelModel;
  #consumerTag = '';
  #consume: (() => Promise<void>) | undefined;
  /** Changes of the consumer, one after the other. */
  #changing: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;
  /** RabbitMQ has raised an alarm: it reads nothing of this connection, and answers to nothing. */
  #blocked = false;

  private constructor(connection: ChannelModel, channel: ConfirmChannel, ended: Promise<Ending>) {
    this.#connection = connection;
    this.channel = channel;
    this.publisher = new WirePublisher(channel);
    this.ended = ended;
    connection.on('blocked', () => {
      this.#blocked = true;
    });
    connection.on('unblocked', () => {
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

  static async #open(url: string, ...[config, host, handlers, signal]: Others): Promise<AmqpSession> {
    const connection = await connect(url, config, host);
    let end: (ending: Ending) => void = () => {};
    const ended = new Promise<Ending>((resolve) => {
      end = resolve;
    });
    connection.on('error', (error: Error) => end({ why: `connection: ${error.message}`, refused: refuses(error) }));
    connection.on('close', () => end({ why: 'the connection was closed', refused: false }));
    connection.on('blocked', (reason: string) => handlers.blocked(reason));
    connection.on('unblocked', () => handlers.blocked(undefined));
    const giveUp = () => destroy(connection, 'the broker ends');
    signal.addEventListener('abort', giveUp);
    try {
      signal.throwIfAborted();
      takeContent(wireOf(connection));
      await checkKnimeTopology(connection, config);
      const channel = await answerInTime(connection.createConfirmChannel(), 'channel.open or confirm.select');
      channel.on('error', (error: Error) => end({ why: `channel: ${error.message}`, refused: refuses(error) }));
      channel.on('close', () => end({ why: 'the channel was closed', refused: false }));
      await declareOwnQueues(channel, config.queue);
      return new AmqpSession(connection, channel, ended);
    } catch (error) {
      await close(connection);
      throw error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  /** Takes at most `prefetch` messages that are not acknowledged. */
  async consume(queue: string, prefetch: number, handlers: SessionHandlers, cancelled: () => void): Promise<void> {
    this.#consume = async () => {
      const consuming = this.channel.consume(queue, (message) => {
        if (message) handlers.delivery(wireMessage(message));
        else cancelled();
      });
      const { consumerTag } = await this.#answer(consuming, `basic.consume of "${queue}"`);
      this.#consumerTag = consumerTag;
    };
    await this.widen(prefetch);
  }

  /** Goes on with another prefetch: it is not that of a consumer that runs. What is in hand stays, and does not count for the new one. */
  async widen(prefetch: number): Promise<void> {
    await this.#change(async () => {
      await this.#stopConsuming();
      await this.#answer(this.channel.prefetch(prefetch), 'basic.qos');
      await this.#consume?.();
    });
  }

  /** No further deliveries. */
  async cancel(): Promise<void> {
    this.#consume = undefined;
    await this.#change(() => this.#stopConsuming());
  }

  async #stopConsuming(): Promise<void> {
    if (this.#consumerTag === '') return;
    const tag = this.#consumerTag;
    this.#consumerTag = '';
    await this.#answer(this.channel.cancel(tag), 'basic.cancel');
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
  }

  putBack(message: WireMessage): void {
    this.channel.nack(message as unknown as Message, false, true);
  }

  /** One message of a queue, not acknowledged; undefined: it is empty. */
  async get(queue: string): Promise<WireMessage | undefined> {
    const message: GetMessage | false = await this.channel.get(queue);
    return message ? wireMessage(message) : undefined;
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
