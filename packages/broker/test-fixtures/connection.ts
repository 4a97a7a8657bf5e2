import { EventEmitter } from 'node:events';
import type { ChannelModel } from 'amqplib';

/** A connection as amqplib has it, to a RabbitMQ that answers to everything with yes. `declared` and `deleted`: the queues, in order. */
export function connection() {
  const declared: string[] = [];
  const deleted: string[] = [];
  const below = {
    rest: Buffer.alloc(0),
    recvFrame: () => false,
    sendBytes: () => {},
    stream: { write: () => true },
    recvSinceLastCheck: false,
    maxFrameSize: 1_000,
    frameMax: 1_000,
  };
  const channel = () =>
    Object.assign(new EventEmitter(), {
      ch: 1,
      connection: below,
      sendMessage: () => {},
      pushConfirmCallback: () => {},
      assertQueue: async (queue: string) => declared.push(queue),
      deleteQueue: async (queue: string) => deleted.push(queue),
      checkExchange: async () => {},
      bindQueue: async () => {},
      prefetch: async () => {},
      consume: async () => {},
      close: async () => {},
    });
  const model = Object.assign(new EventEmitter(), {
    connection: below,
    createChannel: async () => channel(),
    createConfirmChannel: async () => channel(),
  });
  return { declared, deleted, model: model as unknown as ChannelModel };
}
