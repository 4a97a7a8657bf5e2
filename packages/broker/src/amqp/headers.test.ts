import { describe, expect, it } from 'vitest';
import {
  array,
  bytes,
  type Field,
  MAC,
  type Properties,
  propertyBytes,
  provenProperties,
  table,
  text,
  uint64,
} from '../../test-fixtures/wire.js';
import { carriedUp, replayed, type Seal, same, travelling } from './headers.js';
import { WireProperties } from './wire/properties.js';
import { CannotTravel } from './wire/table.js';

const ROOM = 4_096;
const of = (properties: Properties) => new WireProperties(propertyBytes(properties));
const REF = { 'x-kpx-ref': 1 };
const BODY = Buffer.from('{}');
const SEAL: Seal = (own) => MAC.sealed(own, BODY);
const PROVEN = { 'x-kpx-ref': 1, 'x-kpx-mac': expect.any(String) };
const shown = (composed: Buffer) => new WireProperties(composed).shown();

const SERVERS: Field[] = [
  ['x-delivery-count', 'b', bytes(2)],
  ['x-acquired-count', 'b', bytes(2)],
  ['x-death', 'A', bytes()],
  ['x-first-death-queue', 'S', text('q')],
  ['x-last-death-reason', 'S', text('expired')],
  ['CC', 'A', bytes()],
  ['BCC', 'A', bytes()],
];
const THEIRS: Field[] = [
  ['theirs', 'b', bytes(1)],
  ['x-kpxx', 'b', bytes(2)],
];
const OURS: Field[] = [
  ['x-kpx-hops', 'b', bytes(7)],
  ['x-kpx-reason', 'S', text('USER_DENIED')],
  ['x-kpx-expiration', 'S', text('1')],
  ['x-kpx-properties', 'S', text('AAAA')],
  ['x-kpx-user-id', 'S', text('knime-server')],
  ['canHandle', 't', bytes(1)],
];

describe('the properties of a replayed job', () => {
  it('are without the headers that kpx and RabbitMQ have added, and lose nothing else', () => {
    const headers = table(...OURS, ...SERVERS, ...THEIRS);
    const composed = shown(replayed(of({ headers }), 'canHandle', REF, SEAL, ROOM));
    expect(composed).toEqual({ headers: { theirs: 1, 'x-kpxx': 2, ...PROVEN } });
    const handled = shown(replayed(of({ headers: table(['canHandle', 't', bytes(0)]) }), 'canHandle', REF, SEAL, ROOM));
    expect(handled.headers).toEqual({ canHandle: false, ...PROVEN });
  });

  it('are without a time to live, and name the user of RabbitMQ who has sent it in a header', () => {
    const { headers, ...others } = shown(
      replayed(of({ expiration: '100', type: 't', userId: 'knime-server' }), 'canHandle', REF, SEAL, ROOM),
    );
    expect([others, headers]).toEqual([{ type: 't' }, { 'x-kpx-user-id': 'knime-server', ...PROVEN }]);
  });

  it('keep the name of that user from a dead letter only where a broker has written it', () => {
    const letter = provenProperties({ 'x-kpx-user-id': 'knime-server', 'x-kpx-hops': 7, 'x-kpx-reason': 'USER_DENIED' }, BODY);
    const again = new WireProperties(replayed(letter, 'canHandle', REF, SEAL, ROOM));
    expect(shown(again.bytes).headers).toEqual({ 'x-kpx-user-id': 'knime-server', ...PROVEN });
    expect([MAC.judge(again, BODY), again.own]).toEqual([false, { 'x-kpx-user-id': 'knime-server' }]);
  });
});

it('a dead letter that is put behind the others keeps all but what RabbitMQ has added', () => {
  const headers = table(...OURS, ...SERVERS, ...THEIRS);
  const kept = propertyBytes({ headers: table(...OURS, ...THEIRS, ['x-kpx-ref', 'l', uint64(1n)]), expiration: '5', messageId: 'm' });
  expect(same(of({ headers, expiration: '5', messageId: 'm' }), REF, ROOM)).toEqual(kept);
});

