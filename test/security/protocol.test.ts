import {
  encodeResponse,
  type KnimeUser,
  PACKET_BYTES_MAX,
  PROTOCOL_VERSION,
  type ProfileName,
  REQUESTS_IN_FLIGHT_MAX,
  type Response,
} from '@kpx/protocol';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { BROKER_ACCOUNT, LOW_UID_ACCOUNT } from '../fixtures/accounts.js';
import { eventually } from '../fixtures/eventually.js';
import { HelperConnection } from '../fixtures/helper-connection.js';
import { statusOf } from '../fixtures/process.js';
import { refusal } from '../integration/installed-helper.js';
import { Attacker } from './attacker.js';
import { READ_TO_END, rawSocket, SEND_DESCRIPTORS } from './raw-socket.js';
import { Target } from './target.js';
import { FIELD, type Field, hello, message, request, tag, type Verb, varint, WIRE } from './wire.js';

/*
 * Bytes that no broker sends, and good ones at the wrong time, too often or too fast. What one helper for each connection adds to this, and that
 * PID 1 says who connects: test/integration/helper-program.test.ts, test/system/attacks.test.ts.
 */

/** LimitNOFILE= of the helper's unit. */
const DESCRIPTORS_MAX = 1_024;
const FLOOD = 10_000;
/** What the helper may keep of a flood, in KiB. */
const GROWTH_KIB_MAX = 32 * 1_024;

let target: Target;

beforeAll(async () => {
  target = await Target.start({}, { wrap: ['/usr/bin/prlimit', `--nofile=${DESCRIPTORS_MAX}`, '--'] });
  return () => target.end();
});
afterEach(() => target.canary());

const list = request('listExecutors', [[1, 1]]);
/** One good packet of each verb. */
const GOOD: Readonly<Record<Verb, Buffer>> = {
  hello,
  prepareUser: request('prepareUser', [[1, 'bob']]),
  spawnExecutor: request('spawnExecutor', [
    [1, 'bob'],
    [2, 'default'],
  ]),
  stopExecutor: request('stopExecutor', [
    [1, 'bob'],
    [2, 2],
  ]),
  listExecutors: list,
};

async function expectViolation(packet: Buffer, reason: string, after: 'Hello' | 'nothing' = 'Hello'): Promise<void> {
  const connection = after === 'Hello' ? await target.greeted() : await target.connected();
  connection.send(packet);
  await target.expectViolation(connection, reason);
}

/** All of them are there when the helper reads on: it answers none before it has read the others. */
async function sendAtOnce(connection: HelperConnection, packets: readonly Buffer[]): Promise<void> {
  target.installation.helper?.kill('SIGSTOP');
  for (const packet of packets) connection.send(packet);
  await target.attacker.tries('read', '/dev/null'); // it has sent them
  target.installation.helper?.kill('SIGCONT');
}

const requests = () => target.heard.filter(({ event, verb }) => event === 'request' && verb !== 'hello');

