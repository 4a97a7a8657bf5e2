import { ERRORS } from '@kpx/protocol';
import { expect, it } from 'vitest';
import { entryOf, FAILURES, PARKED, REASONS, SEALED_UNAVAILABLE } from './reasons.js';

it.each([...Object.keys(REASONS), SEALED_UNAVAILABLE, ...Object.keys(ERRORS).filter((code) => code !== 'NOT_RUNNING')])(
  'the catalogue says of %s what it means and what to do',
  (code) => {
    const entry = entryOf(code);
    expect(entry?.meaning).toMatch(/^\S.*\.$/);
    expect(entry?.advice).toMatch(/^\S.*\.$/);
  },
);

it('has each code once, and leaves out NOT_RUNNING, which is the answer to a stop and no reason of a job', () => {
  const codes = [...PARKED, ...FAILURES].map(({ code }) => code);
  expect(new Set(codes).size).toBe(codes.length);
  expect(codes).not.toContain('NOT_RUNNING');
});
