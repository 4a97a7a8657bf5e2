import type { ConfirmChannel } from 'amqplib';
import { type WireChannel, wireChannelOf, wireMessage } from './amqplib.js';
import { type Address, bodyFrame, bodyRoom, FRAME_OVERHEAD_BYTES, publishFrames } from './frames.js';
import { WireProperties } from './properties.js';
import type { Body } from './receive.js';

const NOTHING = Buffer.alloc(0);

/** Takes who is told what has become of a message that was passed on while it came in: nothing, or why RabbitMQ has no place for it. */
export type PassedOn = (told: (why: string | undefined) => void) => void;

/**
 * Publishes messages frame by frame as they come in, one after the other, on a channel of its own: none of them is ever whole in memory. Where the
 * message ends in the middle, so must the connection, which has RabbitMQ forget what it has got of it.
 */
export class CutThrough {
  readonly #channel: WireChannel;
  readonly #referenceOf: (properties: WireProperties) => unknown;
  /** References of messages that RabbitMQ has returned and not confirmed yet. */
  readonly #returned = new Set<unknown>();

  /** `referenceOf` reads from the properties what tells messages apart: RabbitMQ may confirm them in another order. */
  constructor(channel: ConfirmChannel, referenceOf: (properties: WireProperties) => unknown) {
    this.#channel = wireChannelOf(channel);
    this.#referenceOf = referenceOf;
    channel.on('return', (message) => this.#returned.add(referenceOf(wireMessage(message).properties)));
  }

  /** Begins with a message; `drained` is called when its body can go on after it was full. */
  begin(to: Address, properties: Buffer, bytes: number, drained: () => void): { body: Body; passedOn: PassedOn } {
    const { connection, ch } = this.#channel;
    const reference = this.#referenceOf(new WireProperties(properties));
    connection.sendBytes(publishFrames(ch, to, properties, bytes).bytes);
    // RabbitMQ confirms after the last frame, and so after whoever is told has been named.
    let told: Parameters<PassedOn>[0] = () => {};
    this.#channel.pushConfirmCallback((error) => {
      const returned = this.#returned.delete(reference);
      if (error) told('RabbitMQ refused a place');
      else told(returned ? 'RabbitMQ found no queue' : undefined);
    });
    const passedOn: PassedOn = (listener) => {
      told = listener;
    };
    return { body: new PassedBody(this.#channel, bytes, drained), passedOn };
  }
}

class PassedBody implements Body {
  readonly #channel: WireChannel;
  readonly #drained: () => void;
  #waits = false;

  constructor(
    channel: WireChannel,
    readonly bytes: number,
    drained: () => void,
  ) {
    this.#channel = channel;
    this.#drained = drained;
  }

  get full(): boolean {
    const { stream } = this.#channel.connection;
    if (!stream.writableNeedDrain) return false;
    if (!this.#waits) {
      this.#waits = true;
      stream.once('drain', () => {
        this.#waits = false;
        this.#drained();
      });
    }
    return true;
  }

  take(part: Buffer): void {
    const { connection, ch } = this.#channel;
    const room = bodyRoom(connection.frameMax);
    for (let from = 0; from < part.length; from += room) {
      const payload = part.subarray(from, from + room);
      const frame = Buffer.allocUnsafe(payload.length + FRAME_OVERHEAD_BYTES);
      bodyFrame(frame, 0, ch, payload);
      connection.sendBytes(frame);
    }
  }

  end(): Buffer {
    return NOTHING;
  }
}