describe('out of order', () => {
  it.each<[Verb]>([['prepareUser'], ['spawnExecutor'], ['stopExecutor'], ['listExecutors']])('%s before Hello', async (verb) => {
    await expectViolation(GOOD[verb], `${verb} out of order`, 'nothing');
    expect(requests()).toEqual([]);
  });

  it.each<[Verb]>([['prepareUser'], ['spawnExecutor'], ['stopExecutor'], ['listExecutors'], ['hello']])(
    '%s before Hello is answered',
    async (verb) => {
      const connection = await target.connected();
      await sendAtOnce(connection, [hello, GOOD[verb]]);
      await target.expectViolation(connection, `${verb} out of order`);
      expect(requests()).toEqual([]);
    },
  );

  it('Hello twice', async () => await expectViolation(hello, 'hello out of order'));

  it('Hello twice, the second of another version', async () => {
    await expectViolation(request('hello', [[1, PROTOCOL_VERSION + 1]]), 'hello out of order');
  });

  it.each([1, PROTOCOL_VERSION - 1, PROTOCOL_VERSION + 1, 0x7fff_ffff, 0xffff_ffff])(
    'Hello of version %i, and what comes with it',
    async (version) => {
      const connection = await target.connected();
      expect(await connection.hello(version)).toEqual(refusal('VERSION_MISMATCH', `the broker version ${version}`));
      connection.send(GOOD.spawnExecutor);
      await connection.closed;
      expect(requests()).toEqual([]);
    },
  );

  const ERROR: Response = { id: 1, kind: 'error', body: { code: 'INTERNAL', message: '' } };
  const NOT_CANONICAL = 'a packet that is not in canonical form';
  const RESPONSES: readonly (readonly [Response, string])[] = [
    // Without a profile its bytes would be those of a Hello; the helper always has one.
    [{ id: 1, kind: 'hello', body: { version: PROTOCOL_VERSION, profiles: ['default' as ProfileName] } }, NOT_CANONICAL],
    // Its bytes are those of a ListExecutors without a page.
    [{ id: 1, kind: 'executorPage', body: { executors: [], more: true } }, 'listExecutors: page'],
    [ERROR, NOT_CANONICAL],
  ];
  const cases = RESPONSES.map(([response, reason]) => [response.kind, encodeResponse(response), reason] as const);
  it.each(cases)('the response %s as the first request', async (_kind, packet, reason) => {
    await expectViolation(packet, reason, 'nothing');
  });
  it.each(cases)('the response %s as a request', async (_kind, packet, reason) => {
    await expectViolation(packet, reason);
  });
});

describe('cut off', () => {
  const cuts = Object.entries(GOOD).flatMap(([verb, packet]) =>
    Array.from({ length: packet.length - 1 }, (_, index) => [verb as Verb, index + 1, packet.length] as const),
  );

  it.each(cuts)('%s after %i of %i bytes', async (verb, length) => {
    await expectViolation(GOOD[verb].subarray(0, length), '', verb === 'hello' ? 'nothing' : 'Hello');
    expect(requests()).toEqual([]);
  });
});

