import { hints } from '@kpx/protocol';
import * as z from 'zod';

/* Values that several tables of broker.toml have. */

const TEXT_CHARS_MAX = 4_096;
/** AMQP's short strings, in bytes: names of queues, exchanges and headers, routing keys. */
export const NAME_BYTES_MAX = 255;

export const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;

const DURATION = 'expected a duration such as "500ms", "15s", "2m" or "1h"';

/** "250ms", "15s", "2m", "1h" as milliseconds. */
export const duration = z
  .string()
  .regex(/^[1-9]\d{0,6}(ms|s|m|h)$/, DURATION)
  .transform((text) => Number.parseInt(text, 10) * UNITS_MS[text.replace(/^\d+/, '') as keyof typeof UNITS_MS])
  .register(hints, { expected: DURATION });

/** A duration, or empty for none. */
export const optionalDuration = z
  .union([z.literal('').transform(() => undefined), duration])
  .prefault('')
  .register(hints, { expected: 'expected a duration such as "30m", or "" for never' });

export const UNITS_BYTES = { KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 } as const;

const MEMORY = 'expected an amount of memory such as "512MiB" or "4GiB", or "" for none';

/** "512MiB", "4GiB" as bytes, or empty for 0. */
export const memory = z
  .string()
  .regex(/^([1-9]\d{0,8}(KiB|MiB|GiB|TiB))?$/, MEMORY)
  .transform((text) => (text === '' ? 0 : Number.parseInt(text, 10) * UNITS_BYTES[text.replace(/^\d+/, '') as keyof typeof UNITS_BYTES]))
  .prefault('')
  .register(hints, { expected: MEMORY });

export const text = z.string().max(TEXT_CHARS_MAX);

/** A name on the wire of AMQP. */
export const amqpName = (bytesMax: number) =>
  text.refine((name) => Buffer.byteLength(name) <= bytesMax, `expected at most ${bytesMax} bytes`);

export const amqpUrl = text.superRefine((value, context) => {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (!url || !/^amqps?:$/.test(url.protocol) || url.hostname === '') {
    context.addIssue({ code: 'custom', message: 'expected "amqp://USER@HOST:PORT/VHOST" or "amqps://…"' });
  } else if (url.password !== '') {
    context.addIssue({ code: 'custom', message: 'holds a password: put it into amqp.password_file' });
  }
});

/** Of one cluster of RabbitMQ. */
export const NODES_MAX = 16;

/** The user is that of `amqp.urls`. */
export function isManagementUrl(value: string): boolean {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  return url !== undefined && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '';
}
