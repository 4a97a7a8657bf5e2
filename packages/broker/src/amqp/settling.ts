import { setTimeout as delay } from 'node:timers/promises';
import type { ConfirmChannel } from 'amqplib';
import { type declareOwnQueues, ownQueues } from './topology.js';
import type { Address } from './wire/frames.js';
import { WirePublisher } from './wire/publish.js';

/** Holds back what goes to queues of kpx's own that were just made, until RabbitMQ would still have it after a crash. */
export class SettlingPublisher extends WirePublisher {
  readonly #own: ReadonlySet<string>;
  #settling: Promise<void> | undefined;

  /** `settledAt`: as {@link declareOwnQueues} answers it. `settled` is called then, where that is still to come. */
  constructor(channel: ConfirmChannel, queue: string, settledAt: number, settled: () => void) {
    super(channel);
    this.#own = new Set(ownQueues(queue).map(([name]) => name));
    if (settledAt > performance.now()) this.#settling = this.#settle(settledAt, settled);
  }

  async #settle(settledAt: number, settled: () => void): Promise<void> {
    await delay(settledAt - performance.now(), undefined, { ref: false });
    this.#settling = undefined;
    settled();
  }

  get isSettling(): boolean {
    return this.#settling !== undefined;
  }

  override publish(to: Address, properties: Buffer, content: Buffer, confirmed: (error: unknown) => void): void {
    if (this.#settling === undefined || to.exchange !== '' || !this.#own.has(to.routingKey)) {
      super.publish(to, properties, content, confirmed);
    } else {
      // Where the channel is closed by then, RabbitMQ has put everything back.
      this.#settling.then(() => super.publish(to, properties, content, confirmed)).catch(() => {});
    }
  }
}
