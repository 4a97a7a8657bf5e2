/*
 * Arbitrary messages of the wire, and bytes that are almost messages, for the tests of the codec and for test/fuzz.
 */
import * as fc from 'fast-check';
import protobuf from 'protobufjs/minimal.js';
import { ERRORS, type ErrorCode } from '../src/errors.js';
import { KNIME_USERS_PER_ACCOUNT_MAX, MESSAGE_CHARS_MAX } from '../src/limits.js';
import { ExecutorState, type Request, type Response, SpawnOutcome, StopMode } from '../src/verbs.js';

const UINT32_MAX = 0xffff_ffff;

export const number = fc.integer({ min: 1, max: UINT32_MAX });
export const name = fc
  .stringMatching(/^[A-Za-z0-9_@\\][A-Za-z0-9._@\\-]{0,63}$/)
  .filter((text) => /[^0-9]/.test(text) && !text.endsWith('\\'));
/** Of a KNIME user: mostly one that an account may have, too. */
const knimeName = fc.oneof(name, fc.constantFrom('Anna Müller', 'a+b', '部長', 'x'.repeat(64), '😀'.repeat(64)));
const profile = fc.stringMatching(/^[a-z][a-z0-9-]{0,31}$/);
const description = fc.string({ unit: 'binary', maxLength: MESSAGE_CHARS_MAX / 2 });
const entry = (state: fc.Arbitrary<number>, uid: fc.Arbitrary<number>) =>
  fc.record({
    osUser: name,
    uid,
    knimeUsers: fc.array(knimeName, { maxLength: KNIME_USERS_PER_ACCOUNT_MAX }),
    state,
    sinceMs: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    mainPid: fc.nat(UINT32_MAX),
    lastExit: description,
    cpuMs: fc.maxSafeNat(),
  });
/** Of what has ended, nobody may know the uid any more. */
const executor = fc.oneof(
  entry(fc.constantFrom(...Object.values(ExecutorState)), number),
  entry(fc.constant(ExecutorState.exited), fc.constant(0)),
);

/** The body of each verb, for these names and profiles. */
export function requestBodies(names: fc.Arbitrary<string>, profiles: fc.Arbitrary<string>): Record<Request['verb'], fc.Arbitrary<unknown>> {
  return {
    hello: fc.record({ version: number }),
    prepareUser: fc.record({ knimeUser: names }),
    spawnExecutor: fc.record({ knimeUser: names, profile: profiles }),
    stopExecutor: fc.record({ knimeUser: names, mode: fc.constantFrom(...Object.values(StopMode)) }),
    listExecutors: fc.record({ page: number }),
  };
}

export const requests = requestBodies(knimeName, profile);
export const responses: Record<Response['kind'], fc.Arbitrary<unknown>> = {
  hello: fc.record(
    {
      version: number,
      profiles: fc.array(profile, { maxLength: 5 }),
      sealedNode: fc.stringMatching(/^[a-z0-9-]{1,32}$/),
      foldsCase: fc.constant(true),
    },
    { requiredKeys: ['version', 'profiles'] },
  ),
  userPrepared: fc.record(
    {
      osUser: name,
      uid: number,
      created: fc.subarray(['home', 'workspace', 'temp']),
      passwordHash: fc.stringMatching(/^[A-Za-z0-9+/]{48}$/),
    },
    { requiredKeys: ['osUser', 'uid', 'created'] },
  ),
  executorSpawned: fc.record({ outcome: fc.constantFrom(...Object.values(SpawnOutcome)), executor }),
  executorStopped: fc.record({ osUser: name, uid: fc.oneof(fc.constant(0), number) }),
  executorPage: fc.record({ executors: fc.array(executor, { maxLength: 3 }), more: fc.boolean() }),
  error: fc.record({ code: fc.constantFrom(...(Object.keys(ERRORS) as ErrorCode[])), message: description }),
};

export function requestOf(bodies: Partial<typeof requests>, ids: fc.Arbitrary<number> = number): fc.Arbitrary<Request> {
  const verbs = Object.entries(bodies).map(([verb, body]) => fc.record({ id: ids, verb: fc.constant(verb), body }));
  return fc.oneof(...verbs) as fc.Arbitrary<Request>;
}
export const anyRequest = requestOf(requests);
export const anyResponse = fc.oneof(
  ...Object.entries(responses).map(([kind, body]) => fc.record({ id: number, kind: fc.constant(kind), body })),
) as fc.Arbitrary<Response>;

/** Any bytes, or the bytes of a good packet changed a little: those get much further. */
export function damaged(packet: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  return fc.oneof(
    fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
    apply(packet, splice),
    apply(packet, flip),
    apply(packet, rearrangement),
    apply(packet, fc.oneof(splice, flip, rearrangement)),
    // Halves of two packets.
    fc
      .tuple(packet, packet, fc.nat(), fc.nat())
      .map(([a, b, end, begin]) => Buffer.concat([a.subarray(0, end % (a.length + 1)), b.subarray(begin % (b.length + 1))])),
  );
}

