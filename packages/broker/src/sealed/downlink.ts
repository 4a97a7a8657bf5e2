import type { Channel, ChannelModel, Message } from 'amqplib';
import type { Logger } from 'pino';
import { withAdvice } from '../amqp/advice.js';
import { close, connect } from '../amqp/connect.js';
import { answerInTime } from '../amqp/deadline.js';
import { BODY_BYTES_MAX } from '../amqp/jobs.js';
import { ACCESS_REFUSED, isRefusal } from '../amqp/reply-codes.js';
import { type WireMessage, wireMessage, wireOf } from '../amqp/wire/amqplib.js';
import { KeptBody, SkippedBody } from '../amqp/wire/bodies.js';
import { Receiver } from '../amqp/wire/receive.js';
import type { Config } from '../config/config.js';
import { broadcastQueueOf } from './names.js';
import { endOf, isThere, keepConnected } from './server-connection.js';

/** Of each exchange, that are not carried yet. */
const PREFETCH = 16;
/** How often exchanges are looked for that were not there or were refused, in milliseconds. */
const LOOK_AGAIN_MS = 30_000;

interface Services {
  readonly log: Logger;
  readonly config: Config;
  readonly host: string;
  readonly node: string;
}

type DownRule = Config['sealed']['down'][number];
/** Carries a message into every account's virtual host. Never rejects. */
type Broadcast = (exchange: string, message: WireMessage) => Promise<void>;

/** From the exchanges of `[[sealed.down]]` to all accounts. A broadcast that comes while the broker is away is gone, as for any other listener. */
export class Downlink {
  readonly #log: Logger;
  readonly #config: Config;
  readonly #host: string;
  readonly #node: string;
  readonly #broadcast: Broadcast;
  readonly #stopped = new AbortController();
  /** Exchanges whose refusal is in the log. */
  readonly #refused = new Set<string>();
  #connection: ChannelModel | undefined;

  /** Goes by the configuration of this moment. */
  constructor({ log, config, host, node }: Services, broadcast: Broadcast) {
    this.#log = log;
    this.#config = config;
    this.#host = host;
    this.#node = node;
    this.#broadcast = broadcast;
  }

  /** Runs until {@link stop}. */
  async run(): Promise<void> {
    if (this.#config.sealed.down.length === 0) return;
    await keepConnected(
      this.#stopped.signal,
      () => this.#config.amqp.urls,
      (url) => this.#serve(url),
    );
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    if (this.#connection) await close(this.#connection);
  }

  /** One connection from beginning to end; answers whether it could be opened. */
  async #serve(url: string): Promise<boolean> {
    const server = new URL(url).host;
    let looking: NodeJS.Timeout | undefined;
    try {
      const connection = await connect(url, this.#config.amqp, `${this.#host}, to accounts`);
      this.#connection = connection;
      const ended = endOf(connection);
      this.#stopped.signal.throwIfAborted(); // stop() did not see this connection
      new Receiver(wireOf(connection), (properties, bytes) => {
        if (bytes <= BODY_BYTES_MAX) return new KeptBody(bytes);
        properties.passage = { bytes, passedOn: undefined };
        return new SkippedBody(bytes);
      });
      const wanted = new Set(this.#config.sealed.down);
      await this.#listen(connection, url, wanted);
      looking = setInterval(() => {
        this.#listen(connection, url, wanted).catch(() => {}); // the connection has ended, and says so itself
      }, LOOK_AGAIN_MS);
      const why = await ended;
      if (!this.#stopped.signal.aborted)
        this.#log.warn({ server, reason: withAdvice(why, url) }, 'broadcasts do not reach accounts: lost RabbitMQ; connecting again');
      return true;
    } catch (error) {
      const reason = withAdvice((error as Error).message, url);
      if (!this.#stopped.signal.aborted) this.#log.error({ server, reason }, 'broadcasts do not reach accounts; trying again');
      return false;
    } finally {
      clearInterval(looking);
      if (this.#connection) await close(this.#connection);
      this.#connection = undefined;
    }
  }

  /** To those that are there and may be read; the others stay in `wanted`, and keep nobody from these. */
  async #listen(connection: ChannelModel, url: string, wanted: Set<DownRule>): Promise<void> {
    for (const rule of [...wanted]) {
      const { exchange } = rule;
      try {
        if (!(await isThere(connection, exchange))) continue;
        await this.#listenTo(connection, rule, () => wanted.add(rule));
        wanted.delete(rule);
        this.#refused.delete(exchange);
        this.#log.info({ exchange }, 'broadcasts of this exchange reach all accounts');
      } catch (error) {
        if (!isRefusal(error, ACCESS_REFUSED)) throw error;
        if (this.#refused.has(exchange)) continue;
        this.#refused.add(exchange);
        this.#log.error(
          { exchange, reason: withAdvice((error as Error).message, url) },
          'broadcasts of this exchange do not reach accounts: RabbitMQ refuses it; trying again every 30 s',
        );
      }
    }
  }

  /** On a channel of its own, which a refusal ends. `ended` is called when nothing comes any more. */
  async #listenTo(connection: ChannelModel, rule: DownRule, ended: () => void): Promise<void> {
    const channel = await answerInTime(connection.createChannel(), 'channel.open');
    channel.on('error', () => {}); // rejects the question as well
    channel.on('close', ended);
    await answerInTime(channel.prefetch(PREFETCH), 'basic.qos');
    const queue = broadcastQueueOf(this.#node, rule.exchange);
    await answerInTime(channel.assertQueue(queue, { exclusive: true, autoDelete: true }), `queue.declare of "${queue}"`);
    const all = rule.type === 'headers' ? { 'x-match': 'all' } : {};
    for (const key of rule.type === 'direct' ? rule.keys : ['#'])
      await answerInTime(channel.bindQueue(queue, rule.exchange, key, all), `queue.bind to "${rule.exchange}"`);
    const consuming = channel.consume(queue, (message) => {
      if (message) this.#carry(channel, rule.exchange, wireMessage(message));
      else channel.close().catch(() => {}); // its queue was deleted
    });
    await answerInTime(consuming, `basic.consume of "${queue}"`);
  }

  #carry(channel: Channel, exchange: string, message: WireMessage): void {
    const { passage } = message.properties;
    if (passage) this.#log.warn({ exchange, bytes: passage.bytes }, `a broadcast is left out: at most ${BODY_BYTES_MAX} bytes are carried`);
    const carried = passage ? Promise.resolve() : this.#broadcast(exchange, message);
    carried.then(() => channel.ack(message as unknown as Message)).catch(() => {}); // the channel has ended
  }
}
