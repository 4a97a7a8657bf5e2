import * as fc from 'fast-check';
import protobuf from 'protobufjs/minimal.js';
import { describe, expect, it } from 'vitest';
import { anyRequest, anyResponse, damaged, number, requests, responses } from '../test-fixtures/messages.js';
import { decodeRequest, decodeResponse, encodeRequest, encodeResponse, ProtocolViolation } from './codec.js';
import { EXECUTORS_PER_PAGE, KNIME_USERS_PER_ACCOUNT_MAX, MESSAGE_CHARS_MAX, NAME_CHARS_MAX, PACKET_BYTES_MAX } from './limits.js';
import { pageOf } from './session.js';
import { type ExecutorInfo, ExecutorState, type Request, type Response } from './verbs.js';

const { Writer } = protobuf;

const UINT32_MAX = 0xffff_ffff;
/** A second or two, where nothing else runs. */
const DAMAGED_TIMEOUT_MS = 60_000;
const VARINT = 0;
const BYTES = 2;
const GROUP_START = 3;
const GROUP_END = 4;

// Fields of Request and Response, as in privhelper.proto.
const ID = 1;
const HELLO = 2;
const PREPARE_USER = 3;
const SPAWN_EXECUTOR = 4;
const STOP_EXECUTOR = 5;
const LIST_EXECUTORS = 6;
const EXECUTOR_PAGE = 6;
const ERROR = 7;

type Field = [number: number, value: number | string | Buffer];

const tag = (field: number, wireType: number) => (field << 3) | wireType;

/** A protobuf message of exactly these fields, in this order. */
function message(...fields: Field[]): Buffer {
  const writer = Writer.create();
  for (const [field, value] of fields) {
    if (typeof value === 'number') writer.uint32(tag(field, VARINT)).uint32(value);
    else if (typeof value === 'string') writer.uint32(tag(field, BYTES)).string(value);
    else writer.uint32(tag(field, BYTES)).bytes(value);
  }
  return Buffer.from(writer.finish());
}

const prepareUser = (name: string) => message([ID, 1], [PREPARE_USER, message([1, name])]);