type Change = (packet: Buffer) => Buffer;
const CHANGES_MAX = 3;

function apply(packet: fc.Arbitrary<Buffer>, change: fc.Arbitrary<Change>): fc.Arbitrary<Buffer> {
  const changes = fc.array(change, { minLength: 1, maxLength: CHANGES_MAX });
  return fc.tuple(packet, changes).map(([good, all]) => all.reduce((bytes, one) => one(bytes), good));
}

/** Bytes dropped, added or replaced: lengths that are wrong, ends that are missing. */
const splice: fc.Arbitrary<Change> = fc
  .record({ at: fc.nat(), drop: fc.nat({ max: 2 }), insert: fc.uint8Array({ maxLength: 3 }) })
  .map(({ at, drop, insert }) => (packet) => {
    const where = at % (packet.length + 1);
    return Buffer.concat([packet.subarray(0, where), insert, packet.subarray(where + drop)]);
  });

const flip: fc.Arbitrary<Change> = fc.record({ at: fc.nat(), bit: fc.nat({ max: 7 }) }).map(({ at, bit }) => (packet) => {
  const flipped = Buffer.from(packet);
  if (packet.length > 0) flipped[at % packet.length] = (packet[at % packet.length] ?? 0) ^ (1 << bit);
  return flipped;
});

const VARINT = 0;
const BYTES = 2;
const NESTED_MAX = 120; // protobufjs gives up at 100

/** A message that is well-formed protobuf and not what our encoder writes: fields repeated, moved, unknown, of another type, nested. */
const rearrangement: fc.Arbitrary<Change> = fc
  .record({
    kind: fc.constantFrom('repeat', 'swap', 'drop', 'unknown', 'retype', 'nest'),
    at: fc.nat(),
    to: fc.nat(),
    /** In the fields of a field. */
    inside: fc.boolean(),
  })
  .map((how) => (packet) => rearranged(packet, how));

interface Rearrangement {
  readonly kind: string;
  readonly at: number;
  readonly to: number;
  readonly inside: boolean;
}

function rearranged(packet: Buffer, { kind, at, to, inside }: Rearrangement): Buffer {
  const fields = fieldsOf(packet);
  const [from, onto] = [at % (fields.length || 1), to % (fields.length || 1)];
  const field = fields[from];
  if (fields.length === 0 || field === undefined) return packet;
  const content = contentOf(field);
  if (inside && content) fields[from] = withContent(field, rearranged(content, { kind, at: to, to: at, inside: false }));
  else if (kind === 'repeat') fields.splice(onto, 0, field);
  else if (kind === 'swap') [fields[from], fields[onto]] = [fields[onto] ?? field, field];
  else if (kind === 'drop') fields.splice(from, 1);
  else if (kind === 'unknown') fields.splice(from, 0, unknownField(to));
  else if (kind === 'retype') fields[from] = Buffer.concat([Buffer.from([(field[0] ?? 0) ^ (1 + (to % 7))]), field.subarray(1)]);
  else fields[from] = nested(field, 1 + (to % NESTED_MAX));
  return Buffer.concat(fields);
}

/** Each with its tag; none when the bytes are not protobuf. */
function fieldsOf(packet: Buffer): Buffer[] {
  const reader = protobuf.Reader.create(packet);
  const fields: Buffer[] = [];
  try {
    while (reader.pos < reader.len) {
      const begin = reader.pos;
      reader.skipType(reader.uint32() & 7);
      fields.push(packet.subarray(begin, reader.pos));
    }
  } catch {
    return [];
  }
  return fields;
}

function contentOf(field: Buffer): Buffer | undefined {
  const reader = protobuf.Reader.create(field);
  return (reader.uint32() & 7) === BYTES ? Buffer.from(reader.bytes()) : undefined;
}

function withContent(field: Buffer, content: Buffer): Buffer {
  return Buffer.from(protobuf.Writer.create().uint32(protobuf.Reader.create(field).uint32()).bytes(content).finish());
}

function nested(field: Buffer, depth: number): Buffer {
  return depth === 0 ? field : nested(withContent(field, field), Math.min(depth - 1, NESTED_MAX));
}

function unknownField(seed: number): Buffer {
  const writer = protobuf.Writer.create();
  const field = 1 + (seed % 40);
  if (seed % 2 === 0)
    return Buffer.from(
      writer
        .uint32((field << 3) | VARINT)
        .uint32(seed >>> 0)
        .finish(),
    );
  return Buffer.from(
    writer
      .uint32((field << 3) | BYTES)
      .string('/bin/sh')
      .finish(),
  );
}
