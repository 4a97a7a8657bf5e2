import { EVERY_TYPE, type Field, type Properties, table, text } from '../../packages/broker/test-fixtures/wire.js';

/* Header tables that KNIME Server does not write and that RabbitMQ takes from any publisher. Valid AMQP, all of them. */

/** Below frame_max with what kpx adds, and above the 64 KiB that a client may have as a buffer. */
const LARGE_BYTES = 100_000;
/** RabbitMQ takes it from its sender, whose other properties are short; with any header of kpx's own it does not fit its frame_max. */
const NO_ROOM_BYTES = 130_995;
const DEPTH = 500;

const nested = (depth: number): Field => ['table', 'F', depth === 0 ? text('') : table(nested(depth - 1))];

export const ODD_HEADERS = {
  everyType: table(...EVERY_TYPE),
  large: table(['large', 'S', Buffer.alloc(LARGE_BYTES, 'x')]),
  noRoom: table(['large', 'S', Buffer.alloc(NO_ROOM_BYTES, 'x')]),
  deep: table(nested(DEPTH)),
  /** What kpx writes itself, and what others may write in its name. */
  expiration: table(['x-kpx-expiration', 'S', text('soon')]),
} as const satisfies Record<string, Properties['headers']>;
