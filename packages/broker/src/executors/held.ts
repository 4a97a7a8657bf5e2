import type { Ticket } from './events.js';

/** The jobs that are held for one user, the oldest first. */
export class HeldJobs {
  /** Since when, in milliseconds. Maps keep the order of insertion. */
  readonly #since = new Map<Ticket, number>();

  get size(): number {
    return this.#since.size;
  }

  add(ticket: Ticket, now: number): void {
    this.#since.set(ticket, now);
  }

  clear(): void {
    this.#since.clear();
  }

  /** Answers whether it is there. */
  take(ticket: Ticket): boolean {
    return this.#since.delete(ticket);
  }

  takeAll(): Ticket[] {
    return this.takeFirst(this.size);
  }

  /** The oldest ones, at most `count`. */
  takeFirst(count: number): Ticket[] {
    const taken: Ticket[] = [];
    for (const ticket of this.#since.keys()) {
      if (taken.length >= count) break;
      taken.push(ticket);
      this.#since.delete(ticket);
    }
    return taken;
  }

  /** All but the `count` oldest. */
  takeBeyond(count: number): Ticket[] {
    if (this.size <= count) return [];
    const taken = [...this.#since.keys()].slice(count);
    for (const ticket of taken) this.#since.delete(ticket);
    return taken;
  }

  /** Those that have been held since `then` or longer. */
  takeHeldSince(then: number): Ticket[] {
    let count = 0;
    for (const since of this.#since.values()) {
      if (since > then) break;
      count += 1;
    }
    return this.takeFirst(count);
  }
}
