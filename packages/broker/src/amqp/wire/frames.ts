/* Frames of AMQP 0-9-1: type, channel, length of the payload, payload, end. */

const METHOD_FRAME = 1;
export const HEADER_FRAME = 2;
export const BODY_FRAME = 3;
export const FRAME_END = 0xce;
/** Type, channel and length. */
export const FRAME_HEAD_BYTES = 7;
export const FRAME_OVERHEAD_BYTES = FRAME_HEAD_BYTES + 1;
/** In a content header, before the properties: class, weight and the length of the body. */
export const CONTENT_HEAD_BYTES = 12;
export const CLASS_BASIC = 60;
const BASIC_PUBLISH = 0x003c0028;
/** Class, method, a reserved number, two lengths of names, flags. */
const PUBLISH_BYTES = 9;
const SHORT_TEXT_BYTES_MAX = 255;
const MANDATORY = 1;
/** Body frames are not made larger than this, in bytes, whatever the server takes. */
const BODY_FRAME_BYTES_MAX = 128 * 1024;

/** Where a message is published. */
export interface Address {
  readonly exchange: string;
  readonly routingKey: string;
}

/** Largest payload of a body frame, in bytes. */
export const bodyRoom = (frameMax: number) => Math.min(frameMax, BODY_FRAME_BYTES_MAX) - FRAME_OVERHEAD_BYTES;

/** `basic.publish`, to be returned if there is no queue, and the content header. Leaves `spare` bytes behind them, and says where these begin. */
export function publishFrames(
  channel: number,
  to: Address,
  properties: Buffer,
  bodyBytes: number,
  spare = 0,
): { bytes: Buffer; end: number } {
  const [exchange, routingKey] = [Buffer.from(to.exchange), Buffer.from(to.routingKey)];
  if (exchange.length > SHORT_TEXT_BYTES_MAX || routingKey.length > SHORT_TEXT_BYTES_MAX) {
    throw new RangeError(`an exchange or routing key has more than ${SHORT_TEXT_BYTES_MAX} bytes`);
  }
  const methodBytes = PUBLISH_BYTES + exchange.length + routingKey.length;
  const headerBytes = CONTENT_HEAD_BYTES + properties.length;
  const bytes = Buffer.allocUnsafe(methodBytes + headerBytes + 2 * FRAME_OVERHEAD_BYTES + spare);
  let at = frameHead(bytes, 0, METHOD_FRAME, channel, methodBytes);
  at = bytes.writeUInt32BE(BASIC_PUBLISH, at);
  at = bytes.writeUInt16BE(0, at);
  at = bytes.writeUInt8(exchange.length, at);
  at += exchange.copy(bytes, at);
  at = bytes.writeUInt8(routingKey.length, at);
  at += routingKey.copy(bytes, at);
  at = bytes.writeUInt8(MANDATORY, at);
  at = bytes.writeUInt8(FRAME_END, at);
  at = frameHead(bytes, at, HEADER_FRAME, channel, headerBytes);
  at = bytes.writeUInt32BE(CLASS_BASIC << 16, at);
  at = bytes.writeBigUInt64BE(BigInt(bodyBytes), at);
  at += properties.copy(bytes, at);
  return { bytes, end: bytes.writeUInt8(FRAME_END, at) };
}

/** Writes a body frame at `at`; answers where it ends. */
export function bodyFrame(bytes: Buffer, at: number, channel: number, payload: Buffer): number {
  const begin = frameHead(bytes, at, BODY_FRAME, channel, payload.length);
  return bytes.writeUInt8(FRAME_END, begin + payload.copy(bytes, begin));
}

export function frameHead(bytes: Buffer, at: number, type: number, channel: number, payloadBytes: number): number {
  bytes.writeUInt8(type, at);
  bytes.writeUInt16BE(channel, at + 1);
  return bytes.writeUInt32BE(payloadBytes, at + 3);
}
