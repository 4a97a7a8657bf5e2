import type { Channel, ChannelModel } from 'amqplib';
import type { Config } from '../config/config.js';
import { withAdvice } from './advice.js';
import { close, connect, destroy, type Secrets } from './connect.js';
import { answerInTime } from './deadline.js';
import { LaneDestination, type Publishing } from './lane-destination.js';
import { LaneSource, type SourceHandlers } from './lane-source.js';
import { refuses } from './refused-publish.js';
import { checkKnimeTopology, declareOwnQueues } from './topology.js';

/** A server, as one of the URLs of a configuration names it. */
export interface Endpoint {
  readonly url: string;
  readonly amqp: Config['amqp'];
}

/** The two ends of a lane; the same object twice: one server. */
export interface Ends {
  readonly source: Endpoint;
  readonly destination: Endpoint;
}

export type End = keyof Ends;

export interface SessionHandlers extends SourceHandlers {
  /** RabbitMQ has stopped (or resumed) taking messages from us: an alarm. */
  blocked(reason: string | undefined, end: End): void;
}

/** Why a session is over. */
export interface Ending {
  readonly why: string;
  /** For what kpx has published. */
  readonly refused: boolean;
  /** Which of its ends was lost first. */
  readonly end: End;
}

/** A session that could not be opened, and at which end. Has advice, and no secrets. */
export class CannotOpen extends Error {
  override name = 'CannotOpen';
  readonly end: End;

  constructor(end: End, { url }: Endpoint, cause: Error) {
    super(withAdvice(cause.message, url), { cause });
    this.end = end;
  }
}

type Others = [host: string, handlers: SessionHandlers, signal: AbortSignal, secrets?: Secrets];

/** The parts that a session has while it opens. */
interface Opening {
  readonly connections: ChannelModel[];
  end(ending: Ending): void;
  readonly others: Others;
}

/**
 * A source and a destination, as long as both are connected. They live and die together: when the destination is lost, the source is closed, so that
 * RabbitMQ puts back there what was in hand. When the source is lost, RabbitMQ has put that back already; what the destination has got and not confirmed is
 * there a second time then, and never in no place.
 */
export class AmqpSession {
  readonly source: LaneSource;
  /** Where jobs go. */
  readonly destination: LaneDestination;
  /** Where jobs wait and are parked, which is where they come from; one with the destination where that is the same server. */
  readonly home: LaneDestination;
  /** Resolves, with the reason, when a connection, a channel or the consumer has ended. */
  readonly ended: Promise<Ending>;
  #ending: Ending | undefined;
  #closing: Promise<void> | undefined;

  private constructor(source: LaneSource, destination: LaneDestination, home: LaneDestination, ended: Promise<Ending>) {
    this.source = source;
    this.destination = destination;
    this.home = home;
    this.ended = ended.then((ending) => {
      this.#ending = ending;
      return ending;
    });
  }

  /** Undefined while it is not over. */
  get ending(): Ending | undefined {
    return this.#ending;
  }

  /**
   * Connects both ends, checks what must be there, declares what is ours. Consuming begins with {@link LaneSource.consume}. Throws {@link CannotOpen}, also
   * when `signal` asks it to give up.
   */
  static async open({ source, destination }: Ends, ...others: Others): Promise<AmqpSession> {
    const [, handlers, signal] = others;
    let end: Opening['end'] = () => {};
    const ended = new Promise<Ending>((resolve) => {
      end = resolve;
    });
    const opening: Opening = { connections: [], end, others };
    const giveUp = () => {
      for (const connection of opening.connections) destroy(connection, 'the broker ends');
    };
    signal.addEventListener('abort', giveUp);
    try {
      const consuming = await at('source', source, async () => {
        const connection = await link(opening, 'source', source, '');
        await checkKnimeTopology(connection, source.amqp);
        return connection;
      });
      const elsewhere =
        destination === source ? undefined : await at('destination', destination, () => publishing(opening, 'destination', destination));
      const session = await at('source', source, async () => {
        const atHome = await publishing(opening, 'source', source);
        const channel = await watched(opening, 'source', consuming.createChannel(), 'channel.open');
        const settledAt = await declareOwnQueues(consuming, atHome.confirms, source.amqp.queue);
        const home = new LaneDestination(atHome, source.amqp.queue, settledAt, () => from.goOn());
        const from = new LaneSource(consuming, channel, source.amqp.held_bytes_max, home, handlers);
        const to = elsewhere ? new LaneDestination(elsewhere, source.amqp.queue, 0, () => {}) : home;
        return new AmqpSession(from, to, home, ended);
      });
      return session;
    } catch (error) {
      await Promise.all(opening.connections.map((connection) => close(connection)));
      throw error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  /** Idempotent: who asks second, because the channel has ended, waits for what was begun first. */
  close(): Promise<void> {
    this.#closing ??= Promise.all([this.source, ...new Set([this.destination, this.home])].map((end) => end.close())).then(() => {});
    return this.#closing;
  }
}

async function at<T>(end: End, endpoint: Endpoint, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new CannotOpen(end, endpoint, error as Error);
  }
}

/** A connection whose end is the session's. */
async function link({ connections, end, others }: Opening, which: End, { url, amqp }: Endpoint, purpose: string): Promise<ChannelModel> {
  const [host, handlers, signal, secrets] = others;
  const connection = await connect(url, amqp, `${host}${purpose}`, secrets);
  connections.push(connection);
  connection.on('error', (error: Error) => end({ why: `connection: ${error.message}`, refused: refuses(error), end: which }));
  connection.on('close', () => end({ why: 'the connection was closed', refused: false, end: which }));
  connection.on('blocked', (reason: string) => handlers.blocked(reason, which));
  connection.on('unblocked', () => handlers.blocked(undefined, which));
  signal.throwIfAborted();
  return connection;
}

async function watched<C extends Channel>({ end }: Opening, which: End, opening: Promise<C>, asked: string): Promise<C> {
  const channel = await answerInTime(opening, asked);
  channel.on('error', (error: Error) => end({ why: `channel: ${error.message}`, refused: refuses(error), end: which }));
  channel.on('close', () => end({ why: 'the channel was closed', refused: false, end: which }));
  return channel;
}

async function publishing(opening: Opening, which: End, endpoint: Endpoint): Promise<Publishing> {
  const connection = await link(opening, which, endpoint, ', publishing');
  const confirms = await watched(opening, which, connection.createConfirmChannel(), 'channel.open or confirm.select');
  const large = await watched(opening, which, connection.createConfirmChannel(), 'channel.open or confirm.select');
  return { connection, confirms, large };
}
