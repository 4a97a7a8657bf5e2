import { setTimeout as delay } from 'node:timers/promises';
import type { OsUser } from '@kpx/protocol';
import type { Channel, ChannelModel, Message } from 'amqplib';
import type { Logger } from 'pino';
import { withAdvice } from '../amqp/advice.js';
import { close, connect, destroy } from '../amqp/connect.js';
import { answerInTime } from '../amqp/deadline.js';
import { BODY_BYTES_MAX } from '../amqp/jobs.js';
import { type WireMessage, wireMessage, wireOf } from '../amqp/wire/amqplib.js';
import { KeptBody, SkippedBody } from '../amqp/wire/bodies.js';
import { Receiver } from '../amqp/wire/receive.js';
import type { Config } from '../config/config.js';
import { logFailure } from '../output/logged-failure.js';
import type { Given } from './giving.js';
import { endOf, keepConnected } from './server-connection.js';

/** Of all accounts: each takes a channel of the one connection, of which RabbitMQ allows 2,047. */
const MIRRORS_MAX = 1_000;
/** Calls of one mirror that its account does not have yet, in memory; and that wait in it. */
const PREFETCH = 8;
const WAITING_MAX = 1_000;
const WAITING_BYTES_MAX = 64 * 1024 * 1024;
/** How long a call that the account cannot take yet waits, in milliseconds. */
const AGAIN_AFTER_MS = 500;
/** How long a mirror waits for a connection before it is said to be missing, in milliseconds. */
const CONNECTED_WITHIN_MS = 5_000;

/** Puts a call into the queue of this name in an account's virtual host. Never rejects. */
export type Call = (queue: string, message: WireMessage) => Promise<Given>;

interface Services {
  readonly log: Logger;
  readonly config: Config;
  readonly host: string;
}

interface Mirror {
  readonly account: OsUser;
  readonly call: Call;
  /** Its channel, and the connection that has it; undefined: not at the server at the moment. */
  made: { readonly by: ChannelModel; readonly channel: Promise<Channel> } | undefined;
}

/**
 * Queues at the server with the names of queues that executors have declared: a call into one reaches the executor. Each is exclusive to this broker's
 * connection. So no other account, on whichever host, gets the calls for a name that is taken, and RabbitMQ deletes it with the connection.
 */
export class Mirrors {
  readonly #services: Services;
  #runs: Promise<void> | undefined;
  readonly #stopped = new AbortController();
  readonly #mirrors = new Map<string, Mirror>();
  #connection: ChannelModel | undefined;
  /** Aborted when another configuration comes into force. */
  #configured = new AbortController();
  #waiting: (() => void)[] = [];

  constructor(services: Services) {
    this.#services = services;
  }

