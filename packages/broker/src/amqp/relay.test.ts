import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { bytes, MAC, type Properties, table, text, wireMessageOf } from '../../test-fixtures/wire.js';
import type { Config } from '../config/config.js';
import { ConfirmWatch } from './confirm-watch.js';
import { CONFIRM_TIMEOUT_MS } from './deadline.js';
import type { Elsewhere } from './destination.js';
import { tooLarge } from './jobs.js';
import type { Publisher } from './publisher.js';
import { PUT_BACK_AFTER_MS, Relay } from './relay.js';
import type { Source } from './relay-observer.js';
import { SlowStart } from './slow-start.js';
import { Suspects } from './suspects.js';
import type { WireMessage } from './wire/amqplib.js';
import type { Address } from './wire/frames.js';
import { WireProperties } from './wire/properties.js';

const CONFIG = {
  amqp: { queue: 'knime-jobs', exchange: 'jobs', routing_key: 'new-work' },
  jobs: { can_handle_header: 'canHandle' },
} as Config;

const SENDER = { config: CONFIG, host: 'host1', mac: () => MAC };

interface Published extends Address {
  readonly content: Buffer;
  readonly properties: WireProperties;
  readonly confirmed: (error: unknown) => void;
}

/** Stands in for a confirm channel, because a real one cannot be made to confirm in every order. */
class RecordingChannel implements Source, Publisher {
  readonly propertiesBytesMax = 4_096;
  readonly published: Published[] = [];
  readonly acked: WireMessage[] = [];
  readonly requeued: WireMessage[] = [];
  #returned: (properties: WireProperties) => void = () => {};

  publish(to: Address, properties: Buffer, content: Buffer, confirmed: (error: unknown) => void): void {
    this.published.push({ ...to, properties: new WireProperties(properties), content, confirmed });
  }
  ack(message: WireMessage): void {
    this.acked.push(message);
  }
  putBack(message: WireMessage): void {
    this.requeued.push(message);
  }
  onReturn(listener: (properties: WireProperties) => void): void {
    this.#returned = listener;
  }
  /** As RabbitMQ does: first the return, then the confirm. */
  confirm({ properties, confirmed }: Published, how: 'taken' | 'unroutable' | 'refused'): void {
    if (how === 'unroutable') this.#returned(properties);
    confirmed(how === 'refused' ? new Error('nacked') : null);
    vi.runAllTicks();
    vi.advanceTimersByTime(0);
  }
}

const delivery = (body: string, properties: Properties = {}) => wireMessageOf(body, properties);
const headersOf = ({ properties }: Published) => properties.shown().headers as Record<string, unknown>;

const ID = '0123456789-1';
let channel: RecordingChannel;
let relay: Relay;
let suspects: Suspects;
let problems: string[];
let left: string[];
let parked: string[];

const newRelay = (elsewhere?: Elsewhere) =>
  new Relay(
    channel,
    channel,
    SENDER,
    suspects,
    {
      named: (properties) => {
        properties.own = { ...properties.own, 'x-kpx-id': ID };
      },
      problem: (_, why) => problems.push(why),
      left: (_, outcome, why) => {
        left.push(why ? `${outcome} ${why.reason}` : outcome);
        if (!why) return;
        const { reason, detail, ...facts } = why;
        parked.push([reason, detail, ...Object.values(facts)].join(' '));
      },
    },
    elsewhere,
  );

beforeEach(() => {
  vi.useFakeTimers();
  channel = new RecordingChannel();
  problems = [];
  suspects = new Suspects();
  left = [];
  parked = [];
  relay = newRelay();
});
afterEach(() => {
  vi.useRealTimers();
});
const last = () => channel.published.at(-1) as Published;

describe('a relay whose jobs go to another server', () => {
  const amqp = { queue: 'theirs', exchange: 'there', routing_key: 'key' } as Config['amqp'];

  it('forwards there, and has jobs wait and parked where they come from', () => {
    const there = new RecordingChannel();
    const jobs = [delivery('forwarded'), delivery('deferred'), delivery('parked')] as const;
    relay = newRelay({ publisher: there, amqp });
    relay.forward(jobs[0], 0);
    relay.defer(jobs[1], 0, 2_000);
    relay.park(jobs[2], 'R', '');
    expect(there.published).toMatchObject([{ exchange: 'there', routingKey: 'key' }]);
    expect(channel.published.map(({ routingKey }) => routingKey)).toEqual(['kpx.delay.knime-jobs.2000ms', 'kpx.dead-letter']);
    // Both servers count for themselves: what one confirms says nothing of the other's.
    there.confirm(there.published[0] as Published, 'taken');
    expect(channel.acked).toEqual([jobs[0]]);
    for (const copy of channel.published) channel.confirm(copy, 'taken');
    expect(channel.acked).toEqual(jobs);
  });

  it('has a job wait where it comes from that the other server does not route', () => {
    const there = new RecordingChannel();
    relay = newRelay({ publisher: there, amqp });
    relay.forward(delivery('{}'), 0);
    there.confirm(there.published[0] as Published, 'unroutable');
    expect(channel.acked).toEqual([]);
    expect(last().routingKey).toBe('kpx.delay.knime-jobs.10000ms');
  });
});

