import type { WireConnection } from './amqplib.js';
import { BODY_FRAME, CLASS_BASIC, CONTENT_HEAD_BYTES, FRAME_END, FRAME_HEAD_BYTES, FRAME_OVERHEAD_BYTES, HEADER_FRAME } from './frames.js';
import { WireProperties } from './properties.js';

/** A body that is coming in. */
interface Incoming {
  readonly properties: WireProperties;
  readonly content: Buffer;
  received: number;
}

/** Where the length of the body is in a content header. */
const BODY_LENGTH_AT = 4;

/**
 * Takes content headers and bodies off the stream before amqplib decodes them; methods and heartbeats are left to it. Messages then have
 * {@link WireProperties} for properties. Every frame that this refuses ends the connection, as with amqplib itself.
 */
export function takeContent(connection: WireConnection): void {
  const theirs = connection.recvFrame;
  /** By channel. */
  const incoming = new Map<number, Incoming>();
  /** Frames as amqplib has them decoded. */
  const ready: unknown[] = [];

  const take = (type: number, channel: number, payload: Buffer) => {
    const content = type === HEADER_FRAME ? begin(payload) : incoming.get(channel);
    if (!content) throw new Error(`a body frame on channel ${channel} without a header`);
    if (type === BODY_FRAME) {
      if (content.received + payload.length > content.content.length)
        throw new Error(`a body on channel ${channel} is longer than it says`);
      content.received += payload.copy(content.content, content.received);
    }
    if (content.received < content.content.length) incoming.set(channel, content);
    else {
      incoming.delete(channel);
      ready.push({ id: CLASS_BASIC, channel, size: content.content.length, fields: content.properties });
      if (content.content.length > 0) ready.push({ channel, content: content.content });
    }
  };

  connection.recvFrame = () => {
    for (;;) {
      if (ready.length > 0) return ready.shift();
      const { rest } = connection;
      const type = rest[0];
      // amqplib's own reads on, and comes back here, when the frame is not whole.
      if (rest.length < FRAME_OVERHEAD_BYTES || (type !== HEADER_FRAME && type !== BODY_FRAME)) return theirs.call(connection);
      const size = rest.readUInt32BE(3);
      if (size > connection.maxFrameSize || rest.length < FRAME_OVERHEAD_BYTES + size) return theirs.call(connection);
      if (rest[FRAME_HEAD_BYTES + size] !== FRAME_END) throw new Error('a frame without an end');
      connection.rest = rest.subarray(FRAME_OVERHEAD_BYTES + size);
      take(type, rest.readUInt16BE(1), rest.subarray(FRAME_HEAD_BYTES, FRAME_HEAD_BYTES + size));
    }
  };
}

function begin(header: Buffer): Incoming {
  if (header.length < CONTENT_HEAD_BYTES) throw new Error('a content header that is cut off');
  const bodyBytes = Number(header.readBigUInt64BE(BODY_LENGTH_AT));
  // Copied: what is held must not keep everything that came with it.
  return {
    properties: new WireProperties(Buffer.from(header.subarray(CONTENT_HEAD_BYTES))),
    content: Buffer.allocUnsafe(bodyBytes),
    received: 0,
  };
}
