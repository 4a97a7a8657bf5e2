import { expect, it } from 'vitest';
import { maskedStdio } from './descriptors.js';

it('gives a child no descriptors rather than some that cannot be masked', () => {
  const slots = Array.from({ length: 1_025 }, () => 'ignore' as const);
  expect(() => maskedStdio(slots)).toThrow('descriptor 1024 cannot be masked');
  expect(maskedStdio(slots.slice(1)).slice(0, 3)).toEqual(['ignore', 'ignore', 'ignore']);
});
