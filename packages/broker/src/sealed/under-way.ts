import type { Compose, ConfirmedPublisher } from '../amqp/publisher.js';
import type { Address } from '../amqp/wire/frames.js';

/** Told once what has become of a message: RabbitMQ's answer, undefined when it has it; or the reason of a loss. */
export interface Told {
  readonly answered: (why: string | undefined) => void;
  readonly lost: (why: string) => void;
}

/**
 * Publishes on one channel and waits for each answer. A loss ends all waits. By functions, as this is done for every job: promises take several times as long.
 */
export class UnderWay<T> {
  readonly #publisher: ConfirmedPublisher;
  /** By reference, in the order of sending. */
  readonly #waiting = new Map<number, { readonly what: T; readonly told: Told }>();
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

  /** Throws what `compose` throws, amqplib's IllegalOperationError, and an Error with the reason of a loss before: then nothing is told. */
  send(what: T, to: Address, compose: Compose, content: Buffer, told: Told): void {
    if (this.#lost) throw new Error(this.#lost.why);
    const prepared = this.#publisher.prepare(compose);
    const { reference } = prepared;
    this.#waiting.set(reference, { what, told });
    try {
      this.#publisher.send(prepared, to, content, (why) => {
        if (this.#waiting.delete(reference)) told.answered(why); // otherwise the loss was told
      });
    } catch (error) {
      this.#waiting.delete(reference);
      throw error;
    }
  }

  /** Resolves with undefined when RabbitMQ has it, otherwise with why not. Throws as {@link send} does, and an Error with the reason of a loss. */
  async publish(what: T, to: Address, compose: Compose, content: Buffer): Promise<string | undefined> {
    return await new Promise<string | undefined>((resolve, reject) => {
      this.send(what, to, compose, content, { answered: resolve, lost: (why) => reject(new Error(why)) });
    });
  }

  /** The channel has ended. The first reason counts. */
  lost(why: string): void {
    this.#lost ??= { why, left: this.all };
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { told } of waiting) told.lost(why);
  }
}
