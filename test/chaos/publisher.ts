import { setTimeout as sleep } from 'node:timers/promises';
import type { ChannelModel, ConfirmChannel } from 'amqplib';
import { bytes, propertyBytes } from '../../packages/broker/test-fixtures/wire.js';
import { openConnection } from '../fixtures/amqp.js';
import { withSocket } from '../fixtures/amqp-socket.js';
import { KNIME_EXCHANGE, KNIME_ROUTING_KEY } from '../fixtures/knime/topology.js';
import { ODD_HEADERS } from './odd-headers.js';
import { factsOf, type PlannedJob } from './plan.js';

const CONNECT_AGAIN_MS = 200;

/** What the publisher knows of a job. */
export interface Sent extends PlannedJob {
  /** When, in milliseconds since the epoch. */
  readonly at: number;
  /** Has RabbitMQ confirmed it? Otherwise it may have got it, or not. */
  confirmed: boolean;
}

/** Publishes as KNIME Server does, each job once, whatever becomes of it; keeps the publisher's own list. */
export class Publisher {
  readonly sent: Sent[] = [];
  readonly #url: string;
  #connection: ChannelModel | undefined;
  #channel: ConfirmChannel | undefined;
  readonly #returned = new Set<string>();

  constructor(url: string) {
    this.#url = url;
  }

  /** Waits for RabbitMQ where it is away. Resolves when each job is confirmed, refused, or cut off before either. */
  async publish(jobs: readonly PlannedJob[]): Promise<void> {
    const answers: Promise<void>[] = [];
    for (const job of jobs) {
      const channel = await this.#connected();
      const { headers } = factsOf(job.kind);
      answers.push(headers === undefined ? this.#send(channel, job) : this.#sendAsBytes(job, ODD_HEADERS[headers]));
    }
    await Promise.all(answers);
  }

  async close(): Promise<void> {
    await this.#connection?.close().catch(() => {});
  }

  async #connected(): Promise<ConfirmChannel> {
    while (this.#channel === undefined) {
      this.#channel = await this.#connect().catch(() => undefined);
      if (this.#channel === undefined) await sleep(CONNECT_AGAIN_MS);
    }
    return this.#channel;
  }

  async #connect(): Promise<ConfirmChannel> {
    const connection = await openConnection(this.#url);
    this.#connection = connection;
    const channel = await connection.createConfirmChannel();
    channel.on('error', () => {}); // 'close' follows
    // Not with the channel alone: a connection that dies takes it along without a word.
    for (const emitter of [connection, channel]) {
      emitter.once('close', () => {
        if (this.#channel === channel) this.#channel = undefined;
      });
    }
    channel.on('return', ({ properties }) => this.#returned.add(properties.messageId));
    return channel;
  }

  /** What amqplib cannot write: on a connection of its own, which ends with whatever is wrong. */
  async #sendAsBytes(job: PlannedJob, headers: Buffer): Promise<void> {
    const sent: Sent = { ...job, at: Date.now(), confirmed: false };
    this.sent.push(sent);
    const properties = propertyBytes({ contentType: 'application/json', headers, deliveryMode: bytes(2), messageId: job.id });
    const message = { properties, body: Buffer.from(JSON.stringify(factsOf(job.kind).body(job.user, job.id))) };
    sent.confirmed = await withSocket(this.#url, (client) => client.publish(KNIME_EXCHANGE, KNIME_ROUTING_KEY, message)).then(
      () => true,
      () => false,
    );
  }

  #send(channel: ConfirmChannel, job: PlannedJob): Promise<void> {
    const sent: Sent = { ...job, at: Date.now(), confirmed: false };
    this.sent.push(sent);
    const body = factsOf(job.kind).body(job.user, job.id);
    const content = Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
    return new Promise<void>((resolve) => {
      const options = { persistent: true, mandatory: true, messageId: job.id, contentType: 'application/json' };
      channel.publish(KNIME_EXCHANGE, KNIME_ROUTING_KEY, content, options, (error) => {
        sent.confirmed = !error && !this.#returned.has(job.id);
        resolve();
      });
    }).catch(() => {}); // the channel has just closed: cut off
  }
}
