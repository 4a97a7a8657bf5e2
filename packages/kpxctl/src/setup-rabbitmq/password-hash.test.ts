import { expect, it } from 'vitest';
import { HASHING, isHashOf, passwordHash } from './password-hash.js';

/** Of the password "test12", from RabbitMQ's documentation. */
const DOCUMENTED = 'kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR';

it('knows a hash of RabbitMQ’s, and its own', () => {
  expect(isHashOf(DOCUMENTED, HASHING, 'test12')).toBe(true);
  expect(isHashOf(passwordHash('secret'), HASHING, 'secret')).toBe(true);
  expect(passwordHash('secret')).not.toBe(passwordHash('secret'));
});

it.each([
  ['another password', DOCUMENTED, HASHING, 'test13'],
  ['another algorithm', DOCUMENTED, 'rabbit_password_hashing_sha512', 'test12'],
  ['an unknown algorithm', DOCUMENTED, 'rabbit_password_hashing_md5', 'test12'],
  ['a user without a password', '', HASHING, ''],
  ['no hash', undefined, HASHING, 'test12'],
])('does not take %s for one', (_, kept, algorithm, password) => {
  expect(isHashOf(kept, algorithm, password)).toBe(false);
});
