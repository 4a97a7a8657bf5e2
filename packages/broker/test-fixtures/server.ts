import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import type { ChannelModel } from 'amqplib';

const FRAME_BYTES_MAX = 131_072;
/** RabbitMQ confirms a message after a while, in milliseconds. */
const CONFIRMS_AFTER_MS = 5;
/** RabbitMQ's answer to a message for which it ends the channel. */
const PRECONDITION_FAILED = { code: 406, classId: 60, methodId: 40 };

/**
 * The server's RabbitMQ, as amqplib shows it to what publishes there. `refuses`: its words where it ends the channel for a message, which it is given as bytes
 * of the wire. `taken`: messages that it has confirmed.
 */
export function server(refuses: (published: Buffer) => string | undefined) {
  const taken: Buffer[] = [];
  let connections = 0;
  const connect = async () => {
    connections += 1;
    const model = new EventEmitter();
    const below = {
      rest: Buffer.alloc(0),
      recvFrame: () => false,
      sendBytes: () => {},
      stream: new PassThrough(),
      recvSinceLastCheck: false,
      maxFrameSize: FRAME_BYTES_MAX,
      frameMax: FRAME_BYTES_MAX,
    };
    const confirmed: ((error: unknown) => void)[] = [];
    let isOpen = true;
    const publishing = Object.assign(new EventEmitter(), {
      ch: 1,
      connection: { ...below, sendBytes: published },
      sendMessage: () => {},
      pushConfirmCallback: (confirm: (error: unknown) => void) => confirmed.push(confirm),
      close: async () => {},
    });
    function published(bytes: Buffer): void {
      const why = refuses(bytes);
      if (why === undefined) setTimeout(() => confirm(bytes), CONFIRMS_AFTER_MS);
      else setImmediate(() => end(why));
    }
    function confirm(bytes: Buffer): void {
      if (!isOpen) return;
      taken.push(bytes);
      confirmed.shift()?.(null);
    }
    function end(why: string): void {
      if (!isOpen) return;
      isOpen = false;
      for (const confirm of confirmed.splice(0)) confirm(new Error('channel closed'));
      publishing.emit('error', Object.assign(new Error(why), PRECONDITION_FAILED));
    }
    return Object.assign(model, { connection: below, createConfirmChannel: async () => publishing }) as unknown as ChannelModel;
  };
  return { taken, connect, connections: () => connections };
}