describe('moving a delivery', () => {
  it('acknowledges only after RabbitMQ has confirmed the copy', () => {
    const message = delivery('{}');
    relay.forward(message, 0);
    expect(channel.acked).toEqual([]);
    channel.confirm(last(), 'taken');
    expect(channel.acked).toEqual([message]);
  });

  it('forwards body and properties as they came, with the header that lets an executor take it', () => {
    const properties = {
      contentType: 'application/json',
      messageId: 'j1',
      priority: bytes(3),
      expiration: '60000',
      deliveryMode: bytes(2),
      headers: table(['a', 'd', bytes(0x40, 0, 0, 0, 0, 0, 0, 0)]),
    };
    relay.forward(delivery('{"user":"alice"}', properties), 2);
    expect(last()).toMatchObject({ exchange: 'jobs', routingKey: 'new-work', content: Buffer.from('{"user":"alice"}') });
    const { headers, ...others } = last().properties.shown();
    expect(others).toEqual({ contentType: 'application/json', messageId: 'j1', priority: 3, expiration: '60000', deliveryMode: 2 });
    expect(headers).toMatchObject({ a: 2, canHandle: true, 'x-kpx-hops': 3 });
    expect(last().properties.bytes.includes(properties.headers)).toBe(true);
  });

  it('keeps a time to live from working in the delay queue and gives it back on the way out', () => {
    relay.defer(delivery('{}', { expiration: '500' }), 0, 2_000);
    expect(last().routingKey).toBe('kpx.delay.knime-jobs.2000ms');
    expect(last().properties.text('expiration')).toBeUndefined();
    MAC.judge(last().properties, Buffer.from('{}'));
    relay.forward({ ...delivery('{}'), properties: last().properties }, 1);
    expect(last().properties.text('expiration')).toBe('500');
    expect(headersOf(last())['x-kpx-expiration']).toBeUndefined();
  });

  it('leaves out every header in its own name that no broker has written', () => {
    const forged = table(['x-kpx-expiration', 'S', text('1')], ['x-kpx-user-id', 'S', text('root')], ['x-kpx-other', 'b', bytes(1)]);
    const proven = ['canHandle', 'x-kpx-hops', 'x-kpx-mac', 'x-kpx-ref', 'x-kpx-seen-at'];
    relay.forward(delivery('{}', { headers: forged }), 0);
    expect(last().properties.text('expiration')).toBeUndefined();
    expect(Object.keys(headersOf(last())).sort()).toEqual(proven);
    relay.defer(delivery('{}', { headers: forged }), 0, 2_000);
    expect(Object.keys(headersOf(last())).sort()).toEqual(proven);
    relay.park(delivery('{}', { headers: forged }), 'USER_DENIED', 'd');
    expect(headersOf(last())).not.toHaveProperty('x-kpx-user-id');
  });

  it('proves what it writes to whoever has the key', () => {
    for (const send of [() => relay.forward(delivery('{}'), 4), () => relay.defer(delivery('{}'), 4, 2_000)]) {
      send();
      const { properties } = last();
      expect(MAC.judge(properties, Buffer.from('{}'))).toBe(false);
      expect(properties.own).toMatchObject({ 'x-kpx-hops': 5 });
    }
  });

  it('leaves out what RabbitMQ would act on: the user id of another, copies, death notices, counts of deliveries', () => {
    const theirs = table(
      ['CC', 'A', bytes()],
      ['x-death', 'A', bytes()],
      ['x-first-death-queue', 'S', text('q')],
      ['x-delivery-count', 'I', bytes(0, 0, 0, 3)],
      ['kept', 't', bytes(1)],
    );
    relay.forward(delivery('{}', { userId: 'knime-server', headers: theirs }), 0);
    expect(last().properties.text('userId')).toBeUndefined();
    expect(Object.keys(headersOf(last())).sort()).toEqual([
      'canHandle',
      'kept',
      'x-kpx-hops',
      'x-kpx-mac',
      'x-kpx-ref',
      'x-kpx-seen-at',
      'x-kpx-user-id',
    ]);
  });

  it('parks with reason, detail, host and time', () => {
    relay.park(delivery('{'), 'BODY_NOT_JSON', 'no JSON');
    expect(last().routingKey).toBe('kpx.dead-letter');
    expect(headersOf(last())).toMatchObject({ 'x-kpx-reason': 'BODY_NOT_JSON', 'x-kpx-detail': 'no JSON', 'x-kpx-host': 'host1' });
  });
});

