import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/*
 * RabbitMQ keeps this of a password: base64 of a salt of 32 bits and the digest of salt and password.
 * Source: rabbitmq.com, "Credentials and Passwords"; tried with 3.10.8, 4.0.5 and 4.3.6.
 */

const SALT_BYTES = 4;
/** RabbitMQ's own by default. */
export const HASHING = 'rabbit_password_hashing_sha256';
const DIGESTS: Readonly<Record<string, string>> = { [HASHING]: 'sha256', rabbit_password_hashing_sha512: 'sha512' };

/** By {@link HASHING}. */
export const passwordHash = (password: string) => hash(randomBytes(SALT_BYTES), password, 'sha256').toString('base64');

/** Is `kept`, which RabbitMQ shows of a user, a hash of this password? Not where it is by an algorithm that is not known here. */
export function isHashOf(kept: unknown, algorithm: unknown, password: string): boolean {
  const digest = DIGESTS[String(algorithm)];
  if (typeof kept !== 'string' || digest === undefined) return false;
  const bytes = Buffer.from(kept, 'base64');
  const expected = hash(bytes.subarray(0, SALT_BYTES), password, digest);
  return bytes.length === expected.length && timingSafeEqual(bytes, expected);
}

const hash = (salt: Buffer, password: string, digest: string) =>
  Buffer.concat([salt, createHash(digest).update(salt).update(password).digest()]);
