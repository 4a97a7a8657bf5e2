import { createHash } from 'node:crypto';
import { addedByServer } from './headers.js';
import type { WireMessage } from './wire/amqplib.js';

/** How much of a body tells jobs apart, in bytes. */
const BODY_BYTES = 4 * 1024;
/** Most jobs that are remembered; beyond, the oldest go, which another host may have taken long ago. */
export const SUSPECTS_MAX = 20_000;
/** As often as RabbitMQ has ended a session while a job was the only one under way, it is parked without its properties; then set aside. */
const PARKED_AT_STRIKES = 2;

/** How a job is sent: with others; with no other under way; parked with new properties, with no other under way; not at all. */
export type Standing = 'free' | 'alone' | 'bare' | 'aside';

/**
 * Jobs that were under way when RabbitMQ ended a session for what it was sent. Which of them it was shows when they are sent one at a time. They are
 * known by what is in them, as RabbitMQ gives them another delivery tag in the next session.
 */
export class Suspects {
  /** How often a session has ended while this was the only one under way, by fingerprint. */
  readonly #strikes = new Map<string, number>();

  #why = '';

  /** RabbitMQ's last answer. */
  get why(): string {
    return this.#why;
  }

  /** RabbitMQ has ended a session, for this reason, while these and no others were published and not confirmed. */
  note(underWay: readonly WireMessage[], why: string): void {
    this.#why = why;
    const alone = underWay.length === 1 ? 1 : 0;
    for (const message of underWay) {
      const key = fingerprintOf(message);
      const strikes = (this.#strikes.get(key) ?? 0) + alone;
      this.#strikes.delete(key); // the last one in the order of the map is the newest
      this.#strikes.set(key, strikes);
    }
    const [...keys] = this.#strikes.keys();
    for (const key of keys.slice(0, Math.max(0, keys.length - SUSPECTS_MAX))) this.#strikes.delete(key);
  }

  standingOf(message: WireMessage): Standing {
    if (this.#strikes.size === 0) return 'free';
    const strikes = this.#strikes.get(fingerprintOf(message));
    if (strikes === undefined) return 'free';
    if (strikes < PARKED_AT_STRIKES) return 'alone';
    return strikes === PARKED_AT_STRIKES ? 'bare' : 'aside';
  }

  /** RabbitMQ has it. */
  clear(message: WireMessage): void {
    if (this.#strikes.size > 0) this.#strikes.delete(fingerprintOf(message));
  }
}

/** Of body and properties, without what RabbitMQ adds with each delivery; in no order, as it writes a table anew then. */
function fingerprintOf({ content, properties }: WireMessage): string {
  const hash = createHash('sha256').update(String(content.length)).update(content.subarray(0, BODY_BYTES));
  for (const part of properties.parts(addedByServer)) hash.update(part);
  return hash.digest('base64');
}
