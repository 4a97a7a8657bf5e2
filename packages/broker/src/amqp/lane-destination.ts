import type { ChannelModel, ConfirmChannel } from 'amqplib';
import { close } from './connect.js';
import type { Aside } from './lane-source.js';
import { REFERENCE_HEADER } from './mac.js';
import { SettlingPublisher } from './settling.js';
import { wireOf } from './wire/amqplib.js';
import { SkippedBody } from './wire/bodies.js';
import { CutThrough } from './wire/cut-through.js';
import { Receiver } from './wire/receive.js';

/** RabbitMQ's part of a destination. */
export interface Publishing {
  readonly connection: ChannelModel;
  readonly confirms: ConfirmChannel;
  /** For messages that are passed on while they come in. */
  readonly large: ConfirmChannel;
}

/**
 * Where a lane publishes: a connection of its own. Where nothing is read from the source, because what was read has not been passed on yet, confirms still
 * come by this one.
 */
export class LaneDestination implements Aside {
  readonly publisher: SettlingPublisher;
  readonly #connection: ChannelModel;
  readonly #cutThrough: CutThrough;
  /** It reads nothing of a connection that publishes, and answers to nothing there. */
  #blocked = false;

  /** kpx's own queues for the job queue `queue` are there to stay from `settledAt` on; `settled` is called then, where that is still to come. */
  constructor({ connection, confirms, large }: Publishing, queue: string, settledAt: number, settled: () => void) {
    this.#connection = connection;
    this.publisher = new SettlingPublisher(confirms, queue, settledAt, settled);
    this.#cutThrough = new CutThrough(large, (properties) => properties.header(REFERENCE_HEADER));
    // A message that comes back by this one was not taken: it is still in hand.
    new Receiver(wireOf(connection), (_, bytes) => new SkippedBody(bytes));
    connection.on('blocked', () => {
      this.#blocked = true;
    });
    connection.on('unblocked', () => {
      this.#blocked = false;
    });
  }

  get isSettling(): boolean {
    return this.publisher.isSettling;
  }

  get isBlocked(): boolean {
    return this.#blocked;
  }

  readonly passOn: Aside['passOn'] = (...message) => this.#cutThrough.begin(...message);

  async close(): Promise<void> {
    await close(this.#connection);
  }
}