describe('a packet', () => {
  const bob: Field = [1, 'bob'];
  const profile: Field = [2, 'default'];
  const id: Field = [FIELD.id, 100];
  const prepare = (...fields: Field[]) => message(id, [FIELD.prepareUser, message(...fields)]);
  const spawn = (...fields: Field[]) => message(id, [FIELD.spawnExecutor, message(...fields)]);
  const stop = (...fields: Field[]) => message(id, [FIELD.stopExecutor, message(...fields)]);
  const withId = (...bytes: number[]) => Buffer.concat([tag(FIELD.id, WIRE.varint), Buffer.from(bytes), list.subarray(2)]);
  const withTag = (...bytes: number[]) => Buffer.concat([Buffer.from(bytes), list.subarray(1)]);
  /** Each in the other. */
  const nested = (depth: number) => {
    let inner = message(bob);
    while (depth-- > 0) inner = message([FIELD.prepareUser, inner]);
    return inner;
  };
  const CANONICAL = 'a packet that is not in canonical form';
  const PROTOBUF = 'a packet that is not protobuf';

  it.each<[what: string, packet: Buffer, reason: string]>([
    ['of one zero byte', Buffer.from([0]), PROTOBUF],
    ['of text', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'a packet that is not'],
    ['of JSON', Buffer.from('{"id":1,"verb":"spawnExecutor","body":{"knimeUser":"root"}}'), 'a packet that is not'],
    ['that is an ELF file', Buffer.from('\x7fELF\x02\x01\x01', 'latin1'), 'a packet that is not'],
    ['with a byte after its end', Buffer.concat([list, Buffer.from([0])]), PROTOBUF],
    ['with a field after its end', Buffer.concat([list, message([9, 1])]), CANONICAL],
    ['with another packet after its end', Buffer.concat([list, list]), CANONICAL],
    ['with another verb after its end', Buffer.concat([list, GOOD.spawnExecutor.subarray(2)]), CANONICAL],
    ['with two verbs, the last one harmless', Buffer.concat([GOOD.spawnExecutor, list.subarray(2)]), CANONICAL],
    ['with a verb twice', Buffer.concat([GOOD.prepareUser, GOOD.prepareUser.subarray(2)]), CANONICAL],
    ['with a name twice, the last one eligible', prepare([1, 'root'], bob), CANONICAL],
    ['with a name twice, the first one eligible', prepare(bob, [1, 'root']), CANONICAL],
    ['with a profile twice', spawn(bob, [2, 'large'], profile), CANONICAL],
    ['with a mode twice', stop(bob, [2, 1], [2, 2]), CANONICAL],
    ['with its id twice', Buffer.concat([message(id), list]), CANONICAL],
    ['with its id at its end', Buffer.concat([list.subarray(2), message(id)]), CANONICAL],
    ['with its fields in another order', spawn(profile, bob), CANONICAL],
    ['with a path', prepare(bob, [2, '/etc']), CANONICAL],
    ['with a uid', prepare(bob, [3, 0]), CANONICAL],
    ['with a command', spawn(bob, profile, [3, '/bin/sh']), CANONICAL],
    ['with an environment', spawn(bob, profile, [4, 'LD_PRELOAD=/tmp/x.so']), CANONICAL],
    ['with a signal', stop(bob, [2, 2], [3, 9]), CANONICAL],
    ['with the field of highest number', prepare(bob, [0x1fff_ffff, 1]), CANONICAL],
    ['with field 0', Buffer.concat([list, Buffer.from([0x02, 0x00])]), PROTOBUF],
    ['with a verb that does not exist', message(id, [7, message(bob)]), CANONICAL],
    ['without a verb', message(id), 'a request without a verb'],
    ['with a number for a verb', message(id, [FIELD.prepareUser, 1]), CANONICAL],
    ['with a number for a name', prepare([1, 1_000]), CANONICAL],
    ['with text for an id', Buffer.concat([message([FIELD.id, '1']), list.subarray(2)]), CANONICAL],
    ['with text for a page', message(id, [FIELD.listExecutors, message([1, '1'])]), CANONICAL],
    ['with text for a mode', stop(bob, [2, '2']), CANONICAL],
    ['with 64 bits for an id', Buffer.concat([tag(FIELD.id, WIRE.fixed64), Buffer.alloc(8, 1), list.subarray(2)]), CANONICAL],
    ['with 32 bits for an id', Buffer.concat([tag(FIELD.id, WIRE.fixed32), Buffer.alloc(4, 1), list.subarray(2)]), CANONICAL],
    ['with wire type 6', Buffer.concat([Buffer.from([0x0e]), list]), PROTOBUF],
    ['with wire type 7', Buffer.concat([Buffer.from([0x0f]), list]), PROTOBUF],
    ['with a group for a verb', Buffer.concat([message(id), tag(3, WIRE.groupStart), message(bob), tag(3, WIRE.groupEnd)]), CANONICAL],
    ['with a group without an end', Buffer.concat([list, tag(15, WIRE.groupStart)]), PROTOBUF],
    ['with the end of a group that has not begun', Buffer.concat([list, tag(15, WIRE.groupEnd)]), PROTOBUF],
    [
      'with groups nested 30,000 deep',
      Buffer.concat([list, Buffer.alloc(30_000, tag(15, WIRE.groupStart)), Buffer.alloc(30_000, tag(15, WIRE.groupEnd))]),
      PROTOBUF,
    ],
    ['with 60,000 groups that have no end', Buffer.concat([list, Buffer.alloc(60_000, tag(15, WIRE.groupStart))]), PROTOBUF],
    ['with a verb nested 10,000 deep', message(id, [FIELD.prepareUser, nested(10_000)]), 'a packet that is not'],
    ['with 20,000 empty fields', Buffer.concat([list, ...Array<Buffer>(20_000).fill(message([15, '']))]), CANONICAL],
    ['with 12,000 names', prepare(...Array<Field>(12_000).fill(bob)), CANONICAL],
    ['with a length beyond its end', Buffer.concat([message(id), tag(FIELD.prepareUser, WIRE.bytes), varint(100)]), PROTOBUF],
    ['with a length of 2^31', Buffer.concat([message(id), tag(3, WIRE.bytes), varint(2 ** 31)]), PROTOBUF],
    ['with a length of 2^32 - 1', Buffer.concat([message(id), tag(3, WIRE.bytes), varint(2 ** 32 - 1)]), PROTOBUF],
    [
      'with a length of 2^32, which is 0 in 32 bits',
      Buffer.concat([message(id), tag(3, WIRE.bytes), varint(2n ** 32n)]),
      'a packet that is not',
    ],
    ['with a length of 2^64 - 1', Buffer.concat([message(id), tag(3, WIRE.bytes), varint(-1)]), PROTOBUF],
    [
      'with a length that wraps to the packet’s beginning',
      Buffer.concat([message(id), tag(3, WIRE.bytes), varint(2n ** 32n - 4n)]),
      PROTOBUF,
    ],
    ['with a name longer than its verb', message(id, [3, Buffer.concat([tag(1, WIRE.bytes), varint(9), Buffer.from('bob')])]), PROTOBUF],
    ['with id 0', withId(0), CANONICAL],
    ['without an id', list.subarray(2), 'id: '],
    ['with id -1', withId(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01), CANONICAL],
    ['with id -2^31', withId(0x80, 0x80, 0x80, 0x80, 0xf8, 0xff, 0xff, 0xff, 0xff, 0x01), CANONICAL],
    ['with id 2^32', withId(0x80, 0x80, 0x80, 0x80, 0x10), CANONICAL],
    ['with id 2^32 + 1, which is 1 in 32 bits', withId(0x81, 0x80, 0x80, 0x80, 0x10), CANONICAL],
    ['with id 2^53', withId(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10), CANONICAL],
    ['with id 2^63', withId(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01), CANONICAL],
    ['with id 1 in two bytes', withId(0x81, 0x00), CANONICAL],
    ['with id 1 in five bytes', withId(0x81, 0x80, 0x80, 0x80, 0x00), CANONICAL],
    ['with id 1 in ten bytes', withId(0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00), CANONICAL],
    ['with an id of eleven bytes', withId(...Array<number>(10).fill(0x80), 0x01), PROTOBUF],
    ['with an id that has no end', Buffer.concat([tag(FIELD.id, WIRE.varint), Buffer.alloc(1_000, 0xff)]), PROTOBUF],
    ['with a field’s number in two bytes', withTag(0x88, 0x00), CANONICAL],
    ['with a field’s number in five bytes', withTag(0x88, 0x80, 0x80, 0x80, 0x00), CANONICAL],
    [
      'with a length in two bytes',
      message(id, [3, Buffer.concat([tag(1, WIRE.bytes), Buffer.from([0x83, 0x00]), Buffer.from('bob')])]),
      CANONICAL,
    ],
    ['with page 0 written out', message(id, [FIELD.listExecutors, message([1, 0])]), CANONICAL],
    ['without a page', message(id, [FIELD.listExecutors, Buffer.alloc(0)]), 'listExecutors: page'],
    ['with page -1', message(id, [FIELD.listExecutors, message([1, -1])]), CANONICAL],
    ['with page 2^32 + 1', message(id, [FIELD.listExecutors, message([1, 2n ** 32n + 1n])]), CANONICAL],
    ['to prepare nobody', prepare(), 'prepareUser: knimeUser'],
    ['to prepare a name of no letters, written out', prepare([1, '']), CANONICAL],
    ['to start nobody', spawn(profile), 'spawnExecutor: knimeUser'],
    ['to start without a profile', spawn(bob), 'spawnExecutor: profile'],
    ['to stop nobody', stop([2, 1]), 'stopExecutor: knimeUser'],
    ['to stop without a mode', stop(bob), 'stopExecutor: mode'],
    ['to stop with mode 0, written out', stop(bob, [2, 0]), CANONICAL],
    ['to stop with mode 3', stop(bob, [2, 3]), 'stopExecutor: mode'],
    ['to stop with mode 9, which is SIGKILL', stop(bob, [2, 9]), 'stopExecutor: mode'],
    ['to stop with mode -1', stop(bob, [2, -1]), 'stopExecutor: mode'],
    ['to stop with mode 2^32 + 1', stop(bob, [2, 2n ** 32n + 1n]), CANONICAL],
    ['to stop with mode 2^31', stop(bob, [2, 2n ** 31n]), 'a packet that is not'],
    ['as large as it may be, of zeros', Buffer.alloc(PACKET_BYTES_MAX), PROTOBUF],
    ['as large as it may be, of ones', Buffer.alloc(PACKET_BYTES_MAX, 0xff), PROTOBUF],
    ['as large as it may be, with a name', prepare([1, 'b'.repeat(PACKET_BYTES_MAX - 10)]), 'prepareUser: knimeUser'],
  ])('%s', async (_what, packet, reason) => {
    expect(packet.length).toBeLessThanOrEqual(PACKET_BYTES_MAX);
    await expectViolation(packet, reason);
    expect(requests()).toEqual([]);
  });

  it.each([PACKET_BYTES_MAX + 1, 2 * PACKET_BYTES_MAX, 200 * 1_024])('of %i bytes: too many', async (bytes) => {
    const connection = await target.greeted();
    connection.send(Buffer.concat([list, Buffer.alloc(bytes - list.length)]));
    await connection.closed;
    expect(await target.audited({ event: 'disconnected' })).toMatchObject({ reason: expect.stringContaining('more than 65536 bytes') });
    expect(requests()).toEqual([]);
  });
});

