import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import type { ChannelModel } from 'amqplib';
import { expect, it, onTestFinished, vi } from 'vitest';
import { propertyBytes } from '../../test-fixtures/wire.js';
import { connect } from '../amqp/connect.js';
import { HeldBytes } from '../amqp/wire/bodies.js';
import { bodyFrame, FRAME_OVERHEAD_BYTES, publishFrames } from '../amqp/wire/frames.js';
import type { Config } from '../config/config.js';
import { AccountSession } from './account-session.js';

/* With a real RabbitMQ: test/integration/sealed-*.test.ts. Here a body comes in at a moment that no real server can be made to choose. */

vi.mock(import('../amqp/connect.js'), async (original) => ({ ...(await original()), connect: vi.fn(), close: vi.fn() }));

const CONFIG = { amqp: {}, sealed: { urls: ['amqp://kpx-broker@127.0.0.1'], management_password_file: '' } } as unknown as Config;

/** RabbitMQ's side of a connection. */
function connection() {
  const below = {
    rest: Buffer.alloc(0) as Buffer,
    recvFrame: (): unknown => false,
    sendBytes: () => {},
    stream: new PassThrough(),
    recvSinceLastCheck: false,
    frameMax: 131_072,
    maxFrameSize: 131_072,
  };
  const channel = (ch: number) =>
    Object.assign(new EventEmitter(), {
      ch,
      connection: below,
      sendMessage: () => {},
      pushConfirmCallback: () => {},
      prefetch: async () => {},
    });
  const opened: EventEmitter[] = [];
  const createChannel = async () => {
    const made = channel(2);
    opened.push(made);
    return made;
  };
  const channels = { createConfirmChannel: async () => channel(1), createChannel };
  const model = Object.assign(new EventEmitter(), { connection: below, ...channels }) as unknown as ChannelModel;
  /** The content of a message comes in: its header and its body. */
  const comes = (bytes: number) => {
    const to = { exchange: '', routingKey: '' };
    const { bytes: frames, end } = publishFrames(2, to, propertyBytes({}), bytes, bytes + FRAME_OVERHEAD_BYTES);
    bodyFrame(frames, end, 2, Buffer.alloc(bytes));
    below.rest = frames.subarray(FRAME_OVERHEAD_BYTES + frames.readUInt32BE(3)); // without the method before them
    while (below.recvFrame() !== false);
    expect(below.rest).toHaveLength(0);
  };
  return { model, comes, opened };
}

it('takes nothing of the memory of all accounts for what comes in once it is closed', async () => {
  const { model, comes } = connection();
  vi.mocked(connect).mockResolvedValue(model);
  const held = new HeldBytes(1_000);
  const session = await AccountSession.openAny(CONFIG, 'kpx-alice', 'host1', held);
  onTestFinished(async () => await session.close());
  comes(600);
  expect(held.held).toBe(600);
  const closing = session.close();
  comes(600);
  await closing;
  comes(300);
  expect(held.held).toBe(0);
});

it('opens no channel while RabbitMQ reads nothing of it, and says why', async () => {
  const { model, opened } = connection();
  vi.mocked(connect).mockResolvedValue(model);
  const session = await AccountSession.openAny(CONFIG, 'kpx-alice', 'host1', new HeldBytes(1_000));
  onTestFinished(async () => await session.close());
  const before = opened.length;
  model.emit('blocked', 'low on memory');
  for (let look = 0; look < 3; look++)
    await expect(session.look('jobs')).rejects.toThrow('RabbitMQ takes nothing at the moment: low on memory');
  expect(opened).toHaveLength(before);
  model.emit('unblocked');
  expect(session.blocked).toBeUndefined();
});
