import type { Duplex } from 'node:stream';
import type { Channel, ChannelModel, GetMessage } from 'amqplib';
import { WireProperties } from './properties.js';

/*
 * The parts of amqplib beside its interface that kpx uses: fields and methods of a connection and of a channel, on the instances. They are looked for at
 * each connect, and package.json has one exact version of amqplib.
 */

/** A connection of amqplib below its model. */
export interface WireConnection {
  /** Bytes that have come and are no frame yet. */
  rest: Buffer;
  /** The next frame; false: no more of them at the moment. It is called again when the stream is readable. */
  recvFrame(): unknown;
  readonly stream: Duplex;
  readonly frameMax: number;
  readonly maxFrameSize: number;
  /** The heartbeat's proof that the other side is alive. */
  recvSinceLastCheck: boolean;
  sendBytes(bytes: Buffer): void;
}

/** A confirm channel of amqplib below its interface. */
export interface WireChannel {
  readonly connection: WireConnection;
  readonly ch: number;
  /** Throws an IllegalOperationError, put there by amqplib, once the channel is closed. */
  sendMessage(...message: unknown[]): unknown;
  pushConfirmCallback(confirmed: (error: unknown) => void): void;
}

/** A message as amqplib hands it over, with its properties as they came. */
export type WireMessage = Omit<GetMessage, 'properties' | 'fields'> & {
  readonly properties: WireProperties;
  readonly fields: Pick<GetMessage['fields'], 'deliveryTag' | 'redelivered'> &
    Partial<Pick<GetMessage['fields'], 'exchange' | 'routingKey' | 'messageCount'>>;
};

const NOT_THIS_ONE = 'this amqplib is not the version that kpx was made for: install kpx as it was packaged';

/** The connection below amqplib's model. Throws an Error where it is not what kpx knows. */
export function wireOf(model: ChannelModel): WireConnection {
  const connection = model.connection as unknown as Partial<WireConnection>;
  const known =
    Buffer.isBuffer(connection.rest) &&
    typeof connection.recvFrame === 'function' &&
    typeof connection.sendBytes === 'function' &&
    typeof connection.stream?.write === 'function' &&
    typeof connection.recvSinceLastCheck === 'boolean' &&
    typeof connection.maxFrameSize === 'number' &&
    Number(connection.frameMax) > 0;
  if (!known) throw new Error(NOT_THIS_ONE);
  return connection as WireConnection;
}

/** The channel below amqplib's interface. Throws an Error where it is not what kpx knows. */
export function wireChannelOf(channel: Channel): WireChannel {
  const below = channel as unknown as Partial<WireChannel>;
  const known = typeof below.sendMessage === 'function' && typeof below.pushConfirmCallback === 'function' && Number(below.ch) > 0;
  if (!known) throw new Error(NOT_THIS_ONE);
  return below as WireChannel;
}

/** Throws an Error where amqplib has decoded the properties itself. */
export function wireMessage(message: Omit<GetMessage, 'fields'>): WireMessage {
  if (!((message.properties as unknown) instanceof WireProperties)) throw new Error(NOT_THIS_ONE);
  return message as unknown as WireMessage;
}
