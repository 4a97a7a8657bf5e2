import type { Own } from './headers.js';
import { REFERENCE_HEADER } from './mac.js';
import type { Address } from './wire/frames.js';
import type { WireProperties } from './wire/properties.js';

/*
 * The one way a message leaves kpx: published as mandatory, and answered by RabbitMQ, which returns it where it has no queue and then confirms or refuses it.
 * The caller acknowledges the original after that and never before, so a crash at any point loses nothing. A crash after RabbitMQ has the copy, and before it
 * has the acknowledgement, leaves the message in both places: the one window in which a job can be done twice.
 */

/** The means to publish messages: a WirePublisher. */
export interface Publisher {
  readonly propertiesBytesMax: number;
  publish(to: Address, properties: Buffer, content: Buffer, confirmed: (error: unknown) => void): void;
  onReturn(listener: (properties: WireProperties) => void): void;
}

/** The answer for a message that has come back. */
export const NO_QUEUE = 'RabbitMQ found no queue';

/** Makes the properties of a message, at most `bytesMax` bytes with kpx's own headers. Throws CannotTravel. */
export type Compose = (own: Own, bytesMax: number) => Buffer;

/** The properties of a message that is to be sent, and the number that tells it from its neighbours. */
export interface Prepared {
  readonly reference: number;
  readonly properties: Buffer;
}

/** Publishes on one channel, and says for each message whether RabbitMQ has it. */
export class ConfirmedPublisher {
  readonly #publisher: Publisher;
  /** References of messages that have come back. */
  readonly #returned = new Set<number>();
  /** No other message of this channel has the same. */
  #lastReference = 0;

  constructor(publisher: Publisher) {
    this.#publisher = publisher;
    publisher.onReturn((properties) => this.#returned.add(Number(properties.header(REFERENCE_HEADER))));
  }

  /** Throws what `compose` throws; then nothing was sent. */
  prepare(compose: Compose): Prepared {
    const reference = ++this.#lastReference;
    return { reference, properties: compose({ [REFERENCE_HEADER]: reference }, this.#publisher.propertiesBytesMax) };
  }

  /**
   * `answered` is called when RabbitMQ has answered: with undefined when it has the message, otherwise with why it does not. Also when the channel ends, and
   * then after its own event. Throws amqplib's IllegalOperationError where the channel is closed.
   */
  send({ reference, properties }: Prepared, to: Address, content: Buffer, answered: (why: string | undefined) => void): void {
    this.#publisher.publish(to, properties, content, (error) => {
      const wasReturned = this.#returned.delete(reference);
      // amqplib ends open confirms with an error when the channel dies, just before it says so.
      if (error) setImmediate(() => answered('RabbitMQ refused a place'));
      else answered(wasReturned ? NO_QUEUE : undefined);
    });
  }
}
