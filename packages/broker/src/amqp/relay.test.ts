import type { ConsumeMessage, MessageProperties, Options } from 'amqplib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Config } from '../config.js';
import { PUT_BACK_AFTER_MS, Relay, type RelayChannel } from './relay.js';

const CONFIG = {
  amqp: { queue: 'knime-jobs', exchange: 'jobs', routing_key: 'new-work' },
  jobs: { can_handle_header: 'canHandle' },
} as Config;

interface Published {
  readonly exchange: string;
  readonly routingKey: string;
  readonly content: Buffer;
  readonly options: Options.Publish;
  readonly confirmed: (error: unknown) => void;
}

/** Stands in for a confirm channel, because a real one cannot be made to confirm in every order. */
class RecordingChannel implements RelayChannel {
  readonly published: Published[] = [];
  readonly acked: ConsumeMessage[] = [];
  readonly requeued: ConsumeMessage[] = [];
  #returned: (message: { properties: MessageProperties }) => void = () => {};

  publish(exchange: string, routingKey: string, content: Buffer, options: Options.Publish, confirmed: (error: unknown) => void): boolean {
    this.published.push({ exchange, routingKey, content, options, confirmed });
    return true;
  }
  ack(message: ConsumeMessage): void {
    this.acked.push(message);
  }
  nack(message: ConsumeMessage): void {
    this.requeued.push(message);
  }
  on(_: 'return', listener: (message: { properties: MessageProperties }) => void): void {
    this.#returned = listener;
  }
  /** As RabbitMQ does: first the return, then the confirm. */
  confirm({ options, confirmed }: Published, how: 'taken' | 'unroutable' | 'refused'): void {
    if (how === 'unroutable') this.#returned({ properties: { headers: options.headers } as MessageProperties });
    confirmed(how === 'refused' ? new Error('nacked') : null);
    vi.runAllTicks();
    vi.advanceTimersByTime(0);
  }
}

const delivery = (body: string, properties: Partial<MessageProperties> = {}) =>
  ({ content: Buffer.from(body), properties: { headers: undefined, ...properties }, fields: { deliveryTag: 1 } }) as ConsumeMessage;

let channel: RecordingChannel;
let relay: Relay;
let problems: string[];
let left: string[];

beforeEach(() => {
  vi.useFakeTimers();
  channel = new RecordingChannel();
  problems = [];
  left = [];
  relay = new Relay(channel, CONFIG, 'host1', { problem: (_, why) => problems.push(why), left: (...how) => left.push(how.join(' ')) });
});
afterEach(() => {
  vi.useRealTimers();
});
const last = () => channel.published.at(-1) as Published;

describe('moving a delivery', () => {
  it('acknowledges only after RabbitMQ has confirmed the copy', () => {
    const message = delivery('{}');
    relay.forward(message, 0);
    expect(channel.acked).toEqual([]);
    channel.confirm(last(), 'taken');
    expect(channel.acked).toEqual([message]);
  });

  it('forwards body and properties as they came, with the header that lets an executor take it, to be returned if unroutable', () => {
    const properties = {
      contentType: 'application/json',
      messageId: 'j1',
      priority: 3,
      expiration: '60000',
      deliveryMode: 2,
      headers: { a: 1 },
    };
    relay.forward(delivery('{"user":"alice"}', properties), 2);
    const { exchange, routingKey, content, options } = last();
    expect([exchange, routingKey, content.toString()]).toEqual(['jobs', 'new-work', '{"user":"alice"}']);
    expect(options).toMatchObject({
      contentType: 'application/json',
      messageId: 'j1',
      priority: 3,
      expiration: '60000',
      deliveryMode: 2,
      mandatory: true,
    });
    expect(options.headers).toMatchObject({ a: 1, canHandle: true, 'x-kpx-hops': 3 });
  });

  it('keeps a time to live from working in the delay queue and gives it back on the way out', () => {
    relay.defer(delivery('{}', { expiration: '500' }), 0, 2_000);
    expect(last().routingKey).toBe('kpx.delay.knime-jobs.2000ms');
    expect(last().options.expiration).toBeUndefined();
    relay.forward(delivery('{}', { headers: last().options.headers }), 1);
    expect(last().options.expiration).toBe('500');
  });

  it('leaves out what RabbitMQ would act on: the user id of another, copies, death notices', () => {
    relay.forward(
      delivery('{}', { userId: 'knime-server', headers: { CC: ['elsewhere'], 'x-death': [], 'x-first-death-queue': 'q', kept: 1 } }),
      0,
    );
    const { userId, headers } = last().options;
    expect(userId).toBeUndefined();
    expect(Object.keys(headers ?? {}).sort()).toEqual(['canHandle', 'kept', 'x-kpx-hops', 'x-kpx-ref', 'x-kpx-seen-at', 'x-kpx-user-id']);
  });

  it('parks with reason, detail, host and time', () => {
    relay.park(delivery('{'), 'BODY_NOT_JSON', 'no JSON');
    expect(last().routingKey).toBe('kpx.dead-letter');
    expect(last().options.headers).toMatchObject({ 'x-kpx-reason': 'BODY_NOT_JSON', 'x-kpx-detail': 'no JSON', 'x-kpx-host': 'host1' });
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
      relay = new Relay(channel, CONFIG, 'h', { problem: () => {}, left: () => {} });
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
