import protobuf from 'protobufjs/minimal.js';
import * as z from 'zod';
import { ERRORS, type ErrorCode } from './errors.js';
import { kpx } from './generated/privhelper.js';
import { EXECUTORS_PER_PAGE, KNIME_USERS_PER_ACCOUNT_MAX, MESSAGE_CHARS_MAX, PACKET_BYTES_MAX, PROFILES_MAX } from './limits.js';
import { knimeUserSchema, osUserSchema, profileNameSchema } from './names.js';

/*
 * Packet -> protobuf -> canonical check -> zod -> branded types, and back. protobufjs alone accepts unknown fields, duplicate fields, missing
 * fields and any text; whatever is not exactly what our own encoder would have written is refused here, before anybody looks at a value.
 */

export const StopMode = { graceful: kpx.StopMode.STOP_MODE_GRACEFUL, kill: kpx.StopMode.STOP_MODE_KILL } as const;
export const SpawnOutcome = {
  started: kpx.SpawnOutcome.SPAWN_OUTCOME_STARTED,
  alreadyRunning: kpx.SpawnOutcome.SPAWN_OUTCOME_ALREADY_RUNNING,
} as const;
export const ExecutorState = {
  running: kpx.ExecutorState.EXECUTOR_STATE_RUNNING,
  stopping: kpx.ExecutorState.EXECUTOR_STATE_STOPPING,
  exited: kpx.ExecutorState.EXECUTOR_STATE_EXITED,
} as const;

export type StopMode = (typeof StopMode)[keyof typeof StopMode];
export type SpawnOutcome = (typeof SpawnOutcome)[keyof typeof SpawnOutcome];
export type ExecutorState = (typeof ExecutorState)[keyof typeof ExecutorState];

/** Of one UTF-16 code unit. */
const UTF8_BYTES_MAX = 3;
/** Tags and lengths of an entry and its last field, at most. */
const FIELD_BYTES = 8;

const uint32 = z.int().min(0).max(0xffff_ffff);
const positive = uint32.min(1);

const executorSchema = z
  .strictObject({
    osUser: osUserSchema,
    /** 0: the executor has ended, and nobody knows any more. */
    uid: uint32.default(0),
    knimeUsers: z.array(knimeUserSchema).max(KNIME_USERS_PER_ACCOUNT_MAX),
    state: z.enum(ExecutorState),
    /** Milliseconds since the epoch. */
    sinceMs: z.int().min(1),
    mainPid: uint32.default(0),
    lastExit: z.string().max(MESSAGE_CHARS_MAX).default(''),
    /** Processor time since the start; 0: not known. */
    cpuMs: z.int().min(0).default(0),
    /** Why its account would be refused an executor now. */
    refusal: z.string().min(1).max(MESSAGE_CHARS_MAX).optional(),
  })
  .refine(({ uid, state }) => uid > 0 || state === ExecutorState.exited, { path: ['uid'], message: 'a running executor of uid 0' });
export type ExecutorInfo = z.output<typeof executorSchema>;

/** What each verb carries. Values that proto3 does not write (0, false, empty text) are absent after decoding, hence the defaults; a list is there. */
const REQUESTS = {
  hello: z.strictObject({ version: positive }),
  prepareUser: z.strictObject({ knimeUser: knimeUserSchema }),
  spawnExecutor: z.strictObject({ knimeUser: knimeUserSchema, profile: profileNameSchema }),
  stopExecutor: z.strictObject({ knimeUser: knimeUserSchema, mode: z.enum(StopMode) }),
  listExecutors: z.strictObject({ page: positive, judge: z.literal(true).optional() }),
};

const RESPONSES = {
  hello: z.strictObject({
    version: positive,
    requestsInFlightMax: positive,
    executorsMax: positive,
    profiles: z.array(profileNameSchema).max(PROFILES_MAX + 1),
  }),
  userPrepared: z.strictObject({
    osUser: osUserSchema,
    uid: positive,
    created: z.array(z.enum(['home', 'workspace', 'temp'])).max(3),
  }),
  executorSpawned: z.strictObject({ outcome: z.enum(SpawnOutcome), executor: executorSchema }),
  /** Uid 0: whose it was is not known. */
  executorStopped: z.strictObject({ osUser: osUserSchema, uid: uint32.default(0) }),
  executorPage: z.strictObject({
    executors: z.array(executorSchema).max(EXECUTORS_PER_PAGE),
    more: z.boolean().default(false),
  }),
  error: z.strictObject({
    code: positive
      .refine((number) => errorCodeOf(number) !== undefined, 'unknown error code')
      .transform((number) => errorCodeOf(number) as ErrorCode),
    message: z.string().max(MESSAGE_CHARS_MAX).default(''),
  }),
};

type Tagged<Schemas extends Record<string, z.ZodType>, Tag extends string> = {
  [Kind in keyof Schemas]: { id: number } & Record<Tag, Kind> & { body: z.output<Schemas[Kind]> };
}[keyof Schemas];

export type Verb = keyof typeof REQUESTS;
export type RequestBody<V extends Verb> = z.output<(typeof REQUESTS)[V]>;
export type Request = Tagged<typeof REQUESTS, 'verb'>;

export type ResultKind = keyof typeof RESPONSES;
export type ResultBody<K extends ResultKind> = z.output<(typeof RESPONSES)[K]>;
export type Response = Tagged<typeof RESPONSES, 'kind'>;

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
  return { id: judge(positive, message.id, 'id'), verb, body: judge(REQUESTS[verb], plain(message[verb]), verb) } as Request;
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
  return { id: judge(positive, message.id, 'id'), kind, body: judge(RESPONSES[kind], plain(message[kind]), kind) } as Response;
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
  // What the generated types call a number is a Long if it has 64 bits. One beyond 2^53 becomes a number that no schema takes.
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

function errorCodeOf(number: number): ErrorCode | undefined {
  return (Object.keys(ERRORS) as ErrorCode[]).find((code) => kpx.ErrorCode[code] === number);
}
