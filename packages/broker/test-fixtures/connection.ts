import { EventEmitter } from 'node:events';
import type { ChannelModel } from 'amqplib';

/** A connection as amqplib has it, to a RabbitMQ that answers to everything with yes. `declared` and `deleted`: the queues, in order. `consumers`: by queue. */
export function connection() {
  const declared: string[] = [];
  const deleted: string[] = [];
  const consumers = new Map<string, (message: unknown) => void>();
  const below = {
    rest: Buffer.alloc(0),
    recvFrame: () => false,
    sendBytes: () => {},
    stream: { write: () => true },
    recvSinceLastCheck: false,
    maxFrameSize: 1_000,
    frameMax: 1_000,
  };
  const channel = () => {
    const events = new EventEmitter();
    return Object.assign(events, {
      ch: 1,
      connection: below,
      sendMessage: () => {},
      pushConfirmCallback: () => {},
      assertQueue: async (queue: string) => declared.push(queue),
      deleteQueue: async (queue: string) => deleted.push(queue),
      checkExchange: async () => {},
      bindQueue: async () => {},
      prefetch: async () => {},
      consume: async (queue: string, taken: (message: unknown) => void) => {
        consumers.set(queue, taken);
      },
      close: async () => {
        events.emit('close');
      },
    });
  };
  const model = Object.assign(new EventEmitter(), {
    connection: below,
    createChannel: async () => channel(),
    createConfirmChannel: async () => channel(),
  });
  return { declared, deleted, consumers, model: model as unknown as ChannelModel };
}
