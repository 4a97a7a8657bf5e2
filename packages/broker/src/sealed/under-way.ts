import type { Compose, ConfirmedPublisher } from '../amqp/publisher.js';
import type { Address } from '../amqp/wire/frames.js';

interface Waiting<T> {
  readonly what: T;
  readonly reject: (error: Error) => void;
}

/**
 * Publishes on one channel and waits for each answer. A loss ends all waits. A `Promise.race` between each answer and one loss would keep every answer in memory
 * until the loss.
 */
export class UnderWay<T> {
  readonly #publisher: ConfirmedPublisher;
  /** By reference, in the order of sending. */
  readonly #waiting = new Map<number, Waiting<T>>();
  #lost: { readonly why: string; readonly left: readonly T[] } | undefined;

  constructor(publisher: ConfirmedPublisher) {
    this.#publisher = publisher;
  }

  /** The reference of the message that waits longest; undefined: none waits. */
  oldest(): number | undefined {
    return this.#waiting.keys().next().value;
  }

  /** Published and not answered; after a loss: at that moment. */
  get all(): readonly T[] {
    return this.#lost?.left ?? [...this.#waiting.values()].map(({ what }) => what);
  }

  /** Resolves with undefined when RabbitMQ has it, otherwise with why not. Throws what `compose` throws, and an Error with the reason of a loss. */
  async publish(what: T, to: Address, compose: Compose, content: Buffer): Promise<string | undefined> {
    if (this.#lost) throw new Error(this.#lost.why);
    const prepared = this.#publisher.prepare(compose);
    try {
      return await new Promise<string | undefined>((resolve, reject) => {
        this.#waiting.set(prepared.reference, { what, reject });
        this.#publisher.send(prepared, to, content, resolve);
      });
    } finally {
      this.#waiting.delete(prepared.reference);
    }
  }

  /** The channel has ended. The first reason counts. */
  lost(why: string): void {
    this.#lost ??= { why, left: this.all };
    for (const { reject } of this.#waiting.values()) reject(new Error(why));
  }
}
