import type { WireProperties } from './wire/properties.js';

/** RabbitMQ says in it where a message was taken out of a queue, and why. Of what the broker reads from the server, only jobs from a delay queue have it. */
export const DEATH_HEADER = 'x-death';

interface Death {
  /** `maxlen`, `rejected`, `expired` or `delivery_limit`. */
  readonly reason: string;
  /** The expiration that the message had: RabbitMQ takes it off each dead letter. */
  readonly expiration: string | undefined;
}

/**
 * Why RabbitMQ has taken this dead letter out of its last queue. The sender cannot say it: RabbitMQ puts its own word first, into the header that is there or
 * into a new one. Undefined: it is no dead letter, or nobody can tell, as there are several such headers.
 */
export function deathOf(properties: WireProperties): Death | undefined {
  if (properties.headers(DEATH_HEADER).length !== 1) return undefined;
  const deaths = (properties.shown().headers as Readonly<Record<string, unknown>>)[DEATH_HEADER];
  const latest: unknown = Array.isArray(deaths) ? deaths[0] : undefined;
  if (typeof latest !== 'object' || latest === null) return undefined;
  const { reason, 'original-expiration': expiration } = latest as Readonly<Record<string, unknown>>;
  if (typeof reason !== 'string') return undefined;
  return { reason, expiration: typeof expiration === 'string' ? expiration : undefined };
}
