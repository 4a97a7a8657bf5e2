import type { Duplex } from 'node:stream';
import type { Channel, Message } from 'amqplib';

/**
 * Acknowledges the deliveries of one channel, once for each turn of the event loop: RabbitMQ takes as long for one acknowledgement of many as for one of
 * one. AMQP's `multiple` acknowledges every delivery up to a tag. So it is said only of what was delivered first and is all to be acknowledged.
 */
export class Acknowledging {
  readonly #send: (tag: number, multiple: boolean) => void;
  readonly #stream: Pick<Duplex, 'cork' | 'uncork'>;
  /** Delivered and not settled, in the order of delivery: is it to be acknowledged? */
  readonly #inHand = new Map<number, boolean>();
  /** RabbitMQ numbers the deliveries of a channel from 1. */
  #next = 1;
  /** Those to be acknowledged, in the order in which that was asked for. */
  #asked: number[] = [];
  #planned: NodeJS.Immediate | undefined;

  constructor(send: (tag: number, multiple: boolean) => void, stream: Pick<Duplex, 'cork' | 'uncork'>) {
    this.#send = send;
    this.#stream = stream;
  }

  /** To be told of every delivery of the channel. Of an answer to basic.get a program may learn later than of what came behind it. */
  delivered(tag: number): void {
    for (; this.#next <= tag; this.#next++) this.#inHand.set(this.#next, false);
  }

  /** Acknowledges it at the end of this turn. Nothing happens where it is settled already. */
  ack(tag: number): void {
    if (this.#inHand.get(tag) !== false) return;
    this.#inHand.set(tag, true);
    this.#asked.push(tag);
    this.#planned ??= setImmediate(() => this.flush());
  }

  /** It was settled in another way. Answers whether it was in hand, and not to be acknowledged. */
  settled(tag: number): boolean {
    if (this.#inHand.get(tag) !== false) return false;
    this.#inHand.delete(tag);
    return true;
  }

  /** To be called before anything that ends deliveries: acknowledges all that was asked for. */
  flush(): void {
    clearImmediate(this.#planned);
    this.#planned = undefined;
    const asked = this.#asked;
    if (asked.length === 0) return;
    this.#asked = [];
    this.#stream.cork();
    try {
      this.#first();
      for (const tag of asked) if (this.#inHand.delete(tag)) this.#send(tag, false);
    } finally {
      this.#stream.uncork();
    }
  }

  /** The deliveries before the first one that is still in use. */
  #first(): void {
    let [last, count] = [0, 0];
    for (const [tag, isAsked] of this.#inHand) {
      if (!isAsked) break;
      this.#inHand.delete(tag);
      [last, count] = [tag, count + 1];
    }
    if (count > 0) this.#send(last, count > 1);
  }
}

/** Of a channel of amqplib. Once it is closed RabbitMQ has put everything back, and nothing is sent. */
export function acknowledgingOn(channel: Channel, stream: Duplex): Acknowledging {
  const send = (deliveryTag: number, multiple: boolean) => {
    try {
      channel.ack({ fields: { deliveryTag } } as Message, multiple);
    } catch (error) {
      if (!(error instanceof Error && error.name === 'IllegalOperationError')) throw error;
    }
  };
  return new Acknowledging(send, stream);
}