describe('ids', () => {
  it('of two requests in flight may not be the same', async () => {
    const connection = await target.greeted();
    const packets = ['alice', 'bob'].map((name) => request('prepareUser', [[1, name]], 7));
    await sendAtOnce(connection, packets);
    await target.expectViolation(connection, 'prepareUser with the id of a request in flight');
  });

  it('may not be that of a start that is under way: there is no taking its place', async () => {
    const connection = await target.greeted();
    await sendAtOnce(connection, [request('prepareUser', [[1, 'root']], 7), request('listExecutors', [[1, 1]], 7)]);
    await target.expectViolation(connection, 'listExecutors with the id of a request in flight');
  });

  it('that have been answered may come again, and mean a new request', async () => {
    const connection = await target.greeted();
    for (let round = 0; round < 3; round++) {
      expect(await connection.ask('prepareUser', { knimeUser: 'root' as KnimeUser }, 7)).toEqual(refusal('ACCOUNT_DENIED', 'root'));
    }
    expect(requests()).toHaveLength(3);
  });

  it.each([1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff])('as large as %i are nothing special', async (id) => {
    const connection = await target.greeted();
    expect(await connection.ask('listExecutors', { page: 0xffff_ffff }, id)).toMatchObject({ id, body: { executors: [], more: false } });
  });
});

