import type { Config } from '../config/config.js';
import { type Own, type Seal, travelling } from './headers.js';
import type { ConfirmedPublisher, Publisher } from './publisher.js';
import type { Address } from './wire/frames.js';
import type { WireProperties } from './wire/properties.js';

/** Where jobs go that are forwarded, when that is another server than they come from. */
export interface Elsewhere {
  readonly publisher: Publisher;
  readonly amqp: Config['amqp'];
}

/** Where a job goes, and how. */
export interface Destination extends Address {
  readonly left: () => void;
  /** kpx's own headers. */
  readonly own: Own;
  /** How the properties change on the way there; throws {@link CannotTravel}. */
  readonly compose: (properties: WireProperties, own: Own, seal: Seal, bytesMax: number) => Buffer;
  /** Called where that throws. */
  readonly unusable: (why: string) => void;
  /** Called where RabbitMQ has no place for it. */
  readonly fallback: (why: string) => void;
  /** Not by the publisher at home. */
  readonly by?: ConfirmedPublisher;
}

export const withExpiration: Destination['compose'] = (properties, own, seal, bytesMax) =>
  travelling(properties, own, seal, true, bytesMax);
export const withoutExpiration: Destination['compose'] = (properties, own, seal, bytesMax) =>
  travelling(properties, own, seal, false, bytesMax);