  /** Runs until {@link stop}, from the first mirror on. */
  async #run(): Promise<void> {
    await keepConnected(
      this.#stopped.signal,
      () => this.#services.config.amqp.urls,
      (url) => this.#serve(url),
    );
  }

  /** Another configuration is in force: goes over to its server. */
  reconnect(): void {
    this.#configured.abort(new Error('another configuration is in force'));
    this.#configured = new AbortController();
    if (this.#connection) destroy(this.#connection, 'another configuration is in force');
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    if (this.#connection) await close(this.#connection);
  }

  /** Makes one for an account. Resolves when it is there, with undefined; or with why it is not. */
  async open(account: OsUser, queue: string, call: Call): Promise<string | undefined> {
    const there = this.#mirrors.get(queue);
    if (there && there.account !== account) return 'another account has a queue of this name';
    if (!there && this.#mirrors.size >= MIRRORS_MAX) return `there are ${MIRRORS_MAX} mirrors already`;
    const mirror = there ?? { account, call, made: undefined };
    this.#mirrors.set(queue, mirror);
    const connection = await this.#connected();
    if (this.#mirrors.get(queue) !== mirror) return 'it was closed meanwhile';
    const why = connection ? await this.#declare(connection, queue, mirror) : 'the server is not connected';
    if (why !== undefined && this.#mirrors.get(queue) === mirror) this.#mirrors.delete(queue); // the caller asks again, or its executor has ended
    return why;
  }

  /** The executor has it no more: calls that wait in it are gone, as with the queue itself. */
  async close(account: OsUser, queue: string): Promise<void> {
    const mirror = this.#mirrors.get(queue);
    if (mirror?.account !== account) return;
    this.#mirrors.delete(queue);
    try {
      const channel = await mirror.made?.channel;
      if (!channel) return;
      await answerInTime(channel.deleteQueue(queue), `queue.delete of "${queue}"`);
      await answerInTime(channel.close(), 'channel.close');
    } catch {} // it was not made, or the connection has ended, and the queue with it
  }

  async #connected(): Promise<ChannelModel | undefined> {
    if (this.#connection || this.#stopped.signal.aborted) return this.#connection;
    this.#runs ??= this.#run();
    this.#runs.catch(logFailure(this.#services.log, 'calls do not reach accounts any more'));
    const waiting = new Promise<void>((resolve) => this.#waiting.push(resolve));
    await Promise.race([waiting, delay(CONNECTED_WITHIN_MS, undefined, { ref: false })]);
    return this.#connection;
  }

  /** Once by each connection, whoever asks for it. Resolves when it is there, with undefined; or with why it is not. */
  async #declare(connection: ChannelModel, queue: string, mirror: Mirror): Promise<string | undefined> {
    if (mirror.made?.by !== connection) mirror.made = { by: connection, channel: this.#make(connection, queue, mirror) };
    return await mirror.made.channel.then(
      () => undefined,
      ({ message }: Error) => message,
    );
  }

  /** On a channel of its own: RabbitMQ closes that where it refuses the queue. */
  async #make(connection: ChannelModel, queue: string, mirror: Mirror): Promise<Channel> {
    const channel = await answerInTime(connection.createChannel(), 'channel.open');
    channel.on('error', () => {}); // rejects the question as well
    channel.on('close', () => {
      if (mirror.made?.by === connection) mirror.made = undefined;
    });
    const bounds = { 'x-max-length': WAITING_MAX, 'x-max-length-bytes': WAITING_BYTES_MAX, 'x-overflow': 'reject-publish' };
    const declaring = channel.assertQueue(queue, { exclusive: true, durable: false, arguments: bounds });
    await answerInTime(declaring, `queue.declare of "${queue}"`);
    await answerInTime(channel.prefetch(PREFETCH), 'basic.qos');
    const taken = (message: Message | null) => {
      if (message)
        this.#carry(channel, queue, mirror, wireMessage(message)).catch(() => {}); // the channel has ended
      else channel.close().catch(() => {}); // an operator has deleted it: it is made anew when it is asked for
    };
    await answerInTime(channel.consume(queue, taken), `basic.consume of "${queue}"`);
    return channel;
  }

  /** One connection from beginning to end; answers whether it could be opened. */
  async #serve(url: string): Promise<boolean> {
    if (!this.#services.config.amqp.urls.includes(url)) return false; // of the configuration before
    const server = new URL(url).host;
    const configured = this.#configured.signal;
    let connection: ChannelModel | undefined;
    try {
      connection = await connect(url, this.#services.config.amqp, `${this.#services.host}, calls to accounts`);
      const over = endOf(connection);
      for (const signal of [this.#stopped.signal, configured]) signal.throwIfAborted(); // stop() and reconnect() did not see this connection
      new Receiver(wireOf(connection), (properties, bytes) => {
        if (bytes <= BODY_BYTES_MAX) return new KeptBody(bytes);
        properties.passage = { bytes, passedOn: undefined };
        return new SkippedBody(bytes);
      });
      this.#connection = connection;
      for (const resolve of this.#waiting.splice(0)) resolve();
      for (const [queue, mirror] of this.#mirrors) await this.#again(connection, queue, mirror);
      const why = await over;
      if (!this.#stopped.signal.aborted)
        this.#services.log.warn({ server, reason: withAdvice(why, url) }, 'calls do not reach accounts: lost RabbitMQ; connecting again');
      return true;
    } catch (error) {
      const reason = withAdvice((error as Error).message, url);
      if (!this.#stopped.signal.aborted) this.#services.log.error({ server, reason }, 'calls do not reach accounts; trying again');
      return false;
    } finally {
      this.#connection = undefined;
      for (const mirror of this.#mirrors.values()) mirror.made = undefined;
      if (connection) await close(connection);
    }
  }

  async #again(connection: ChannelModel, queue: string, mirror: Mirror): Promise<void> {
    const reason = await this.#declare(connection, queue, mirror);
    if (reason === undefined || this.#mirrors.get(queue) !== mirror) return;
    this.#mirrors.delete(queue);
    this.#services.log.warn({ account: mirror.account, queue, reason }, 'a mirror of a queue of an account could not be made again');
  }

  /** As a queue would: a call for a queue that is gone is gone, and one that the account cannot take yet waits. */
  async #carry(channel: Channel, queue: string, { account, call }: Mirror, message: WireMessage): Promise<void> {
    const { passage } = message.properties;
    const given: Given = passage
      ? { is: 'never', reason: 'SEALED_REFUSED', why: `it has ${passage.bytes} bytes, at most ${BODY_BYTES_MAX} are carried` }
      : await call(queue, message);
    if (given.is === 'not yet') {
      await delay(AGAIN_AFTER_MS);
      channel.nack(message as unknown as Message, false, true);
      return;
    }
    if (given.is === 'never') this.#services.log.warn({ account, queue, reason: given.why }, 'a call to an account is left out');
    channel.ack(message as unknown as Message);
  }
}
