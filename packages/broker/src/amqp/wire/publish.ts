import type { ConfirmChannel } from 'amqplib';
import { type WireChannel, wireChannelOf, wireMessage } from './amqplib.js';
import {
  type Address,
  BODY_FRAME,
  bodyFrame,
  bodyRoom,
  CONTENT_HEAD_BYTES,
  FRAME_END,
  FRAME_HEAD_BYTES,
  FRAME_OVERHEAD_BYTES,
  frameHead,
  publishFrames,
} from './frames.js';
import type { WireProperties } from './properties.js';

/** A message up to this size, in bytes, is put together and written in one go. */
const ONE_WRITE_BYTES_MAX = 32 * 1024;
const END = Buffer.from([FRAME_END]);

/** Publishes messages whose properties are bytes, on a confirm channel of amqplib on which nothing else is published. */
export class WirePublisher {
  /** Most bytes of properties that the server takes. */
  readonly propertiesBytesMax: number;
  readonly #channel: WireChannel;
  #corked = false;

  /** Throws an Error where this amqplib is not the one that kpx knows. */
  constructor(channel: ConfirmChannel) {
    this.#channel = wireChannelOf(channel);
    this.propertiesBytesMax = this.#channel.connection.frameMax - FRAME_OVERHEAD_BYTES - CONTENT_HEAD_BYTES;
    // On the instance, in the place where amqplib puts a function that throws once the channel is closed.
    this.#channel.sendMessage = (to, properties, content) => this.#send(to as Address, properties as Buffer, content as Buffer);
  }

  /**
   * `confirmed` is called with null when RabbitMQ has it, with an Error when it refuses it or the channel is closed. A message without a queue is
   * returned first. Throws amqplib's IllegalOperationError once the channel is closed.
   */
  publish(to: Address, properties: Buffer, content: Buffer, confirmed: (error: unknown) => void): void {
    this.#channel.sendMessage(to, properties, content);
    this.#channel.pushConfirmCallback(confirmed);
  }

  /** Tells of messages that RabbitMQ has no queue for, before it confirms them. */
  onReturn(listener: (properties: WireProperties) => void): void {
    (this.#channel as unknown as ConfirmChannel).on('return', (message) => listener(wireMessage(message).properties));
  }

  #send(to: Address, properties: Buffer, content: Buffer): void {
    const { connection, ch } = this.#channel;
    const room = bodyRoom(connection.frameMax);
    this.#together();
    if (content.length <= Math.min(ONE_WRITE_BYTES_MAX, room)) {
      const frames = content.length === 0 ? 0 : content.length + FRAME_OVERHEAD_BYTES;
      const { bytes, end } = publishFrames(ch, to, properties, content.length, frames);
      if (frames > 0) bodyFrame(bytes, end, ch, content);
      connection.sendBytes(bytes);
      return;
    }
    // Whole and in one go: no frame of anybody else comes between, and the body is not copied.
    connection.sendBytes(publishFrames(ch, to, properties, content.length).bytes);
    for (let from = 0; from < content.length; from += room) {
      const part = content.subarray(from, from + room);
      const head = Buffer.allocUnsafe(FRAME_HEAD_BYTES);
      frameHead(head, 0, BODY_FRAME, ch, part.length);
      for (const bytes of [head, part, END]) connection.sendBytes(bytes);
    }
  }

  /** Messages that are published in one turn are written together: a system call for each would take most of the time. */
  #together(): void {
    if (this.#corked) return;
    this.#corked = true;
    const { stream } = this.#channel.connection;
    stream.cork();
    process.nextTick(() => {
      this.#corked = false;
      stream.uncork();
    });
  }
}
