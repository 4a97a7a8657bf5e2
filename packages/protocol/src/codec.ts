import protobuf from 'protobufjs/minimal.js';
import type * as z from 'zod';
import { kpx } from './generated/privhelper.js';
import { MESSAGE_CHARS_MAX, PACKET_BYTES_MAX } from './limits.js';
import { type ExecutorInfo, positive, RESULTS, type Request, type Response, VERBS } from './verbs.js';

/*
 * Packet -> protobuf -> canonical check -> zod -> branded types, and back. protobufjs alone accepts unknown fields, duplicate fields, missing
 * fields and any text; whatever is not exactly what our own encoder would have written is refused here, before anybody looks at a value.
 */

/** Of one UTF-16 code unit. */
const UTF8_BYTES_MAX = 3;
/** Tags and lengths of an entry and its last field, at most. */
const FIELD_BYTES = 8;

/** The peer did not speak the protocol. There is no answer to it: the connection is closed. */
export class ProtocolViolation extends Error {
  override name = 'ProtocolViolation';
}

/** Bytes of one packet, ready to be sent. */
export function encodeRequest(request: Request): Buffer {
  return encode(kpx.Request, { id: request.id, [request.verb]: request.body });
}

/** Throws {@link ProtocolViolation} for anything but a canonical, complete and well-formed request. */
export function decodeRequest(packet: Buffer): Request {
  const message = decodeCanonical(kpx.Request, packet);
  const verb = message.op;
  if (verb === undefined) throw new ProtocolViolation('a request without a verb');
  return { id: judge(positive, message.id, 'id'), verb, body: judge(VERBS[verb].request, plain(message[verb]), verb) } as Request;
}

/** Bytes of one packet, ready to be sent. */
export function encodeResponse(response: Response): Buffer {
  const body = response.kind === 'error' ? { ...response.body, code: kpx.ErrorCode[response.body.code] } : response.body;
  return encode(kpx.Response, { id: response.id, [response.kind]: body });
}

/** Throws {@link ProtocolViolation} for anything but a canonical, complete and well-formed response. */
export function decodeResponse(packet: Buffer): Response {
  const message = decodeCanonical(kpx.Response, packet);
  const kind = message.result;
  if (kind === undefined) throw new ProtocolViolation('a response without a result');
  return { id: judge(positive, message.id, 'id'), kind, body: judge(RESULTS[kind], plain(message[kind]), kind) } as Response;
}

/** Bytes that an executor takes on a page at most, whatever its `refusal` will say. */
export const executorBytes = ({ refusal: _, ...executor }: ExecutorInfo) =>
  kpx.Executor.encode(executor).finish().length + UTF8_BYTES_MAX * MESSAGE_CHARS_MAX + FIELD_BYTES;

interface MessageType<Message extends object> {
  encode(message: object, writer?: protobuf.Writer): protobuf.Writer;
  decode(reader: protobuf.Reader): Message;
}

function encode(type: MessageType<object>, message: object): Buffer {
  const packet = Buffer.from(type.encode(message).finish());
  if (packet.length > PACKET_BYTES_MAX)
    throw new RangeError(`a message of ${packet.length} bytes does not fit a packet of ${PACKET_BYTES_MAX}`);
  return packet;
}

function decodeCanonical<Message extends object>(type: MessageType<Message>, packet: Buffer): Message {
  if (packet.length === 0) throw new ProtocolViolation('an empty packet');
  if (packet.length > PACKET_BYTES_MAX) throw new ProtocolViolation(`a packet of more than ${PACKET_BYTES_MAX} bytes`);
  const reader = protobuf.Reader.create(packet);
  // With unknown fields kept, they would be encoded again below and pass as canonical.
  reader.discardUnknown = true;
  let message: Message;
  try {
    message = type.decode(reader);
  } catch (error) {
    throw new ProtocolViolation('a packet that is not protobuf', { cause: error });
  }
  if (!packet.equals(type.encode(message).finish())) throw new ProtocolViolation('a packet that is not in canonical form');
  return message;
}

/** Own properties only: the generated classes keep defaults and methods on their prototypes, which zod would look at. */
function plain(value: unknown): unknown {
  // A number of the generated types is a Long if it has 64 bits. One beyond 2^53 becomes a number that no schema takes.
  if (value instanceof protobuf.util.Long) return protobuf.util.LongBits.from(value).toNumber(true);
  if (Array.isArray(value)) return value.map(plain);
  if (!(value instanceof Object)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

function judge<Schema extends z.ZodType>(schema: Schema, value: unknown, what: string): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issues = result.error.issues.map(({ path, message }) => [...path, message].join(' '));
  throw new ProtocolViolation(`${what}: ${issues.join('; ')}`.slice(0, MESSAGE_CHARS_MAX));
}