describe('too much', () => {
  const residentKib = () => Number.parseInt(statusOf(target.pid)?.VmRSS ?? '', 10);
  const prepareRoot = request('prepareUser', [[1, 'root']]);
  const nonsense = Buffer.alloc(PACKET_BYTES_MAX, 0xff);

  it('one request more in flight than Hello allows', async () => {
    const connection = await target.greeted();
    const packets = Array.from({ length: REQUESTS_IN_FLIGHT_MAX + 1 }, (_, index) => request('prepareUser', [[1, 'alice']], 100 + index));
    await sendAtOnce(connection, packets);
    await target.expectViolation(connection, `more than ${REQUESTS_IN_FLIGHT_MAX} requests in flight`);
  });

  it.each<[what: string, packet: Buffer, count: number]>([
    ['10,000 requests', list, 10_000],
    ['10,000 requests that take a while', prepareRoot, 10_000],
    ['10,000 starts', GOOD.spawnExecutor.subarray(0, -2), 10_000],
    ['10,000 Hellos', hello, 10_000],
    ['10,000 packets of one byte', Buffer.from([0]), 10_000],
    ['1,000 packets of 64 KiB', nonsense, 1_000],
    ['1,000 packets of more', Buffer.concat([nonsense, nonsense]), 1_000],
  ])('%s in one go: the connection is closed, and nothing is kept', async (_what, packet, count) => {
    const before = residentKib();
    const { value: answers } = await target.attacker.tries('flood', target.installation.socket, hello, packet, count);
    expect(answers).toBeLessThanOrEqual(REQUESTS_IN_FLIGHT_MAX);
    await target.audited({ event: 'disconnected' });
    expect(target.heard.length).toBeLessThan(REQUESTS_IN_FLIGHT_MAX + 10);
    expect(residentKib() - before).toBeLessThan(GROWTH_KIB_MAX);
  });

  it('10,000 requests by one who keeps to what Hello allows: each is answered, and nothing is kept', async () => {
    const before = residentKib();
    const connection = await target.greeted();
    for (let sent = 0; sent < FLOOD; sent += REQUESTS_IN_FLIGHT_MAX) {
      const answers = await Promise.all(Array.from({ length: REQUESTS_IN_FLIGHT_MAX }, () => connection.list()));
      expect(answers.every(({ kind }) => kind === 'executorPage')).toBe(true);
    }
    expect(residentKib() - before).toBeLessThan(GROWTH_KIB_MAX);
  });

  it('one who asks and never reads: cut off when the kernel and the helper have kept as much as they will', async () => {
    const before = residentKib();
    const { value: connection } = await target.attacker.tries('connect', target.installation.socket, true);
    await target.attacker.tries('send', connection, hello);
    const answered = () => target.heard.filter(({ event }) => event === 'request').length;
    const cutOff = () => target.heard.some(({ event }) => event === 'disconnected');
    for (let sent = 0; !cutOff(); sent += REQUESTS_IN_FLIGHT_MAX) {
      expect(sent).toBeLessThan(FLOOD);
      await eventually('what was sent is answered', () => answered() === sent + 1 || cutOff());
      for (let id = 1; id <= REQUESTS_IN_FLIGHT_MAX; id++)
        await target.attacker.tries('send', connection, request('listExecutors', [[1, 1]], id));
    }
    await target.attacker.tries('close', connection);
    expect(await target.audited({ event: 'disconnected' })).toMatchObject({ reason: 'the peer does not read' });
    expect(residentKib() - before).toBeLessThan(GROWTH_KIB_MAX);
  });

  it('5,000 connections at once, more than the helper may have descriptors: turned away, and its connection goes on', async () => {
    const served = [];
    for (let count = 1; count <= 16; count++) served.push(await target.greeted()); // as many as it serves
    const { value: connected } = await target.attacker.tries('crowd', target.installation.socket, 5_000);
    expect(connected).toBeGreaterThan(100);
    const turnedAway = () => target.heard.filter(({ event }) => event === 'refused connection').length;
    await eventually('all are turned away', () => turnedAway() === connected);
    for (const connection of served) expect(await connection.list()).toMatchObject({ kind: 'executorPage' });
  });

  it('300 connections one after the other', async () => {
    for (let count = 0; count < 300; count++) {
      const connection = await target.connected();
      connection.close();
      await target.installation.helperLog.line({ event: 'disconnected' }, { from: target.installation.helperLog.lines.length - 1 });
    }
  });
});