/** Throws unless the bytes are refused as a violation or are what encoding their meaning gives. */
function expectCanonicalOrRefused<T>(bytes: Buffer, decode: (packet: Buffer) => T, encode: (message: T) => Buffer): void {
  let meaning: T;
  try {
    meaning = decode(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(ProtocolViolation);
    return;
  }
  expect(encode(meaning).equals(bytes)).toBe(true);
}

describe('a request', () => {
  it.each(Object.entries(requests))('%s comes back from its packet as it went in', (verb, bodies) => {
    fc.assert(
      fc.property(number, bodies, (id, body) => {
        const request = { id, verb, body } as Request;
        expect(decodeRequest(encodeRequest(request))).toEqual(request);
      }),
    );
  });

  it(
    'comes from no bytes but those it is encoded to',
    () => {
      fc.assert(
        fc.property(damaged(anyRequest.map(encodeRequest)), (bytes) => expectCanonicalOrRefused(bytes, decodeRequest, encodeRequest)),
        { numRuns: 5000 },
      );
    },
    DAMAGED_TIMEOUT_MS,
  );

  it.each([
    ...['a', 'A1', '1a', '_x', '@x', 'a-', 'DOMAIN\\alice', 'alice.b@example.org', 'a'.repeat(NAME_CHARS_MAX)],
    ...['Anna Müller', 'a+b', 'Müller, Anna (extern)', 'R&D', 'Łukasz', '部長', 'מירי', '😀'.repeat(NAME_CHARS_MAX)],
  ])('may carry the name %s', (knimeUser) => {
    expect(decodeRequest(prepareUser(knimeUser)).body).toEqual({ knimeUser });
  });

  it('may carry names that JavaScript has a meaning for: they are text', () => {
    for (const knimeUser of ['__proto__', 'constructor', 'toString']) {
      const { body } = decodeRequest(prepareUser(knimeUser));
      expect(body).toStrictEqual({ knimeUser });
      expect(Object.getPrototypeOf(body)).toBe(Object.prototype);
    }
    const { body } = decodeRequest(message([ID, 1], [SPAWN_EXECUTOR, message([1, '__proto__'], [2, 'constructor'])]));
    expect(body).toStrictEqual({ knimeUser: '__proto__', profile: 'constructor' });
  });
});

describe('a response', () => {
  it.each(Object.entries(responses))('%s comes back from its packet as it went in', (kind, bodies) => {
    fc.assert(
      fc.property(number, bodies, (id, body) => {
        const response = { id, kind, body } as Response;
        expect(decodeResponse(encodeResponse(response))).toEqual(response);
      }),
    );
  });

  it(
    'comes from no bytes but those it is encoded to',
    () => {
      fc.assert(
        fc.property(damaged(anyResponse.map(encodeResponse)), (bytes) => expectCanonicalOrRefused(bytes, decodeResponse, encodeResponse)),
        { numRuns: 5000 },
      );
    },
    DAMAGED_TIMEOUT_MS,
  );

  it('with a full page of the longest entries fits one packet', () => {
    const longest = 'n'.repeat(NAME_CHARS_MAX) as ExecutorInfo['osUser'] & ExecutorInfo['knimeUsers'][number];
    const entry: ExecutorInfo = {
      osUser: longest,
      uid: UINT32_MAX,
      knimeUsers: Array.from({ length: KNIME_USERS_PER_ACCOUNT_MAX }, () => longest),
      state: ExecutorState.exited,
      sinceMs: Number.MAX_SAFE_INTEGER,
      mainPid: UINT32_MAX,
      lastExit: 'x'.repeat(MESSAGE_CHARS_MAX),
      cpuMs: Number.MAX_SAFE_INTEGER,
    };
    const executors = Array.from({ length: EXECUTORS_PER_PAGE }, () => entry);
    const page: Response = { id: UINT32_MAX, kind: 'executorPage', body: { executors, more: true } };
    expect(decodeResponse(encodeResponse(page))).toEqual(page);
  });

  it('with whatever fits a page of executors fits one packet, and the pages have all of them', () => {
    const osUser = 'n'.repeat(NAME_CHARS_MAX) as ExecutorInfo['osUser'];
    const longest = '😀'.repeat(NAME_CHARS_MAX) as ExecutorInfo['knimeUsers'][number];
    const entry: ExecutorInfo = {
      osUser,
      uid: UINT32_MAX,
      knimeUsers: Array.from({ length: KNIME_USERS_PER_ACCOUNT_MAX }, () => longest),
      state: ExecutorState.running,
      sinceMs: Number.MAX_SAFE_INTEGER,
      mainPid: UINT32_MAX,
      lastExit: '€'.repeat(MESSAGE_CHARS_MAX),
      cpuMs: Number.MAX_SAFE_INTEGER,
    };
    const all = Array.from({ length: 2 * EXECUTORS_PER_PAGE + 1 }, () => entry);
    let seen = 0;
    for (let page = 1, more = true; more; page++) {
      const body = pageOf(all, page);
      const executors = body.executors.map((executor) => ({ ...executor, refusal: '€'.repeat(MESSAGE_CHARS_MAX) }));
      const response: Response = { id: UINT32_MAX, kind: 'executorPage', body: { ...body, executors } };
      expect(decodeResponse(encodeResponse(response))).toEqual(response);
      expect(executors.length).toBeGreaterThan(0);
      seen += executors.length;
      more = body.more;
    }
    expect(seen).toBe(all.length);
    expect(pageOf([], 1)).toEqual({ executors: [], more: false });
  });

  it('that does not fit one packet is not encoded', () => {
    const error = (bytes: number): Response => ({ id: 1, kind: 'error', body: { code: 'INTERNAL', message: 'x'.repeat(bytes) } });
    // id, tag and length of the error, code, tag and length of the message
    const overhead = 2 + 4 + 2 + 4;
    expect(encodeResponse(error(PACKET_BYTES_MAX - overhead))).toHaveLength(PACKET_BYTES_MAX);
    expect(() => encodeResponse(error(PACKET_BYTES_MAX - overhead + 1))).toThrow(
      /^a message of 65537 bytes does not fit a packet of 65536$/,
    );
  });
});

describe('decodeRequest refuses', () => {
  const hello = message([1, 1]);
  const good = message([ID, 1], [HELLO, hello]);
  const varint = (field: number, ...bytes: number[]) => Buffer.from([tag(field, VARINT), ...bytes]);

  const malformed: [what: string, packet: Buffer, why: RegExp][] = [
    ['an empty packet', Buffer.alloc(0), /empty/],
    ['an oversized packet', Buffer.concat([good, Buffer.alloc(PACKET_BYTES_MAX)]), /more than 65536 bytes/],
    ['a packet that is just not oversized', Buffer.alloc(PACKET_BYTES_MAX), /not protobuf/],
    ['a truncated packet', good.subarray(0, -1), /not protobuf/],
    ['a length beyond the packet', Buffer.from([...message([ID, 1]), tag(HELLO, BYTES), 100, 1]), /not protobuf/],
    ['trailing bytes', Buffer.concat([good, Buffer.from([0])]), /not protobuf/],
    ['a second packet in the same packet', Buffer.concat([good, good]), /canonical/],
    ['an unknown field', message([ID, 1], [HELLO, hello], [15, 1]), /canonical/],
    ['an unknown field of text', message([ID, 1], [HELLO, hello], [15, '/bin/sh']), /canonical/],
    ['an unknown field inside a verb', message([ID, 1], [PREPARE_USER, message([1, 'alice'], [15, 0])]), /canonical/],
    ['a known field with another wire type', message([ID, '1'], [HELLO, hello]), /canonical/],
    ['a duplicate field', message([ID, 1], [ID, 1], [HELLO, hello]), /canonical/],
    ['a duplicate field inside a verb', message([ID, 1], [PREPARE_USER, message([1, 'root'], [1, 'alice'])]), /canonical/],
    ['the same verb twice', message([ID, 1], [HELLO, hello], [HELLO, hello]), /canonical/],
    ['two verbs', message([ID, 1], [HELLO, hello], [LIST_EXECUTORS, message([1, 1])]), /canonical/],
    ['no verb', message([ID, 1]), /without a verb/],
    ['a verb that does not exist', message([ID, 1], [7, hello]), /canonical/],
    ['a missing id', message([HELLO, hello]), /^id: /],
    ['id 0', message([ID, 0], [HELLO, hello]), /canonical/],
    ['an id of more than 32 bits', Buffer.concat([varint(ID, 0x81, 0x80, 0x80, 0x80, 0x10), message([HELLO, hello])]), /canonical/],
    ['a number with superfluous bytes', Buffer.concat([varint(ID, 0x81, 0x00), message([HELLO, hello])]), /canonical/],
    ['a tag with superfluous bytes', Buffer.concat([Buffer.from([0x88, 0x00, 1]), message([HELLO, hello])]), /canonical/],
    ['a number without an end', Buffer.alloc(64, 0xff), /not protobuf/],
    ['fields out of order', message([HELLO, hello], [ID, 1]), /canonical/],
    ['fields out of order inside a verb', message([ID, 1], [SPAWN_EXECUTOR, message([2, 'default'], [1, 'alice'])]), /canonical/],
    ['a default value written out', message([ID, 1], [STOP_EXECUTOR, message([1, 'alice'], [2, 0])]), /canonical/],
    ['an empty text written out', message([ID, 1], [PREPARE_USER, message([1, ''])]), /canonical/],
    ['text that is not UTF-8', message([ID, 1], [PREPARE_USER, message([1, Buffer.from([0x61, 0xff])])]), /not protobuf/],
    ['half a surrogate pair', message([ID, 1], [PREPARE_USER, message([1, Buffer.from([0xed, 0xa0, 0x80])])]), /not protobuf/],
    ['version 0', message([ID, 1], [HELLO, Buffer.alloc(0)]), /^hello: version/],
    ['a stop without a mode', message([ID, 1], [STOP_EXECUTOR, message([1, 'alice'])]), /^stopExecutor: mode/],
    ['a stop with an unknown mode', message([ID, 1], [STOP_EXECUTOR, message([1, 'alice'], [2, 3])]), /^stopExecutor: mode/],
    ['page 0', message([ID, 1], [LIST_EXECUTORS, Buffer.alloc(0)]), /^listExecutors: page/],
    ['a start without a profile', message([ID, 1], [SPAWN_EXECUTOR, message([1, 'alice'])]), /^spawnExecutor: profile/],
    ['a profile that is a path', message([ID, 1], [SPAWN_EXECUTOR, message([1, 'alice'], [2, '../x'])]), /^spawnExecutor: profile/],
    ['a profile in capitals', message([ID, 1], [SPAWN_EXECUTOR, message([1, 'alice'], [2, 'Big'])]), /^spawnExecutor: profile/],
    [
      'a profile of 33 characters',
      message([ID, 1], [SPAWN_EXECUTOR, message([1, 'alice'], [2, 'p'.repeat(33)])]),
      /^spawnExecutor: profile/,
    ],
    ['a response', encodeResponse({ id: 1, kind: 'error', body: { code: 'INTERNAL', message: '' } }), /canonical/],
  ];

  it.each(malformed)('%s', (_, packet, why) => {
    expect(() => decodeRequest(packet)).toThrow(ProtocolViolation);
    expect(() => decodeRequest(packet)).toThrow(why);
  });

  it('groups nested 10,000 deep without running out of stack', () => {
    const start = Buffer.alloc(10_000, tag(15, GROUP_START));
    const end = Buffer.alloc(10_000, tag(15, GROUP_END));
    for (const packet of [Buffer.concat([good, start]), Buffer.concat([good, start, end])]) {
      expect(() => decodeRequest(packet)).toThrow(
        expect.objectContaining({ name: 'ProtocolViolation', cause: expect.objectContaining({ message: 'max depth exceeded' }) }),
      );
    }
  });

  const badNames: [what: string, name: string][] = [
    ['that starts with -', '-rf'],
    ['that starts with .', '.bashrc'],
    ['that is ..', '..'],
    ['of digits only', '0'],
    ['of many digits only', '1001'],
    ['with a slash', 'alice/bob'],
    ['with a NUL', 'alice\0'],
    ['with a newline at its end', 'alice\n'],
    ['with a newline in the middle', 'alice\nroot'],
    ['with a blank at its end', 'alice '],
    ['with a blank at its beginning', ' alice'],
    ['with two blanks in a row', 'alice  bob'],
    ['with another blank', 'alice\u00a0bob'],
    ['with a quote', "alice'"],
    ['with a typographic quote', 'alice\u2019s'],
    ['with a backslash at its end', 'alice\\'],
    ['with a wildcard', 'a*'],
    ['with an invisible character', 'alice\u200b'],
    ['with a mark of direction', 'alice\u202e'],
    ['with a control character of C1', 'alice\u0085'],
    ['with half a character', 'alice\ufffd'],
    ['with a private character', 'alice\ue000'],
    ['of 65 characters', 'a'.repeat(NAME_CHARS_MAX + 1)],
    ['of 65 characters of four bytes', '😀'.repeat(NAME_CHARS_MAX + 1)],
    ['as long as a packet', 'a'.repeat(PACKET_BYTES_MAX - 64)],
  ];

  it.each(badNames)('a name %s', (_, bad) => {
    const field: Field = [1, bad];
    expect(() => decodeRequest(prepareUser(bad))).toThrow(/^prepareUser: knimeUser expected a name of 1 to 64/);
    expect(() => decodeRequest(message([ID, 1], [SPAWN_EXECUTOR, message(field, [2, 'default'])]))).toThrow(/^spawnExecutor: knimeUser/);
    expect(() => decodeRequest(message([ID, 1], [STOP_EXECUTOR, message(field, [2, 1])]))).toThrow(/^stopExecutor: knimeUser/);
  });

  it('a name that is not in normal form C: it looks like another one', () => {
    expect(() => decodeRequest(prepareUser('Anna Mu\u0308ller'))).toThrow(/^prepareUser: knimeUser expected Unicode in normal form C/);
    expect(() => decodeRequest(prepareUser('\u212aim'))).toThrow(/^prepareUser: knimeUser expected Unicode in normal form C/);
  });

  it('a missing name', () => {
    expect(() => decodeRequest(message([ID, 1], [PREPARE_USER, Buffer.alloc(0)]))).toThrow(/^prepareUser: knimeUser/);
  });
});

describe('decodeResponse refuses', () => {
  const alice = (...rest: Field[]) => message([1, 'alice'], [2, 1000], ...rest);
  const response = (kind: number, body: Buffer) => message([ID, 1], [kind, body]);
  const page = (...executors: Buffer[]) => response(EXECUTOR_PAGE, message(...executors.map((entry): Field => [1, entry])));
  const running: Field[] = [
    [4, 1],
    [5, 1],
  ];

  const malformed: [what: string, packet: Buffer, why: RegExp][] = [
    ['an empty packet', Buffer.alloc(0), /empty/],
    ['no result', message([ID, 1]), /without a result/],
    ['a missing id', message([ERROR, message([1, 1])]), /^id: /],
    ['an unknown field in an entry of a list', page(alice(...running, [15, 1])), /canonical/],
    ['an error without a code', response(ERROR, message([2, 'text'])), /^error: code/],
    ['an error code outside of the catalogue', response(ERROR, message([1, 17])), /^error: code unknown error code/],
    ['a message of 513 characters', response(ERROR, message([1, 1], [2, 'x'.repeat(MESSAGE_CHARS_MAX + 1)])), /^error: message/],
    ['an entry with uid 0', page(message([1, 'root'], ...running)), /^executorPage: executors 0 uid a running executor of uid 0$/],
    ['an entry with an unknown state', page(alice([4, 4], [5, 1])), /^executorPage: executors 0 state/],
    ['an entry with a name that is none', page(message([1, '../alice'], [2, 1000], ...running)), /^executorPage: executors 0 osUser/],
    ['an entry with a KNIME name that is none', page(alice([3, '-x'], ...running)), /^executorPage: executors 0 knimeUsers 0/],
    [
      'an entry with a name too many',
      page(alice(...Array.from({ length: KNIME_USERS_PER_ACCOUNT_MAX + 1 }, (): Field => [3, 'a']), ...running)),
      /^executorPage: executors 0 knimeUsers/,
    ],
    ['an entry too many', page(...Array.from({ length: EXECUTORS_PER_PAGE + 1 }, () => alice(...running))), /^executorPage: executors/],
    [
      'a time of more than 53 bits',
      page(Buffer.concat([alice([4, 1]), Buffer.from([tag(5, VARINT), 0x81, ...Array(6).fill(0x80), 0x10])])),
      /^executorPage: executors 0 sinceMs/,
    ],
    ['a start without an executor', response(4, message([1, 1])), /^executorSpawned: executor/],
    ['a start with an unknown outcome', response(4, message([1, 3], [2, alice(...running)])), /^executorSpawned: outcome/],
    ['a directory of an unknown kind', response(3, alice([3, 'etc'])), /^userPrepared: created 0/],
    [
      'several wrong values, saying each',
      page(message([1, '../alice'], [2, 1000], ...running), alice([4, 4], [5, 1])),
      /^executorPage: executors 0 osUser expected .*; executors 1 state /,
    ],
    ['a request', encodeRequest({ id: 1, verb: 'listExecutors', body: { page: 1 } }), /canonical/],
  ];

  it.each(malformed)('%s', (_, packet, why) => {
    expect(() => decodeResponse(packet)).toThrow(ProtocolViolation);
    expect(() => decodeResponse(packet)).toThrow(why);
  });

  it('more than a log line should say, saying the beginning', () => {
    const packet = page(...Array.from({ length: EXECUTORS_PER_PAGE }, () => message([1, '../alice'], [2, 1000], ...running)));
    expect(() => decodeResponse(packet)).toThrow(
      expect.objectContaining({ message: expect.toSatisfy((text) => text.length === MESSAGE_CHARS_MAX) }),
    );
  });
});
