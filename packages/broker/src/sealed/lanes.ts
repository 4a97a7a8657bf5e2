import type { OsUser } from '@kpx/protocol';
import type { WireMessage } from '../amqp/wire/amqplib.js';
import type { AccountLane } from './account-lane.js';

/** By account. A start that is under way at {@link stop} may come to a lane only afterwards: that one ends at once, or it would keep the process from ending. */
export class Lanes extends Map<OsUser, AccountLane> {
  #stopped = false;

  add(lane: AccountLane): void {
    this.set(lane.account, lane);
    if (this.#stopped) lane.stop();
  }

  async broadcast(exchange: string, message: WireMessage): Promise<void> {
    await Promise.all([...this.values()].map((lane) => lane.broadcast(exchange, message)));
  }

  stop(): void {
    this.#stopped = true;
    for (const lane of this.values()) lane.stop();
  }
}
