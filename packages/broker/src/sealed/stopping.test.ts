import { osUserSchema } from '@kpx/protocol';
import type { ChannelModel } from 'amqplib';
import { pino } from 'pino';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { connection } from '../../test-fixtures/connection.js';
import { close, connect } from '../amqp/connect.js';
import { configSchema } from '../config/config.js';
import { Downlink } from './downlink.js';
import { Mirrors } from './mirrors.js';
import { Uplink } from './uplink.js';

/* A stop that comes while RabbitMQ has not answered: nobody else closes the connection, which would keep the process from ending. */

vi.mock(import('../amqp/connect.js'), async (original) => ({ ...(await original()), connect: vi.fn(), close: vi.fn() }));

beforeEach(() => vi.resetAllMocks());

const log = pino({ enabled: false });
const config = configSchema.parse({
  amqp: { urls: ['amqp://kpx-broker@127.0.0.1/knime'] },
  sealed: { down: [{ exchange: 'pidbox', type: 'fanout' }] },
});
const services = { log, config, host: 'here', node: 'here' };

/** An answer that the test gives. */
function pending<T>() {
  let resolve: (value: T) => void = () => {};
  const answer = new Promise<T>((resolved) => {
    resolve = resolved;
  });
  return { answer, resolve };
}

interface Link {
  run(): Promise<unknown>;
  stop(): Promise<void>;
}

function mirrors(): Link {
  const all = new Mirrors(services);
  return { run: () => all.open(osUserSchema.parse('alice'), 'gateway-1', async () => ({ is: 'given' })), stop: () => all.stop() };
}

const LINKS: readonly [name: string, make: () => Link][] = [
  ['of the uplink', () => new Uplink(log, config, 'here')],
  ['of the downlink', () => new Downlink(services, async () => {})],
  ['of the mirrors', mirrors],
];

describe('a connection that RabbitMQ opens after the stop', () => {
  it.each(LINKS)('%s is closed, and nothing is declared', async (_, make) => {
    const { declared, model } = connection();
    const opening = pending<ChannelModel>();
    vi.mocked(connect).mockReturnValue(opening.answer);
    const link = make();
    link.run().catch(() => {});
    await expect.poll(() => vi.mocked(connect).mock.calls.length).toBe(1);
    await link.stop();
    opening.resolve(model);
    await expect.poll(() => vi.mocked(close).mock.calls).toEqual([[model]]);
    expect(declared).toEqual([]);
  });

  it('of the uplink is closed where the stop comes before its channel', async () => {
    const { model } = connection();
    const channel = await model.createConfirmChannel();
    const opening = pending<typeof channel>();
    const asked = vi.spyOn(model, 'createConfirmChannel').mockReturnValue(opening.answer);
    vi.mocked(connect).mockResolvedValue(model);
    const uplink = new Uplink(log, config, 'here');
    const running = uplink.run();
    await expect.poll(() => asked.mock.calls.length).toBe(1);
    await uplink.stop();
    opening.resolve(channel);
    await expect.poll(() => vi.mocked(close).mock.calls).toEqual([[model]]);
    expect(uplink.connected).toBe(false);
    await running;
  });
});
