import { describe, expect, it } from 'vitest';
import { bytes, type Field, MAC, type Properties, propertyBytes, provenProperties, table, text, uint64 } from '../../test-fixtures/wire.js';
import { replayed, type Seal, same } from './headers.js';
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

it('says which bound properties do not fit into', () => {
  const large = of({ headers: table(['large', 'S', Buffer.alloc(ROOM)]) });
  expect(() => same(large, REF, ROOM)).toThrow(CannotTravel);
  expect(() => same(large, REF, ROOM)).toThrow(/RabbitMQ takes 4096 \(frame_max\)/);
});