describe('properties that cannot travel', () => {
  const large = table(['large', 'S', Buffer.alloc(4_060, 'x')]);

  it('are kept in base64, as much as there is room for, with a job that is parked for them', () => {
    const message = delivery('{"user":"alice"}', { headers: large, messageId: 'm' });
    relay.forward(message, 0);
    const letter = last();
    expect([letter.routingKey, letter.content]).toEqual(['kpx.dead-letter', message.content]);
    expect(headersOf(letter)).toMatchObject({
      'x-kpx-reason': 'HEADERS_UNUSABLE',
      'x-kpx-detail': expect.stringMatching(
        /^with kpx's own headers the properties have 4\d+ bytes, and RabbitMQ takes 4096 \(frame_max\)$/,
      ),
    });
    const kept = Buffer.from(String(headersOf(letter)['x-kpx-properties']), 'base64');
    expect(message.properties.bytes.subarray(0, kept.length)).toEqual(kept);
    expect(kept.length).toBeGreaterThan(2_000);
    expect(letter.properties.bytes.length).toBeLessThanOrEqual(channel.propertiesBytesMax);
    channel.confirm(letter, 'taken');
    expect(parked).toEqual([expect.stringMatching(/^HEADERS_UNUSABLE with kpx's own headers/)]);
    expect([channel.acked, left]).toEqual([[message], ['parked HEADERS_UNUSABLE']]);
  });

  it('leave the reason of a job as it is that is parked for another one', () => {
    relay.park(delivery('{', { headers: large }), 'BODY_NOT_JSON', 'no JSON');
    expect(headersOf(last())).toMatchObject({
      'x-kpx-reason': 'BODY_NOT_JSON',
      'x-kpx-detail': expect.stringMatching(/^no JSON \(without its properties: /),
    });
  });

  it('are those of a table that cannot be read, too, whatever is to be done with the job', () => {
    const unreadable = { headers: bytes(1, 0x61, 0x3f) };
    relay.forward(delivery('{}', unreadable), 0);
    relay.defer(delivery('{}', unreadable), 0, 2_000);
    relay.park(delivery('{}', unreadable), 'HEADERS_UNUSABLE', 'detail');
    expect(channel.published.map((copy) => [copy.routingKey, headersOf(copy)['x-kpx-reason']])).toEqual(
      Array.from({ length: 3 }, () => ['kpx.dead-letter', 'HEADERS_UNUSABLE']),
    );
  });
});

it('tells where a delivery has gone once it is there, and no sooner', () => {
  relay.forward(delivery('{}'), 0);
  relay.defer(delivery('{}'), 0, 2_000);
  relay.park(delivery('{'), 'BODY_NOT_JSON', 'no JSON');
  expect(left).toEqual([]);
  for (const copy of [...channel.published]) channel.confirm(copy, 'taken');
  expect(left).toEqual(['forwarded', 'deferred', 'parked BODY_NOT_JSON']);
  relay.forward(delivery('{}'), 0);
  channel.confirm(last(), 'unroutable');
  channel.confirm(last(), 'unroutable');
  expect(left.length).toBe(3);
  vi.advanceTimersByTime(PUT_BACK_AFTER_MS);
  expect(left.slice(3)).toEqual(['returned']);
});

describe('a job that was under way when RabbitMQ ended a session', () => {
  const suspect = delivery('{"user":"suspect"}');
  const sent = () => channel.published.map(({ content }) => content.toString());

  it('is sent when no other is under way, and no other is then', () => {
    suspects.note([suspect, delivery('another')], 'why');
    for (const message of [delivery('1'), suspect, delivery('2'), delivery('3')]) relay.forward(message, 0);
    expect(sent()).toEqual(['1']);
    channel.confirm(last(), 'taken');
    expect(sent()).toEqual(['1', '{"user":"suspect"}']);
    channel.confirm(last(), 'taken');
    channel.confirm(last(), 'taken');
    expect(sent()).toEqual(['1', '{"user":"suspect"}', '2', '3']);
    // RabbitMQ has it: it is like any other again.
    relay.forward(suspect, 0);
    relay.forward(delivery('4'), 0);
    expect(sent().slice(4)).toEqual(['{"user":"suspect"}', '4']);
  });

  it('is parked without its properties after the second time alone, and set aside after the third', async () => {
    for (let time = 0; time < 2; time++) suspects.note([suspect], 'PRECONDITION_FAILED');
    relay.forward(suspect, 0);
    expect([last().routingKey, headersOf(last())['x-kpx-reason']]).toEqual(['kpx.dead-letter', 'HEADERS_UNUSABLE']);
    expect(headersOf(last())['x-kpx-detail']).toContain('(PRECONDITION_FAILED)');
    relay.close();
    suspects.note([suspect], 'PRECONDITION_FAILED');
    relay = new Relay(channel, channel, SENDER, suspects, {
      named: () => {},
      problem: (_, why) => problems.push(why),
      left: () => {},
    });
    const before = channel.published.length;
    relay.forward(suspect, 0);
    relay.forward(delivery('others'), 0);
    expect(sent().slice(before)).toEqual(['others']);
    expect(problems.at(-1)).toMatch(/also without its properties \(PRECONDITION_FAILED\); it is set aside/);
    const settled = relay.settled();
    channel.confirm(last(), 'taken');
    await settled;
  });
});

it('tells that a job is parked when RabbitMQ has confirmed it, and not before', () => {
  relay.park(delivery('{'), 'BODY_NOT_JSON', 'no JSON', { user: 'alice' });
  expect(parked).toEqual([]);
  channel.confirm(last(), 'refused');
  expect(parked).toEqual([]);
  relay.park(delivery('{'), 'BODY_NOT_JSON', 'no JSON', { user: 'alice' });
  channel.confirm(last(), 'taken');
  expect(parked).toEqual(['BODY_NOT_JSON no JSON alice']);
});

describe('a message that was parked while it came in', () => {
  const whole = delivery('', { messageId: 'large' });

  it.each([
    [undefined, [[whole], []], ['parked BODY_TOO_LARGE']],
    ['RabbitMQ refused a place', [[], [whole]], ['returned']],
  ])('is acknowledged when RabbitMQ has it, or put back: %s', (why, settled, how) => {
    let told: (why: string | undefined) => void = () => {};
    relay.parked(whole, (listener) => (told = listener), tooLarge(2 ** 30));
    expect([channel.acked, relay.underWayCount]).toEqual([[], 1]);
    told(why);
    vi.advanceTimersByTime(PUT_BACK_AFTER_MS);
    expect([channel.acked, channel.requeued, left, relay.underWayCount]).toEqual([...settled, how, 0]);
  });

  it('is left to RabbitMQ when the channel has ended', () => {
    let told: (why: string | undefined) => void = () => {};
    relay.parked(whole, (listener) => (told = listener), tooLarge(2 ** 30));
    told('RabbitMQ refused a place');
    relay.close();
    vi.advanceTimersByTime(PUT_BACK_AFTER_MS);
    expect([channel.acked, channel.requeued, problems]).toEqual([[], [], []]);
  });

  it('has the properties of a parked one, or new ones where they cannot travel', () => {
    const why = { reason: 'BODY_TOO_LARGE', detail: 'd' } as const;
    const BYTES = 2 ** 21;
    const shown = (properties: Properties) => new WireProperties(relay.parkedAs(delivery('', properties).properties, BYTES, why)).shown();
    expect(shown({ messageId: 'm' })).toMatchObject({ messageId: 'm', headers: { 'x-kpx-reason': 'BODY_TOO_LARGE', 'x-kpx-detail': 'd' } });
    expect(shown({ headers: bytes(1, 0x61, 0x3f) })).toMatchObject({ deliveryMode: 2, headers: { 'x-kpx-reason': 'BODY_TOO_LARGE' } });
    for (const properties of [{}, { headers: bytes(1, 0x61, 0x3f) }])
      expect(shown(properties)).toMatchObject({ headers: { 'x-kpx-id': ID } });
  });
});

describe('a job that was given by another way', () => {
  const given = delivery('{"user":"given"}');
  let told: (why: string | undefined) => void;
  beforeEach(() => {
    relay.given(
      given,
      (listener) => (told = listener),
      () => {},
    );
  });

  it('counts neither as a late confirm of this server nor against a wider prefetch', () => {
    const late: string[] = [];
    const watch = new ConfirmWatch(
      () => relay.oldestUnderWay,
      (why) => late.push(why),
    );
    vi.advanceTimersByTime(2 * CONFIRM_TIMEOUT_MS);
    watch.stop();
    const widened: number[] = [];
    const slowStart = new SlowStart(8, (prefetch) => widened.push(prefetch));
    slowStart.taken();
    slowStart.look(relay.underWayCount);
    expect([late, widened]).toEqual([[], [8]]);
  });

  it('is no suspect when this server ends the session, and keeps none waiting', () => {
    const [suspect, other] = [delivery('{"user":"suspect"}'), delivery('other')];
    suspects.note([suspect], 'why');
    for (const message of [suspect, other]) relay.forward(message, 0);
    expect([relay.underWay, channel.published.length]).toEqual([[suspect], 1]);
    channel.confirm(last(), 'taken');
    expect(last().content.toString()).toBe('other');
  });

  it('is settled before the relay is', async () => {
    let settled = false;
    const settling = relay.settled().then(() => (settled = true));
    await Promise.resolve();
    expect([settled, channel.acked]).toEqual([false, []]);
    told(undefined);
    vi.advanceTimersByTime(0);
    await settling;
    expect([channel.acked, left]).toEqual([[given], ['forwarded']]);
  });
});

describe('a copy that found no place', () => {
  it.each(['unroutable', 'refused'] as const)('goes to a delay queue when the exchange has it %s', (how) => {
    const message = delivery('{}');
    relay.forward(message, 0);
    channel.confirm(last(), how);
    expect(channel.acked).toEqual([]);
    expect(last().routingKey).toBe('kpx.delay.knime-jobs.10000ms');
    channel.confirm(last(), 'taken');
    expect(channel.acked).toEqual([message]);
    expect(problems[0]).toContain('"jobs"');
  });

  it('is put back into the queue, slowly, when there is nowhere else either', () => {
    const message = delivery('{}');
    relay.park(message, 'BODY_NOT_JSON', '');
    channel.confirm(last(), 'unroutable');
    expect(channel.requeued).toEqual([]);
    vi.advanceTimersByTime(PUT_BACK_AFTER_MS);
    expect(channel.requeued).toEqual([message]);
  });
});

it('reports no problem with copies whose confirms end because the channel does', () => {
  relay.forward(delivery('{}'), 0);
  last().confirmed(new Error('channel closed'));
  relay.close();
  vi.advanceTimersByTime(PUT_BACK_AFTER_MS);
  expect([problems, channel.published.length, channel.requeued]).toEqual([[], 1, []]);
});

it('settles every delivery at most once, never before its copy is safe, and none after the channel has closed', () => {
  const how = fc.constantFrom('taken' as const, 'taken' as const, 'unroutable' as const, 'refused' as const, 'close' as const);
  const steps = fc.array(fc.record({ act: fc.constantFrom('forward', 'defer', 'park', 'confirm'), pick: fc.nat(), how }), {
    maxLength: 80,
  });
  fc.assert(
    fc.property(steps, (sequence) => {
      channel = new RecordingChannel();
      relay = new Relay(channel, channel, SENDER, new Suspects(), {
        named: () => {},
        problem: () => {},
        left: () => {},
      });
      const safe = new Set<string>();
      const open: Published[] = [];
      let seen = 0;
      let closedAt: number | undefined;
      for (const [index, step] of sequence.entries()) {
        const message = delivery(`job ${index}`);
        if (step.act === 'forward') relay.forward(message, 0);
        else if (step.act === 'defer') relay.defer(message, 0, 2_000);
        else if (step.act === 'park') relay.park(message, 'R', '');
        else if (step.how === 'close') {
          relay.close();
          closedAt ??= channel.acked.length + channel.requeued.length;
        } else if (open.length > 0) {
          const [copy] = open.splice(step.pick % open.length, 1) as [Published];
          if (step.how === 'taken' && closedAt === undefined) safe.add(copy.content.toString());
          channel.confirm(copy, step.how);
        }
        open.push(...channel.published.slice(seen));
        seen = channel.published.length;
        const acked = channel.acked.map(({ content }) => content.toString());
        expect(new Set(acked).size).toBe(acked.length);
        expect(acked.filter((body) => !safe.has(body))).toEqual([]);
        if (closedAt !== undefined) expect(channel.acked.length + channel.requeued.length).toBe(closedAt);
        else expect(acked.length).toBe(safe.size);
      }
    }),
    { numRuns: 500 },
  );
});