it('the account in whose virtual host a job was published stays with it when it is replayed, where a broker has written it', () => {
  const letter = provenProperties({ 'x-kpx-account': 'alice', 'x-kpx-reason': 'USER_DENIED' }, BODY);
  const again = new WireProperties(replayed(letter, 'canHandle', REF, SEAL, ROOM));
  expect(shown(again.bytes).headers).toEqual({ 'x-kpx-account': 'alice', ...PROVEN });
  expect([MAC.judge(again, BODY), again.own]).toEqual([false, { 'x-kpx-account': 'alice' }]);
  const forged = of({ headers: table(['x-kpx-account', 'S', text('bob')]) });
  expect(shown(replayed(forged, 'canHandle', REF, SEAL, ROOM)).headers).toEqual(PROVEN);
});

describe('the properties of what an account has published', () => {
  it('go to the server without any header that only kpx and RabbitMQ write, and with the name of the account, which is proven', () => {
    const forged: Field = ['x-kpx-account', 'S', text('bob')];
    const headers = table(...SERVERS, forged, ...OURS, ...THEIRS);
    const up = carriedUp(of({ headers, userId: 'kpx.host.alice', type: 't', expiration: '9' }), 'alice', '', REF, SEAL, ROOM);
    const kept = { theirs: 1, 'x-kpxx': 2, canHandle: true };
    expect(shown(up)).toEqual({ type: 't', expiration: '9', headers: { ...kept, 'x-kpx-account': 'alice', ...PROVEN } });
    const properties = new WireProperties(up);
    expect([MAC.judge(properties, BODY), properties.own]).toEqual([false, { 'x-kpx-account': 'alice' }]);
  });

  it('have the expiration that a dead letter had', () => {
    const death: Field = ['x-death', 'A', array(['F', table(['reason', 'S', text('maxlen')], ['original-expiration', 'S', text('9')])])];
    expect(shown(carriedUp(of({ headers: table(death) }), 'alice', '', REF, SEAL, ROOM)).expiration).toBe('9');
  });

  it('are without what a broker has proven of the job that the account was given', () => {
    const given = provenProperties({ 'x-kpx-hops': 7, 'x-kpx-handed-back': 1 }, BODY);
    expect(shown(carriedUp(given, 'alice', '', REF, SEAL, ROOM)).headers).toEqual({ 'x-kpx-account': 'alice', ...PROVEN });
  });

  it('are answered to where that is said, and nowhere else', () => {
    const from = of({ replyTo: 'client-of-bob', correlationId: 'c' });
    const up = (replyTo: string) => shown(carriedUp(from, 'alice', replyTo, REF, SEAL, ROOM));
    expect(up('')).not.toHaveProperty('replyTo');
    expect(up('client-of-alice')).toMatchObject({ replyTo: 'client-of-alice', correlationId: 'c' });
  });
});

it('a job that goes to an account is answered to another queue, and all else stays', () => {
  const job: Properties = { replyTo: 'client', correlationId: 'c', headers: table(...THEIRS), expiration: '60000' };
  const down = travelling(of(job), REF, (own) => own, true, ROOM, 'kpx.reply.Y2xpZW50');
  expect(down).toEqual(propertyBytes({ ...job, replyTo: 'kpx.reply.Y2xpZW50', headers: table(...THEIRS, ['x-kpx-ref', 'l', uint64(1n)]) }));
});

it('says which bound properties do not fit into', () => {
  const large = of({ headers: table(['large', 'S', Buffer.alloc(ROOM)]) });
  expect(() => same(large, REF, ROOM)).toThrow(CannotTravel);
  expect(() => same(large, REF, ROOM)).toThrow(/RabbitMQ takes 4096 \(frame_max\)/);
});
