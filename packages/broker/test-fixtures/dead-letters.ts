import type { AmqpSession } from '../src/amqp/session.js';
import type { WireMessage } from '../src/amqp/wire/amqplib.js';
import { type Config, configSchema } from '../src/config/config.js';
import { DeadLetterQueue } from '../src/dead-letters/queue.js';
import { MAC, table, text, wireMessageOf } from './wire.js';

/** kpx.dead-letter at a RabbitMQ that puts what is given back `to` this end of a queue, and that may lose its connections. */
export class DeadLetterServer {
  readonly #to: 'front' | 'end';
  readonly #max: { letters: number; sought: number };
  #queue: WireMessage[] = [];
  #inHand: WireMessage[] = [];
  #losing: (reason: { why: string }) => void = () => {};
  /** Connections are lost after so many acknowledgements more. */
  lostAfter = Number.POSITIVE_INFINITY;

  constructor(to: 'front' | 'end', max: { letters: number; sought: number }) {
    this.#to = to;
    this.#max = max;
  }

  /** Jobs by these names are parked, one a second. */
  park(...jobs: string[]): void {
    for (const job of jobs) {
      const parkedAt = new Date(1_700_000_000_000 + this.#queue.length * 1_000).toISOString();
      const headers = table(['x-kpx-parked-at', 'S', text(parkedAt)], ['x-kpx-reason', 'S', text('USER_DENIED')]);
      this.#queue.push(wireMessageOf('{"user":"alice"}', { headers, messageId: job }));
    }
  }

  get jobs(): string[] {
    return [...this.#inHand, ...this.#queue].map(({ properties }) => properties.text('messageId') ?? '').sort();
  }

  /** On a connection of its own. */
  open(): DeadLetterQueue {
    const ended = new Promise<{ why: string }>((resolve) => {
      this.#losing = resolve;
    });
    const source = {
      connection: { connection: { serverProperties: { version: '3.12.0' } } },
      get: async () => {
        if (this.lostAfter <= 0) await new Promise(() => {}); // nothing answers
        const message = this.#queue.shift();
        if (message) this.#inHand.push(message);
        return message && { ...message, fields: { ...message.fields, messageCount: this.#queue.length } };
      },
      ack: ({ properties }: WireMessage) => {
        this.#inHand = this.#inHand.filter((message) => message.properties !== properties);
        this.lostAfter -= 1;
        if (this.lostAfter === 0) this.#losing({ why: 'the cable' });
      },
      putAllBack: () => this.#putAllBack(),
    };
    const session = { ended, source, home: { publisher: { onReturn: () => {} } }, close: async () => this.#putAllBack() };
    const config: Config = configSchema.parse({ amqp: { urls: ['amqp://kpx-broker@127.0.0.1'] } });
    return new DeadLetterQueue(session as unknown as AmqpSession, config, MAC, new Promise(() => {}), this.#max);
  }

  #putAllBack(): void {
    this.#queue = this.#to === 'end' ? [...this.#queue, ...this.#inHand] : [...this.#inHand, ...this.#queue];
    this.#inHand = [];
  }
}