describe('a socket', () => {
  const perl = async (program: string, packet = list, ...args: string[]) =>
    await rawSocket(target.attacker, target.installation.socket, program, packet, ...args);

  it('that sends an empty packet, where there is none in the protocol, is closed', async () => {
    expect(await perl(`send($s, '', 0); ${READ_TO_END}`)).toMatchObject({ value: 'end\n' });
  });

  it('that sends 1,000 empty packets is closed', async () => {
    expect(await perl(`local $SIG{PIPE} = 'IGNORE'; send($s, '', 0) for 1..1000; ${READ_TO_END}`)).toMatchObject({ value: 'end\n' });
  });

  it('that sends out of band does not get to', async () => {
    const { value } = await perl(`defined(send($s, pack('H*', $ARGV[2]), MSG_OOB)) ? print 'sent' : print $!{EOPNOTSUPP} ? 'refused' : $!`);
    expect(value).toBe('refused');
  });

  it.each([1, 100, 253])('that passes %i descriptors along with a request: the helper keeps none', async (count) => {
    const answered = `recv($s, my $answer, 65536, 0); print length $answer ? 'answered' : 'closed';`;
    for (let round = 0; round < 5; round++)
      expect(await perl(SEND_DESCRIPTORS + answered, list, `${count}`)).toMatchObject({ value: 'answered' });
  });

  it('that is half closed is closed', async () => {
    expect(await perl(`shutdown($s, 1); ${READ_TO_END}`)).toMatchObject({ value: 'end\n' });
  });

  it('that is half closed while a request is under way: the request is finished and audited', async () => {
    await perl(`send($s, pack('H*', $ARGV[2]), 0); shutdown($s, 1); ${READ_TO_END}`, GOOD.prepareUser);
    expect(await target.audited({ event: 'request', verb: 'prepareUser' })).toMatchObject({ os_user: 'bob', decision: 'done' });
  });

  it.each(['SOCK_STREAM', 'SOCK_DGRAM'])('of type %s does not connect', async (type) => {
    const program = `socket(my $s, AF_UNIX, ${type}, 0); print connect($s, sockaddr_un($ARGV[0])) ? 'connected' : $!{EPROTOTYPE} ? 'refused' : $!`;
    expect(await target.attacker.tries('perl', program, target.installation.socket)).toMatchObject({ value: 'refused' });
  });
});

