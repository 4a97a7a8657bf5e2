import { readFile } from 'node:fs/promises';
import { type ChannelModel, type ConfirmChannel, type ConsumeMessage, connect } from 'amqplib';
import { type Config, readPassword } from '../config.js';
import { checkKnimeTopology, declareOwnQueues } from './topology.js';

/** How long one attempt to connect may take, in milliseconds. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Heartbeat asked of the server, in seconds: a dead peer is noticed after about two of them. */
const HEARTBEAT_S = 15;
/** Frame size asked of the server, in bytes; bodies come in as many frames as they need. */
const FRAME_BYTES_MAX = 128 * 1024;
/** How long an orderly close may take before the connection is left to itself, in milliseconds. */
const CLOSE_TIMEOUT_MS = 2_000;

export interface SessionHandlers {
  delivery(message: ConsumeMessage): void;
  /** RabbitMQ has stopped (or resumed) taking messages from us: an alarm. */
  blocked(reason: string | undefined): void;
}

/** A connection with one confirm channel that consumes and publishes: they live and die together, and with them all deliveries. */
export class AmqpSession {
  readonly channel: ConfirmChannel;
  /** Resolves, with the reason, when the connection, the channel or the consumer has ended. */
  readonly ended: Promise<string>;
  readonly #connection: ChannelModel;
  #consumerTag = '';

  private constructor(connection: ChannelModel, channel: ConfirmChannel, ended: Promise<string>) {
    this.#connection = connection;
    this.channel = channel;
    this.ended = ended;
  }

  /** Connects, checks what must be there, declares what is ours. Consuming begins with {@link consume}. Throws an Error without secrets. */
  static async open(url: string, config: Config['amqp'], host: string, handlers: SessionHandlers): Promise<AmqpSession> {
    const connection = await openConnection(url, config, host);
    let end: (why: string) => void = () => {};
    const ended = new Promise<string>((resolve) => {
      end = resolve;
    });
    connection.on('error', (error: Error) => end(`connection: ${error.message}`));
    connection.on('close', () => end('the connection was closed'));
    connection.on('blocked', (reason: string) => handlers.blocked(reason));
    connection.on('unblocked', () => handlers.blocked(undefined));
    try {
      await checkKnimeTopology(connection, config);
      const channel = await connection.createConfirmChannel();
      channel.on('error', (error: Error) => end(`channel: ${error.message}`));
      channel.on('close', () => end('the channel was closed'));
      await declareOwnQueues(channel, config.queue);
      await channel.prefetch(config.prefetch);
      return new AmqpSession(connection, channel, ended);
    } catch (error) {
      await quietly(connection.close());
      throw error;
    }
  }

  async consume(queue: string, handlers: SessionHandlers, cancelled: () => void): Promise<void> {
    const { consumerTag } = await this.channel.consume(queue, (message) => {
      if (message) handlers.delivery(message);
      else cancelled();
    });
    this.#consumerTag = consumerTag;
  }

  /** No further deliveries. */
  async cancel(): Promise<void> {
    await this.channel.cancel(this.#consumerTag);
  }

  async close(): Promise<void> {
    // The channel first: a connection's close overtakes acknowledgements that wait to be written.
    await quietly(this.channel.close());
    await quietly(this.#connection.close());
  }
}

async function openConnection(url: string, config: Config['amqp'], host: string): Promise<ChannelModel> {
  const { protocol, hostname, port, username, pathname } = new URL(url);
  const ca = config.tls.ca_file === '' ? undefined : [await readFile(config.tls.ca_file)];
  return await connect(
    {
      protocol: protocol.slice(0, -1),
      hostname: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? (protocol === 'amqps:' ? 5671 : 5672) : Number(port),
      username: decodeURIComponent(username),
      password: await readPassword(config),
      vhost: pathname.slice(1), // amqplib decodes it; empty is "/"
      heartbeat: HEARTBEAT_S,
      frameMax: FRAME_BYTES_MAX,
      maxFrameSize: FRAME_BYTES_MAX,
    },
    {
      timeout: CONNECT_TIMEOUT_MS,
      noDelay: true,
      ...(ca ? { ca } : {}),
      clientProperties: { connection_name: `kpx-broker on ${host}` },
    },
  );
}

/** For closing: it may be closed already, or the other side may be gone, and both are all that was wanted. */
async function quietly(closing: Promise<unknown>): Promise<void> {
  const timeout = new Promise<void>((resolve) => setTimeout(resolve, CLOSE_TIMEOUT_MS).unref());
  await Promise.race([closing.then(() => {}).catch(() => {}), timeout]);
}
