import type { WireConnection } from './amqplib.js';
import { BODY_FRAME, CLASS_BASIC, CONTENT_HEAD_BYTES, FRAME_END, FRAME_HEAD_BYTES, FRAME_OVERHEAD_BYTES, HEADER_FRAME } from './frames.js';
import { WireProperties } from './properties.js';

/** Where a body goes while it comes in. */
export interface Body {
  /** How many bytes it has. */
  readonly bytes: number;
  /** Can it take no more at the moment? Then nothing is read until {@link Receiver.goOn}. */
  readonly full: boolean;
  take(part: Buffer): void;
  /** When it is complete: what the message has for its content. */
  end(): Buffer;
}

/** Decides, when the header of a message is there, where its body goes; undefined: nothing is read until {@link Receiver.goOn}. */
export type Admit = (properties: WireProperties, bytes: number) => Body | undefined;

/** Where the length of the body is in a content header. */
const BODY_LENGTH_AT = 4;
/** While nothing is read, the heartbeat must not take the silence for RabbitMQ's; in milliseconds. */
const WAIT_TOLD_EVERY_MS = 1_000;
/** How long nothing may be read, in milliseconds: RabbitMQ ends a connection that does not read for 30 s, without a word. */
const WAIT_MS_MAX = 20_000;

interface Incoming {
  readonly properties: WireProperties;
  readonly body: Body;
  received: number;
}

/**
 * Takes content headers and bodies off the stream before amqplib decodes them; methods and heartbeats are left to it. Messages then have
 * {@link WireProperties} for properties. Every frame that this refuses ends the connection, as with amqplib itself.
 */
export class Receiver {
  readonly #connection: WireConnection;
  readonly #admit: Admit;
  /** By channel. */
  readonly #incoming = new Map<number, Incoming>();
  /** Frames as amqplib has them decoded. */
  readonly #ready: unknown[] = [];
  #waitingSince: number | undefined;
  #waking: NodeJS.Timeout | undefined;

  constructor(connection: WireConnection, admit: Admit) {
    this.#connection = connection;
    this.#admit = admit;
    const theirs = connection.recvFrame;
    connection.recvFrame = () => this.#next(theirs);
  }

  /** Something may be read again. */
  goOn(): void {
    if (this.#waitingSince !== undefined) setImmediate(() => this.#connection.stream.emit('readable'));
  }

  #next(theirs: WireConnection['recvFrame']): unknown {
    const connection = this.#connection;
    for (;;) {
      if (this.#ready.length > 0) return this.#ready.shift();
      const { rest } = connection;
      const type = rest[0];
      // amqplib's own reads on, and comes back here, when the frame is not whole.
      if (rest.length < FRAME_OVERHEAD_BYTES || (type !== HEADER_FRAME && type !== BODY_FRAME)) return theirs.call(connection);
      const size = rest.readUInt32BE(3);
      if (size > connection.maxFrameSize || rest.length < FRAME_OVERHEAD_BYTES + size) return theirs.call(connection);
      if (rest[FRAME_HEAD_BYTES + size] !== FRAME_END) throw new Error('a frame without an end');
      const payload = rest.subarray(FRAME_HEAD_BYTES, FRAME_HEAD_BYTES + size);
      const channel = rest.readUInt16BE(1);
      if (!(type === HEADER_FRAME ? this.#begin(channel, payload) : this.#goesOn(channel, payload))) return this.#wait();
      this.#waitingSince = undefined;
      connection.rest = rest.subarray(FRAME_OVERHEAD_BYTES + size);
    }
  }

  #begin(channel: number, header: Buffer): boolean {
    if (header.length < CONTENT_HEAD_BYTES) throw new Error('a content header that is cut off');
    const bytes = Number(header.readBigUInt64BE(BODY_LENGTH_AT));
    // Copied: what is held must not keep everything that came with it.
    const properties = new WireProperties(Buffer.from(header.subarray(CONTENT_HEAD_BYTES)));
    const body = this.#admit(properties, bytes);
    if (!body) return false;
    const incoming = { properties, body, received: 0 };
    if (bytes === 0) this.#end(channel, incoming);
    else this.#incoming.set(channel, incoming);
    return true;
  }

  #goesOn(channel: number, part: Buffer): boolean {
    const incoming = this.#incoming.get(channel);
    if (!incoming) throw new Error(`a body frame on channel ${channel} without a header`);
    if (incoming.body.full) return false;
    incoming.received += part.length;
    if (incoming.received > incoming.body.bytes) throw new Error(`a body on channel ${channel} is longer than it says`);
    incoming.body.take(part);
    if (incoming.received === incoming.body.bytes) this.#end(channel, incoming);
    return true;
  }

  #end(channel: number, { properties, body }: Incoming): void {
    this.#incoming.delete(channel);
    const content = body.end();
    this.#ready.push({ id: CLASS_BASIC, channel, size: content.length, fields: properties });
    if (content.length > 0) this.#ready.push({ channel, content });
  }

  /** Nothing is read for now: RabbitMQ waits with the rest. */
  #wait(): false {
    this.#waitingSince ??= performance.now();
    if (performance.now() - this.#waitingSince > WAIT_MS_MAX) {
      throw new Error(`nothing could be passed on to RabbitMQ for ${WAIT_MS_MAX / 1_000} s`);
    }
    this.#connection.recvSinceLastCheck = true;
    this.#waking ??= setTimeout(() => {
      this.#waking = undefined;
      this.goOn();
    }, WAIT_TOLD_EVERY_MS).unref();
    return false;
  }
}
