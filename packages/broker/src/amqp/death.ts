import { DEATH_HEADER } from './headers.js';
import type { WireProperties } from './wire/properties.js';

/**
 * Why RabbitMQ has taken this dead letter out of its last queue: `maxlen`, `rejected`, `expired` or `delivery_limit`. The sender cannot say it: RabbitMQ puts
 * its own word first, into the header that is there or into a new one. Undefined: nobody can tell, as there are several.
 */
export function deathOf(properties: WireProperties): string | undefined {
  if (properties.headers(DEATH_HEADER).length !== 1) return undefined;
  const deaths = (properties.shown().headers as Readonly<Record<string, unknown>>)[DEATH_HEADER];
  const latest: unknown = Array.isArray(deaths) ? deaths[0] : undefined;
  const reason = typeof latest === 'object' && latest !== null && 'reason' in latest ? latest.reason : undefined;
  return typeof reason === 'string' ? reason : undefined;
}