describe('a peer that is killed', () => {
  it.each<[when: string, finished: number, use: (attacker: Attacker) => Promise<unknown>]>([
    ['when it has connected', 0, async (attacker) => await HelperConnection.open(target.installation.socket, attacker.connect)],
    ['when it has said Hello', 0, async (attacker) => await HelperConnection.greeted(target.installation.socket, attacker.connect)],
    [
      'with as many requests under way as there may be',
      REQUESTS_IN_FLIGHT_MAX,
      async (attacker) => {
        const connection = await HelperConnection.greeted(target.installation.socket, attacker.connect);
        for (let id = 100; id < 100 + REQUESTS_IN_FLIGHT_MAX; id++) connection.send(request('prepareUser', [[1, 'bob']], id));
        await attacker.tries('read', '/dev/null'); // it has sent them
      },
    ],
    [
      'in the middle of what it sends',
      0,
      async (attacker) => {
        target.installation.helper?.kill('SIGSTOP');
        const connection = await HelperConnection.open(target.installation.socket, attacker.connect);
        for (const packet of [hello, GOOD.prepareUser.subarray(0, 5)]) connection.send(packet);
        await attacker.tries('read', '/dev/null');
      },
    ],
  ])('%s: what it has asked for is finished', async (_when, finished, use) => {
    const attacker = await Attacker.as(BROKER_ACCOUNT);
    await use(attacker);
    await attacker.end('SIGKILL');
    target.installation.helper?.kill('SIGCONT');
    await target.audited({ event: 'disconnected' });
    await eventually('what was asked for is finished', () => requests().length === finished);
  });
});

describe('the socket', () => {
  it.each(['alice', 'bob', 'mallory', LOW_UID_ACCOUNT, 'nobody', 'daemon', 'rabbitmq'])(
    'lets nobody in but the broker: %s',
    async (account) => {
      const stranger = await Attacker.as(account);
      expect(await stranger.tries('knock', target.installation.socket)).toMatchObject({ value: 'EACCES' });
      await stranger.end();
      expect(target.heard).toEqual([]);
    },
  );
});
